"""The ladder: read from records that are of these images, trained anew otherwise."""

from types import SimpleNamespace

import numpy as np
import pytest

from helpers import course, evaluation, ladder, results
from helpers.course_data import ImageSet
from helpers.experiments import Experiment

LABELS = np.arange(40) % 8
EXPERIMENT = Experiment("step", "small_cnn", "scratch")


class Data(SimpleNamespace):
    def __getitem__(self, name):
        return self.sets[name]

    @property
    def evaluation_sets(self):
        return self.sets


def logits(wrong=0):
    """All right but the first `wrong` images."""
    answers = np.eye(8, dtype=np.float16)[LABELS]
    answers[:wrong] = np.roll(answers[:wrong], 1, axis=1)
    return answers


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "folder", lambda source: tmp_path)
    names = ("validation", "shifted_validation", "test", "shifted_test", "second_acquisition")
    sets = {name: ImageSet(np.zeros((40, 1, 1, 3), np.uint8), LABELS) for name in names}
    source = SimpleNamespace(name="mirror", checksum="abc")
    return Data(sets=sets, source=source, fingerprint="split-a", profile=course.profile())


def write_record(data, key, split="split-a", seconds=120.0):
    details = {key: {"seed": 0, "split": split, "seconds": seconds}}
    results.record_all({key: evaluation.Estimate(0.5, 0.4, 0.6, 40)}, details, data.source)


def never(*_):
    raise AssertionError("trained though it is recorded")


def test_a_recorded_step_is_read_and_not_trained(data, monkeypatch):
    monkeypatch.setattr(ladder, "run", never)
    write_record(data, "step-seed0/validation/accuracy")
    results.store_predictions("step-seed0", {"test": logits(4)}, data.source)
    found = ladder.judged(EXPERIMENT, data)
    assert found.minutes == 2
    assert "medmnist_c" not in found.accuracies
    assert np.array_equal(found.logits["test"], logits(4))
    write_record(data, "step-seed0/medmnist_c/accuracy")
    assert ladder.judged(EXPERIMENT, data).accuracies["medmnist_c"] == evaluation.Estimate(
        0.5, 0.4, 0.6, 40
    )


def test_records_of_another_split_are_not_believed(data, monkeypatch):
    write_record(data, "step-seed0/validation/accuracy", split="split-b")
    monkeypatch.setattr(ladder, "run", never)
    with pytest.raises(AssertionError, match="trained"):
        ladder.judged(EXPERIMENT, data)


def test_a_record_without_its_predictions_is_one_sentence(data):
    write_record(data, "step-seed0/validation/accuracy")
    with pytest.raises(course.CourseError, match=r"step-seed0\.npz is missing"):
        ladder.judged(EXPERIMENT, data)


def test_the_table_holds_what_was_measured():
    low, high = evaluation.Estimate(0.8, 0.7, 0.9, 40), evaluation.Estimate(0.9, 0.8, 0.95, 1000)
    steps = {
        "first": ladder.Judged({}, 5.0, {"test": low}),
        "second": ladder.Judged({}, 7.0, {"test": low, "medmnist_c": high}),
    }
    table = ladder.table(steps)
    assert list(table.columns) == ["minutes", "clean test", "MedMNIST-C"]
    assert table.loc["second", "MedMNIST-C"] == high
    shown = table.map(ladder.cell)
    assert shown.loc["first", "MedMNIST-C"] == "–"
    assert shown.loc["second", "MedMNIST-C"] == "90.0 (80.0–95.0)"
    assert shown.loc["second", "minutes"] == "7"


def test_each_step_is_tested_against_the_one_before(data):
    steps = {
        str(wrong): ladder.Judged({name: logits(wrong) for name in data.sets}, 1.0, {})
        for wrong in (12, 2)
    }
    tests = ladder.paired_tests(steps, data)
    assert list(tests.index) == ["2"]
    assert tests.loc["2", "shifted validation: gain"] == "+25.0"
    assert float(tests.loc["2", "validation: p"]) == pytest.approx(2 / 2**10, rel=0.05)
