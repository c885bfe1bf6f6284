"""Paired comparisons for the report: of single runs, and of several seeds pooled."""

import functools
from dataclasses import dataclass

import numpy as np

from helpers import evaluation
from helpers.report.records import Records

RESAMPLES = 2000
LEVEL = 0.05


@dataclass(frozen=True)
class Difference:
    """First minus second, a score in 0-1, with its 95 % bootstrap interval over images."""

    value: float
    low: float
    high: float

    @property
    def sign(self) -> int:
        """1 or -1 where the interval lies above or below 0; 0 where it holds 0."""
        return int(self.low > 0) - int(self.high < 0)

    @property
    def verdict(self) -> str:
        """What may be said of the first at the 5 % level."""
        return {1: "better", -1: "worse", 0: "could be chance"}[self.sign]


def accuracy_difference(first: np.ndarray, second: np.ndarray) -> Difference:
    """Return the difference in accuracy of two experiments with several seeds, on the same images.

    Each image counts once, with its share of right seeds, and images are drawn anew: the seeds
    stay, so the interval is for these seeds. Images, not pairs of image and seed, are what is
    drawn, since one image's seeds are right or wrong together.

    Args:
        first: bool (seeds, N), which images each seed gets right.
        second: bool (other seeds, N).

    Source: Efron & Tibshirani 1993, An Introduction to the Bootstrap, ch. 13 (percentile interval).
    """
    by_image = first.mean(axis=0) - second.mean(axis=0)
    samples = _draws(len(by_image)) @ by_image / len(by_image)
    return _difference(by_image.mean(), samples)


def macro_f1(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Return float (1 + RESAMPLES,): the mean macro F1 of several seeds, as it is and redrawn.

    Args:
        labels: int (N,).
        predicted: int (seeds, N).
        classes: number of classes, each with at least one image.
    """
    cells = np.eye(classes**2, dtype=np.float32)[labels * classes + predicted]
    draws = np.vstack([np.ones((1, len(labels)), np.float32), _draws(len(labels))])
    matrices = (draws @ cells).reshape(len(predicted), len(draws), classes, classes)
    hits = np.diagonal(matrices, axis1=2, axis2=3)
    totals = matrices.sum(axis=2) + matrices.sum(axis=3)
    return (2 * hits / np.maximum(totals, 1)).mean(axis=(0, 2))


def macro_f1_difference(first: np.ndarray, second: np.ndarray) -> Difference:
    """Return the difference of two results of `macro_f1` on the same labels."""
    return _difference(first[0] - second[0], first[1:] - second[1:])


def pooled(records: Records, first: str, second: str, images: str) -> Difference:
    """Return `accuracy_difference` of two experiments over all their seeds."""
    return accuracy_difference(records.right(first, images), records.right(second, images))


def paired(records: Records, first: str, second: str, images: str) -> evaluation.PairedTest:
    """Return McNemar's test of seed 0 of two experiments on one image set."""
    logits = (records.scores(name, images) for name in (first, second))
    return evaluation.compare(records.labels[images], *logits)


@functools.cache
def _draws(n: int) -> np.ndarray:
    """Return float32 (RESAMPLES, N): how often each image is drawn; the same in every call."""
    rng = np.random.default_rng(0)
    return rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(np.float32)


def _difference(value: float, samples: np.ndarray) -> Difference:
    low, high = np.percentile(samples, [2.5, 97.5])
    return Difference(float(value), float(low), float(high))
