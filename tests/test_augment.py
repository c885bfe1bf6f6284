import tomllib
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from helpers.changes import augment, families, shifts
from helpers.course import CourseError

# What each layer inside Keras' RandAugment does, in the course's words.
KERAS_RAND_AUGMENT_LAYERS = {
    "random_shear": "shear",
    "random_translation": "translation",
    "random_rotation": "rotation",
    "random_brightness": "brightness",
    "random_color_degeneration": "saturation",
    "random_contrast": "contrast",
    "random_sharpness": "sharpness",
    "random_posterization": "posterize",
    "solarization": "solarize",
    "auto_contrast": "auto contrast",
    "equalization": "equalize",
}

# The kinds of change that each training augmentation makes: what a model has seen of the shifts
# (`shifts.Operation.counterpart`), and what it has not.
STRONG = {
    *("flip", "rotation", "translation", "zoom", "shear"),
    *("brightness", "contrast", "saturation", "hue", "white balance"),
    *("solarize", "posterize", "equalize", "auto contrast"),
    *("sharpness", "noise", "cutout"),
}
TRAINING_OPERATIONS = {
    "mild": {"flip", "rotation", "translation"},
    "geometry": {"flip", "rotation", "translation", "zoom"},
    "colour": {"brightness", "contrast", "saturation", "hue"},
    "occlusion": {"cutout"},
    "rand_augment": {
        "auto contrast",
        "equalize",
        "solarize",
        "saturation",
        "contrast",
        "brightness",
        "shear",
        "translation",
    },
    "strong": STRONG,
    "heavy": STRONG | {"tone curve", "uneven light"},
    "wide": STRONG | {"tone curve", "uneven light", "stain", "waves", "filter", "masks"},
    "keras_rand_augment": {
        "auto contrast",
        "equalize",
        "solarize",
        "posterize",
        "sharpness",
        "saturation",
        "contrast",
        "brightness",
        "shear",
        "translation",
        "rotation",
    },
}


@pytest.fixture(scope="module")
def images():
    """Return uint8 (40, 96, 96, 3): smooth random colours within 60-200, a dark disc off centre."""
    rng = np.random.default_rng(5)
    coarse = rng.integers(60, 200, (40, 6, 6, 3)).astype(np.uint8)
    pictures = coarse.repeat(16, axis=1).repeat(16, axis=2)
    rows, columns = np.indices((96, 96))
    pictures[:, (rows - 40) ** 2 + (columns - 56) ** 2 < 500] //= 2
    return pictures


def seeds_of(count, epoch=0):
    return np.stack([np.full(count, epoch), np.arange(count)], axis=1).astype(np.int32)


def augmented(name, images, seeds=None):
    seeds = seeds_of(len(images)) if seeds is None else seeds
    return np.asarray(augment.augmenter(name)(images, seeds))


DRAWN = [name for name in augment.AUGMENTATIONS if name != "none"]


# The families that composed augmentation holds.
COMPOSED = ("geometry", "colour", "occlusion")


@pytest.mark.parametrize("name", DRAWN)
def test_an_image_depends_on_its_own_seeds_alone(images, name):
    whole = augmented(name, images)
    assert whole.dtype == np.float32
    assert whole.shape == images.shape
    assert whole.min() >= 0
    assert whole.max() <= 255
    rows = np.array([7, 3, 11])
    alone = augmented(name, images[rows], seeds_of(len(images))[rows])
    np.testing.assert_allclose(alone, whole[rows], atol=0.01)
    assert not np.allclose(augmented(name, images, seeds_of(len(images), epoch=1)), whole)


@pytest.mark.parametrize("name", DRAWN)
def test_equal_images_of_a_batch_come_out_different(images, name):
    out = augmented(name, np.repeat(images[:1], 12, axis=0))
    # RandAugment leaves some untouched, and two of its operations have nothing to draw.
    assert len({image.tobytes() for image in out}) >= (6 if name == "rand_augment" else 12)


def test_the_same_batches_come_from_a_threaded_dataset(images):
    dataset = tf.data.Dataset.from_tensor_slices((images, seeds_of(len(images)))).batch(16)
    dataset = dataset.map(augment.augmenter("composed"), num_parallel_calls=2)
    first, second = (np.concatenate([batch.numpy() for batch in dataset]) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first, augmented("composed", images), atol=0.01)


def test_none_changes_nothing(images):
    np.testing.assert_array_equal(augmented("none", images), images)


def test_occlusion_hides_an_area_and_touches_nothing_else(images):
    out = augmented("occlusion", images)
    hidden = (out != images).any(axis=-1)
    fraction = hidden.mean(axis=(1, 2))
    assert fraction.min() > 0.03
    assert fraction.max() < 0.35
    for image, mask in zip(out, hidden, strict=True):
        assert 1 <= len(np.unique(image[mask].round(2), axis=0)) <= 2


def test_geometry_moves_pixels_and_makes_no_colour(images):
    plain = np.full((8, 96, 96, 3), (250, 220, 190), np.uint8)
    for name in ("geometry", "mild"):
        np.testing.assert_allclose(augmented(name, plain), plain, atol=0.01)
    mild, wild = (np.abs(augmented(n, images) - images).mean() for n in ("mild", "geometry"))
    assert 3 < mild < wild


def test_geometry_without_any_range_is_a_flip(images):
    seeds = seeds_of(len(images))
    draws = augment._uniforms(seeds, 6)
    out = families._geometry(0.0, 0.0, 1.0)(tf.cast(images, tf.float32), draws).numpy()
    flips = [images, images[:, ::-1], images[:, :, ::-1], images[:, ::-1, ::-1]]
    which = [
        [k for k in range(4) if np.allclose(out[i], flips[k][i], atol=0.5)]
        for i in range(len(images))
    ]
    assert all(len(k) == 1 for k in which)
    assert {k[0] for k in which} == {0, 1, 2, 3}


def test_colour_leaves_shapes_where_they_are(images):
    grey = np.full((8, 96, 96, 3), 128, np.uint8)
    out = augmented("colour", grey)
    assert np.ptp(out, axis=(1, 2, 3)).max() < 0.01
    flat = images[:, :1, :1].repeat(96, axis=1).repeat(96, axis=2)
    assert np.ptp(augmented("colour", flat), axis=(1, 2)).max() < 0.01


def test_equalize_and_auto_contrast_are_those_of_keras_cv(images):
    import keras_cv

    batch = tf.cast(images[:4], tf.float32)
    for ours, theirs in (
        (families._equalize, keras_cv.layers.Equalization((0, 255))),
        (families._auto_contrast, keras_cv.layers.AutoContrast((0, 255))),
    ):
        np.testing.assert_allclose(ours(batch), theirs(batch), atol=0.01)
        plain = tf.fill((2, 96, 96, 3), 77.0)
        np.testing.assert_array_equal(ours(plain), plain)


def test_rand_augment_on_the_fly_resembles_keras_cv(images):
    many = np.repeat(images, 15, axis=0)
    ours = augmented("rand_augment", many)
    theirs = augment.rand_augment_copies(many, seed=1)
    change = [np.abs(out - many.astype(float)).mean(axis=(1, 2, 3)) for out in (ours, theirs)]
    untouched = [(c < 0.5).mean() for c in change]
    assert untouched == pytest.approx([0.1, 0.1], abs=0.06)
    assert np.mean(change[0]) == pytest.approx(np.mean(change[1]), rel=0.15)


def test_rand_augment_copies_repeat_by_seed_and_are_drawn_per_image(images):
    same = np.repeat(images[:1], 30, axis=0)
    first = augment.rand_augment_copies(same, seed=0)
    assert first.dtype == np.uint8
    assert first.shape == same.shape
    tf.random.uniform((3,))
    np.testing.assert_array_equal(augment.rand_augment_copies(same, seed=0), first)
    assert not np.array_equal(augment.rand_augment_copies(same, seed=1), first)
    assert len({image.tobytes() for image in first}) > 15


def test_rand_augment_copies_at_rate_0_are_the_images(images):
    copies = augment.rand_augment_copies(images[:4], seed=0, rate=0.0)
    np.testing.assert_array_equal(copies, images[:4])


def test_keras_rand_augment_draws_its_operation_per_image_if_mapped_before_batching():
    # 06_augment teaches this of Keras: 3.10 still draws one operation for all, when it is traced.
    # Geometry leaves a plain image as it is; operations on colour change it.
    layer = keras.layers.RandAugment(num_ops=1, factor=0.5, seed=4)
    plain = np.full((96, 96, 3), (120, 90, 60), np.float32)
    dataset = tf.data.Dataset.from_tensors(plain).repeat(24).map(layer).batch(24)
    mapped = next(iter(dataset)).numpy()
    assert mapped.shape == (24, 96, 96, 3)
    assert 0 < (np.abs(mapped - plain) > 1).any(axis=(1, 2, 3)).sum() < 24


def test_no_version_of_keras_is_allowed_that_draws_one_operation_for_all():
    project = tomllib.loads(Path(__file__).parent.with_name("pyproject.toml").read_text())
    (bound,) = (d for d in project["project"]["dependencies"] if d.startswith("keras>="))
    assert tuple(map(int, bound.removeprefix("keras>=").split("."))) >= (3, 12)


def test_mild_layers_draw_per_image(images):
    out = augment.mild_layers(seed=0)(np.repeat(images[:1], 8, axis=0), training=True).numpy()
    assert len({image.tobytes() for image in out}) == 8


@pytest.mark.parametrize("balance", [augment.balance_with_generator, augment.balance_with_layers])
def test_balancing_fills_every_class_and_keeps_labels(balance):
    # The mean of an image tells its class, and slight geometry keeps it.
    labels = np.array([0] * 9 + [1] * 4 + [2] * 2)
    images = np.full((15, 96, 96, 3), 40, np.uint8)
    images += (labels * 70).astype(np.uint8)[:, None, None, None]
    images[:, 40:50, 30:60] += 20
    balanced, their_labels = balance(images, labels, seed=3)
    assert balanced.dtype == np.uint8
    np.testing.assert_array_equal(np.bincount(their_labels), [9, 9, 9])
    np.testing.assert_array_equal(balanced[:15], images)
    means = balanced.mean(axis=(1, 2, 3))
    np.testing.assert_array_equal(np.rint((means - 40) / 70).astype(int), their_labels)
    assert not any(np.array_equal(copy, image) for copy in balanced[15:] for image in images)
    np.testing.assert_array_equal(balance(images, labels, seed=3)[0], balanced)
    assert not np.array_equal(balance(images, labels, seed=4)[0], balanced)


def test_a_third_of_the_shifts_has_no_counterpart_in_training():
    trained_on = set().union(*TRAINING_OPERATIONS.values())
    operations = shifts.OPERATIONS.values()
    unseen = [operation for operation in operations if not operation.seen]
    assert 3 * len(unseen) >= len(operations)
    assert not trained_on & {operation.name for operation in unseen}
    assert {o.counterpart for o in operations if o.seen} <= trained_on


def test_a_family_left_out_leaves_the_other_two_of_composed():
    table = families.AUGMENTATIONS
    assert table["composed"] == tuple(table[name][0] for name in COMPOSED)
    for name in COMPOSED:
        others = [table[other][0] for other in COMPOSED if other != name]
        assert table[f"without_{name}"] == tuple(others)


def test_the_table_of_training_operations_is_whole():
    of_families = {"none", "composed", *(f"without_{name}" for name in COMPOSED)}
    assert set(augment.AUGMENTATIONS) - of_families <= set(TRAINING_OPERATIONS)
    layers = keras.layers.RandAugment._AUGMENT_LAYERS
    listed = {KERAS_RAND_AUGMENT_LAYERS[layer] for layer in layers}
    assert listed == TRAINING_OPERATIONS["keras_rand_augment"]


def test_an_unknown_augmentation_is_refused_in_one_sentence():
    with pytest.raises(CourseError, match="no augmentation 'fog'"):
        augment.augmenter("fog")


@pytest.mark.parametrize("name", ["cutmix", "mixup"])
def test_labels_are_mixed_as_the_pixels_are(name):
    # White images of class 1 and black ones of class 0: the mean pixel tells the fraction of white.
    white = np.arange(64) % 2
    images = np.repeat(255.0 * white, 96 * 96 * 3).reshape(64, 96, 96, 3).astype(np.float32)
    seeds = np.stack([np.zeros(64), np.arange(64)], axis=1).astype(np.int32)
    mixed, labels = augment.mixer(name)(images, np.eye(2, dtype=np.float32)[white], seeds)
    shares = mixed.numpy().mean(axis=(1, 2, 3)) / 255
    np.testing.assert_allclose(labels.numpy()[:, 1], shares, atol=1e-4)
    changed = np.abs(shares - white) > 0
    assert 0.2 < changed.mean() < 0.8


@pytest.mark.parametrize("name", ["cutmix", "mixup"])
def test_images_are_mixed_as_they_are_stored(images, name):
    labels, seeds = np.eye(8, dtype=np.float32)[np.arange(len(images)) % 8], seeds_of(len(images))
    mixed, _ = augment.mixer(name)(images, labels, seeds)
    expected, _ = augment.mixer(name)(images.astype(np.float32), labels, seeds)
    assert mixed.dtype == tf.float32
    np.testing.assert_array_equal(mixed, expected)


def test_an_unknown_mixing_is_one_sentence():
    with pytest.raises(CourseError, match="There is no mixing 'blend': choose from cutmix, mixup"):
        augment.mixer("blend")
