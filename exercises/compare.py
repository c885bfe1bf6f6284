"""Comparisons that name common mistakes: what most exercises are checked with."""

from collections.abc import Mapping

import numpy as np


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
    if abs(value - 100 * expected) <= 100 * tolerance:
        return "That is a percentage: give the fraction, between 0 and 1."
    if abs(100 * value - expected) <= 100 * tolerance:
        return "That is a fraction: give the percentage."
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
        return f"The shape is {found.shape}, and {expected.shape} is expected."
    wrong = np.abs(found.astype(np.float64) - expected.astype(np.float64)) > tolerance
    if wrong.any():
        return f"{int(wrong.sum()):,} of {wrong.size:,} values are wrong."
    return None


def _kind(answer: object) -> str:
    shape = getattr(answer, "shape", None)
    return f"an array of shape {shape}" if shape else f"a value of type {type(answer).__name__}"
