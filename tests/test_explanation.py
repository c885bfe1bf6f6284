"""What breaks a network is found where it was put; maps point to what it used."""

import keras
import numpy as np
import pytest

from commands import submission_model
from helpers.changes import shifts
from helpers.course import CourseError
from helpers.data.photographs import ImageSet
from helpers.evaluation import explanation, metrics
from helpers.models import networks


def logits_for(predictions: np.ndarray, classes: int = 3) -> np.ndarray:
    return np.eye(classes, dtype=np.float32)[predictions]


def test_single_operations_are_judged_on_one_fixed_sample():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [90, 30])
    clean = ImageSet(rng.integers(60, 200, (120, 96, 96, 3), dtype=np.uint8), labels)
    seen = []

    def predict(images: np.ndarray) -> np.ndarray:
        """Be right about the first 30 of 40, unless anything is covered in white."""
        seen.append(images)
        covered = (images == 255).all(axis=-1).mean(axis=(1, 2)) > 0.02
        return logits_for(np.where(covered | (np.arange(40) >= 30), 2, np.repeat([0, 1], [30, 10])))

    table = explanation.single_operation_accuracy(predict, clean, count=40)
    assert len(seen) == len(table) == len(shifts.OPERATIONS) + 1
    assert table.index[-1] == explanation.UNALTERED
    assert (table["images"] == 40).all()
    assert table.loc["unaltered", ["kind", "accuracy", "drop"]].tolist() == ["unaltered", 0.75, 0]
    # The sample keeps the classes' shares and is handed over as it is at last.
    assert any(np.array_equal(images[0], clean.images[row]) for images in seen for row in range(90))
    assert table["accuracy"].iloc[:-1].is_monotonic_increasing
    assert table.loc["cutout", "drop"] < -0.05
    assert table.loc["flip", "drop"] == 0


def test_a_stronger_operation_is_asked_for_by_its_strength():
    images = np.full((2, 96, 96, 3), 120, np.uint8)
    brightest = {}
    for strength in (0.2, 1.0):
        seen = []

        def predict(images: np.ndarray, seen=seen) -> np.ndarray:
            seen.append(int(images.max()))
            return logits_for(np.zeros(2, int))

        clean = ImageSet(images, np.zeros(2, int))
        explanation.single_operation_accuracy(predict, clean, strength=strength)
        brightest[strength] = seen[list(shifts.OPERATIONS).index("brightness")]
    assert brightest[1.0] != brightest[0.2]


def test_worst_errors_are_wrong_and_begin_with_the_surest():
    logits = np.array([[9, 0, 0], [0, 9, 0], [0, 0, 3], [0, 1, 0], [0, 60_000, 0]], np.float16)
    labels = np.array([0, 0, 0, 0, 0])
    assert explanation.worst_errors(labels, logits, 3).tolist() == [4, 1, 2]
    assert explanation.worst_errors(labels[:1], logits[:1], 3).tolist() == []


def test_confusions_go_both_ways():
    labels = np.array([0] * 10 + [1] * 4 + [2] * 5)
    predictions = np.array([0] * 7 + [1] * 1 + [2] * 2 + [1] * 2 + [0] * 2 + [2] * 5)
    table = explanation.confusions_of(labels, logits_for(predictions), 0, ("a", "b", "c"))
    assert list(table.index) == ["c", "b"]
    assert table.loc["b"].tolist() == pytest.approx([0.1, 0.5])
    assert table.loc["c"].tolist() == pytest.approx([0.2, 0.0])


def test_tsne_of_both_keeps_groups_and_repeats():
    rng = np.random.default_rng(0)
    centres = 20 * np.eye(2, 60)
    clean, shifted = (centres[np.arange(n) % 2] + rng.normal(size=(n, 60)) for n in (40, 20))
    places = explanation.tsne(np.concatenate([clean, shifted]))
    assert places.shape == (60, 2)
    group = np.r_[np.arange(40), np.arange(20)] % 2
    means = np.array([places[group == g].mean(axis=0) for g in (0, 1)])
    nearest = np.linalg.norm(places[:, None] - means, axis=2).argmin(axis=1)
    assert (nearest == group).all()
    np.testing.assert_array_equal(places, explanation.tsne(np.concatenate([clean, shifted])))


def test_the_nearest_clean_neighbour_is_another_image():
    clean = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
    labels = np.array([0, 0, 1, 1])
    near = explanation.nearest_neighbour_accuracy(clean, 5 * clean, labels)
    assert (near.value, near.n) == (1.0, 4)
    astray = explanation.nearest_neighbour_accuracy(clean, clean[::-1], labels)
    assert astray.value == 0.0
    alone = explanation.nearest_neighbour_accuracy(clean[[0, 2]], clean[[0, 2]], labels[[0, 2]])
    assert alone.value == 0.0


def toy_classifier(image_size: int = 96) -> keras.Model:
    """Return a classifier whose backbone has 3 x 3 places and two channels: how red, how blue.

    Class 0 goes with red, class 1 with blue, class 2 with neither.
    """
    pixels = keras.Input((image_size, image_size, 3))
    kernel = np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]]).reshape(1, 1, 3, 2) / 255
    x = keras.layers.Conv2D(2, 1, use_bias=False, name="colours")(pixels)
    x = keras.layers.AveragePooling2D(image_size // 3)(x)
    backbone = keras.Model(pixels, x, name="backbone")
    backbone.get_layer("colours").set_weights([kernel])
    images = keras.Input((96, 96, 3), name="image")
    resized = images
    if image_size != 96:
        resized = keras.layers.Resizing(image_size, image_size, name="resizing")(images)
    features = keras.layers.GlobalAveragePooling2D(name="pooling")(backbone(resized))
    head = networks.head(2, 3)
    head.get_layer("logits").set_weights(
        [np.array([[5.0, -5.0, -5.0], [-5.0, 5.0, -5.0]]), np.zeros(3)]
    )
    return keras.Model(images, head(features), name="toy")


def red_and_blue(count: int = 1) -> np.ndarray:
    """Return black images, red in the ninth at the top left, blue in that at the bottom right."""
    images = np.zeros((count, 96, 96, 3), np.uint8)
    images[:, :32, :32, 0] = 255
    images[:, 64:, 64:, 2] = 200
    return images


@pytest.mark.parametrize("image_size", [96, 129])
def test_a_map_shows_where_the_class_is(image_size):
    model, images = toy_classifier(image_size), red_and_blue(2)
    maps = explanation.grad_cam(model, images, np.array([0, 1]))
    assert maps.shape == (2, 96, 96)
    assert maps.dtype == np.float32
    np.testing.assert_allclose(maps.max(axis=(1, 2)), 1)
    assert maps.min() >= 0
    red, blue = maps
    assert red[:16, :16].min() > 0.99
    assert red[64:, 64:].max() < 1e-5
    assert blue[80:, 80:].min() > 0.99
    assert blue[:32, :32].max() < 1e-5


def test_without_classes_the_predicted_one_is_asked_about():
    model, images = toy_classifier(), red_and_blue()
    assert model(images).numpy().argmax() == 0
    expected = explanation.grad_cam(model, images, np.array([0]))
    np.testing.assert_array_equal(explanation.grad_cam(model, images), expected)


def test_where_nothing_speaks_for_the_class_the_map_is_zero():
    assert not explanation.grad_cam(toy_classifier(), red_and_blue(), np.array([2])).any()


def test_maps_do_not_depend_on_the_batch(monkeypatch):
    model = toy_classifier()
    images = np.random.default_rng(0).integers(0, 256, (5, 96, 96, 3), dtype=np.uint8)
    classes = np.array([0, 1, 1, 1, 0])
    expected = explanation.grad_cam(model, images, classes)
    monkeypatch.setattr(explanation, "BATCH_SIZE", 2)
    np.testing.assert_allclose(explanation.grad_cam(model, images, classes), expected, atol=1e-6)


def test_a_model_made_again_from_its_description_gives_the_same_map():
    model, images = toy_classifier(129), red_and_blue()
    again = keras.models.model_from_json(model.to_json())
    again.set_weights(model.get_weights())
    np.testing.assert_allclose(
        explanation.grad_cam(again, images), explanation.grad_cam(model, images), atol=1e-6
    )


def test_a_course_classifier_gives_the_classical_map():
    """After average pooling and one dense layer Grad-CAM is Zhou et al.'s CAM, up to its scale."""
    keras.utils.set_random_seed(0)
    model = networks.classifier("efficientnet_lite0", 8, pretrained=False, image_size=128)
    images = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3), dtype=np.uint8)
    backbone, head = model.get_layer("backbone"), model.get_layer("head")
    pixels = keras.ops.image.resize(images.astype(np.float32), (128, 128))
    features = backbone(pixels, training=False).numpy()
    pooled = features.mean(axis=(1, 2))
    np.testing.assert_allclose(explanation.embeddings(model, images), pooled, rtol=1e-3, atol=1e-5)

    classes = np.array([2, 5])
    kernel = head.get_layer("logits").kernel.numpy()
    coarse = np.maximum(np.einsum("nhwc,cn->nhw", features, kernel[:, classes]), 0)
    expected = keras.ops.image.resize(coarse[..., None], (96, 96)).numpy()[..., 0]
    expected /= np.maximum(expected.max(axis=(1, 2), keepdims=True), 1e-30)
    assert expected.any()
    maps = explanation.grad_cam(model, images, classes)
    np.testing.assert_allclose(maps, expected, atol=2e-3)


def test_a_model_without_backbone_is_refused():
    images = red_and_blue()
    for ask in (explanation.grad_cam, explanation.embeddings):
        with pytest.raises(CourseError, match="small_cnn has no layer named 'backbone'"):
            ask(networks.small_cnn(8), images)


CELLS = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)


class Corner:
    """A network whose logits are the first corner's colours: no view looks like another."""

    def predict(self, images, **_):
        return images[:, 0, 0].astype(np.float32) / 64


def test_the_eight_views_differ_and_the_first_is_the_image():
    pictures = {explanation.view(CELLS, number).tobytes() for number in range(explanation.VIEWS)}
    assert len(pictures) == 8
    assert np.array_equal(explanation.view(CELLS, 0), CELLS)


@pytest.mark.parametrize("turn", [lambda x: np.rot90(x, axes=(1, 2)), lambda x: x[:, :, ::-1]])
def test_a_turned_cell_gets_the_same_answer(turn):
    straight, turned = (explanation.mean_logits(Corner(), x) for x in (CELLS, turn(CELLS)))
    assert np.allclose(straight, turned, atol=1e-6)
    assert not np.allclose(straight, Corner().predict(CELLS), atol=0.1)


def test_probabilities_are_averaged():
    expected = np.mean(
        [metrics.softmax(Corner().predict(explanation.view(CELLS, k))) for k in range(8)], axis=0
    )
    assert np.allclose(
        metrics.softmax(explanation.mean_logits(Corner(), CELLS)), expected, atol=1e-6
    )


def test_a_submission_has_the_same_views(monkeypatch):
    monkeypatch.setattr(submission_model, "VIEWS", 8)
    theirs = submission_model._views(CELLS)
    ours = np.concatenate([explanation.view(CELLS, number) for number in range(8)])
    assert np.array_equal(theirs, ours)
