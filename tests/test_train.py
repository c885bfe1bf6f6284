"""The command that trains, and what it makes of corrupted images and of the evaluation sets."""

import json

import numpy as np
import pytest

from commands import train
from helpers import course
from helpers.changes import shifts
from helpers.changes.corruptions import CORRUPTIONS, SEVERITIES
from helpers.course import CourseError
from helpers.data.photographs import CLASS_NAMES, ImageSet, Source
from helpers.data.sets import PARTIAL_SHIFTS, CourseData
from helpers.evaluation import records
from helpers.training import recipes


def test_estimates_average_over_corruptions_and_count_photographs_once():
    labels = np.arange(40) % 8
    predictions = np.tile(labels, (len(CORRUPTIONS), len(SEVERITIES), 1)).astype(np.uint8)
    predictions[0] = (labels + 1) % 8
    found = train.corrupted_accuracies(predictions, labels)
    assert found["medmnist_c"].n == 40
    assert np.isclose(found["medmnist_c"].value, 1 - 1 / len(CORRUPTIONS))
    assert found[f"medmnist_c/{CORRUPTIONS[0]}"].value == 0
    assert found[f"medmnist_c/{CORRUPTIONS[1]}"].value == 1


def test_unseen_only_holds_no_change_that_training_knows(monkeypatch):
    drawn = []
    for name, operation in shifts.OPERATIONS.items():

        def spy(image, strength, rng, name=name, function=operation.function):
            drawn.append(name)
            return function(image, strength, rng)

        fields = (operation.family, spy, operation.counterpart)
        monkeypatch.setitem(shifts.OPERATIONS, name, shifts.Operation(name, *fields))
    images = np.random.default_rng(0).integers(0, 256, (60, 96, 96, 3), np.uint8)
    changed = PARTIAL_SHIFTS["unseen_only"]["unseen_only"].of(images)
    assert all((one != two).any() for one, two in zip(images, changed, strict=True))
    assert len(drawn) >= 2 * len(images)
    assert set(drawn) == {name for name, of in shifts.OPERATIONS.items() if not of.seen}


def judged(tmp_path, monkeypatch):
    """Return 16 test images, and networks that are wrong on the last."""
    monkeypatch.setattr(records, "folder", lambda source: tmp_path)
    labels = np.arange(16) % 8
    images = ImageSet(np.full((16, 96, 96, 3), 200, np.uint8), labels)
    source = Source("synthetic", "synthetic cells", False, "0")
    sets = {"test": images, "validation": images}
    data = CourseData(sets, CLASS_NAMES, source, course.PROFILES["quick"], "abc")
    wrong_once = np.eye(8)[np.r_[labels[:-1], 0]]
    monkeypatch.setattr(train, "load_recorded", lambda experiment, data: None)
    monkeypatch.setattr(train.networks, "predict_logits", lambda model, images: wrong_once)
    return data


def test_robustness_is_recorded(tmp_path, monkeypatch):
    data = judged(tmp_path, monkeypatch)
    experiment = recipes.find("small_cnn")
    found = train.record_robustness([experiment], data)[experiment.run_name]
    assert {name: estimate.value for name, estimate in found.items()} == {"medmnist_c": 15 / 16}
    written = records.Records(tmp_path).estimate("small_cnn", "medmnist_c")
    assert (written.value, written.n) == (15 / 16, 16)


def test_unseen_only_is_recorded_with_each_answer(tmp_path, monkeypatch):
    data = judged(tmp_path, monkeypatch)
    labels = {name: data[name].labels for name in ("test", "validation")}
    records.write_predictions("labels", labels, data.source)
    experiment = recipes.find("small_cnn")
    found = train.record_partial([experiment], data, "unseen_only")[experiment.run_name][
        "unseen_only"
    ]
    written = records.Records(tmp_path)
    estimate = written.estimate("small_cnn", "unseen_only")
    assert (found.value, estimate.value, estimate.n) == (15 / 16, 15 / 16, 16)
    for image_set in PARTIAL_SHIFTS["unseen_only"]:
        assert written.correct("small_cnn", image_set).tolist() == [[True] * 15 + [False]]
    assert "weights" not in written.record("small_cnn", "unseen_only").details


def test_families_alone_are_recorded_for_each_seed(tmp_path, monkeypatch, capsys):
    data = judged(tmp_path, monkeypatch)
    records.write_predictions("labels", {"validation": data["validation"].labels}, data.source)
    monkeypatch.setattr(train, "load_course_data", lambda: data)
    train.main(["families", "small_cnn", "--seeds", "1", "4"])
    assert "small_cnn-seed4: colour_only 93.8%" in capsys.readouterr().out
    written = records.Records(tmp_path)
    for image_set, shift in PARTIAL_SHIFTS["family_only"].items():
        families = {shifts.OPERATIONS[name].family for name in shift.operations}
        assert families == {image_set.removesuffix("_only")}
        assert written.seeds("small_cnn", image_set) == [1, 4]
        assert written.correct("small_cnn", image_set).tolist() == [[True] * 15 + [False]] * 2


def test_a_released_model_is_judged_under_its_name_and_said_so(tmp_path, monkeypatch):
    data = judged(tmp_path, monkeypatch)
    card = {"training": {"split": "abc"}}
    monkeypatch.setattr(train.released, "card", lambda name: card)
    monkeypatch.setattr(train.released, "load", lambda name: None)
    experiment = recipes.find("fine_tuned")
    train.record_partial([experiment], data, "unseen_only", from_release=True)
    written = records.Records(tmp_path).record("fine_tuned", "unseen_only")
    assert written.details["weights"] == "models/fine_tuned"
    card["training"]["split"] = "another"
    with pytest.raises(course.CourseError, match="trained on other images"):
        train.record_partial([experiment], data, "unseen_only", from_release=True)


def test_eight_views_are_averaged_and_recorded(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "folder", lambda source: tmp_path)
    rng = np.random.default_rng(0)
    images, seen = ImageSet(rng.integers(0, 256, (2, 4, 4, 3), np.uint8), np.array([0, 1])), []

    def predict(model, images):
        seen.append(images.copy())
        # One view is sure of the wrong class, seven are a little for the correct one.
        return np.eye(8)[[1, 0]] * 2 if len(seen) % 8 == 3 else np.eye(8)[[0, 1]]

    source = Source("synthetic", "synthetic cells", False, "0")
    sets = dict.fromkeys(records.REPORT_ON, images)
    data = CourseData(sets, CLASS_NAMES, source, course.PROFILES["quick"], "abc")
    monkeypatch.setattr(train, "load_recorded", lambda experiment, data: None)
    monkeypatch.setattr(train.networks, "predict_logits", predict)
    train.record_views([recipes.find("small_cnn")], data)
    assert len({view.tobytes() for view in seen[:8]}) == 8
    assert records.Records(tmp_path).estimate("small_cnn", "eight_views/test").value == 1


def test_the_evaluation_sets_are_frozen_once(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "folder", lambda source: tmp_path)
    images = ImageSet(np.zeros((2, 4, 4, 3), np.uint8), np.array([0, 1]))
    source = Source("synthetic", "synthetic cells", False, "0")
    data = CourseData({"test": images}, CLASS_NAMES, source, course.PROFILES["quick"], "abc")
    path = train.freeze(data)
    assert json.loads(path.read_text())["fingerprint"] == "abc"
    train.freeze(data)
    other = CourseData({"test": images}, CLASS_NAMES, source, data.profile, "another")
    with pytest.raises(CourseError, match="holds other evaluation sets"):
        train.freeze(other)
    assert json.loads(path.read_text())["fingerprint"] == "abc"


def test_only_a_full_run_on_photographs_writes_the_frozen_file(monkeypatch):
    monkeypatch.setenv("COURSE_PROFILE", "quick")
    source = Source("synthetic", "synthetic cells", False, "0")
    assert records.folder(source) != course.root() / "report"


@pytest.mark.parametrize("seeds", [["-1"], ["1.5"], ["one"], [str(2**31)]])
def test_a_seed_is_a_whole_number_from_0(seeds, monkeypatch, capsys):
    monkeypatch.setattr(train, "load_course_data", None)
    with pytest.raises(SystemExit) as ended:
        train.main(["run", "small_cnn", "--seeds", *seeds])
    assert ended.value.code == 2
    assert "--seeds" in capsys.readouterr().err


def test_list_names_every_training_and_how_it_did(tmp_path, capsys):
    train.main(["list"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(recipes.catalogue())
    (strong,) = (line for line in lines if line.startswith("subset_strong "))
    recorded = records.published().estimate("subset_strong", "shifted_validation").value
    assert "3,000 images,   8 epochs" in strong
    assert strong.endswith(f"{recorded:.1%}")
    assert train.listing(records.Records(tmp_path))[0].endswith("nothing recorded")


def test_an_unknown_name_is_told_before_any_image_is_loaded(monkeypatch):
    monkeypatch.setattr(train, "load_course_data", None)
    with pytest.raises(CourseError, match="no experiment 'unheard_of'"):
        train.main(["run", "unheard_of"])
