"""Checks of 06_augment."""

import numpy as np

from exercises import compare, exercise


@exercise("06.1", "Four rotations, each with or without a mirror image: which of them coincide?")
def pictures(answer: object) -> str | None:
    """Expect the number of different pictures that rotations and mirror images make of one."""
    return compare.number(
        answer,
        8,
        mistakes={
            "The original counts too.": 7,
            "Those are the rotations alone.": 4,
            "Some of those coincide: flipping both ways is a rotation by 180 degrees.": 12,
            "Some of those coincide: flipping both ways is a rotation.": 16,
        },
    )


@exercise("06.2", "Copy first. Draw height and width, then a corner so that the rectangle fits.")
def erasing(answer: object, *, image: np.ndarray) -> str | None:
    """Expect a function that erases a rectangle in a copy, at random place and size."""
    if not callable(answer):
        return "A function is expected."
    before, copies = image.copy(), []
    for seed in range(30):
        copy = answer(image, np.random.default_rng(seed))
        if not np.array_equal(image, before):
            return "It changes the original: work on a copy."
        if not isinstance(copy, np.ndarray) or copy.shape != image.shape:
            return f"An array of shape {image.shape} is expected."
        if copy.dtype != image.dtype:
            return f"The copy is {copy.dtype}: it should stay {image.dtype}."
        if mistake := _patch_mistake(copy, image):
            return mistake
        copies.append(copy.tobytes())
    if len(set(copies)) < 10:
        return "The patch hardly varies: draw place and size from the generator each time."
    if len({_top_left(np.frombuffer(copy, image.dtype), image) for copy in copies}) < 10:
        return "The patch stays in its place: draw a corner from the generator each time."
    if answer(image, np.random.default_rng(0)).tobytes() != copies[0]:
        return (
            "The same seed gives another patch: draw everything from the generator you are given."
        )
    return None


def _top_left(copy: np.ndarray, image: np.ndarray) -> tuple[int, int]:
    changed = (copy.reshape(image.shape) != image).any(axis=2)
    return int(changed.any(axis=1).argmax()), int(changed.any(axis=0).argmax())


def _patch_mistake(copy: np.ndarray, image: np.ndarray) -> str | None:
    changed = (copy != image).any(axis=2)
    if not changed.any():
        return None
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    if height > image.shape[0] / 2 + 1 or width > image.shape[1] / 2 + 1:
        return "A patch is higher or wider than half the image."
    patch = copy[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    if (patch != patch[0, 0]).any():
        return "The patch has several colours: one single colour is asked for."
    return None


@exercise("06.3", "How many images are there then, and how many batches do they fill?")
def steps(answer: object) -> str | None:
    """Expect the steps of an epoch on 11,943 originals and their copies, in batches of 128."""
    return compare.number(
        answer,
        -(-2 * 11943 // 128),
        mistakes={
            "That is an epoch of the originals alone.": -(-11943 // 128),
            "The last batch counts too, although it is not full.": 2 * 11943 // 128,
            "Those are images, and a step takes 128 of them.": 2 * 11943,
        },
    )


@exercise("06.4", "If both were equally good, each such image is a coin toss. Two sides count.")
def images_needed(answer: object) -> str | None:
    """Expect how many disagreements, all on one side, McNemar's test needs at the 5 % level."""
    return compare.number(
        answer,
        6,
        mistakes={
            "That is the one-sided test: McNemar's counts both sides.": 5,
            "The p-value of 4 heads in 4 tosses is 2/16: too large.": 4,
        },
    )


@exercise("06.5", "What is the chance that none of the nine raises an alarm?")
def false_alarm(answer: object) -> str | None:
    """Expect the chance of at least one false alarm in nine independent tests at 5 %."""
    return compare.number(
        answer,
        1 - 0.95**9,
        tolerance=0.005,
        mistakes={
            "That is the chance of no false alarm.": 0.95**9,
            "Adding the chances counts double alarms twice.": 0.45,
            "That is a single test's.": 0.05,
        },
    )


@exercise(
    "06.6", "More epochs for both lists, or a gentler chain, is a good first try; then ttest_ind."
)
def against_composed(answer: object) -> str | None:
    """Expect two lists of accuracies, yours and the lesson's, and the verdict that they allow."""
    return compare.seeds(answer)
