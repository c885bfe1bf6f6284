"""Why a network fails, and what it makes of its images.

By operation and by class; where it looked (Grad-CAM); its features, what a linear model makes of
them, and their map on a plane; and its answer to all eight views of a cell.
"""

from collections.abc import Callable

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import TSNE
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from helpers.changes import shifts
from helpers.course import CourseError
from helpers.data import splits
from helpers.data.photographs import ImageSet
from helpers.evaluation import metrics
from helpers.models import networks

# Kinds of operation, as tables and figures name them.
SEEN, UNSEEN, UNALTERED = "a training counterpart", "no counterpart", "unaltered"

# Before t-SNE, as its authors advise (van der Maaten & Hinton 2008, JMLR 9:2579).
COMPONENTS = 50

# The quarter turns of a cell and of its mirror image.
VIEWS = 8
BATCH_SIZE = 64


def single_operation_accuracy(
    predict: Callable[[np.ndarray], np.ndarray],
    clean: ImageSet,
    count: int = 200,
    strength: float = 0.75,
) -> pd.DataFrame:
    """Return how a model fares when each operation is applied alone, the hardest first.

    Every operation changes the same fixed sample, so the rows differ in the operation only.

    Args:
        predict: uint8 (N, 96, 96, 3) -> logits, float (N, classes); called once per operation, and
            once with the images as they are.
        clean: the images to draw from; classes keep their proportions.
        count: images in the sample; all of them if there are no more.
        strength: of the operation; the default is the mean in a shifted set of severity 1.

    Returns:
        A row per operation, and last "unaltered": "family", "kind" (SEEN, UNSEEN or UNALTERED),
        "images", "accuracy" with "low" and "high" (Wilson's 95 % interval), and "drop" (accuracy
        minus that of the unaltered images).
    """
    if count < len(clean):
        clean = clean.rows(splits.subset(np.arange(len(clean)), clean.labels, count, seed=0))

    def correct(images: np.ndarray) -> np.ndarray:
        return predict(images).argmax(axis=1) == clean.labels

    rows = {
        name: _row(name, correct(shifts.apply_operation(clean.images, name, strength)))
        for name in shifts.OPERATIONS
    }
    unaltered = _row(UNALTERED, correct(clean.images))
    table = _table(rows).sort_values("accuracy", kind="stable")
    table = pd.concat([table, _table({UNALTERED: unaltered})])
    table["drop"] = table["accuracy"] - unaltered["accuracy"]
    return table


def worst_errors(labels: np.ndarray, logits: np.ndarray, count: int) -> np.ndarray:
    """Return the rows, int (at most count,), of wrong predictions, the most confident first."""
    confidences = metrics.softmax(logits).max(axis=1)
    wrong = np.flatnonzero(logits.argmax(axis=1) != labels)
    return wrong[np.argsort(-confidences[wrong], kind="stable")][:count]


def confusions_of(
    labels: np.ndarray, logits: np.ndarray, class_index: int, class_names: tuple[str, ...]
) -> pd.DataFrame:
    """Return with which classes one class is confused, in both directions.

    Args:
        labels: int (N,).
        logits: float (N, classes).
        class_index: of the class asked about.
        class_names: one name per class.

    Returns:
        A row per other class, the most frequent first: "goes to" is the fraction of the asked
        class' images that are taken for the other, "comes from" the fraction of the other's images
        that are taken for the asked class; 0 where there are no images.
    """
    matrix = metrics.confusion(labels, logits)
    fractions = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    columns = {"goes to": fractions[class_index], "comes from": fractions[:, class_index]}
    table = pd.DataFrame(columns, index=pd.Index(class_names, name="class"))
    return table.drop(index=class_names[class_index]).sort_values("goes to", ascending=False)


def tsne(features: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return places on a plane, float32 (N, 2), where images with similar features are neighbours.

    t-SNE keeps neighbours together; distances between groups, and their sizes, say nothing.

    Args:
        features: float (N, D), N of at least 4.
        seed: of everything random, so the same features give the same places.

    Source: van der Maaten & Hinton 2008, JMLR 9:2579.
    """
    components = min(COMPONENTS, *features.shape)
    reduced = PCA(components, random_state=seed).fit_transform(features)
    perplexity = min(30, (len(features) - 1) / 3)
    # On a busy machine scikit-learn's threads wait for each other: one is several times as fast.
    with threadpool_limits(1):
        return TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(reduced)


def nearest_neighbour_accuracy(
    clean: np.ndarray, shifted: np.ndarray, labels: np.ndarray
) -> metrics.Estimate:
    """Return the fraction of shifted images whose nearest other clean one has their label.

    Nearest by the angle between features, so that a change that only scales them costs nothing.

    Args:
        clean: float (N, D), features of N images.
        shifted: float (N, D), of the same images after a shift, in the same order.
        labels: int (N,).
    """
    directions = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (shifted, clean)]
    cosines = directions[0] @ directions[1].T
    # Its own clean version would be found by its pixels, whatever the classes look like.
    np.fill_diagonal(cosines, -np.inf)
    return metrics.share(labels[cosines.argmax(axis=1)] == labels)


def _row(name: str, correct: np.ndarray) -> dict:
    found = metrics.share(correct)
    operation = shifts.OPERATIONS.get(name)
    return {
        "family": operation.family if operation else UNALTERED,
        "kind": (SEEN if operation.seen else UNSEEN) if operation else UNALTERED,
        "images": found.n,
        "accuracy": found.value,
        "low": found.low,
        "high": found.high,
    }


def _table(rows: dict[str, dict]) -> pd.DataFrame:
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("operation")


def linear_logits(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    features: np.ndarray,
    class_weight: str | None = None,
) -> np.ndarray:
    """Return logits (N, classes) of a logistic regression on standardised features.

    Args:
        train_features: float (M, D).
        train_labels: int (M,), every class from 0 to the largest present.
        features: float (N, D) to predict.
        class_weight: None, or "balanced" for scikit-learn's inverse class frequencies.
    """
    regression = LogisticRegression(C=0.01, max_iter=300, class_weight=class_weight)
    model = make_pipeline(StandardScaler(), regression)
    return model.fit(train_features, train_labels).decision_function(features)


def view(images: np.ndarray, number: int) -> np.ndarray:
    """Return images (N, H, H, 3) turned by `number` % 4 quarters, from 4 on mirrored first.

    Args:
        images: of any dtype, square.
        number: 0 to 7; 0 is the image as it is.
    """
    sides = images if number < 4 else images[:, :, ::-1]
    return np.ascontiguousarray(np.rot90(sides, number % 4, axes=(1, 2)))


def mean_logits(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Return the logarithm of the mean probability over the eight views, float32 (N, classes).

    Its softmax is that mean. The same average as a submission's with VIEWS = 8.

    Args:
        model: takes images (N, 96, 96, 3) in 0-255, returns logits.
        images: uint8 (N, 96, 96, 3).
    """
    probabilities = [
        metrics.softmax(networks.predict_logits(model, view(images, number)))
        for number in range(VIEWS)
    ]
    return np.log(np.mean(probabilities, axis=0) + np.finfo(np.float32).tiny).astype(np.float32)


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
    at = _backbone_at(model)
    before, backbone, after = model.layers[:at], model.layers[at], model.layers[at + 1 :]
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
    return networks.pooled_features(model.layers[_backbone_at(model)], images, BATCH_SIZE)


def _backbone_at(model: keras.Model) -> int:
    """Return at which place of a model's layers its backbone stands."""
    names = [layer.name for layer in model.layers]
    if "backbone" not in names:
        raise CourseError(
            f"{model.name} has no layer named 'backbone', whose feature maps are asked for: "
            "give a model made by networks.classifier."
        )
    return names.index("backbone")


def _through(layers: list[keras.layers.Layer], values: tf.Tensor) -> tf.Tensor:
    for layer in layers:
        if not isinstance(layer, keras.layers.InputLayer):
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
