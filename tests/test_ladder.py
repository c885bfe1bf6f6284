"""The ladder: a row a step, each step tested against the one before."""

import numpy as np
import pytest

from helpers.data.photographs import ImageSet
from helpers.evaluation import metrics
from helpers.figures import ladder
from helpers.training.recorded import Judged

LABELS = np.arange(40) % 8
NAMES = ("validation", "shifted_validation", "test", "shifted_test", "second_acquisition")


def judged(minutes, accuracies, found=None):
    return Judged(found or {}, minutes, 8, 6, 3000, accuracies)


def logits(wrong=0):
    """All right but the first `wrong` images."""
    answers = np.eye(8, dtype=np.float16)[LABELS]
    answers[:wrong] = np.roll(answers[:wrong], 1, axis=1)
    return answers


def test_the_table_holds_what_was_measured():
    low, high = metrics.Estimate(0.8, 0.7, 0.9, 40), metrics.Estimate(0.9, 0.8, 0.95, 1000)
    steps = {
        "first": judged(5.0, {"test": low}),
        "second": judged(7.0, {"test": low, "medmnist_c": high}),
    }
    table = ladder.table(steps)
    assert list(table.columns) == ["minutes", "clean test", "MedMNIST-C"]
    assert table.loc["second", "MedMNIST-C"] == high
    shown = table.map(ladder.cell)
    assert shown.loc["first", "MedMNIST-C"] == "–"
    assert shown.loc["second", "MedMNIST-C"] == "90.0 (80.0–95.0)"
    assert shown.loc["second", "minutes"] == "7"


def test_each_step_is_tested_against_the_one_before():
    data = {name: ImageSet(np.zeros((40, 1, 1, 3), np.uint8), LABELS) for name in NAMES}
    steps = {
        str(wrong): judged(1.0, {}, {name: logits(wrong) for name in NAMES}) for wrong in (12, 2)
    }
    tests = ladder.paired_tests(steps, data)
    assert list(tests.index) == ["2"]
    assert tests.loc["2", "shifted validation: gain"] == "+25.0"
    assert float(tests.loc["2", "validation: p"]) == pytest.approx(2 / 2**10, rel=0.05)
