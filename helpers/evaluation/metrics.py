"""Metrics with intervals, and paired tests. NumPy, SciPy and scikit-learn only."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support


@dataclass(frozen=True)
class Estimate:
    """A measured share with its 95 % interval: value, low and high in 0-1, from n images."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.1%} (95 % interval {self.low:.1%} to {self.high:.1%}, n = {self.n:,})"


def share(hits: np.ndarray) -> Estimate:
    """Return the share of True in bool (N,), N above 0, with Wilson's 95 % interval.

    Source: Wilson 1927, JASA 22:209; unlike the normal interval it stays inside 0-1 near 100 %.
    """
    count = int(hits.sum())
    interval = stats.binomtest(count, len(hits)).proportion_ci(method="wilson")
    return Estimate(count / len(hits), interval.low, interval.high, len(hits))


def mean_share(shares: np.ndarray, resamples: int = 1000) -> Estimate:
    """Return the mean of images' shares with a bootstrap 95 % interval over images.

    Args:
        shares: float (N,) in 0-1: of one image's versions, the share that is right.
        resamples: bootstrap samples; the seed is fixed, so the interval is repeatable.
    """
    rng = np.random.default_rng(0)
    n = len(shares)
    means = [shares[rng.integers(0, n, n)].mean() for _ in range(resamples)]
    low, high = np.percentile(means, [2.5, 97.5])
    return Estimate(float(shares.mean()), float(low), float(high), n)


def accuracy(labels: np.ndarray, logits: np.ndarray) -> Estimate:
    """Return the share of correct predictions with Wilson's 95 % interval.

    Args:
        labels: int (N,).
        logits: float (N, classes); the largest is the prediction.
    """
    return share(logits.argmax(axis=1) == labels)


def per_class(labels: np.ndarray, logits: np.ndarray, class_names: tuple[str, ...]) -> pd.DataFrame:
    """Return precision, recall, F1 (each 0-1) and the number of images, one row a class."""
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, logits.argmax(axis=1), labels=range(len(class_names)), zero_division=0
    )
    columns = {"precision": precision, "recall": recall, "F1": f1, "images": support}
    return pd.DataFrame(columns, index=pd.Index(class_names, name="class"))


def macro_f1(labels: np.ndarray, logits: np.ndarray, resamples: int = 1000) -> Estimate:
    """Return the unweighted mean of the classes' F1 with a bootstrap 95 % interval over images.

    Args:
        labels: int (N,).
        logits: float (N, classes).
        resamples: bootstrap samples; the seed is fixed, so the interval is repeatable.

    Source: Efron & Tibshirani 1993, An Introduction to the Bootstrap, ch. 13 (percentile interval).
    """
    classes, n = logits.shape[1], len(labels)
    cells = labels * classes + logits.argmax(axis=1)
    rng = np.random.default_rng(0)
    samples = [cells, *(cells[rng.integers(0, n, n)] for _ in range(resamples))]
    scores = [_macro_f1_of(np.bincount(s, minlength=classes**2), classes) for s in samples]
    low, high = np.percentile(scores[1:], [2.5, 97.5])
    return Estimate(scores[0], float(low), float(high), n)


def _macro_f1_of(cell_counts: np.ndarray, classes: int) -> float:
    matrix = cell_counts.reshape(classes, classes)
    present = matrix.sum(axis=1) > 0
    f1 = 2 * np.diag(matrix) / np.maximum(matrix.sum(axis=0) + matrix.sum(axis=1), 1)
    return float(f1[present].mean())


def confusion(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Return int (classes, classes): rows are true classes, columns predicted ones."""
    return confusion_matrix(labels, logits.argmax(axis=1), labels=range(logits.shape[1]))


@dataclass(frozen=True)
class PairedTest:
    """McNemar's exact test of two models on the same images.

    Attributes:
        only_first: images that only the first model gets right.
        only_second: images that only the second model gets right.
        p_value: two-sided chance of a split at least this uneven if both were equally good.
    """

    only_first: int
    only_second: int
    p_value: float

    @property
    def verdict(self) -> str:
        """What may be said at the 5 % level."""
        if self.p_value >= 0.05:
            return "the difference could be chance"
        better = "first" if self.only_first > self.only_second else "second"
        return f"the {better} is better"

    def __str__(self) -> str:
        return (
            f"{self.verdict} (right alone: {self.only_first} and {self.only_second} images, "
            f"McNemar p = {self.p_value:.2g})"
        )


def compare(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> PairedTest:
    """Return McNemar's exact test of two models' logits (N, classes) on the same labels (N,).

    Source: McNemar 1947, Psychometrika 12:153; the exact form is a binomial test of the images on
    which the two disagree about being right.
    """
    first_right = first.argmax(axis=1) == labels
    second_right = second.argmax(axis=1) == labels
    only_first = int((first_right & ~second_right).sum())
    only_second = int((second_right & ~first_right).sum())
    disagreements = only_first + only_second
    p_value = stats.binomtest(only_first, disagreements).pvalue if disagreements else 1.0
    return PairedTest(only_first, only_second, float(p_value))


def adjust_logits(logits: np.ndarray, class_counts: np.ndarray, tau: float = 1.0) -> np.ndarray:
    """Return logits minus tau times the log of the training classes' shares.

    Args:
        logits: float (N, classes) of a model trained on imbalanced classes.
        class_counts: int (classes,), training images of each class, all above 0.
        tau: strength; 1 makes the prediction optimal for the balanced error.

    Source: Menon et al. 2021, Long-tail learning via logit adjustment, ICLR, eq. 9.
    """
    shares = class_counts / class_counts.sum()
    return logits - tau * np.log(shares)
