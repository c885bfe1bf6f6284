"""Records: runs side by side lose none."""

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np

from helpers import course
from helpers.data.photographs import CLASS_NAMES, ImageSet, Source
from helpers.data.sets import CourseData
from helpers.evaluation import metrics, records
from helpers.training.experiment import Experiment
from helpers.training.run import Outcome

SOURCE = SimpleNamespace(name="synthetic", checksum="0")


def test_runs_side_by_side_lose_no_record(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "folder", lambda source: tmp_path)
    monkeypatch.setattr(course, "build_folder", lambda: tmp_path)
    monkeypatch.setattr(records, "provenance", dict)
    keys = [f"toy/{number}/accuracy" for number in range(60)]

    def write(key):
        records.record_all({key: metrics.Estimate(0.5, 0.4, 0.6, 40)}, {key: {}}, SOURCE)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, keys))
    assert {entry["key"] for entry in records.read(SOURCE)} == set(keys)


def test_stored_logits_predict_and_weigh_as_those_that_were_judged(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "folder", lambda source: tmp_path)
    monkeypatch.setattr(course, "build_folder", lambda: tmp_path)
    # Two classes so close, and so far from 0, that float16 alone would make them equal.
    logits = np.full((8, 8), -20, np.float32)
    logits[:, :2] = [30.001, 30.004]
    images = ImageSet(np.zeros((8, 96, 96, 3), np.uint8), np.ones(8, np.int64))
    source = Source("synthetic", "synthetic cells", False, "0")
    data = CourseData(
        {"validation": images}, CLASS_NAMES, source, course.PROFILES["quick"], "fingerprint"
    )
    outcome = Outcome(
        Experiment("toy", "small_cnn", "scratch"),
        {"loss": [1.0]},
        1,
        "epochs",
        1.0,
        8,
        None,
        {},
        {"validation": logits},
        tmp_path / "toy-0" / "best.weights.h5",
    )
    records.record_outcome(outcome, data)
    stored = records.stored_predictions("toy-seed0", source)["validation"]
    assert (stored.argmax(axis=1) == 1).all()
    (entry,) = records.read(source)
    assert (entry["value"], entry["identity"]) == (1.0, "toy-0")
