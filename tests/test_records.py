"""Records: what is damaged is one sentence, and runs side by side lose none."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from helpers import course
from helpers.course import CourseError
from helpers.data.photographs import CLASS_NAMES, ImageSet, Source
from helpers.data.sets import CourseData, load_course_data
from helpers.evaluation import metrics, records
from helpers.evaluation.metrics import Estimate
from helpers.evaluation.records import Record, Records

SOURCE = Source("synthetic", "synthetic cells", False, "0")
HALF = Estimate(0.5, 0.4, 0.6, 40)
ENTRY = {"key": "toy-seed0/test/accuracy", "value": 0.5, "interval": [0.4, 0.6], "n": 40, "seed": 0}
FROZEN = json.loads((course.root() / "report" / "evaluation_sets.json").read_text())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "folder", lambda source: tmp_path)
    monkeypatch.setattr(course, "build_folder", lambda: tmp_path)
    monkeypatch.setattr(records, "provenance", dict)
    return tmp_path


def images(count=8, label=1) -> ImageSet:
    return ImageSet(np.zeros((count, 96, 96, 3), np.uint8), np.full(count, label))


def course_data(**sets) -> CourseData:
    profile = course.PROFILES["quick"]
    return CourseData(sets, CLASS_NAMES, SOURCE, profile, "fingerprint")


def test_runs_side_by_side_lose_no_record(folder):
    keys = [f"toy/{number}" for number in range(60)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: records.write([Record(key, HALF, {})], SOURCE), keys))
    assert set(Records(folder).by_key) == set(keys)


def test_a_record_is_read_as_it_was_written(folder):
    records.write([Record("toy-seed3/test/accuracy", HALF, {"seed": 3})], SOURCE)
    (record,) = Records(folder).by_key.values()
    assert (record.run, record.image_set, record.estimate) == ("toy-seed3", "test", HALF)
    assert (record.details["seed"], record.details["source"]) == (3, "synthetic")
    assert Record.from_json(record.to_json()) == record


def test_every_record_of_the_course_is_read_and_written_alike():
    path = course.root() / "report" / "results.json"
    found = [record.to_json() for record in Records(path.parent).by_key.values()]
    assert json.dumps(found, indent=1) + "\n" == path.read_text()


def test_stored_logits_predict_and_weigh_as_those_that_were_evaluated(folder):
    # Two classes so close, and so far from 0, that float16 alone would make them equal.
    logits = np.full((8, 8), -20, np.float32)
    logits[:, :2] = [30.001, 30.004]
    curves = {curve: [1.0, 0.5] for curve in records.CURVES}
    data = course_data(validation=images())
    records.write_run("toy-seed0", {"validation": logits}, curves, data, identity="toy-0")
    found = Records(folder)
    assert (found.logits("toy", "validation").argmax(axis=1) == 1).all()
    assert found.correct("toy", "validation").all()
    record = found.record("toy", "validation")
    assert (record.estimate.value, record.details["identity"]) == (1.0, "toy-0")
    assert found.history("toy-seed0", "toy-0") == curves
    assert found.history("toy-seed0", "another") is None
    assert found.history("toy-seed1") is None


def test_a_shifted_set_has_two_parts_with_records_of_their_own(folder):
    logits = np.eye(8, dtype=np.float32)[np.arange(40) % 8]
    data = course_data(
        shifted_test=ImageSet(np.zeros((40, 96, 96, 3), np.uint8), np.arange(40) % 8)
    )
    curves = {curve: [] for curve in records.CURVES}
    records.write_run("toy-seed0", {"shifted_test": logits}, curves, data, identity="toy-0")
    found = Records(folder)
    parts = ("shifted_test_seen", "shifted_test_unseen")
    assert set(found.of_run("toy-seed0")) == {"shifted_test", *parts}
    rows = [len(found.logits("toy", part)) for part in parts]
    assert rows == [found.estimate("toy", part).n for part in parts]
    assert sum(rows) == 40
    assert found.seeds("toy", "shifted_test_seen") == [0]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("null", "no list of records"),
        ('{"a": 1}', "no list of records"),
        ("[1]", "an entry without a key"),
        ("[" * 100_000, "recursion"),
        ("not JSON", "Expecting value"),
        (json.dumps([{**ENTRY, "interval": None}]), "has no interval"),
        (json.dumps([{**ENTRY, "interval": [0.4]}]), "has no interval"),
        (json.dumps([{**ENTRY, "value": "0.9"}]), "no number from 0 to 1"),
        (json.dumps([{**ENTRY, "value": float("nan")}]), "no number from 0 to 1"),
        (json.dumps([{**ENTRY, "value": 97.3}]), "no number from 0 to 1"),
        (json.dumps([{**ENTRY, "interval": [0.6, 0.4]}]), "has a value outside its interval"),
        (json.dumps([{**ENTRY, "n": 0}]), "has no n"),
        (json.dumps([ENTRY, ENTRY]), "toy-seed0/test/accuracy is there twice"),
    ],
)
def test_damaged_records_are_one_sentence(folder, content, reason):
    (folder / "results.json").write_text(content)
    with pytest.raises(
        CourseError, match=r"results\.json in .* is damaged \(.*" + reason
    ) as raised:
        Records(folder)
    assert "\n" not in str(raised.value)
    with pytest.raises(CourseError, match="is damaged"):
        records.write([Record("a/b", HALF, {})], SOURCE)
    assert (folder / "results.json").read_text() == content


def test_a_folder_in_the_place_of_the_records_is_one_sentence(folder):
    (folder / "results.json").mkdir()
    with pytest.raises(CourseError, match=r"results\.json in .* is damaged"):
        Records(folder)


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 no zip", None])
def test_damaged_predictions_are_one_sentence(folder, damage):
    records.write_predictions("labels", {"test": np.arange(1000)}, SOURCE)
    path = folder / "predictions" / "labels.npz"
    path.write_bytes(path.read_bytes()[:-90] if damage is None else damage)
    with pytest.raises(CourseError, match=r"labels\.npz in predictions/ is damaged .*restore it"):
        Records(folder).labels("test")


@pytest.mark.parametrize(
    "values", [np.array(["platelet"]), np.array([0.5, np.nan]), np.array([["a", "b"]])], ids=str
)
def test_predictions_that_are_no_numbers_are_one_sentence(folder, values):
    (folder / "predictions").mkdir()
    np.savez(folder / "predictions" / "labels.npz", test=values)
    with pytest.raises(CourseError, match=r"labels\.npz in predictions/ is damaged \(test is "):
        Records(folder).arrays("labels")


def test_a_set_that_the_predictions_lack_is_one_sentence(folder):
    records.write_predictions("labels", {"test": np.arange(10)}, SOURCE)
    with pytest.raises(CourseError, match="nothing of validation"):
        Records(folder).labels("validation")


def test_what_is_not_recorded_says_what_records_it(folder):
    with pytest.raises(records.NotMeasuredError, match=r"train run fine_tuned`") as raised:
        Records(folder).estimate("fine_tuned", "test")
    assert raised.value.experiment == "fine_tuned"


# --- the frozen evaluation sets


def test_the_digest_tells_one_pixel_and_one_label():
    two = ImageSet(np.zeros((2, 4, 4, 3), np.uint8), np.array([0, 1]))
    pixel, label = two.images.copy(), two.labels.copy()
    pixel[1, 3, 3, 2], label[1] = 1, 2
    pairs = [(i, k) for i in (two.images, pixel) for k in (two.labels, label)]
    assert len({records.digest(ImageSet(*pair)) for pair in pairs}) == 4


def test_every_full_record_is_of_the_frozen_images():
    found = Records(course.root() / "report").by_key.values()
    named = [record for record in found if "images_sha256" in record.details]
    assert named
    for record in named:
        name = record.image_set.removesuffix("_seen").removesuffix("_unseen")
        assert record.details["images_sha256"] == FROZEN["sets"][name]["sha256"], record.key


def test_recorded_curves_have_a_value_for_each_epoch():
    published = Records(course.root() / "report")
    runs = [path.stem for path in (published.folder / "curves").glob("*.json")]
    assert runs
    for run in runs:
        epochs = published.of_run(run)["validation"].details["epochs"]
        assert {len(curve) for curve in published.history(run).values()} == {epochs}, run


def test_a_third_of_the_operations_have_no_counterpart_in_training():
    seen, unseen = FROZEN["seen_operations"], FROZEN["unseen_operations"]
    assert len(unseen) >= (len(seen) + len(unseen)) / 3


@pytest.mark.skipif("BLOODCELLS_MIRROR" not in os.environ, reason="needs the mirror's photographs")
def test_the_sets_are_made_again_as_they_were_frozen(monkeypatch):
    from commands import train

    monkeypatch.setenv("COURSE_PROFILE", "full")
    monkeypatch.delenv("BLOODCELLS_SOURCE", raising=False)
    assert train.evaluation_sets(load_course_data()) == FROZEN


def test_the_published_records_say_on_which_photographs_they_were_measured():
    assert records.published().stamp == "recorded on photographs (mirror)"


def test_a_difference_counts_seeds_and_gets_wider_with_more_comparisons():
    published, pair = records.published(), ("tuning_lion_5e-5", "tuning_adam_1e-4")
    one = published.difference(*pair, "shifted_validation")
    correct = [published.correct(name, "shifted_validation") for name in pair]
    of_images_alone = metrics.accuracy_difference(*correct, 0.0)
    many = published.difference(*pair, "shifted_validation", comparisons=28)
    assert one.value == pytest.approx(of_images_alone.value)
    assert one.low < of_images_alone.low
    assert many.low < one.low < one.value < one.high < many.high
    assert str(one).startswith(f"{100 * one.value:+.1f} points (")


def test_networks_from_scratch_and_trainings_that_fail_at_home_do_not_widen_the_spread_of_seeds(
    folder,
):
    """Under a shift recipes are meant to lie apart: only clean validation tells a failed one."""
    reached = {
        "good": {"validation": (0.97, 0.96), "shifted_validation": (0.80, 0.82)},
        "fragile": {"validation": (0.97, 0.97), "shifted_validation": (0.45, 0.49)},
        "small_cnn": {"validation": (0.93, 0.94), "shifted_validation": (0.30, 0.50)},
        "failed": {"validation": (0.20, 0.85), "shifted_validation": (0.10, 0.70)},
    }
    records.write(
        [
            Record(
                records.accuracy_key(f"{name}-seed{seed}", of),
                replace(HALF, value=value, low=0.0, high=1.0),
                {},
            )
            for name, sets in reached.items()
            for of, values in sets.items()
            for seed, value in enumerate(values)
        ],
        SOURCE,
    )
    found = Records(folder)
    expected = {"good": (0.0002 + 0.0008) / 2, "small_cnn": 0.02}
    for name, variance in expected.items():
        assert found.seed_variance(name, "shifted_validation") == pytest.approx(variance)


def test_the_mean_of_the_seeds_lies_between_the_lowest_and_the_highest():
    found = records.published().mean("small_cnn", "second_acquisition")
    assert found.low < found.value < found.high
    assert found.n == len(records.published().seeds("small_cnn", "second_acquisition")) > 1
