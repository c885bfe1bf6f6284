"""Maps point to what the network used, and the layers are followed as the model does."""

import keras
import numpy as np
import pytest

from helpers.course import CourseError
from helpers.evaluation import grad_cam
from helpers.models import networks


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
    maps = grad_cam.grad_cam(model, images, np.array([0, 1]))
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
    expected = grad_cam.grad_cam(model, images, np.array([0]))
    np.testing.assert_array_equal(grad_cam.grad_cam(model, images), expected)


def test_where_nothing_speaks_for_the_class_the_map_is_zero():
    assert not grad_cam.grad_cam(toy_classifier(), red_and_blue(), np.array([2])).any()


def test_maps_do_not_depend_on_the_batch(monkeypatch):
    model = toy_classifier()
    images = np.random.default_rng(0).integers(0, 256, (5, 96, 96, 3), dtype=np.uint8)
    classes = np.array([0, 1, 1, 1, 0])
    expected = grad_cam.grad_cam(model, images, classes)
    monkeypatch.setattr(grad_cam, "BATCH_SIZE", 2)
    np.testing.assert_allclose(grad_cam.grad_cam(model, images, classes), expected, atol=1e-6)


def test_a_model_made_again_from_its_description_gives_the_same_map():
    model, images = toy_classifier(129), red_and_blue()
    again = keras.models.model_from_json(model.to_json())
    again.set_weights(model.get_weights())
    np.testing.assert_allclose(
        grad_cam.grad_cam(again, images), grad_cam.grad_cam(model, images), atol=1e-6
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
    np.testing.assert_allclose(grad_cam.embeddings(model, images), pooled, rtol=1e-3, atol=1e-5)

    classes = np.array([2, 5])
    kernel = head.get_layer("logits").kernel.numpy()
    coarse = np.maximum(np.einsum("nhwc,cn->nhw", features, kernel[:, classes]), 0)
    expected = keras.ops.image.resize(coarse[..., None], (96, 96)).numpy()[..., 0]
    expected /= np.maximum(expected.max(axis=(1, 2), keepdims=True), 1e-30)
    assert expected.any()
    maps = grad_cam.grad_cam(model, images, classes)
    np.testing.assert_allclose(maps, expected, atol=2e-3)


def test_a_model_without_backbone_is_refused():
    images = red_and_blue()
    for ask in (grad_cam.grad_cam, grad_cam.embeddings):
        with pytest.raises(CourseError, match="small_cnn has no layer named 'backbone'"):
            ask(networks.small_cnn(8), images)
