"""Comparisons that name common mistakes: what most exercises are checked with."""

import warnings
from collections.abc import Mapping

import numpy as np
from scipy import stats


def number(
    answer: object,
    expected: float,
    tolerance: float = 1e-6,
    mistakes: Mapping[str, float] | None = None,
) -> str | None:
    """Return None if `answer` is the expected number, else what is wrong with it.

    Args:
        answer: anything.
        expected: the right value.
        tolerance: largest absolute difference that still counts as right.
        mistakes: wrong values that a known mistake leads to, by the sentence that names it.
    """
    try:
        value = float(np.asarray(answer).item())
    except (TypeError, ValueError):
        return f"One number is expected, not {_kind(answer)}."
    if not np.isfinite(value):
        return f"The answer is {value}, which is not a finite number: look for a division by zero."
    if abs(value - expected) <= tolerance:
        return None
    for sentence, wrong in (mistakes or {}).items():
        if abs(value - wrong) <= tolerance:
            return sentence
    if 0 < abs(expected) <= 1 and abs(value - 100 * expected) <= 100 * tolerance:
        return "That is a percentage: give the fraction, between 0 and 1."
    if abs(expected) > 1 and abs(100 * value - expected) <= 100 * tolerance:
        return "That is a fraction: give the percentage."
    if isinstance(expected, int) and value != round(value):
        return "A whole number is expected."
    if expected and abs(value + expected) <= tolerance:
        return "The sign is wrong: the difference is taken the other way round."
    return f"{value:g} is too {'large' if value > expected else 'small'}."


def array(answer: object, expected: np.ndarray, tolerance: float = 0.0) -> str | None:
    """Return None if `answer` has the expected shape and values, else what is wrong with it."""
    try:
        found = np.asarray(answer)
        found = found if found.dtype == bool else found.astype(np.float64)
    except (TypeError, ValueError):
        return f"An array of numbers is expected, not {_kind(answer)}."
    if found.shape != expected.shape:
        if found.size == expected.size:
            return (
                f"The shape is {found.shape} instead of {expected.shape}: the values may be right, "
                "but comparing the two would broadcast."
            )
        if found.ndim == 0:
            return f"One value is given, and an array of shape {expected.shape} is expected."
        return f"The shape is {found.shape}, and {expected.shape} is expected."
    wrong = np.abs(found.astype(np.float64) - expected.astype(np.float64)) > tolerance
    if wrong.any():
        return f"{int(wrong.sum()):,} of {wrong.size:,} values are wrong."
    return None


VERDICTS = ("better", "worse", "not told apart")
# Where a reader's own images leave no room for the improvement that is asked for.
TOO_EASY = "These images leave nothing to gain ({:.1%} already): try this one on others."


def seeds(answer: object) -> str | None:
    """Return None if two recipes were compared over seeds, and the verdict is what the seeds allow.

    A verdict is Student's t at the 5 % level with the variance of both recipes together: with three
    seeds each, a difference must be 2.8 times its standard error.

    Args:
        answer: accuracies (0-1) of at least three seeds of yours, those of the baseline, and one of
            VERDICTS: what they say of yours.
    """
    try:
        *both, verdict = answer
        lists = [np.asarray(values, float) for values in both]
    except (TypeError, ValueError):
        return "Two lists of numbers and a verdict are expected."
    if len(lists) != 2:
        return "Two lists and a verdict are expected: (yours, the other's, verdict)."
    if any(values.ndim != 1 or len(values) < 3 for values in lists):
        return "Two lists are expected, with at least three seeds each."
    if not all(0 <= value <= 1 for values in lists for value in values):
        return "Accuracies between 0 and 1 are expected."
    if all(len(set(values)) == 1 for values in lists):
        return "All seeds gave the same accuracy: is the seed set where it has an effect?"
    if not isinstance(verdict, str) or verdict not in VERDICTS:
        return f"The verdict is one of {', '.join(map(repr, VERDICTS))}."
    with warnings.catch_warnings(action="ignore"):  # about a list of equal accuracies
        test = stats.ttest_ind(*lists)
    gain, reach = lists[0].mean() - lists[1].mean(), np.ptp(test.confidence_interval()) / 2
    found = VERDICTS[int(gain < 0)] if test.pvalue < 0.05 else VERDICTS[2]
    if found == verdict:
        return None
    advice = " More seeds of both narrow it." if found == VERDICTS[2] else ""
    return (
        f"The difference is {100 * gain:+.1f} points, and seeds alone may make {100 * reach:.1f} "
        f"either way. That is not {verdict!r}.{advice}"
    )


def _kind(answer: object) -> str:
    shape = getattr(answer, "shape", None)
    return f"an array of shape {shape}" if shape else f"a value of type {type(answer).__name__}"
