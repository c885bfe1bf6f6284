"""Why a model fails under shift: by operation, by class, and in the space of its features.

Of logits and images alone, without TensorFlow.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from helpers.changes import shifts
from helpers.data import splits
from helpers.data.photographs import ImageSet
from helpers.evaluation import metrics

# Kinds of operation, as tables and figures name them.
SEEN, UNSEEN, UNALTERED = "a training counterpart", "no counterpart", "unaltered"

# Before t-SNE, as its authors advise (van der Maaten & Hinton 2008, JMLR 9:2579).
COMPONENTS = 50


def single_operation_accuracy(
    predict: Callable[[np.ndarray], np.ndarray],
    clean: ImageSet,
    count: int = 200,
    strength: float = 0.75,
) -> pd.DataFrame:
    """Return how a model fares when each operation is applied alone, the hardest first.

    Every operation changes the same fixed sample, so the rows differ in the operation only.

    Args:
        predict: uint8 (N, 96, 96, 3) -> logits, float (N, classes); called once an operation, and
            once with the images as they are.
        clean: the images to draw from; classes keep their shares.
        count: images in the sample; all of them if there are no more.
        strength: of the operation; the default is the mean in a shifted set of severity 1.

    Returns:
        A row an operation, and last "unaltered": "family", "kind" (SEEN, UNSEEN or UNALTERED),
        "images", "accuracy" with "low" and "high" (Wilson's 95 % interval), and "drop" (accuracy
        minus that of the unaltered images).
    """
    if count < len(clean):
        clean = clean.rows(splits.subset(np.arange(len(clean)), clean.labels, count, seed=0))

    def right(images: np.ndarray) -> np.ndarray:
        return predict(images).argmax(axis=1) == clean.labels

    rows = {
        name: _row(name, right(shifts.apply_operation(clean.images, name, strength)))
        for name in shifts.OPERATIONS
    }
    unaltered = _row(UNALTERED, right(clean.images))
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
        class_names: one name a class.

    Returns:
        A row each other class, the most frequent first: "goes to" is the share of the asked class'
        images that are taken for the other, "comes from" the share of the other's images that are
        taken for the asked class; 0 where there are no images.
    """
    matrix = metrics.confusion(labels, logits)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    columns = {"goes to": shares[class_index], "comes from": shares[:, class_index]}
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


def tsne_together(
    clean: np.ndarray, shifted: np.ndarray, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of clean and shifted images on one plane, and which are shifted.

    Two planes fitted apart could not be compared.

    Args:
        clean: float (N, D).
        shifted: float (M, D).
        seed: see `tsne`.

    Returns:
        float32 (N + M, 2), the clean first, and bool (N + M,).
    """
    places = tsne(np.concatenate([clean, shifted]), seed)
    return places, np.arange(len(places)) >= len(clean)


def nearest_neighbour_accuracy(
    clean: np.ndarray, shifted: np.ndarray, labels: np.ndarray
) -> metrics.Estimate:
    """Return the share of shifted images whose nearest clean one, not their own, has their label.

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


def _row(name: str, right: np.ndarray) -> dict:
    found = metrics.share(right)
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
