"""Training augmentation: drawn anew for every batch, or applied once to the arrays beforehand.

The augmentations of `AUGMENTATIONS` are written in batched TensorFlow operations whose parameters
come from one seed an image. An image's augmentation therefore depends on its seed alone, not on its
batch, on the number of threads or on what was augmented before; the random layers of Keras and
keras-cv cannot promise that inside `tf.data`.

The rest is what the report did with arrays before training (keras-cv's RandAugment, balancing by
`ImageDataGenerator`) and what Keras offers today.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import helpers.quiet_tensorflow  # noqa: F401

import keras
import numpy as np
import tensorflow as tf

from helpers.course import CourseError

Augmenter = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

# "Slight" translation (share of the side) and rotation (degrees), beside flips in both directions.
MILD_SHIFT = 0.05
MILD_DEGREES = 18.0

LUMA = tf.constant([0.299, 0.587, 0.114])

# The kinds of change that each training augmentation of the course makes, for
# `shifts.Operation.counterpart`: what a model has seen, and what it has not.
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


# --- on the fly: stateless, batched, one seed an image ------------------------------------------


@dataclass(frozen=True)
class _Family:
    """Augmentation of one kind: (float32 images, float32 draws (draws, B)) -> float32 images."""

    function: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    draws: int


def augmenter(name: str) -> Augmenter:
    """Return the augmentation of that name, for `tf.data` batches or eager use.

    Returns:
        A function (images (B, H, W, 3) of 0-255, any dtype; seeds int32 (B, 2)) -> float32
        (B, H, W, 3), 0-255. An image's result depends on itself and its two seeds alone.

    Raises:
        CourseError: if no augmentation has that name.
    """
    if name not in AUGMENTATIONS:
        raise CourseError(
            f"There is no augmentation {name!r}: choose from {', '.join(AUGMENTATIONS)}."
        )
    families = AUGMENTATIONS[name]
    counts = [family.draws for family in families]

    def augment(images: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        images = tf.cast(images, tf.float32)
        if not families:
            return images
        draws = tf.split(_uniforms(seeds, sum(counts)), counts)
        for family, drawn in zip(families, draws, strict=True):
            images = family.function(images, drawn)
        return images

    return augment


def _uniforms(seeds: tf.Tensor, count: int) -> tf.Tensor:
    """Return float32 (count, B) in [0, 1), column b from seed b alone."""
    drawn = tf.map_fn(
        lambda seed: tf.random.stateless_uniform((count,), seed),
        seeds,
        fn_output_signature=tf.TensorSpec((count,), tf.float32),
    )
    return tf.transpose(drawn)


def _between(drawn: tf.Tensor, low: float, high: float) -> tf.Tensor:
    return low + (high - low) * drawn


def _per_image(values: tf.Tensor) -> tf.Tensor:
    return tf.reshape(values, (-1, 1, 1, 1))


def _clipped(images: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(images, 0.0, 255.0)


def _warped(images: tf.Tensor, matrix: list[tf.Tensor], shift: list[tf.Tensor]) -> tf.Tensor:
    """Return images whose pixel p = (x, y), from the centre, is read at matrix @ p + shift.

    Args:
        images: float32 (B, H, W, 3).
        matrix: float32 (B,) each: xx, xy, yx, yy.
        shift: float32 (B,) each: x, y, as a share of the side.

    What lies outside the image is filled by reflection.
    """
    xx, xy, yx, yy = matrix
    size = tf.shape(images)[1:3]
    height, width = tf.cast(size[0], tf.float32), tf.cast(size[1], tf.float32)
    x, y = (width - 1) / 2, (height - 1) / 2
    zero = tf.zeros_like(xx)
    transforms = [
        *(xx, xy, x - xx * x - xy * y + shift[0] * width),
        *(yx, yy, y - yx * x - yy * y + shift[1] * height),
        *(zero, zero),
    ]
    warped = tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack(transforms, axis=1),
        output_shape=size,
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="REFLECT",
    )
    return tf.ensure_shape(warped, images.shape)


def _moved(
    degrees: float, shift: float, zoom: float
) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Return flips, rotation up to +-degrees, translation up to +-shift, zoom 1/zoom to zoom."""

    def move(images: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
        angle = _between(drawn[0], -1, 1) * math.radians(degrees)
        scale = tf.exp(_between(drawn[1], -1, 1) * math.log(zoom))
        mirror_x, mirror_y = (tf.where(drawn[k] < 0.5, -scale, scale) for k in (2, 3))
        cosine, sine = tf.cos(angle), tf.sin(angle)
        matrix = [mirror_x * cosine, -mirror_y * sine, mirror_x * sine, mirror_y * cosine]
        return _warped(images, matrix, [_between(drawn[k], -shift, shift) for k in (4, 5)])

    return move


def _coloured(images: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
    """Change saturation x 0.3-1.7, hue +-40 degrees, contrast x 0.5-2, brightness +-64.

    Saturation and hue are one 3 x 3 matrix an image; hue is a rotation about the grey axis.
    """
    saturation = tf.reshape(_between(drawn[0], 0.3, 1.7), (-1, 1, 1))
    angle = tf.reshape(_between(drawn[1], -1, 1) * math.radians(40), (-1, 1, 1))
    turn = tf.constant([[0.0, 1.0, -1.0], [-1.0, 0.0, 1.0], [1.0, -1.0, 0.0]])
    hue = (1 - tf.cos(angle)) / 3 + tf.cos(angle) * tf.eye(3) + tf.sin(angle) / math.sqrt(3) * turn
    matrix = (saturation * tf.eye(3) + (1 - saturation) * LUMA[:, None]) @ hue
    contrast = _per_image(tf.exp(_between(drawn[2], -1, 1) * math.log(2)))
    brightness = _per_image(_between(drawn[3], -64, 64))
    mean = tf.reduce_mean(tf.tensordot(images, LUMA, 1), axis=(1, 2))[:, None, None, None]
    # The grey of the mean passes through the matrix unchanged, so it can be taken off first.
    return _clipped(contrast * tf.matmul(images - mean, matrix[:, None]) + mean + brightness)


def _occluded(images: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
    """Cover one or two rectangles, each 4 to 16 % of the image, with a random colour.

    Random erasing (Zhong et al. 2017), which cutout (DeVries and Taylor 2017) does with squares.
    """
    rows = tf.range(tf.shape(images)[1], dtype=tf.float32)[None, :, None, None]
    columns = tf.range(tf.shape(images)[2], dtype=tf.float32)[None, None, :, None]
    height, width = (
        tf.cast(tf.shape(images)[1], tf.float32),
        tf.cast(tf.shape(images)[2], tf.float32),
    )
    for first in (True, False):
        area, aspect, top, left, present, *colour = tf.unstack(drawn[:8] if first else drawn[8:])
        side, stretch = tf.sqrt(_between(area, 0.04, 0.16)), 2 ** _between(aspect, -0.5, 0.5)
        tall, wide = side * stretch, side / stretch
        top, left = _per_image(top * (1 - tall) * height), _per_image(left * (1 - wide) * width)
        inside = (rows >= top) & (rows < top + _per_image(tall * height))
        inside &= (columns >= left) & (columns < left + _per_image(wide * width))
        inside &= _per_image(present) < (1.0 if first else 0.5)
        images = tf.where(inside, 255 * tf.stack(colour, axis=1)[:, None, None], images)
    return images


def _rand_augmented(images: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
    """Apply one operation of keras-cv's RandAugment with the report's parameters.

    The same ten operations and ranges as `rand_augment_copies` at its defaults (one operation an
    image at rate 0.9, magnitude 0.5 +- 0.15), each drawn per image.
    """
    operations = (
        lambda images, _: _auto_contrasted(images),
        lambda images, _: _equalized(images),
        _solarized,
        _greyed,
        lambda images, drawn: _contrasted(images, drawn[2] - 0.5),
        lambda images, drawn: _clipped(images + _per_image(255 * (drawn[2] - 0.5))),
        lambda images, drawn: _sheared(images, drawn, along_rows=True),
        lambda images, drawn: _sheared(images, drawn, along_rows=False),
        lambda images, drawn: _translated(images, drawn[2] - 0.5, 0 * drawn[2]),
        lambda images, drawn: _translated(images, 0 * drawn[2], drawn[2] - 0.5),
    )
    choice = tf.cast(drawn[1] * len(operations), tf.int32)
    choice = tf.where(drawn[0] < 0.9, choice, -1)
    for index, operation in enumerate(operations):
        rows = tf.where(choice == index)
        chosen = operation(tf.gather_nd(images, rows), tf.gather(drawn, rows[:, 0], axis=1))
        images = tf.tensor_scatter_nd_update(images, rows, chosen)
    return images


def _magnitude(drawn: tf.Tensor) -> tf.Tensor:
    normal = tf.math.ndtri(tf.clip_by_value(drawn, 1e-6, 1 - 1e-6))
    return tf.clip_by_value(0.5 + 0.15 * normal, 0, 1)


def _solarized(images: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
    added = _clipped(images + _per_image(110 * _magnitude(drawn[2])))
    return tf.where(added < _per_image(255 * _magnitude(drawn[3])), added, 255 - added)


def _greyed(images: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
    grey = tf.tensordot(images, LUMA, 1)[..., None]
    return images + _per_image(_magnitude(drawn[2])) * (grey - images)


def _contrasted(images: tf.Tensor, change: tf.Tensor) -> tf.Tensor:
    means = tf.reduce_mean(images, axis=(1, 2), keepdims=True)
    return _clipped(means + (images - means) * _per_image(1 + change))


def _sheared(images: tf.Tensor, drawn: tf.Tensor, along_rows: bool) -> tf.Tensor:
    """Shear about the first row or column, not the centre, as keras-cv does."""
    shear = tf.where(drawn[3] < 0.5, -1.0, 1.0) * _magnitude(drawn[2])
    one, zero = tf.ones_like(shear), tf.zeros_like(shear)
    if along_rows:
        return _warped(images, [one, shear, zero, one], [shear / 2, zero])
    return _warped(images, [one, zero, shear, one], [zero, shear / 2])


def _translated(images: tf.Tensor, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    one, zero = tf.ones_like(x), tf.zeros_like(x)
    return _warped(images, [one, zero, zero, one], [x, y])


def _auto_contrasted(images: tf.Tensor) -> tf.Tensor:
    low = tf.reduce_min(images, axis=(1, 2), keepdims=True)
    high = tf.reduce_max(images, axis=(1, 2), keepdims=True)
    return tf.where(high > low, 255 * tf.math.divide_no_nan(images - low, high - low), images)


def _equalized(images: tf.Tensor) -> tf.Tensor:
    """Return the images with each channel's histogram made even, as keras-cv's layer does it."""
    shape = tf.shape(images)
    count = shape[0] * 3
    flat = tf.reshape(tf.transpose(tf.cast(images, tf.int32), (0, 3, 1, 2)), (count, -1))
    cells = flat + 256 * tf.range(count)[:, None]
    histogram = tf.reshape(
        tf.math.bincount(tf.reshape(cells, (-1,)), minlength=256 * count), (count, 256)
    )
    smallest = tf.reduce_min(tf.where(histogram == 0, tf.int32.max, histogram), axis=1)
    step = ((shape[1] * shape[2] - smallest) // 255)[:, None]
    table = (tf.cumsum(histogram, axis=1, exclusive=True) + step // 2) // tf.maximum(step, 1)
    table = tf.where(step == 0, tf.range(256)[None], tf.clip_by_value(table, 0, 255))
    mapped = tf.reshape(
        tf.gather(tf.reshape(table, (-1,)), cells), (shape[0], 3, shape[1], shape[2])
    )
    return tf.cast(tf.transpose(mapped, (0, 2, 3, 1)), tf.float32)


_MILD = _Family(_moved(MILD_DEGREES, MILD_SHIFT, 1.0), 6)
_GEOMETRY = _Family(_moved(180.0, 0.15, 1.4), 6)
_COLOUR = _Family(_coloured, 4)
_OCCLUSION = _Family(_occluded, 16)
_RAND_AUGMENT = _Family(_rand_augmented, 4)

AUGMENTATIONS: dict[str, tuple[_Family, ...]] = {
    "none": (),
    "mild": (_MILD,),
    "rand_augment": (_RAND_AUGMENT,),
    "geometry": (_GEOMETRY,),
    "colour": (_COLOUR,),
    "occlusion": (_OCCLUSION,),
    "geometry+colour": (_GEOMETRY, _COLOUR),
    "geometry+occlusion": (_GEOMETRY, _OCCLUSION),
    "colour+occlusion": (_COLOUR, _OCCLUSION),
    "composed": (_GEOMETRY, _COLOUR, _OCCLUSION),
}


# --- Keras' own layers --------------------------------------------------------------------------


def mild_layers(seed: int) -> keras.Sequential:
    """Return the report's mild augmentation as Keras layers: translation, rotation, both flips.

    Call it with `training=True` on (B, H, W, 3) of 0-255; it returns float32. Each image of a batch
    gets its own draw. Repeatable by seed eagerly, batch after batch, or with one thread.
    """
    return keras.Sequential(
        [
            keras.layers.RandomFlip("horizontal_and_vertical", seed=seed),
            keras.layers.RandomRotation(MILD_DEGREES / 360, seed=seed + 1),
            keras.layers.RandomTranslation(MILD_SHIFT, MILD_SHIFT, seed=seed + 2),
        ]
    )


def keras_rand_augment(
    seed: int, num_ops: int = 1, factor: float = 0.5
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return Keras' RandAugment for `tf.data`: `dataset.map(keras_rand_augment(0)).batch(128)`.

    The layer draws its operation once a call, so it is given single images: map it before batching,
    or all images of a batch get the same operation. Repeatable by seed if mapped with one thread.

    Args:
        seed: of everything the layer draws.
        num_ops: operations an image.
        factor: strength, 0-1.

    Returns:
        A function: image (H, W, 3) of 0-255 -> float32 (H, W, 3).
    """
    layer = keras.layers.RandAugment(num_ops=num_ops, factor=factor, seed=seed)

    def augment(image: tf.Tensor) -> tf.Tensor:
        return tf.ensure_shape(layer(tf.cast(image, tf.float32)), image.shape)

    return augment


# --- offline: copies of the arrays, made before training ----------------------------------------


def rand_augment_copies(
    images: np.ndarray,
    *,
    seed: int,
    augmentations_per_image: int = 1,
    magnitude: float = 0.5,
    magnitude_stddev: float = 0.15,
    rate: float = 0.9,
    geometric: bool = True,
) -> np.ndarray:
    """Return one copy of each image, altered by keras-cv's RandAugment; defaults are the report's.

    The draws are made per image: operation, magnitude, and whether anything happens at all. The
    layer's own seed makes nothing repeatable, since its magnitudes come from TensorFlow's global
    seed, and a seed of 0 counts as none; so both of TensorFlow's global generators are set here
    (and stay set). Batches in graph mode are not repeatable either, because their images are
    augmented in parallel from one stream: the traced layer therefore gets one image after another.

    Args:
        images: uint8 (N, H, W, 3).
        seed: the same seed gives the same copies on the same versions and kind of processor.
        augmentations_per_image: operations an image, one after the other.
        magnitude: mean strength, 0-1.
        magnitude_stddev: standard deviation of the strength.
        rate: probability of each operation.
        geometric: whether shear and translation are among the ten operations.

    Returns:
        uint8 (N, H, W, 3), in the order of `images`.
    """
    with warnings.catch_warnings():
        # One of its imports misses a notebook widget that the course does not use.
        warnings.simplefilter("ignore")
        import keras_cv  # takes seconds and is needed nowhere else

    tf.random.set_seed(seed)
    tf.random.set_global_generator(tf.random.Generator.from_seed(seed))
    layer = keras_cv.layers.RandAugment(
        value_range=(0, 255),
        augmentations_per_image=augmentations_per_image,
        magnitude=magnitude,
        magnitude_stddev=magnitude_stddev,
        rate=rate,
        geometric=geometric,
    )

    @tf.function(input_signature=[tf.TensorSpec(images.shape[1:], tf.uint8)])
    def augment(image: tf.Tensor) -> tf.Tensor:
        return _to_uint8(layer(tf.cast(image, tf.float32)))

    copies = np.empty_like(images)
    for i, image in enumerate(images):
        copies[i] = augment(image)
    return copies


def balance_with_generator(
    images: np.ndarray, labels: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Fill every class up to the largest with copies altered by `ImageDataGenerator`.

    The report's way, 'with minimal transformations': slight rotation and translation, flips. The
    class is gone from `keras`, but `tf.keras` still has it. It draws from NumPy's global generator,
    which is reseeded for every copy.

    Args:
        images: uint8 (N, H, W, 3).
        labels: int (N,).
        seed: of the choice of originals and of their transformations.

    Returns:
        The images followed by the copies, uint8 (M, H, W, 3), and their labels (M,).
    """
    generator = tf.keras.preprocessing.image.ImageDataGenerator(
        rotation_range=MILD_DEGREES,
        width_shift_range=MILD_SHIFT,
        height_shift_range=MILD_SHIFT,
        horizontal_flip=True,
        vertical_flip=True,
    )

    def transform(originals: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        seeds = rng.integers(2**31, size=len(originals))
        pairs = zip(originals.astype(np.float32), seeds, strict=True)
        copies = np.stack([generator.random_transform(image, seed=int(s)) for image, s in pairs])
        return np.rint(copies).astype(np.uint8)

    return _balanced(images, labels, seed, transform)


def balance_with_layers(
    images: np.ndarray, labels: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Fill every class up to the largest with copies altered by `mild_layers`.

    Arguments and result as in `balance_with_generator`.
    """
    layers = mild_layers(seed)
    return _balanced(
        images,
        labels,
        seed,
        lambda originals, _: _to_uint8(layers(originals, training=True)).numpy(),
    )


def _balanced(
    images: np.ndarray,
    labels: np.ndarray,
    seed: int,
    transform: Callable[[np.ndarray, np.random.Generator], np.ndarray],
    batch_size: int = 256,
) -> tuple[np.ndarray, np.ndarray]:
    """Return images and labels with transformed copies added, originals used equally often."""
    rng = np.random.default_rng(seed)
    classes, counts = np.unique(labels, return_counts=True)
    wanted = [
        np.resize(rng.permutation(np.flatnonzero(labels == label)), counts.max() - count)
        for label, count in zip(classes, counts, strict=True)
    ]
    rows = np.concatenate(wanted)
    balanced = np.empty((len(images) + len(rows), *images.shape[1:]), np.uint8)
    balanced[: len(images)] = images
    for start in range(0, len(rows), batch_size):
        originals = images[rows[start : start + batch_size]]
        place = len(images) + start
        balanced[place : place + len(originals)] = transform(originals, rng)
    return balanced, np.concatenate([labels, labels[rows]])


def _to_uint8(images: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.round(_clipped(images)), tf.uint8)
