"""Checks of 01_inspect."""

import numpy as np
from sklearn.neighbors import NearestCentroid

from exercises import compare, exercise
from helpers.data.cleaning import thumbnails


@exercise(
    "01.1", "Ask first: is there a nucleus, how many lobes, and what colour are the granules?"
)
def self_test(answer, *, labels: np.ndarray, class_names: tuple[str, ...]) -> str | None:
    """Expect the class names of ten cells, in the order of their numbers."""
    if isinstance(answer, str) or np.ndim(answer) != 1:
        return "A list of ten class names is expected, one for each number."
    if len(answer) != len(labels):
        return f"That is a list of {len(answer)}, and {len(labels)} cells are shown."
    unknown = [name for name in answer if name not in class_names]
    if unknown:
        return f"{unknown[0]!r} is none of the class names: {', '.join(class_names)}."
    wrong = [n for n, name in enumerate(answer) if class_names[labels[n]] != name]
    if wrong:
        numbers = ", ".join(str(n + 1) for n in wrong)
        return (
            f"{len(answer) - len(wrong)} of {len(answer)} names agree with the labels: look again "
            f"at number {numbers}."
        )
    return None


@exercise(
    "01.2", "Each class got equally many copies of the first picture; one got the second too."
)
def strongest_ghost(
    answer, *, labels: np.ndarray, is_photograph: np.ndarray, class_names: tuple[str, ...]
) -> str | None:
    """Expect the name of the class with the largest fraction of planted rows."""
    if not isinstance(answer, str) or answer not in class_names:
        return f"The name of a class is expected: one of {', '.join(class_names)}."
    fraction = _planted_fraction(labels, is_photograph)
    given = class_names.index(answer)
    if fraction[given] == fraction.max():
        return None
    if given == np.bincount(labels).argmax():
        return "That class has the most rows, in which as many copies weigh less."
    if given == np.bincount(labels[is_photograph]).argmin():
        return "That is the smallest class: a good guess, but copies were not dealt out evenly."
    return "In another class a larger fraction of the rows is planted."


@exercise("01.3", "Divide by all rows of a class, photographs and planted ones together.")
def planted_fraction(answer, *, labels: np.ndarray, is_photograph: np.ndarray) -> str | None:
    """Expect for each class the fraction of its rows that is planted, float (classes,)."""
    expected = _planted_fraction(labels, is_photograph)
    verdict = compare.array(answer, expected, tolerance=6e-3)
    if verdict is None or np.shape(answer) != expected.shape:
        return verdict
    found = np.asarray(answer, np.float64)
    count = len(expected)
    planted = np.bincount(labels[~is_photograph], minlength=count)
    photographs = np.bincount(labels[is_photograph], minlength=count)
    for wrong, sentence in (
        (100 * expected, "Those are percentages: give fractions, between 0 and 1."),
        (1 - expected, "Those are the fractions of photographs: the rest is asked for."),
        (planted, "Those are counts of planted rows: divide them by the rows of the class."),
        (planted / photographs, "You divided by the photographs only: divide by all rows."),
        (
            planted / planted.sum(),
            "You divided by all planted rows: divide by the rows of a class.",
        ),
        (planted / len(labels), "You divided by the whole set: divide by the rows of the class."),
    ):
        if np.allclose(found, wrong, atol=6e-3):
            return sentence
    return verdict


@exercise("01.4", "A photograph changes sides if it is above the first border and not the second.")
def changes_sides(answer, *, warmth: np.ndarray) -> str | None:
    """Expect the number of photographs whose warmth is above 10 and at most 20."""
    below = {border: int((warmth <= border).sum()) for border in (10, 20)}
    between = below[20] - below[10]
    return compare.number(
        answer,
        between,
        mistakes={
            "Those lie below the first border: they are bluish before and after.": below[10],
            "Those are all that lie below the second border: subtract those that already lay "
            "below the first.": below[20],
            "Those stay warm: they lie above both borders.": len(warmth) - below[20],
            "That is a fraction of all photographs: give their number.": between / len(warmth),
        },
    )


@exercise("01.5", "thumbnails(...).reshape(len(images), -1) gives one row of 48 numbers per image.")
def colours_by_place(
    answer, *, images: np.ndarray, labels: np.ndarray, taught: np.ndarray, judged: np.ndarray
) -> str | None:
    """Expect the accuracy on `judged` of a centroid rule that sees 48 numbers per image."""
    places = thumbnails(images, 4)
    colour = places.mean(axis=(1, 2))
    places = places.reshape(len(images), -1)

    def accuracy(features: np.ndarray, learn: np.ndarray, judge: np.ndarray) -> float:
        rule = NearestCentroid().fit(features[learn], labels[learn])
        return float((rule.predict(features[judge]) == labels[judge]).mean())

    return compare.number(
        answer,
        accuracy(places, taught, judged),
        tolerance=5e-4,
        mistakes={
            "That is the accuracy on the rows that taught the rule: judge it on `judged`.": (
                accuracy(places, taught, taught)
            ),
            "That is the rule by mean colour: it needs the 48 numbers.": (
                accuracy(colour, taught, judged)
            ),
            "You exchanged the two halves: learn from `taught`, judge on `judged`.": (
                accuracy(places, judged, taught)
            ),
        },
    )


@exercise(
    "01.6", "Try the thumbnails of exercise 01.5 with LinearDiscriminantAnalysis or neighbours."
)
def own_rule(
    answer, *, labels: np.ndarray, judged: np.ndarray, by_colour: np.ndarray
) -> str | None:
    """Expect classes of `judged`, ten points more often correct than `by_colour`."""
    try:
        found = np.asarray(answer)
    except ValueError:
        return "One class number per row of `judged` is expected."
    true = labels[judged]
    if found.shape != true.shape:
        return (
            f"The shape is {found.shape} instead of {true.shape}: one class number per row of "
            "`judged`, not probabilities and not a column."
        )
    if found.dtype.kind not in "iu":
        return f"Class numbers are expected, whole numbers, not {found.dtype}."
    accuracy, least = (found == true).mean(), (by_colour == true).mean() + 0.1
    if least > 0.99:
        return compare.TOO_EASY.format(least - 0.1)
    if accuracy > 0.99:
        return (
            f"{accuracy:.1%} correct, without a network: are those the labels themselves, or "
            "has the rule seen `judged`?"
        )
    if accuracy >= least:
        return None
    return f"Its accuracy is {accuracy:.1%}, and at least {least:.1%} is asked for."


def _planted_fraction(labels: np.ndarray, is_photograph: np.ndarray) -> np.ndarray:
    rows = np.bincount(labels)
    return np.bincount(labels[~is_photograph], minlength=len(rows)) / rows
