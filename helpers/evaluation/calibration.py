"""Whether a model's probabilities can be believed, and the one number that corrects them.

NumPy and SciPy only.
"""

import numpy as np
import pandas as pd
from scipy import optimize, special

from helpers.evaluation import metrics

# The search stays within: where every label is predicted, the likeliest temperature would be 0.
TEMPERATURES = (0.05, 20.0)


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
        shares = special.log_softmax(logits / np.exp(log_temperature), axis=1)
        return -shares[np.arange(len(labels)), labels].mean()

    bounds = np.log(TEMPERATURES)
    found = optimize.minimize_scalar(negative_log_likelihood, bounds=bounds, method="bounded")
    return float(np.exp(found.x))


def reliability(probabilities: np.ndarray, labels: np.ndarray, bins: int = 10) -> pd.DataFrame:
    """Return, for images of about equal confidence, how many predictions are right.

    Args:
        probabilities: float (N, classes) in 0-1; the largest is the prediction's confidence.
        labels: int (N,).
        bins: number of equally wide ranges of confidence.

    Returns:
        A row a range ("0.9–1" the index) that holds images: "confidence" (its mean), "accuracy",
        "low" and "high" (Wilson's 95 % interval of the accuracy), all 0-1, and "images".
    """
    confidences, right = _confidences(probabilities, labels)
    numbers = _bin_numbers(confidences, bins)
    rows = {}
    for number in np.unique(numbers):
        inside = numbers == number
        found = metrics.share(right[inside])
        rows[f"{number / bins:.2g}–{(number + 1) / bins:.2g}"] = {
            "confidence": confidences[inside].mean(),
            "accuracy": found.value,
            "low": found.low,
            "high": found.high,
            "images": found.n,
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("range")


def expected_calibration_error(
    probabilities: np.ndarray, labels: np.ndarray, bins: int = 15, resamples: int = 1000
) -> metrics.Estimate:
    """Return by how much confidence and accuracy differ, averaged over images in bins.

    Chance alone moves a bin's accuracy off its confidence, and only distances count: from few
    images the error comes out too large, and even a perfectly calibrated model's is not 0.

    Args:
        probabilities: float (N, classes) in 0-1.
        labels: int (N,).
        bins: number of equally wide ranges of confidence.
        resamples: bootstrap samples over images; the seed is fixed, so the interval is repeatable.

    Returns:
        The error, 0-1, with a 95 % interval: how far it varies between samples of N images.

    Source: Naeini et al. 2015, Obtaining well calibrated probabilities, AAAI.
    """
    confidences, right = _confidences(probabilities, labels)
    numbers, n = _bin_numbers(confidences, bins), len(labels)
    rng = np.random.default_rng(0)
    samples = [np.arange(n), *(rng.integers(0, n, n) for _ in range(resamples))]
    gaps = right - confidences
    errors = [np.abs(np.bincount(numbers[s], gaps[s], bins)).sum() / n for s in samples]
    # Resampling adds the upward bias a second time: the interval is moved back by that much.
    bias = np.mean(errors[1:]) - errors[0]
    low, high = np.percentile(errors[1:], [2.5, 97.5]) - bias
    return metrics.Estimate(float(errors[0]), max(0.0, float(low)), float(high), n)


def _confidences(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each prediction's probability, float (N,), and whether it is right, bool (N,)."""
    return probabilities.max(axis=1), probabilities.argmax(axis=1) == labels


def _bin_numbers(confidences: np.ndarray, bins: int) -> np.ndarray:
    # A confidence of 1 belongs to the last range.
    return np.minimum((confidences * bins).astype(int), bins - 1)
