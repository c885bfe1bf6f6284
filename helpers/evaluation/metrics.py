"""Metrics with intervals, and paired tests. NumPy, SciPy and scikit-learn only."""

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import optimize, special, stats
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

LEVEL = 0.05
# How often images are redrawn for an interval: of macro F1, and of a mean or a calibration error.
RESAMPLES, FEW_RESAMPLES = 2000, 1000
# Equally wide ranges of confidence: of a calibration error, and of what is shown of it.
CALIBRATION_BINS, RELIABILITY_BINS = 15, 10
# Temperatures are searched within these; where every label is predicted, the likeliest would be 0.
TEMPERATURES = (0.05, 20.0)


@dataclass(frozen=True)
class Estimate:
    """A measured fraction with its 95 % interval: value, low and high in 0-1, from n images."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.1%} (95 % interval {self.low:.1%} to {self.high:.1%}, n = {self.n:,})"


def fraction(hits: np.ndarray) -> Estimate:
    """Return the fraction of True in bool (N,), N above 0, with Wilson's 95 % interval.

    Source: Wilson 1927, JASA 22:209; unlike the normal interval it stays inside 0-1 near 100 %.
    """
    count = int(hits.sum())
    interval = stats.binomtest(count, len(hits)).proportion_ci(method="wilson")
    return Estimate(count / len(hits), interval.low, interval.high, len(hits))


def mean_fraction(fractions: np.ndarray) -> Estimate:
    """Return the mean of images' fractions with a bootstrap 95 % interval over images.

    The bootstrap's seed is fixed, so the interval is repeatable.

    Args:
        fractions: float (N,) in 0-1: of one image's versions, those predicted correctly.
    """
    rng = np.random.default_rng(0)
    n = len(fractions)
    means = [fractions[rng.integers(0, n, n)].mean() for _ in range(FEW_RESAMPLES)]
    low, high = np.percentile(means, [2.5, 97.5])
    return Estimate(float(fractions.mean()), float(low), float(high), n)


def accuracy(labels: np.ndarray, logits: np.ndarray) -> Estimate:
    """Return the fraction of correct predictions with Wilson's 95 % interval.

    Args:
        labels: int (N,).
        logits: float (N, classes); the largest is the prediction.
    """
    return fraction(logits.argmax(axis=1) == labels)


def per_class(labels: np.ndarray, logits: np.ndarray, class_names: tuple[str, ...]) -> pd.DataFrame:
    """Return precision, recall, F1 (each 0-1) and the number of images, one row per class."""
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, logits.argmax(axis=1), labels=range(len(class_names)), zero_division=0
    )
    columns = {"precision": precision, "recall": recall, "F1": f1, "images": support}
    return pd.DataFrame(columns, index=pd.Index(class_names, name="class"))


def macro_f1_samples(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Return float (1 + RESAMPLES,): the mean macro F1 of several seeds, as it is and redrawn.

    Args:
        labels: int (N,); a class without images counts for nothing.
        predicted: int (seeds, N).
        classes: number of classes.

    Source: Efron & Tibshirani 1993, An Introduction to the Bootstrap, ch. 6.
    """
    cells = np.eye(classes**2, dtype=np.float32)[labels * classes + predicted]
    draws = np.vstack([np.ones((1, len(labels)), np.float32), _draws(len(labels))])
    matrices = (draws @ cells).reshape(len(predicted), len(draws), classes, classes)
    hits = np.diagonal(matrices, axis1=2, axis2=3)
    totals = matrices.sum(axis=2) + matrices.sum(axis=3)
    f1, present = 2 * hits / np.maximum(totals, 1), np.unique(labels)
    return (f1 if len(present) == classes else f1[:, :, present]).mean(axis=(0, 2))


def confusion(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Return int (classes, classes): rows are true classes, columns predicted ones."""
    return confusion_matrix(labels, logits.argmax(axis=1), labels=range(logits.shape[1]))


@dataclass(frozen=True)
class PairedTest:
    """McNemar's exact test of two models on the same images.

    Attributes:
        only_first: images that only the first model predicts correctly.
        only_second: images that only the second model predicts correctly.
        p_value: two-sided chance of a split at least this uneven if both were equally good.
    """

    only_first: int
    only_second: int
    p_value: float

    @property
    def verdict(self) -> str:
        """What may be said at the 5 % level."""
        if self.p_value >= LEVEL:
            return "the difference could be chance"
        better = "first" if self.only_first > self.only_second else "second"
        return f"the {better} is better"

    def __str__(self) -> str:
        return (
            f"{self.verdict} (correct alone: {self.only_first} and {self.only_second} images, "
            f"McNemar p = {self.p_value:.2g})"
        )


def compare(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> PairedTest:
    """Return McNemar's exact test of two models' logits (N, classes) on the same labels (N,)."""
    return mcnemar(first.argmax(axis=1) == labels, second.argmax(axis=1) == labels)


def mcnemar(first: np.ndarray, second: np.ndarray) -> PairedTest:
    """Return McNemar's exact test of the images, bool (N,), that each model predicts correctly.

    Source: McNemar 1947, Psychometrika 12:153; the exact form is a binomial test of the images on
    which the two disagree.
    """
    only_first = int((first & ~second).sum())
    only_second = int((second & ~first).sum())
    disagreements = only_first + only_second
    p_value = stats.binomtest(only_first, disagreements).pvalue if disagreements else 1.0
    return PairedTest(only_first, only_second, float(p_value))


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

    def __str__(self) -> str:
        value, low, high = (100 * number for number in (self.value, self.low, self.high))
        return f"{value:+.1f} points ({low:+.1f} to {high:+.1f}), {self.verdict}"


def accuracy_difference(
    first: np.ndarray,
    second: np.ndarray,
    seed_variance: float | Sequence[float],
    comparisons: int = 1,
) -> Difference:
    """Return the difference in accuracy of two experiments with several seeds, on the same images.

    Two sources of chance add up. Other images: each counts once, with the fraction of seeds that
    are correct, since one image's seeds are correct or wrong together. Other seeds: their variance,
    over the number of seeds of either experiment.

    Args:
        first: bool (seeds, N), which images each seed predicts correctly.
        second: bool (other seeds, N).
        seed_variance: of one seed's accuracy, see `seed_variance`; or that of the first, and that
            of the second.
        comparisons: how many are made together; all their intervals hold at once with 95 %
            (Bonferroni's correction).
    """
    by_image = first.mean(axis=0) - second.mean(axis=0)
    of_images = by_image.var(ddof=1) / len(by_image)
    of_seeds = (np.broadcast_to(seed_variance, 2) / (len(first), len(second))).sum()
    return _difference(by_image.mean(), of_images + of_seeds, comparisons)


def seed_variance(scores: Iterable[np.ndarray]) -> float:
    """Return the variance of a score (0-1) between seeds, pooled over experiments.

    Three seeds of one experiment say little; those of many say enough.

    Args:
        scores: float (seeds,) for each experiment; those with one seed tell nothing.
    """
    several = [values for values in scores if len(values) > 1]
    return sum(((v - v.mean()) ** 2).sum() for v in several) / sum(len(v) - 1 for v in several)


def macro_f1_difference(
    labels: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    classes: int,
    seed_variance: float,
    comparisons: int = 1,
    *,
    paired: bool = False,
) -> Difference:
    """Return the difference in macro F1 of two experiments with several seeds, on the same images.

    Args:
        labels: int (N,).
        first: int (seeds, N), the class that each seed predicts.
        second: int (other seeds, N).
        classes: number of classes.
        seed_variance: of one seed's macro F1, see `seed_variance`.
        comparisons: see `accuracy_difference`.
        paired: both are answers of the same networks, in the same order, so that much of the luck
            of a seed cancels; `seed_variance` is then that of one network's own difference.

    Source: Efron & Tibshirani 1993, An Introduction to the Bootstrap, ch. 13.
    """
    both = [macro_f1_samples(labels, predicted, classes) for predicted in (first, second)]
    by_draw = both[0] - both[1]
    of_images = by_draw[1:].var(ddof=1)
    of_seeds = seed_variance * (1 / len(first) + (0 if paired else 1 / len(second)))
    return _difference(by_draw[0], of_images + of_seeds, comparisons)


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Return the probabilities of logits divided by a temperature.

    Args:
        logits: float (N, classes), of any size and precision.
        temperature: above 0; more than 1 makes the model less sure of itself, and no temperature
            changes which class is the most probable.

    Returns:
        float64 (N, classes), each row of sum 1.
    """
    return special.softmax(logits.astype(np.float64) / temperature, axis=1)


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature at which the labels are most likely, within TEMPERATURES.

    Fit it on images that neither train nor test: on a test set it would be chosen by what it is to
    be judged by.

    Args:
        logits: float (N, classes).
        labels: int (N,).

    Source: Guo et al. 2017, On calibration of modern neural networks, ICML.
    """
    logits = logits.astype(np.float64)

    def negative_log_likelihood(log_temperature: float) -> float:
        likelihoods = special.log_softmax(logits / np.exp(log_temperature), axis=1)
        return -likelihoods[np.arange(len(labels)), labels].mean()

    bounds = np.log(TEMPERATURES)
    found = optimize.minimize_scalar(negative_log_likelihood, bounds=bounds, method="bounded")
    return float(np.exp(found.x))


def reliability(probabilities: np.ndarray, labels: np.ndarray) -> pd.DataFrame:
    """Return, for images of about equal confidence, how many predictions are correct.

    Args:
        probabilities: float (N, classes) in 0-1; the largest is the prediction's confidence.
        labels: int (N,).

    Returns:
        A row for each of RELIABILITY_BINS ("0.9–1" the index) that holds images: "confidence" (its
        mean), "accuracy", "low" and "high" (Wilson's 95 % interval of the accuracy), all 0-1, and
        "images".
    """
    confidences, correct = _confidences(probabilities, labels)
    bins, rows = RELIABILITY_BINS, {}
    numbers = _bin_numbers(confidences, bins)
    for number in np.unique(numbers):
        inside = numbers == number
        found = fraction(correct[inside])
        rows[f"{number / bins:.2g}–{(number + 1) / bins:.2g}"] = {
            "confidence": confidences[inside].mean(),
            "accuracy": found.value,
            "low": found.low,
            "high": found.high,
            "images": found.n,
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("range")


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> Estimate:
    """Return by how much confidence and accuracy differ, averaged over images in CALIBRATION_BINS.

    Chance alone moves a bin's accuracy off its confidence, and only distances count: from few
    images the error comes out too large, and even a perfectly calibrated model's is not 0.

    Args:
        probabilities: float (N, classes) in 0-1.
        labels: int (N,).

    Returns:
        The error, 0-1, with a 95 % bootstrap interval: how far it varies between samples of N
        images. The bootstrap's seed is fixed, so the interval is repeatable.

    Source: Naeini et al. 2015, Obtaining well calibrated probabilities, AAAI.
    """
    confidences, correct = _confidences(probabilities, labels)
    numbers, n = _bin_numbers(confidences, CALIBRATION_BINS), len(labels)
    rng = np.random.default_rng(0)
    samples = [np.arange(n), *(rng.integers(0, n, n) for _ in range(FEW_RESAMPLES))]
    gaps = correct - confidences
    errors = [np.abs(np.bincount(numbers[s], gaps[s], CALIBRATION_BINS)).sum() / n for s in samples]
    # Resampling adds the upward bias a second time: the interval is moved back by that much.
    bias = np.mean(errors[1:]) - errors[0]
    low, high = np.percentile(errors[1:], [2.5, 97.5]) - bias
    return Estimate(float(errors[0]), max(0.0, float(low)), float(high), n)


def _confidences(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each prediction's probability, float (N,), and whether it is correct, bool (N,)."""
    return probabilities.max(axis=1), probabilities.argmax(axis=1) == labels


def _bin_numbers(confidences: np.ndarray, bins: int) -> np.ndarray:
    # A confidence of 1 belongs to the last range.
    return np.minimum((confidences * bins).astype(int), bins - 1)


@functools.cache
def _draws(n: int) -> np.ndarray:
    """Return float32 (RESAMPLES, N): how often each image is drawn; the same in every call."""
    rng = np.random.default_rng(0)
    return rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(np.float32)


def _difference(value: float, variance: float, comparisons: int) -> Difference:
    reach = float(-stats.norm.ppf(LEVEL / 2 / comparisons) * np.sqrt(variance))
    return Difference(float(value), float(value) - reach, float(value) + reach)
