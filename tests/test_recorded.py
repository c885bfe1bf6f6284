"""Outcomes are read from records that are of these images, and trained anew otherwise."""

from types import SimpleNamespace

import numpy as np
import pytest

from helpers import course
from helpers.data.photographs import ImageSet
from helpers.evaluation import metrics, records
from helpers.training import recorded
from helpers.training.experiment import Experiment, identity

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
    monkeypatch.setattr(records, "folder", lambda source: tmp_path)
    names = ("validation", "shifted_validation", "test", "shifted_test", "second_acquisition")
    sets = {name: ImageSet(np.zeros((40, 1, 1, 3), np.uint8), LABELS) for name in names}
    source = SimpleNamespace(name="mirror", checksum="abc")
    return Data(sets=sets, source=source, fingerprint="split-a", profile=course.profile())


def write_record(data, key, experiment=EXPERIMENT, seconds=120.0):
    trained = {"epochs": 8, "best_epoch": 6, "train_images": 3000}
    made = {"identity": identity(experiment, data), "split": data.fingerprint, "seed": 0}
    details = {key: {**made, "seconds": seconds, **trained}}
    records.record_all({key: metrics.Estimate(0.5, 0.4, 0.6, 40)}, details, data.source)


def never(*_):
    raise AssertionError("trained though it is recorded")


def test_a_recorded_step_is_read_and_not_trained(data, monkeypatch):
    monkeypatch.setattr(recorded, "run", never)
    write_record(data, "step-seed0/validation/accuracy")
    records.store_predictions("step-seed0", {"test": logits(4)}, data.source)
    found = recorded.look_up(EXPERIMENT, data)
    assert (found.minutes, found.epochs, found.best_epoch) == (2, 8, 6)
    assert "medmnist_c" not in found.accuracies
    assert np.array_equal(found.logits["test"], logits(4))
    write_record(data, "step-seed0/medmnist_c/accuracy")
    assert recorded.look_up(EXPERIMENT, data).accuracies["medmnist_c"] == metrics.Estimate(
        0.5, 0.4, 0.6, 40
    )


def test_records_of_other_images_are_not_believed(data, monkeypatch):
    write_record(data, "step-seed0/validation/accuracy")
    monkeypatch.setattr(recorded, "run", never)
    data.fingerprint = "split-b"
    with pytest.raises(AssertionError, match="trained"):
        recorded.look_up(EXPERIMENT, data)


def test_records_of_other_settings_under_the_same_name_are_not_believed(data, monkeypatch):
    write_record(data, "step-seed0/validation/accuracy")
    monkeypatch.setattr(recorded, "run", never)
    with pytest.raises(AssertionError, match="trained"):
        recorded.look_up(EXPERIMENT.variant("step", learning_rate=1e-4), data)


def test_a_record_without_its_predictions_is_one_sentence(data):
    write_record(data, "step-seed0/validation/accuracy")
    with pytest.raises(course.CourseError, match=r"step-seed0\.npz is missing"):
        recorded.look_up(EXPERIMENT, data)


def test_the_minutes_of_what_it_starts_from_count(data, monkeypatch):
    monkeypatch.setattr(recorded, "run", never)
    second = EXPERIMENT.variant("second", starts_from=EXPERIMENT)
    for experiment, seconds in ((EXPERIMENT, 120.0), (second, 60.0)):
        key = f"{experiment.run_name}/validation/accuracy"
        write_record(data, key, experiment, seconds)
        records.store_predictions(experiment.run_name, {"test": logits(4)}, data.source)
    assert recorded.look_up(second, data).minutes == 3
