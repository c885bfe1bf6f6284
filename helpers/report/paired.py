"""Paired comparisons for the report: of single runs, and of several seeds pooled."""

import functools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from helpers.evaluation import metrics
from helpers.report.records import Records

RESAMPLES = 2000
LEVEL = 0.05
NORMAL_95 = 1.96
# So far below the best (a share of right answers) a training has failed.
FAILED = 0.1


@dataclass(frozen=True)
class Difference:
    """First minus second, a score in 0-1, with its 95 % interval over images and seeds."""

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


def accuracy_difference(first: np.ndarray, second: np.ndarray, seed_variance: float) -> Difference:
    """Return the difference in accuracy of two experiments with several seeds, on the same images.

    Two sources of chance add up. Other images: each counts once, with its share of right seeds,
    since one image's seeds are right or wrong together. Other seeds: their variance, over the
    number of seeds of either experiment.

    Args:
        first: bool (seeds, N), which images each seed gets right.
        second: bool (other seeds, N).
        seed_variance: of one seed's accuracy, see `seed_variance`.
    """
    by_image = first.mean(axis=0) - second.mean(axis=0)
    of_images = by_image.var(ddof=1) / len(by_image)
    return _difference(by_image.mean(), of_images, seed_variance, len(first), len(second))


def seed_variance(scores: Iterable[np.ndarray]) -> float:
    """Return the variance of a score (0-1) between seeds, pooled over experiments.

    Three seeds of one experiment say little; those of many alike experiments say enough. One that
    lies more than FAILED below the best is another thing, a training that fails, and left out.

    Args:
        scores: float (seeds,) for each experiment, with two seeds or more.
    """
    several = [values for values in scores if len(values) > 1]
    best = max(values.mean() for values in several)
    alike = [values for values in several if values.mean() > best - FAILED]
    return sum(((v - v.mean()) ** 2).sum() for v in alike) / sum(len(v) - 1 for v in alike)


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


def macro_f1_difference(
    first: np.ndarray, second: np.ndarray, seed_variance: float, seeds: tuple[int, int]
) -> Difference:
    """Return the difference of two results of `macro_f1` on the same labels.

    Args:
        first, second: from `macro_f1`; their spread over redrawn images is a bootstrap's.
        seed_variance: of one seed's macro F1, see `seed_variance`.
        seeds: how many each has.

    Source: Efron & Tibshirani 1993, An Introduction to the Bootstrap, ch. 13.
    """
    of_images = (first[1:] - second[1:]).var(ddof=1)
    return _difference(first[0] - second[0], of_images, seed_variance, *seeds)


def paired(records: Records, first: str, second: str, images: str) -> metrics.PairedTest:
    """Return McNemar's test of seed 0 of two experiments on one image set."""
    logits = (records.scores(name, images) for name in (first, second))
    return metrics.compare(records.labels[images], *logits)


@functools.cache
def _draws(n: int) -> np.ndarray:
    """Return float32 (RESAMPLES, N): how often each image is drawn; the same in every call."""
    rng = np.random.default_rng(0)
    return rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(np.float32)


def _difference(
    value: float, of_images: float, of_seeds: float, first_seeds: int, second_seeds: int
) -> Difference:
    error = np.sqrt(of_images + of_seeds * (1 / first_seeds + 1 / second_seeds))
    reach = float(NORMAL_95 * error)
    return Difference(float(value), float(value) - reach, float(value) + reach)
