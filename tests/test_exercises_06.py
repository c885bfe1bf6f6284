"""The checks of 06_augment refuse plausible wrong answers and name the mistake."""

import numpy as np
import pytest

from exercises import find

IMAGE = np.random.default_rng(6).integers(0, 200, (96, 96, 3), np.uint8)
GOOD, LOW = [0.61, 0.63, 0.62], [0.50, 0.51, 0.52]


def patch(image, rng, largest=48):
    height, width = rng.integers(5, largest, 2)
    top, left = rng.integers(0, 96 - height), rng.integers(0, 96 - width)
    return slice(top, top + height), slice(left, left + width)


def erase(image, rng):
    copy = image.copy()
    copy[patch(image, rng)] = 255
    return copy


def erase_in_place(image, rng):
    image[patch(image, rng)] = 255
    return image


def erase_always_there(image, rng):
    copy = image.copy()
    copy[20:40, 20:40] = 255
    return copy


def erase_there_in_some_colour(image, rng):
    copy = image.copy()
    copy[20:40, 20:40] = rng.integers(0, 256, 3)
    return copy


def erase_without_the_generator(image, rng):
    return erase(image, np.random.default_rng())


def erase_too_much(image, rng):
    copy = image.copy()
    copy[10:90, 20:40] = 255
    return copy


def erase_with_noise(image, rng):
    copy = image.copy()
    place = patch(image, rng)
    copy[place] = rng.integers(201, 255, copy[place].shape)
    return copy


def erase_as_float(image, rng):
    return erase(image, rng).astype(float)


CASES = [
    ("06.1", {}, 8, [(7, "original"), (4, "rotations"), (16, "coincide")]),
    (
        "06.2",
        {"image": IMAGE},
        erase,
        [
            (erase_in_place, "original"),
            (erase_always_there, "hardly varies"),
            (erase_there_in_some_colour, "stays in its place"),
            (erase_without_the_generator, "same seed"),
            (erase_too_much, "half"),
            (erase_with_noise, "single colour"),
            (erase_as_float, "uint8"),
            (erase(IMAGE, np.random.default_rng(0)), "function"),
        ],
    ),
    (
        "06.3",
        {},
        187,
        [
            (94, "originals"),
            (186, "last batch"),
            (186.6, "whole number"),
            (23886, "Those are images"),
        ],
    ),
    ("06.4", {}, 6, [(5, "one-sided"), (4, "too large"), (0.05, "whole number")]),
    ("06.5", {}, 1 - 0.95**9, [(0.95**9, "no false"), (0.45, "twice"), (0.05, "single")]),
    (
        "06.6",
        {},
        (GOOD, LOW, "better"),
        [
            ((LOW, GOOD, "better"), "That is not 'better'"),
            ((GOOD, LOW, "not told apart"), "That is not 'not told apart'"),
            ((GOOD, LOW), "Two lists and a verdict"),
            ((GOOD, LOW, "yes"), "'better', 'worse', 'not told apart'"),
            (0.9, "Two lists"),
            ((GOOD[:2], LOW, "better"), "three seeds"),
            (([95.0, 96.0, 95.5], [90.0, 91.0, 90.5], "better"), "between 0 and 1"),
            (([0.93, 0.95, float("nan")], LOW, "better"), "between 0 and 1"),
            (([0.96] * 3, [0.95] * 3, "better"), "same accuracy"),
            # 2.4 standard errors: enough for twice, too little for three seeds.
            (([0.93, 0.95, 0.97], [0.89, 0.91, 0.93], "better"), "make 4.5 either way"),
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
    given = {key: value.copy() for key, value in given.items()}
    assert words in find(name).verdict(answer, **given)


def test_a_difference_that_seeds_may_make_is_an_answer_too():
    lists = [0.93, 0.95, 0.97], [0.92, 0.94, 0.96]
    assert find("06.6").verdict((*lists, "not told apart")) is None
    assert find("06.6").verdict((LOW, GOOD, "worse")) is None
