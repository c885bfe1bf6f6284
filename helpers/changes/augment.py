"""Training augmentation: drawn anew for every batch, or applied once to the arrays beforehand.

The augmentations of `AUGMENTATIONS` are written in batched TensorFlow operations whose parameters
come from one seed an image. An image's augmentation therefore depends on its seed alone, not on its
batch, on the number of threads or on what was augmented before; the random layers of Keras and
keras-cv cannot promise that inside `tf.data`.

The rest is what the homework report did with arrays before training (RandAugment of keras-cv,
balancing by `ImageDataGenerator` or by Keras' layers).
"""

import warnings
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from helpers.changes.families import AUGMENTATIONS, MILD_DEGREES, MILD_SHIFT, MIXING
from helpers.course import CourseError

Augmenter = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
Mixer = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]

# --- on the fly ---------------------------------------------------------------------------------


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


def mixer(name: str) -> Mixer:
    """Return "cutmix" or "mixup": each image of half the batch is mixed with its neighbour.

    CutMix pastes a rectangle of the neighbour, MixUp blends the two; the labels are mixed as the
    pixels are. Batches are in random order, so a neighbour is a random other image; unlike an
    augmentation, the result depends on the batch.

    Sources: Yun et al. 2019, CutMix, ICCV; Zhang et al. 2018, mixup, ICLR.

    Returns:
        A function (images (B, H, W, 3) of 0-255, any dtype; one-hot labels float32 (B, classes);
        seeds int32 (B, 2)) -> both mixed, float32.

    Raises:
        CourseError: if there is no such mixing.
    """
    if name not in MIXING:
        raise CourseError(f"There is no mixing {name!r}: choose from {', '.join(MIXING)}.")

    def mix(images: tf.Tensor, labels: tf.Tensor, seeds: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images = tf.cast(images, tf.float32)
        # Other draws than the augmentation's, from the same seeds.
        drawn = _uniforms(seeds + tf.constant([[0, 2**20]]), 4)
        fraction = MIXING[name](images, drawn)
        fraction = tf.where(drawn[3][:, None, None, None] < 0.5, fraction, 0.0)
        mixed = (1 - fraction) * images + fraction * tf.roll(images, 1, axis=0)
        weight = tf.reduce_mean(fraction, axis=(1, 2))
        return mixed, (1 - weight) * labels + weight * tf.roll(labels, 1, axis=0)

    return mix


def _uniforms(seeds: tf.Tensor, count: int) -> tf.Tensor:
    """Return float32 (count, B) in [0, 1), column b from seed b alone."""
    drawn = tf.map_fn(
        lambda seed: tf.random.stateless_uniform((count,), seed),
        seeds,
        fn_output_signature=tf.TensorSpec((count,), tf.float32),
    )
    return tf.transpose(drawn)


# --- Keras' own layers --------------------------------------------------------------------------


def mild_layers(seed: int) -> keras.Sequential:
    """Return the homework report's mild augmentation as Keras layers: translation, rotation, flips.

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


# --- offline: copies of the arrays, made before training ----------------------------------------


def rand_augment_copies(
    images: np.ndarray,
    *,
    seed: int,
    augmentations_per_image: int = 1,
    magnitude: float = 0.5,
    magnitude_stddev: float = 0.15,
    rate: float = 0.9,
) -> np.ndarray:
    """Return one copy of each image, altered by keras-cv's RandAugment (the homework report's).

    The draws are made per image: operation (one of ten, shear and translation among them),
    magnitude, and whether anything happens at all. The layer's own seed makes nothing repeatable,
    since its magnitudes come from TensorFlow's global seed, and a seed of 0 counts as none; so both
    of TensorFlow's global generators are set here (and stay set). Batches in graph mode are not
    repeatable either, because their images are augmented in parallel from one stream: the traced
    layer therefore gets one image after another.

    Args:
        images: uint8 (N, H, W, 3).
        seed: the same seed gives the same copies on the same versions and kind of processor.
        augmentations_per_image: operations an image, one after the other.
        magnitude: mean strength, 0-1.
        magnitude_stddev: standard deviation of the strength.
        rate: probability of each operation.

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

    The homework report's way, 'with minimal transformations': slight rotation and translation,
    flips. The class is gone from `keras`, but `tf.keras` still has it. It draws from NumPy's
    global generator, which is reseeded for every copy.

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
    return tf.cast(tf.round(tf.clip_by_value(images, 0.0, 255.0)), tf.uint8)
