"""Wrong answers to the exercises of 01: each is refused with a sentence that names its mistake."""

import numpy as np
import pytest
from answers import refused, verdict
from sklearn.neighbors import NearestCentroid

from helpers.data.cleaning import thumbnails

NAMES = ("long", "round", "tiny")
RNG = np.random.default_rng(1)
LABELS = np.array([0] * 30 + [1] * 10 + [2] * 20 + [0] * 5 + [1] * 5 + [2] * 5 + [1] * 8)
IS_PHOTOGRAPH = np.arange(len(LABELS)) < 60
FRACTION = np.array([5 / 35, 13 / 23, 5 / 25])
SHOWN = {"labels": LABELS, "is_photograph": IS_PHOTOGRAPH}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("long", "list of ten"),
        (["long", "round"], "3 cells are shown"),
        (["long", "round", "square"], "'square' is none"),
        (["long", "long", "tiny"], "2 of 3 names agree with the labels: look again at number 2."),
    ],
)
def test_01_1(answer, words):
    given = {"labels": np.array([0, 1, 2]), "class_names": NAMES}
    refused("01.1", answer, words, **given)
    assert verdict("01.1", ["long", "round", "tiny"], **given) is None


@pytest.mark.parametrize(
    ("answer", "words"), [("long", "most rows"), (1, "name of a class"), ("tiny", "another class")]
)
def test_01_2(answer, words):
    refused("01.2", answer, words, class_names=NAMES, **SHOWN)
    assert verdict("01.2", "round", class_names=NAMES, **SHOWN) is None


def test_01_2_names_the_smallest_class():
    # Photographs: 9, 5 and 6 of the classes; planted: 2, 2 and 4.
    labels = np.repeat([0, 1, 2, 0, 1, 2], [9, 5, 6, 2, 2, 4])
    given = {"labels": labels, "is_photograph": np.arange(28) < 20, "class_names": NAMES}
    refused("01.2", "round", "smallest class", **given)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (100 * FRACTION, "percentages"),
        (1 - FRACTION, "fractions of photographs"),
        (np.array([5, 13, 5]), "counts"),
        (np.array([5 / 30, 13 / 10, 5 / 20]), "photographs only"),
        (np.array([5, 13, 5]) / 23, "all planted rows"),
        (np.array([5, 13, 5]) / 83, "whole set"),
        (FRACTION[:, None], "broadcast"),
        (FRACTION[::-1], "of 3 values are wrong"),
    ],
)
def test_01_3(answer, words):
    refused("01.3", answer, words, **SHOWN)
    assert verdict("01.3", FRACTION, **SHOWN) is None


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (5, "subtract"),
        (2, "before and after"),
        (4, "both borders"),
        (3 / 9, "give their number"),
        ([1, 2], "One number"),
    ],
)
def test_01_4(answer, words):
    warmth = np.array([-5.0, 10, 11, 15, 20, 21, 40, 50, 60])
    refused("01.4", answer, words, warmth=warmth)
    assert verdict("01.4", 3, warmth=warmth) is None


def test_01_5():
    labels = RNG.integers(0, 3, 120)
    images = RNG.integers(0, 255, (120, 96, 96, 3), np.uint8)
    # The place tells the class and the mean colour does not.
    for row, label in enumerate(labels):
        images[row, 24 * label : 24 * label + 24, :24] //= 3
    given = {
        "images": images,
        "labels": labels,
        "taught": np.arange(60),
        "judged": np.arange(60, 120),
    }
    assert verdict("01.5", 1.0, **given) is None
    refused("01.5", 100.0, "percentage", **given)
    images[:, :24] //= 2
    images[:] = RNG.integers(0, 255, images.shape, np.uint8)
    given["labels"] = labels = np.sort(labels)
    images[:, ::4] = (40 * labels)[:, None, None, None]
    given["taught"], given["judged"] = np.arange(0, 60), np.arange(60, 120)
    places = thumbnails(images, 4).reshape(120, -1)
    rule = NearestCentroid().fit(places[:60], labels[:60])
    on_taught = (rule.predict(places[:60]) == labels[:60]).mean()
    expected = (rule.predict(places[60:]) == labels[60:]).mean()
    assert expected != on_taught
    refused("01.5", on_taught, "taught the rule", **given)
    refused("01.5", expected + 0.2, "too large", **given)
    assert verdict("01.5", expected, **given) is None


def test_01_6():
    labels, judged = np.arange(300) % 3, np.arange(100, 300)
    by_colour = np.where(np.arange(200) < 80, labels[judged], (labels[judged] + 1) % 3)
    better = np.where(np.arange(200) < 110, labels[judged], (labels[judged] + 1) % 3)
    given = {"labels": labels, "judged": judged, "by_colour": by_colour}
    assert verdict("01.6", better, **given) is None
    refused("01.6", by_colour, "40.0%, and at least 50.0%", **given)
    refused("01.6", better[:, None], "not a column", **given)
    refused("01.6", np.eye(3)[better], "not probabilities", **given)
    refused("01.6", better.astype(float), "whole numbers", **given)
    refused("01.6", labels[judged], "labels themselves", **given)
    almost = np.where(np.arange(200) < 199, labels[judged], (labels[judged] + 1) % 3)
    refused("01.6", almost, "seen `judged`", **given)
    refused("01.6", labels, "The shape", **given)
    easy = given | {"by_colour": np.where(np.arange(200) < 190, labels[judged], 9)}
    refused("01.6", labels[judged], "nothing to gain (95.0% already)", **easy)
