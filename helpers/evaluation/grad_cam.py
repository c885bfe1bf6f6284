"""What a trained classifier makes of its images: where it looked, and its features of them."""

import keras
import numpy as np
import tensorflow as tf

from helpers.course import CourseError
from helpers.models import networks

BATCH_SIZE = 64


def grad_cam(
    model: keras.Model, images: np.ndarray, classes: np.ndarray | None = None
) -> np.ndarray:
    """Return how much each place of an image speaks for a class (Grad-CAM).

    The channels of the backbone's last feature map are added up, each weighed by how much the
    logit grows with it on average; what speaks against the class is cut off. That map is coarse:
    with EfficientNet it has 3 x 3 places at 96 px and 4 x 4 at 128 px, so a map says which
    part of the image counted, not which granule.

    Args:
        model: from `networks.classifier`, also one rebuilt from its description; its layers follow
            each other, one of them named "backbone".
        images: uint8 (N, 96, 96, 3), RGB.
        classes: int (N,), the class asked about for each image; None for the predicted ones.

    Returns:
        float32 (N, 96, 96) in 0-1: every image's largest value is 1, or all are 0 where nothing
        speaks for the class.

    Raises:
        CourseError: if the model has no layer "backbone".

    Source: Selvaraju et al. 2017, Grad-CAM, ICCV.
    """
    before, backbone, after = _parts(model)
    maps = np.empty(images.shape[:3], np.float32)
    for start in range(0, len(images), BATCH_SIZE):
        rows = slice(start, start + BATCH_SIZE)
        # float32 first: a resizing layer would round its result to whole grey values in uint8.
        pixels = _through(before, tf.cast(images[rows], tf.float32))
        features = backbone(pixels, training=False)
        coarse = _class_map(after, features, None if classes is None else classes[rows])
        maps[rows] = tf.image.resize(coarse[..., None], images.shape[1:3])[..., 0]
    highest = maps.max(axis=(1, 2), keepdims=True)
    return np.divide(maps, highest, out=np.zeros_like(maps), where=highest > 0)


def embeddings(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Return the features, float32 (N, channels), that a classifier's head sees of each image.

    Args:
        model: as in `grad_cam`.
        images: uint8 (N, 96, 96, 3), RGB.

    Raises:
        CourseError: if the model has no layer "backbone".
    """
    return networks.pooled_features(_parts(model)[1], images, BATCH_SIZE)


def _parts(
    model: keras.Model,
) -> tuple[list[keras.layers.Layer], keras.Model, list[keras.layers.Layer]]:
    """Return the layers before the backbone (not the input), the backbone, the layers after it."""
    names = [layer.name for layer in model.layers]
    if "backbone" not in names:
        raise CourseError(
            f"{model.name} has no layer named 'backbone', whose feature maps are asked for: "
            "give a model made by networks.classifier."
        )
    at = names.index("backbone")
    before = [x for x in model.layers[:at] if not isinstance(x, keras.layers.InputLayer)]
    return before, model.layers[at], model.layers[at + 1 :]


def _through(layers: list[keras.layers.Layer], values: tf.Tensor) -> tf.Tensor:
    for layer in layers:
        values = layer(values, training=False)
    return values


def _class_map(
    after: list[keras.layers.Layer], features: tf.Tensor, classes: np.ndarray | None
) -> tf.Tensor:
    """Return float32 (N, h, w), 0 or more, from features (N, h, w, channels)."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(features)
        logits = _through(after, features)
        asked = tf.argmax(logits, axis=1) if classes is None else classes
        score = tf.gather(logits, asked, axis=1, batch_dims=1)
    weights = tf.reduce_mean(tape.gradient(score, features), axis=(1, 2), keepdims=True)
    return tf.nn.relu(tf.reduce_sum(weights * features, axis=-1))
