"""Checks of 08_final."""

from typing import Any

import numpy as np

from exercises import compare, exercise
from helpers.changes import shifts
from helpers.data.sets import SHIFT_SEEDS

SMOOTHING, CLASSES = 0.2, 8
MOMENTUM = 0.995


@exercise(
    "08.1",
    "The cheapest answer is the smoothed label itself: the correct class gets a part of it too.",
)
def smoothed_optimum(answer: object) -> str | None:
    """Expect the correct class's probability that is cheapest under label smoothing of 0.2."""
    spread = SMOOTHING / CLASSES
    return compare.number(
        answer,
        1 - SMOOTHING + spread,
        tolerance=1e-4,
        mistakes={
            "The part that is spread over all classes goes to the correct one too.": 1 - SMOOTHING,
            "It is spread over all classes, the correct one included, not over the others alone.": 1
            - SMOOTHING
            + SMOOTHING / (CLASSES - 1),
            "That is what each of the other classes gets.": spread,
            "That is the lesson's example, with a smoothing of 0.1.": 0.9125,
            "With smoothed labels certainty is not the cheapest answer.": 1,
        },
    )


@exercise("08.2", "After n steps the start is left with momentum to the power of n.")
def half_forgotten(answer: object) -> str | None:
    """Expect the steps after which less than half of the starting weights is left."""
    steps = int(np.ceil(np.log(0.5) / np.log(MOMENTUM)))
    return compare.number(
        answer,
        steps,
        mistakes={
            "A little more than half is left there: one step is missing.": steps - 1,
            "That is 1 / (1 - momentum), where about a third is left.": 200,
            "That takes away the same amount in every step; it is the same fraction.": 100,
        },
    )


@exercise(
    "08.3", "Copy the first image; let NumPy's slices end at the edge; count what was pasted."
)
def cutmix(answer: object) -> str | None:
    """Expect a function that pastes a square and returns the image and the first one's fraction."""
    if not callable(answer):
        return "A function is expected."
    rng = np.random.default_rng(83)
    first, second = rng.integers(0, 256, (2, 12, 12, 3)).astype(np.uint8)
    for top, left, side in ((2, 3, 6), (8, 1, 6), (0, 0, 0)):
        kept = first.copy()
        found = answer(kept, second, top, left, side)
        if found is None:
            return "It returns nothing: is the function still empty?"
        if not isinstance(found, tuple) or len(found) != 2:
            return "It returns one thing: the image and the fraction are asked for."
        if not np.array_equal(kept, first):
            return "It writes into the first image: paste into a copy."
        expected = first.copy()
        expected[top : top + side, left : left + side] = second[
            top : top + side, left : left + side
        ]
        pasted = min(side, 12 - top) * min(side, 12 - left) / 144
        image, fraction = np.asarray(found[0]), found[1]
        if image.shape != first.shape or not np.array_equal(image, expected):
            return _wrong_image(image, first, second, expected)
        if np.isclose(fraction, 1 - pasted):
            continue
        if np.isclose(fraction, pasted):
            return "That is the second image's fraction: the first one's is asked for."
        if np.isclose(fraction, 1 - side / 12):
            return "That compares lengths: the label follows the area."
        if np.isclose(fraction, 1 - side**2 / 144):
            return "Where the square reaches over the edge, less is pasted: count what is."
        return f"The fraction is wrong for a square of {side} at ({top}, {left}) of 12 x 12 pixels."
    return None


def _wrong_image(
    image: np.ndarray, first: np.ndarray, second: np.ndarray, expected: np.ndarray
) -> str:
    if image.shape != first.shape:
        return f"The image has shape {image.shape} instead of {first.shape}."
    if np.array_equal(image, np.where(expected == first, second, first)):
        return "The square is the first image's, and the rest the second's: the other way round."
    if np.array_equal(image, first):
        return "Nothing was pasted."
    return "The pasted square is not that of the second image at the same place."


@exercise(
    "08.4",
    "shifts.chains(count, SHIFT_SEEDS[...]) tells each image's operations, in the set's order.",
)
def next_operation(answer: object, *, recorded: Any) -> str | None:
    """Expect the operation that the final model is least accurate on, on shifted validation."""
    if not isinstance(answer, str) or answer not in shifts.OPERATIONS:
        return f"The name of one operation is expected, such as {next(iter(shifts.OPERATIONS))!r}."
    by_operation = _by_operation(recorded, "final", "shifted_validation")
    if answer == min(by_operation, key=by_operation.get):
        return None
    mistakes = {
        "On the test that is the lowest: what decides about a training must be validation.": (
            "final",
            "shifted_test",
        ),
        "That is the network before: the final model is asked about.": (
            "fine_tuned",
            "shifted_validation",
        ),
    }
    for sentence, (experiment, image_set) in mistakes.items():
        other = _by_operation(recorded, experiment, image_set)
        if answer == min(other, key=other.get):
            return sentence
    if answer == max(by_operation, key=by_operation.get):
        return "On that one it is most accurate."
    lower = sum(value < by_operation[answer] for value in by_operation.values())
    return f"There are {lower} operations on which the final model is less accurate."


def _by_operation(recorded: Any, experiment: str, image_set: str) -> dict[str, float]:
    """Return the accuracy of the images whose chain holds an operation, by its name."""
    correct = recorded.correct(experiment, image_set)[0]
    chains = shifts.chains(len(correct), SHIFT_SEEDS[image_set])
    rows = {name: [name in chain for chain in chains] for name in shifts.OPERATIONS}
    return {name: correct[chosen].mean() for name, chosen in rows.items() if any(chosen)}


@exercise(
    "08.5",
    "Six epochs are few steps: think of the size of a batch, and of changes that shifted "
    "validation holds and training images do not.",
)
def beat_the_live_network(answer: object) -> str | None:
    """Expect two lists of accuracies, yours and the lesson's, and the verdict that they allow."""
    return compare.seeds(answer)
