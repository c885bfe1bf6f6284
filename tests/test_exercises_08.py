"""The checks of 08_final refuse plausible wrong answers and name the mistake."""

import numpy as np
import pytest

from exercises import find
from exercises.n08 import _by_operation
from helpers.changes import shifts
from helpers.data.sets import SHIFT_SEEDS

COUNT = 400
HARDEST = {
    ("final", "shifted_validation"): "jpeg",
    ("final", "shifted_test"): "bubbles",
    ("fine_tuned", "shifted_validation"): "hue",
    ("fine_tuned", "shifted_test"): "noise",
}


class Recorded:
    """One seed of two networks that fail where a chain holds their hardest operation."""

    def correct(self, experiment, image_set):
        chains = shifts.chains(COUNT, SHIFT_SEEDS[image_set])
        return np.array([[HARDEST[experiment, image_set] not in chain for chain in chains]])


def easiest() -> str:
    accuracies = _by_operation(Recorded(), "final", "shifted_validation")
    return max(accuracies, key=accuracies.get)


def cutmix(first, second, top, left, side):
    mixed = first.copy()
    pasted = second[top : top + side, left : left + side]
    mixed[top : top + side, left : left + side] = pasted
    return mixed, 1 - pasted[..., 0].size / first[..., 0].size


def in_place(first, second, top, left, side):
    first[top : top + side, left : left + side] = second[top : top + side, left : left + side]
    return first, 1 - side**2 / 144


def of_the_second(*given):
    mixed, fraction = cutmix(*given)
    return mixed, 1 - fraction


def by_length(first, second, top, left, side):
    return cutmix(first, second, top, left, side)[0], 1 - side / 12


def over_the_edge(first, second, top, left, side):
    return cutmix(first, second, top, left, side)[0], 1 - side**2 / 144


def swapped(first, second, top, left, side):
    return cutmix(second, first, top, left, side)


def cut_elsewhere(first, second, top, left, side):
    return cutmix(first, second[::-1], top, left, side)


CASES = [
    (
        "08.1",
        {},
        0.825,
        [
            (0.8, "correct one too"),
            (0.8 + 0.2 / 7, "others alone"),
            (0.025, "other classes"),
            (0.9125, "0.1"),
            (1, "certainty"),
            (82.5, "percentage"),
        ],
    ),
    (
        "08.2",
        {},
        139,
        [
            (138, "one step"),
            (200, "a third"),
            (100, "same fraction"),
            (120, "too small"),
            (np.log(0.5) / np.log(0.995), "whole"),
        ],
    ),
    (
        "08.3",
        {},
        cutmix,
        [
            (in_place, "copy"),
            (of_the_second, "second image's fraction"),
            (by_length, "area"),
            (over_the_edge, "edge"),
            (swapped, "other way round"),
            (cut_elsewhere, "same place"),
            (lambda *given: cutmix(*given)[0], "one thing"),
            (lambda *given: None, "nothing"),
            (0.5, "function"),
        ],
    ),
    (
        "08.4",
        {"recorded": Recorded()},
        "jpeg",
        [
            ("bubbles", "must be validation"),
            ("hue", "network before"),
            (easiest(), "most accurate"),
            ("JPEG compression", "name of one operation"),
            (3, "name of one operation"),
        ],
    ),
    (
        "08.5",
        {},
        ([0.61, 0.63, 0.62], [0.50, 0.51, 0.52], "better"),
        [
            (([0.61, 0.63, 0.62], [0.50, 0.51, 0.52]), "Two lists and a verdict"),
            (([0.61, 0.63], [0.50, 0.51], "better"), "three seeds"),
            (([61, 63, 62], [50, 51, 52], "better"), "between 0 and 1"),
            (([0.50, 0.51, 0.52], [0.61, 0.63, 0.62], "better"), "That is not 'better'"),
            (([0.53, 0.57, 0.47], [0.50, 0.51, 0.52], "better"), "That is not 'better'"),
            (([0.61, 0.61, 0.61], [0.50, 0.50, 0.50], "better"), "same accuracy"),
        ],
    ),
]


@pytest.mark.parametrize(("name", "given", "right", "wrong"), CASES, ids=lambda v: str(v)[:8])
def test_the_right_answer_is_accepted(name, given, right, wrong):
    assert find(name).verdict(right, **given) is None


@pytest.mark.parametrize(
    ("name", "given", "answer", "words"),
    [(name, given, answer, words) for name, given, _, wrong in CASES for answer, words in wrong],
)
def test_a_wrong_answer_is_refused_with_its_mistake(name, given, answer, words):
    assert words in find(name).verdict(answer, **given)
