import sqlite3
from types import SimpleNamespace

import numpy as np
import pytest
from sqlalchemy.exc import OperationalError

from commands import study
from helpers import course
from helpers.data.photographs import CLASS_NAMES, ImageSet, Source
from helpers.data.sets import CourseData
from helpers.evaluation.metrics import Estimate
from helpers.training import recipes


@pytest.fixture
def data():
    images = ImageSet(np.zeros((8, 4, 4, 3), np.uint8), np.arange(8))
    sets = {"train": images, "validation": images, "shifted_validation": images}
    source = Source("synthetic", "synthetic cells", False, "0")
    return CourseData(sets, CLASS_NAMES, source, course.PROFILES["quick"], "fingerprint")


@pytest.fixture
def trained(monkeypatch):
    """Stands for the trainings: remembers their names; the lower the rate, the more is right."""
    names = []

    def result(experiment, data):
        names.append(experiment.name)
        value = Estimate(1 - experiment.learning_rate / 0.01, 0, 1, 8)
        return SimpleNamespace(
            accuracies=dict.fromkeys(("validation", "shifted_validation"), value)
        )

    monkeypatch.setattr(study, "result", result)
    return names


def storage(tmp_path):
    return f"sqlite:///{tmp_path / 'tuning.db'}"


def test_every_trial_of_the_report_is_its_own_place_in_the_search_space():
    places = [study.parameters_of(experiment) for experiment in recipes.tuning().values()]
    assert len({tuple(place.items()) for place in places}) == len(places) == 15
    for experiment in recipes.tuning().values():
        assert study.experiment_of(study.parameters_of(experiment)) == experiment


def test_a_searched_place_is_a_new_experiment_with_those_settings():
    place = study.parameters_of(recipes.tuning()["tuning_adam_1e-4"])
    place |= {"learning_rate": 3e-4, "optimizer": "lion", "rate": 0.75, "extra_dense": 128}
    experiment = study.experiment_of(place)
    assert experiment.name not in recipes.tuning()
    assert study.parameters_of(experiment) == place


def test_the_reports_list_runs_first_and_a_second_start_goes_on(tmp_path, data, trained):
    study.run_study(study.open_study(storage(tmp_path)), data, searched=0)
    assert trained == list(recipes.tuning())
    again = study.open_study(storage(tmp_path))
    study.run_study(again, data, searched=2)
    assert len(trained) == len(recipes.tuning()) + 2
    table = study.table(again)
    assert (table["from"] == study.SEARCHED).sum() == 2
    assert table["shifted validation"].is_monotonic_decreasing
    assert table["learning_rate"].iloc[0] < table["learning_rate"].iloc[-1]


def test_trials_of_another_machine_count(tmp_path, data, trained):
    mine, theirs = (study.open_study(storage(tmp_path)) for _ in range(2))
    study.run_study(theirs, data, searched=2)
    study.run_study(mine, data, searched=2)
    assert len(trained) == len(recipes.tuning()) + 2


def test_a_study_without_a_finished_trial_says_so(tmp_path):
    with pytest.raises(course.CourseError, match="No trial of the study has finished yet"):
        study.table(study.open_study(storage(tmp_path)))


def test_an_interrupted_trial_of_the_list_runs_again(tmp_path, data, trained, monkeypatch):
    monkeypatch.setattr(course, "build_folder", lambda: tmp_path)
    finished = study.result

    def interrupted(experiment, data):
        if len(trained) == 3:
            raise KeyboardInterrupt
        return finished(experiment, data)

    monkeypatch.setattr(study, "result", interrupted)
    with pytest.raises(KeyboardInterrupt):
        study.run_study(study.open_study(), data, searched=0)
    monkeypatch.setattr(study, "result", finished)
    study.run_study(study.open_study(), data, searched=1)
    assert set(trained[:-1]) == set(recipes.tuning())
    assert len(trained) == len(recipes.tuning()) + 1


@pytest.mark.parametrize(
    "storage", ["nonsense", "sqlite:////no/such/folder/x.db", "postgresql://me:secret@host/tuning"]
)
def test_a_database_that_cannot_be_used_is_one_sentence(storage):
    with pytest.raises(course.CourseError, match=r"database .* cannot be used") as raised:
        study.open_study(storage)
    assert "secret" not in str(raised.value)


def test_a_damaged_database_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(course, "build_folder", lambda: tmp_path)
    (tmp_path / "tuning.db").write_bytes(b"no database " * 1000)
    with pytest.raises(course.CourseError, match=r"cannot be used .*delete a damaged"):
        study.open_study()


def test_a_folder_may_have_any_name(tmp_path, monkeypatch):
    folder = tmp_path / "what?now#%20"
    folder.mkdir()
    monkeypatch.setattr(course, "build_folder", lambda: folder)
    study.open_study()
    assert [path.name for path in folder.iterdir()] == ["tuning.db"]
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_a_full_disk_ends_the_study_with_one_sentence(tmp_path, data, monkeypatch):
    monkeypatch.setattr(course, "build_folder", lambda: tmp_path)
    opened = study.open_study()

    def full(*_, **__):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(study, "result", lambda *_: sqlalchemy_error(full))
    with pytest.raises(course.CourseError, match="free some disk space"):
        study.run_study(opened, data, searched=0)


def sqlalchemy_error(full):
    try:
        full()
    except sqlite3.OperationalError as error:
        raise OperationalError("UPDATE trials", {}, error) from error
