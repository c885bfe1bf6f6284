"""How familiar a picture is to a released model: the distance to what it was trained on.

A network calls a holiday picture a platelet, for it has no other words, and is often sure of it.
Its pooled features tell: they lie far from those of every class. The distance is Mahalanobis' to
the nearest class, with one covariance for all of them (Lee et al. 2018, *A simple unified framework
for detecting out-of-distribution samples*, NeurIPS), of which the COMPONENTS largest directions are
kept and the others taken for equal (Tipping & Bishop 1999, *Probabilistic principal component
analysis*).
"""

import io
from typing import NamedTuple

import keras
import numpy as np
from scipy import optimize, special

from helpers.models import released

FILE = "familiarity.npz"
COMPONENTS = 256
# A picture is unfamiliar if it lies farther away than this fraction of the set that is fitted on.
FAMILIAR = 0.95


class Reference(NamedTuple):
    """The features of a model's training images, summed up.

    Attributes:
        means: float32 (classes, F).
        components: float16 (F, up to COMPONENTS), orthonormal.
        variances: float32 (components,), along each of them.
        rest: float32 (), along every other direction.
    """

    means: np.ndarray
    components: np.ndarray
    variances: np.ndarray
    rest: np.ndarray

    def distances(self, features: np.ndarray) -> np.ndarray:
        """Return float64 (N,): squared distance to the nearest class, per feature; of training
        images about 1."""
        found = []
        for mean in self.means:
            away = features.astype(np.float64) - mean
            along = away @ self.components.astype(np.float64)
            beside = np.maximum((away**2).sum(axis=1) - (along**2).sum(axis=1), 0)
            found.append((along**2 / self.variances).sum(axis=1) + beside / self.rest)
        return np.min(found, axis=0) / features.shape[1]

    def to_bytes(self) -> bytes:
        """Return it as an .npz."""
        file = io.BytesIO()
        np.savez(file, **self._asdict())
        return file.getvalue()


def fit(features: np.ndarray, labels: np.ndarray) -> Reference:
    """Return the reference of training images.

    Args:
        features: float32 (N, F), pooled.
        labels: int (N,), every class among them.
    """
    means = np.stack([features[labels == label].mean(axis=0) for label in np.unique(labels)])
    within = features - means[labels]
    variances, components = np.linalg.eigh(np.cov(within.T, dtype=np.float64))
    kept = min(COMPONENTS, len(variances) // 2)
    rest = np.float32(variances[:-kept].mean())
    return Reference(
        means.astype(np.float32),
        components[:, -kept:].astype(np.float16),
        variances[-kept:].astype(np.float32),
        rest,
    )


def fit_temperature(logits: np.ndarray, labels: np.ndarray, distances: np.ndarray) -> list[float]:
    """Return [a, b] at which the labels are most likely: logits are divided by exp(a) distance^b.

    The farther a picture is from the training's, the less a network's confidence is worth.
    """
    rows = np.arange(len(labels))

    def loss(settings: np.ndarray) -> float:
        scaled = logits / temperatures(settings, distances)[:, None]
        return -special.log_softmax(scaled, axis=1)[rows, labels].mean()

    # Between 0 and 1: a nearer picture never gets a more modest answer.
    bounds = [(-3, 3), (0, 1)]
    return optimize.minimize(loss, [0.0, 0.1], bounds=bounds, method="L-BFGS-B").x.tolist()


def temperatures(settings: list[float], distances: np.ndarray) -> np.ndarray:
    """Return float64 (N,), see `fit_temperature`."""
    return np.exp(settings[0] + settings[1] * np.log(distances))


def load(name: str, card: dict) -> Reference | None:
    """Return the reference of a released model; None if it was released without one.

    Raises:
        CourseError: if its file is missing, or not the one that its card names.
    """
    if FILE not in card["sha256"]:
        return None
    content = released.checked_file(name, FILE, card)
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        return Reference(**{field: stored[field] for field in Reference._fields})


def with_features(model: keras.Model) -> keras.Model | None:
    """Return a network that gives pooled features and logits; None if it has no such features."""
    pooling = [layer for layer in model.layers if layer.name == "pooling"]
    if not pooling or len(pooling[0].output.shape) != 2:
        return None
    return keras.Model(model.input, [pooling[0].output, model.output])
