"""Checks of 09_use."""

import re
from typing import Any

import numpy as np
from scipy.special import softmax

from exercises import compare, exercise

LOGITS, TEMPERATURE = np.array([4.0, 2.0, 0.0]), 2.0
# Of each bin: answers, mean probability, fraction that is correct.
BINS = np.array([(60, 0.95, 0.90), (30, 0.75, 0.80), (10, 0.55, 0.35)])
THRESHOLD = 0.9


@exercise("09.1", "Divide the logits first; softmax comes after.")
def at_temperature(answer: object) -> str | None:
    """Expect the first class's probability at a temperature of 2."""
    cold, right = softmax(LOGITS)[0], softmax(LOGITS / TEMPERATURE)[0]
    return compare.number(
        answer,
        right,
        tolerance=5e-4,
        mistakes={
            "That is without the temperature.": cold,
            "That multiplies the logits by the temperature, which makes the answer surer.": softmax(
                LOGITS * TEMPERATURE
            )[0],
            "That divides the probability: the logits are divided.": cold / TEMPERATURE,
            "That is the logit's part of their sum: softmax takes exponentials.": LOGITS[0]
            / LOGITS.sum(),
            "That is the second class's.": softmax(LOGITS / TEMPERATURE)[1],
        },
    )


@exercise("09.2", "How far is each bin off, without its sign, and how many answers does it hold?")
def by_hand(answer: object) -> str | None:
    """Expect the calibration error of the three bins of the lesson's table."""
    count, sure, correct = BINS.T
    part, apart = count / count.sum(), np.abs(sure - correct)
    return compare.number(
        answer,
        part @ apart,
        tolerance=1e-4,
        mistakes={
            "All bins count the same there: a bin with more answers counts more.": apart.mean(),
            "Too modest here and too sure there must not cancel: take absolute differences.": (
                part @ (sure - correct)
            ),
            "That is the worst bin alone.": apart.max(),
            "That is the fraction that is correct.": part @ correct,
            "That is the mean probability.": part @ sure,
        },
    )


@exercise(
    "09.3",
    "A probability stops at 1, however sure the view; a class that is second twice may profit.",
)
def two_ways(answer: object) -> str | None:
    """Expect logits of two views on which the means of logits and probabilities disagree."""
    try:
        logits = np.asarray(answer, float)
    except (TypeError, ValueError):
        return "Numbers are expected."
    if logits.shape != (2, 3):
        return f"Logits of shape (2, 3) are expected, not {logits.shape}."
    if not np.isfinite(logits).all():
        return "Finite logits are expected."
    if logits[0].argmax() == logits[1].argmax():
        return "The two views agree on a class, and so do both ways: let them disagree."
    sums = logits.sum(axis=1)
    if (logits >= 0).all() and np.allclose(sums, 1):
        return "Those look like probabilities: hand in logits."
    by_logits = logits.mean(axis=0)
    by_probabilities = softmax(logits, axis=1).mean(axis=0)
    if any(np.ptp(np.sort(way)[-2:]) < 1e-6 for way in (by_logits, by_probabilities)):
        return "Two classes are level: let one win."
    if by_logits.argmax() == by_probabilities.argmax():
        return f"Both ways give class {by_logits.argmax()}."
    return None


@exercise(
    "09.4", "Divide by the temperature, take softmax, and keep the rows that are sure enough."
)
def only_where_sure(answer: object, *, recorded: Any, temperature: float) -> str | None:
    """Expect the fraction that is answered at 0.9 or more, and the accuracy among those."""
    try:
        found = np.asarray(answer, float)
    except (TypeError, ValueError):
        return "Two numbers are expected."
    if found.shape != (2,):
        return f"Two numbers are expected, not {'one' if not found.ndim else found.shape}."
    if found.max() > 1:
        return "Fractions between 0 and 1 are expected."
    right = _kept(recorded, "final", "shifted_validation", temperature)
    if np.allclose(found, right, atol=5e-4):
        return None
    if np.allclose(found[::-1], right, atol=5e-4):
        return "The other way round: first the fraction that is answered."
    mistakes = {
        "The temperature is missing.": ("final", "shifted_validation", 1.0),
        "The logits are multiplied by the temperature: divide.": (
            *("final", "shifted_validation"),
            1 / temperature,
        ),
        "That is clean validation.": ("final", "validation", temperature),
        "That is the test, which chooses nothing, a threshold neither.": (
            *("final", "shifted_test"),
            temperature,
        ),
        "That is the network before: the final model is asked about.": (
            *("fine_tuned", "shifted_validation"),
            temperature,
        ),
    }
    for sentence, (experiment, image_set, by) in mistakes.items():
        if np.allclose(found, _kept(recorded, experiment, image_set, by), atol=5e-4):
            return sentence
    if np.isclose(found[0], 1 - right[0], atol=5e-4):
        return "The first is the fraction that is left unanswered."
    if not np.isclose(found[0], right[0], atol=5e-4):
        return "The first number is wrong: how many rows have a highest probability of 0.9 or more?"
    correct = recorded.correct("final", "shifted_validation")[0].mean()
    if np.isclose(found[1], correct, atol=5e-4):
        return "The second is the accuracy of all images: only those that are answered count."
    if np.isclose(found[1], right[0] * right[1], atol=5e-4):
        return "The second is divided by all images: divide by those that are answered."
    return "The second number is wrong: of the images that are answered, how many are correct?"


def _kept(recorded: Any, experiment: str, image_set: str, temperature: float) -> np.ndarray:
    """Return the fraction of images that is answered, and the accuracy among those."""
    logits = recorded.logits(experiment, image_set)
    kept = softmax(logits / temperature, axis=1).max(axis=1) >= THRESHOLD
    correct = logits.argmax(axis=1) == recorded.labels(image_set)
    return np.array([kept.mean(), correct[kept].mean()])


@exercise(
    "09.5",
    "An augmentation of 06 that gained under shift, at full size or for more epochs than there, is "
    "a start; it trains for some minutes to an hour.",
)
def scored(answer: object, *, goal: float) -> str | None:
    """Expect what `make score` prints, with more than `goal` correct on the shifted test."""
    if not isinstance(answer, str):
        return "The text that `make score` printed is expected."
    line = re.search(r"^shifted test\s+([\d.]+)%", answer, re.MULTILINE)
    if "Scored on" not in answer or line is None:
        return "That is not what `make score` prints: hand in all of it."
    if "WARNING" in answer:
        return "Its answers depend on the images beside them: is training mode off?"
    if "Scored on photographs" not in answer:
        return "It was scored on synthetic cells: the goal was measured on photographs."
    if "profile full" not in answer:
        return "It was scored on a part of the test: use the full profile, as `make score` does."
    if "Only a part was scored" in answer:
        return "Only some of the images were scored: leave IMAGES out."
    reached = float(line[1]) / 100
    if reached <= goal:
        return f"It reaches {reached:.1%} under shift, and the goal is more than {goal:.1%}."
    return None
