from types import SimpleNamespace

import numpy as np

from helpers.course import PROFILES
from helpers.data.photographs import ImageSet, Source
from helpers.data.sets import CourseData
from helpers.evaluation import judging

N = 200


def logits_with(correct: int) -> np.ndarray:
    """Return logits that are right on the first `correct` of N images of class 0."""
    right = np.arange(N) < correct
    return np.stack([right, ~right], axis=1).astype(np.float32)


def data() -> CourseData:
    images = ImageSet(np.zeros((N, 1, 1, 3), np.uint8), np.zeros(N, np.int64))
    names = ("train", "validation", "shifted_validation", "test")
    source = Source("synthetic", "toy", False, "none")
    return CourseData(dict.fromkeys(names, images), ("a", "b"), source, PROFILES["quick"], "none")


def outcome(**correct: int) -> SimpleNamespace:
    return SimpleNamespace(logits={name: logits_with(count) for name, count in correct.items()})


def test_accuracies_leaves_out_sets_that_are_not_there():
    outcomes = {"model": outcome(validation=150, shifted_validation=100, test=180)}
    judged = judging.accuracies(outcomes, data(), judging.REPORT_ON)
    assert list(judged["model"]) == ["test"]
    assert judged["model"]["test"].value == 0.9


def test_a_clear_lead_on_shifted_images_decides():
    outcomes = {
        "clean": outcome(validation=199, shifted_validation=60),
        "robust": outcome(validation=150, shifted_validation=100),
    }
    assert judging.choose(outcomes, data()) == "robust"


def test_a_lead_that_could_be_chance_leaves_the_choice_to_validation():
    outcomes = {
        "clean": outcome(validation=199, shifted_validation=97),
        "lucky": outcome(validation=150, shifted_validation=100),
    }
    assert judging.choose(outcomes, data()) == "clean"
