"""Wrong answers to the exercises of 02: each is refused with a sentence that names its mistake."""

import numpy as np
import pandas as pd
import pytest
from answers import refused, verdict
from scipy import ndimage

from helpers.data import cleaning

RNG = np.random.default_rng(2)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((1, 3), "order"),
        ((3, 3), "spares nobody"),
        ((3, 5), "marks"),
        ((3, 0), "without a double stays"),
        ((2, 1), "each"),
        (3, "pair"),
        ((6, 6), "Write down"),
    ],
)
def test_02_1(answer, words):
    refused("02.1", answer, words)
    assert verdict("02.1", (3, 1)) is None


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (3, "keep='first'"),
        (2, "do not share"),
        (4, "different short hashes"),
        (5 / 7, "fraction"),
        (6, "four digits"),
        (np.ones(7, bool), "One number"),
    ],
)
def test_02_2(answer, words):
    hashes = pd.Series(["aaaa1", "aaaa2", "aaaa3", "abbb1", "abbb2", "aab11", "ccc11"])
    # The first digit is shared by six, four digits by five.
    refused("02.2", answer, words, hashes=hashes)
    assert verdict("02.2", 5, hashes=hashes) is None


HASHES = pd.Series(["x", "x", "y", "y", "z", "x"])
LABELS = np.array([0, 1, 2, 2, 0, 0])
UNDER_TWO = np.array([True, True, False, False, False, True])


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (np.array([2, 2, 1, 1, 1, 2]), "numbers of labels"),
        (np.array([1, 1, 1, 1, 0, 1], bool), "must be another"),
        (np.array([0, 0, 1, 1, 0, 0], bool), "*one* label"),
        (~UNDER_TWO, "exchanged"),
        (np.array([0, 1, 0, 0, 0, 1], bool), "missing"),
        (UNDER_TWO[:, None], "broadcast"),
        (np.flatnonzero(UNDER_TWO), "for *every* row"),
        (UNDER_TWO[:5], "is expected"),
    ],
)
def test_02_3(answer, words):
    refused("02.3", answer, words, hashes=HASHES, labels=LABELS)
    assert verdict("02.3", UNDER_TWO, hashes=HASHES, labels=LABELS) is None


def test_02_4():
    # Noise, smoothed by as much as the row says: so that some survive a move and some do not.
    noise = RNG.normal(0, 1, (80, 96, 96))
    smooth = np.stack(
        [ndimage.gaussian_filter(n, (2 + k / 8, 3 + k / 6)) for k, n in enumerate(noise)]
    )
    smooth -= smooth.min((1, 2), keepdims=True)
    images = np.repeat(255 * (smooth / smooth.max((1, 2), keepdims=True))[..., None], 3, axis=3)
    images = images.astype(np.uint8)

    def survive(before, after, most=4):
        bits = cleaning.perceptual_hashes(before, 32) ^ cleaning.perceptual_hashes(after, 32)
        return (np.bitwise_count(bits) <= most).mean()

    moved = np.roll(images, 1, axis=2)
    middle = images[:, 32:64, 32:64]
    expected = survive(images, moved)
    wrong = {
        100 * expected: "percentage",
        1 - expected: "more than four",
        survive(images, np.roll(images, 1, axis=1)): "moved them down",
        survive(images, moved, most=3): "fewer than four",
        survive(images[:, ::3, ::3], moved[:, ::3, ::3]): "whole image",
        survive(middle, np.roll(middle, 1, axis=2)): "move the image first",
    }
    assert len({*wrong, expected}) == 7, wrong
    for answer, words in wrong.items():
        refused("02.4", answer, words, images=images)
    assert verdict("02.4", expected, images=images) is None


def test_02_5():
    groups = np.array([0, 0, 1, 1, 2, 2, 3, 4])
    given = {
        "groups": groups,
        "train": np.array([0, 2, 4, 5, 6]),
        "validation": np.array([1, 3, 7]),
    }
    expected = np.array([True, True, False])
    assert verdict("02.5", expected, **given) is None
    refused("02.5", ~expected, "*not* seen", **given)
    refused("02.5", np.zeros(3, bool), "same *images*", **given)
    refused("02.5", 2, "One value", **given)
    refused("02.5", groups[given["validation"]], "Those are the patients", **given)
    refused("02.5", np.ones(5, bool), "validation images", **given)
    refused("02.5", expected[:, None], "broadcast", **given)


def test_02_6():
    planted = np.arange(100) < 40
    given = {"planted": planted}
    assert verdict("02.6", planted, **given) is None
    refused("02.6", np.ones(100, bool), "Precision is 40%", **given)
    refused("02.6", np.arange(100) < 20, "Recall is 50%", **given)
    refused("02.6", ~planted, "exchanged", **given)
    refused("02.6", np.zeros(100, bool), "Nothing is marked", **given)
    refused("02.6", np.linspace(0, 1, 100), "compare with a border", **given)
    refused("02.6", planted[:50], "The shape", **given)
