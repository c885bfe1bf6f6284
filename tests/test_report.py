"""From records to the report: complete, repeatable, and without a number written by hand."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from helpers import course, evaluation, report, report_facts, report_paired, report_records
from helpers.dataset import CLASS_NAMES

COUNT = 320
COSTS = {"parameters": 3.4e6, "multiply_adds": 7e7, "training_ms": 9.44, "inference_ms": 2.5}
STORED = ("validation", "shifted_validation", "test", "shifted_test", "second_acquisition")


def stand_in(folder):
    """Fill a folder with the report's sources, and with invented records and logits."""
    for name in report.SOURCES:
        shutil.copy(course.root() / "report" / name, folder / name)
    shutil.copy(course.root() / "report" / "evaluation_sets.json", folder)
    rng = np.random.default_rng(0)
    labels = {name: rng.permutation(np.arange(COUNT) % len(CLASS_NAMES)) for name in STORED}
    (folder / "predictions").mkdir()
    np.savez_compressed(folder / "predictions" / "labels.npz", **labels)
    networks = dict.fromkeys(report_records.SUBSET_OF_NETWORK, COSTS)
    reason = (
        "Its ImageNet weights can't be had here: no mirror holds weights/Name_notop.weights.h5."
    )
    missing = {"resnet50": reason, "densenet121": reason, "efficientnet_b4": reason}
    (folder / "costs.json").write_text(json.dumps({"networks": networks, "missing": missing}))
    entries = []
    for place, (run, sets) in enumerate(report_records._required({"missing": missing}).items()):
        entries += _run(folder, run, sets, labels, np.random.default_rng(place))
    (folder / "results.json").write_text(json.dumps(entries))
    return folder


def _run(folder, run, sets, labels, rng):
    logits, entries = {}, []
    for name in sets:
        truth = labels.get(name, labels["test"])
        share = rng.uniform(0.93, 0.98) if name in ("validation", "test") else rng.uniform(0.5, 0.8)
        share = 0.1 if run.startswith("tuning_adam_1e-3") else share
        predicted = np.where(rng.random(COUNT) < share, truth, rng.integers(0, 8, COUNT))
        scores = np.eye(8)[predicted].astype(np.float16)
        entries.append(_record(f"{run}/{name}/accuracy", evaluation.accuracy(truth, scores)))
        if name in labels:
            logits[name] = scores
    np.savez_compressed(folder / "predictions" / f"{run}.npz", **logits)
    return entries


def _record(key, estimate):
    details = {"seconds": 1500.0, "epochs": 15, "best_epoch": 12, "stopped_by": "time"}
    interval = [estimate.low, estimate.high]
    value = {"key": key, "value": estimate.value, "interval": interval, "n": estimate.n}
    return {**value, **details, "train_images": 10449, "device": "a processor, 2 cores"}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = stand_in(tmp_path_factory.mktemp("report"))
    written = report.build(folder)
    return folder, {path.relative_to(folder): path.read_bytes() for path in written}


def _copy(built, tmp_path):
    return shutil.copytree(built[0], tmp_path / "report")


def test_two_builds_have_the_same_bytes(built, tmp_path):
    again = _copy(built, tmp_path)
    written = report.build(again)
    assert {path.relative_to(again): path.read_bytes() for path in written} == built[1]
    assert {path.suffix for path in written} == {".pdf", ".svg", ".csv", ".tex", ".md", ".json"}


def test_a_changed_record_changes_table_and_pdf(built, tmp_path):
    folder = _copy(built, tmp_path)
    path = folder / "results.json"
    entries = json.loads(path.read_text())
    entry = next(e for e in entries if e["key"] == "fine_tuned-seed0/test/accuracy")
    entry["value"] = 0.123
    path.write_text(json.dumps(entries))
    report.build(folder)
    assert "12.3" in (folder / "tables" / "report_table1.md").read_text()
    for name in ("report.pdf", "tables/report_table1.tex", "tables/report_table1.csv"):
        assert (folder / name).read_bytes() != (built[0] / name).read_bytes()


def test_missing_records_are_all_named_and_nothing_is_written(built, tmp_path):
    folder = _copy(built, tmp_path)
    path = folder / "results.json"
    missing = ("fine_tuned_mild-seed0/test/", "tuning_lion_1e-4-seed2/", "small_cnn-seed2/")
    missing += ("vgg_like-seed0/medmnist_c/",)
    entries = [e for e in json.loads(path.read_text()) if not e["key"].startswith(missing)]
    path.write_text(json.dumps(entries))
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    with pytest.raises(course.CourseError) as raised:
        report.build(folder)
    sentence = str(raised.value)
    assert "fine_tuned_mild-seed0/test/accuracy" in sentence
    assert "recipes run fine_tuned_mild --seeds 0`" in sentence
    assert "recipes run small_cnn tuning_lion_1e-4 --seeds 2`" in sentence
    assert "helpers.robustness vgg_like`" in sentence
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before


@pytest.mark.parametrize("name", ["costs.json", "predictions/labels.npz", "report.typ"])
def test_a_missing_file_is_named(built, tmp_path, name):
    folder = _copy(built, tmp_path)
    (folder / name).unlink()
    with pytest.raises(course.CourseError, match=re.escape(name.split("/")[-1])):
        report.build(folder)


def test_logits_that_do_not_fit_the_labels_are_named(built, tmp_path):
    folder = _copy(built, tmp_path)
    path = folder / "predictions" / "fine_tuned-seed0.npz"
    with np.load(path) as stored:
        shorter = {name: stored[name][:-1] for name in stored}
    np.savez_compressed(path, **shorter)
    with pytest.raises(course.CourseError, match=r"fine_tuned-seed0/test.*run fine_tuned --seeds"):
        report.build(folder)


def test_no_tensorflow_is_needed():
    code = "import sys, helpers.report; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=course.root()).returncode == 0


def test_names_are_those_of_the_recipes():
    from helpers import recipes

    assert set(report_records.TRIALS) == set(recipes.tuning())
    assert set(report_records.REMEDIES) == set(recipes.remedies())
    assert set(report_records.FAMILIES) == set(recipes.augmentations())
    expected = {*report_records.MODELS, *report_records.SUBSET_OF_NETWORK.values()}
    assert expected <= set(recipes.catalogue())


# Where a digit may stand in report.typ.
ALLOWED = (
    r"@[\w-]+",  # references
    r"(?m)^\s*//.*$",  # comments
    r"#quoted\[[^\]]*\]",
    r'(?:value|interval|images|verdict|fact|data-table|chart)\(\s*"[^"]*"',  # names of records
    r"columns: (?:\([^\n]*\)|auto)",  # layout
    r"left-columns: \([^)]*\)",
    r"size: [\d.]+pt",
    r"\$[^$]*\$",  # equations
    r"(?:EfficientNetB0|EfficientNet-Lite0|MobileNetV3(?:-Small)?|CNN~[12]|DeepCONV2D|macro F1)",
    r"DepthwiseConv2D|\bL2\b|seed 0|Adam at 1e-4",
    r"95~% interval|5~% level",
)


def _literal_numbers(text):
    for pattern in ALLOWED:
        text = re.sub(pattern, "", text)
    return [line.strip() for line in text.splitlines() if re.search(r"\d", line)]


def test_no_number_is_written_by_hand():
    text = (course.root() / "report" / "report.typ").read_text()
    assert _literal_numbers(text) == []
    assert _literal_numbers(text.replace("= Results", "It is right on 97.4 % of them.")) != []


def test_values_in_the_text_are_required_records():
    text = (course.root() / "report" / "report.typ").read_text()
    runs = report_records._required({"missing": {}})
    keys = re.findall(r'(?:value|interval|images)\("([^"]+)"\)', text)
    assert keys
    for key in keys:
        run, images, _ = key.split("/")
        assert images in runs[run]


def test_differences_over_seeds_are_judged_by_their_interval():
    rng = np.random.default_rng(0)
    right = rng.random((3, 400)) < 0.7
    better = right | (rng.random((3, 400)) < 0.5)
    assert report_paired.accuracy_difference(better, right).verdict == "better"
    assert report_paired.accuracy_difference(right, better).verdict == "worse"
    shuffled = rng.permuted(right, axis=1)
    found = report_paired.accuracy_difference(right, shuffled)
    assert found.verdict == "could be chance"
    assert found.value == pytest.approx(0, abs=1e-9)


def test_macro_f1_of_seeds_is_the_mean_of_each():
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 8
    predicted = np.where(rng.random((3, 200)) < 0.8, labels, rng.integers(0, 8, (3, 200)))
    each = [evaluation.macro_f1(labels, np.eye(8)[p], resamples=1).value for p in predicted]
    resampled = report_paired.macro_f1(labels, predicted, 8)
    assert resampled[0] == pytest.approx(np.mean(each), abs=1e-6)
    assert np.abs(resampled[1:].mean() - np.mean(each)) < 0.02


def test_the_reports_two_accuracies_are_two_images_apart():
    found = report_facts._reported()
    assert found["reported images apart"] == "two images"
    assert found["reported chance"] == "could be chance"
