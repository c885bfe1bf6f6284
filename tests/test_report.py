"""From records to the report: complete, repeatable, and without a number written by hand."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typst
from PIL import Image

from commands.report import build as report
from commands.report import figures, tables, verdicts
from helpers import course
from helpers.data.photographs import CLASS_NAMES, IMAGE_SIZE, ImageSet, Source
from helpers.data.sets import CourseData
from helpers.evaluation import metrics, records
from helpers.training import recipes

COUNT = 320
DEVICE = "a processor, 2 cores"
COSTS = {"parameters": 3.4e6, "multiply_adds": 7e7, "training_ms": 9.44, "inference_ms": 2.5}
STORED = ("validation", "shifted_validation", "test", "shifted_test", "second_acquisition")


def stand_in(folder):
    """Fill a folder with the report's sources, and with invented records and logits."""
    (folder / "figures").mkdir()
    for name in report.SOURCES:
        shutil.copy(course.root() / "report" / name, folder / name)
    shutil.copy(course.root() / "report" / "evaluation_sets.json", folder)
    rng = np.random.default_rng(0)
    labels = {name: rng.permutation(np.arange(COUNT) % len(CLASS_NAMES)) for name in STORED}
    (folder / "predictions").mkdir()
    np.savez_compressed(folder / "predictions" / "labels.npz", **labels)
    networks = dict.fromkeys(recipes.SUBSET_OF_NETWORK, COSTS)
    reason = (
        "Its ImageNet weights can't be had here: no mirror holds weights/Name_notop.weights.h5."
    )
    missing = {"resnet50": reason, "densenet121": reason, "efficientnet_b4": reason}
    costs = {"networks": networks, "missing": missing, "device": DEVICE}
    (folder / "costs.json").write_text(json.dumps(costs))
    entries = []
    runs = report.required({"missing": missing})
    runs |= {f"{recipes.SEARCH}{name}-seed0": tables.CHOOSING_SETS for name in "ab"}
    for place, (run, sets) in enumerate(runs.items()):
        entries += _run(folder, run, sets, labels, np.random.default_rng(place))
    (folder / "results.json").write_text(json.dumps(entries))
    return folder


def _run(folder, run, sets, labels, rng):
    logits, entries = {}, []
    for name in sets:
        truth = labels.get(name, labels["test"])
        fraction = (
            rng.uniform(0.93, 0.98) if name in ("validation", "test") else rng.uniform(0.5, 0.8)
        )
        fraction = 0.1 if run.startswith("tuning_adam_1e-3") else fraction
        predicted = np.where(rng.random(COUNT) < fraction, truth, rng.integers(0, 8, COUNT))
        scores = np.eye(8)[predicted].astype(np.float16)
        entries.append(_record(f"{run}/{name}/accuracy", metrics.accuracy(truth, scores)))
        if name in labels:
            logits[name] = scores
    np.savez_compressed(folder / "predictions" / f"{run}.npz", **logits)
    return entries


def _record(key, estimate):
    details = {"seconds": 1500.0, "epochs": 15, "best_epoch": 12, "stopped_by": "time"}
    interval = [estimate.low, estimate.high]
    value = {"key": key, "value": estimate.value, "interval": interval, "n": estimate.n}
    return {**value, **details, "train_images": 10449, "device": DEVICE}


def build(folder):
    return report.build(report.load(folder), folder)


def forget(folder, *beginnings):
    """Delete the records whose keys begin so."""
    path = folder / "results.json"
    entries = [e for e in json.loads(path.read_text()) if not e["key"].startswith(beginnings)]
    path.write_text(json.dumps(entries))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = stand_in(tmp_path_factory.mktemp("report"))
    written = build(folder)
    return folder, {path.relative_to(folder): path.read_bytes() for path in written}


def _copy(built, tmp_path):
    return shutil.copytree(built[0], tmp_path / "report")


def test_two_builds_have_the_same_bytes(built, tmp_path):
    again = _copy(built, tmp_path)
    written = build(again)
    assert {path.relative_to(again): path.read_bytes() for path in written} == built[1]
    assert {path.suffix for path in written} == {".pdf", ".svg", ".csv", ".tex", ".md", ".json"}


def test_a_changed_record_changes_table_and_pdf(built, tmp_path):
    folder = _copy(built, tmp_path)
    path = folder / "results.json"
    entries = json.loads(path.read_text())
    entry = next(e for e in entries if e["key"] == "fine_tuned-seed0/test/accuracy")
    entry["value"], entry["interval"] = 0.123, [0.1, 0.2]
    path.write_text(json.dumps(entries))
    build(folder)
    assert "12.3" in (folder / "tables" / "report_table1.md").read_text()
    for name in ("report.pdf", "tables/report_table1.tex", "tables/report_table1.csv"):
        assert (folder / name).read_bytes() != (built[0] / name).read_bytes()


def test_missing_records_are_all_named_and_nothing_is_written(built, tmp_path):
    folder = _copy(built, tmp_path)
    needed = ("fine_tuned_mild-seed0/test/", "subset_layers-seed2/", "small_cnn-seed2/")
    needed = (*needed, "final-seed0/unseen_only/")
    forget(folder, *needed, "fine_tuned-seed0/medmnist_c/", "vgg_like", "tuning")
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    with pytest.raises(course.CourseError) as raised:
        build(folder)
    sentence = str(raised.value)
    assert "fine_tuned_mild-seed0/test/accuracy" in sentence
    assert "train run fine_tuned_mild --seeds 0`" in sentence
    assert "train run small_cnn subset_layers --seeds 2`" in sentence
    assert "helpers train robustness fine_tuned --seeds 0`" in sentence
    assert "helpers train unseen final --seeds 0`" in sentence
    assert "vgg_like" not in sentence
    assert "tuning" not in sentence
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before


def test_without_the_optional_runs_the_report_says_what_is_not_measured(built, tmp_path):
    folder = _copy(built, tmp_path)
    forget(folder, *report.OPTIONAL)
    build(folder)
    numbers = json.loads((folder / "numbers.json").read_text())
    found = numbers["tables"]
    (row,) = [row for row in found["report_table1"]["rows"] if row[0] == "CNN 2"]
    assert set(row[1:]) == {tables.NONE}
    assert "run vgg_like --seeds 0`" in found["report_table1"]["note"]
    assert "helpers train robustness vgg_like --seeds 0`" in found["report_table1"]["note"]
    compared = [row for row in found["report_table2"]["rows"] if "CNN 2" in row[0]]
    assert {cell for row in compared for cell in row[1:]} == {tables.NONE}
    assert len(found["report_table4"]["rows"]) == len(recipes.TRIALS)
    assert {cell for row in found["report_table4"]["rows"] for cell in row[1:]} == {tables.NONE}
    assert "run NAME --seeds 0 1 2`" in found["report_table4"]["note"]
    assert found["report_table6"]["note"] == ""
    assert numbers["left out"] == ["CNN 2"]
    assert numbers["setting"]["CNN 2 stopped by"] == ""
    unmeasured = ("tuning", "Lion", "search")
    assert [numbers[group] for group in unmeasured] == [None, None, None]
    assert numbers["pairs"]["vgg_like/small_cnn/shifted_test"] is None
    judged = {claim: found["verdict"] for claim, found in numbers["claims"].items()}
    assert judged["frozen MobileNetV3"] == verdicts.LATER
    assert judged["Lion"] == verdicts.LATER
    assert judged["fine-tuning"] != verdicts.LATER
    note = (folder / "tables" / "report_table1.tex").read_text().splitlines()[-1]
    assert r"\texttt{COURSE\_PROFILE=full python -m helpers train run vgg\_like" in note


def test_one_missing_seed_or_image_set_leaves_the_rest(built, tmp_path):
    folder = _copy(built, tmp_path)
    forget(folder, "tuning_lion_1e-4-seed2/", "vgg_like-seed0/medmnist_c/")
    loaded = report.load(folder)
    text = report.missing(loaded)
    assert "run tuning_lion_1e-4 --seeds 2\n" in text
    assert text.endswith("helpers train robustness vgg_like --seeds 0")
    (row,) = [row for row in tables.models(loaded).as_json()["rows"] if row[0] == "CNN 2"]
    assert [place for place, cell in enumerate(row) if cell == tables.NONE] == [7, 8, 9]
    rows = {row[0]: set(row[1:]) for row in tables.tuning(loaded).as_json()["rows"]}
    assert [trial for trial, cells in rows.items() if cells == {tables.NONE}] == ["Lion at 1e-4"]
    judged = verdicts.numbers(loaded)["claims"]
    assert judged["Lion"]["verdict"] == verdicts.LATER
    assert judged["settings on the test"]["verdict"] != verdicts.LATER


def test_the_best_of_the_search_stands_beside_the_reference(built):
    loaded = report.load(built[0])
    best, other = (loaded.estimate(n, "shifted_validation").value for n in loaded.searched())
    assert best >= other
    search = json.loads(built[1][Path("numbers.json")])["search"]
    assert (search["trials"], search["best"]) == ("2", tables.percent(best))


def test_a_complete_report_says_that_no_run_is_missing(built):
    assert report.missing(report.load(built[0])) == "No run is missing."
    assert b"not measured yet" not in built[1][Path("numbers.json")]


@pytest.mark.parametrize("broken", ["disk full", "stopped"])
@pytest.mark.parametrize("at", range(1, 9))
def test_a_report_that_cannot_be_put_in_place_leaves_the_old_one(tmp_path, monkeypatch, broken, at):
    """Eight steps: three files are copied, two moved away, and three moved to their place."""
    new = {}
    for folder in ("report", "work"):
        (tmp_path / folder).mkdir()
    for name in ("numbers.json", "report.pdf", "table.csv"):
        new[tmp_path / "report" / name] = tmp_path / "work" / name
        (tmp_path / "work" / name).write_text(f"new {name}")
        if name != "table.csv":
            (tmp_path / "report" / name).write_text(f"old {name}")
    before = {p: p.read_text() for p in (tmp_path / "report").iterdir()}
    error = {"disk full": OSError(28, "No space left on device"), "stopped": KeyboardInterrupt()}
    calls = iter(range(1, 100))

    def failing(function):
        def call(*arguments):
            if next(calls) == at:
                raise error[broken]
            return function(*arguments)

        return call

    monkeypatch.setattr(shutil, "copyfile", failing(shutil.copyfile))
    monkeypatch.setattr(Path, "replace", failing(Path.replace))
    expected = course.CourseError if broken == "disk full" else KeyboardInterrupt
    with pytest.raises(expected, match="the old one was kept" if broken == "disk full" else None):
        report._put_in_place(new)
    assert {p: p.read_text() for p in (tmp_path / "report").iterdir()} == before
    report._put_in_place(new)
    assert {p.read_text() for p in (tmp_path / "report").iterdir()} == {
        f"new {p.name}" for p in new
    }


@pytest.mark.parametrize("name", ["costs.json", "evaluation_sets.json"])
@pytest.mark.parametrize("content", ["{}", "null", "[]", "{", '{"networks": 1}', None])
def test_a_damaged_file_is_one_sentence(built, tmp_path, name, content):
    folder = _copy(built, tmp_path)
    (folder / name).unlink()
    if content is None:
        (folder / name).mkdir()
    else:
        (folder / name).write_text(content)
    with pytest.raises(course.CourseError, match=rf"{re.escape(name)} .*restore it from git, or"):
        report.load(folder)


def test_a_source_that_typst_does_not_understand_is_one_sentence(built, tmp_path):
    folder = _copy(built, tmp_path)
    (folder / "report.typ").write_text("#nothing-of-this-name")
    with pytest.raises(course.CourseError, match="could not be typeset"):
        build(folder)


@pytest.mark.parametrize("name", ["costs.json", "predictions/labels.npz", "report.typ"])
def test_a_missing_file_is_named(built, tmp_path, name):
    folder = _copy(built, tmp_path)
    (folder / name).unlink()
    with pytest.raises(course.CourseError, match=re.escape(name.split("/")[-1])):
        build(folder)


def test_logits_that_do_not_fit_the_labels_are_named(built, tmp_path):
    folder = _copy(built, tmp_path)
    path = folder / "predictions" / "fine_tuned-seed0.npz"
    with np.load(path) as stored:
        shorter = {name: stored[name][:-1] for name in stored}
    np.savez_compressed(path, **shorter)
    with pytest.raises(course.CourseError, match=r"fine_tuned-seed0/test.*run fine_tuned --seeds"):
        build(folder)


def test_no_tensorflow_is_needed():
    code = "import sys, commands.report.build; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=course.root()).returncode == 0


# Where a digit may stand in report.typ.
ALLOWED = (
    r"@[\w-]+",  # references
    r"(?m)^\s*//.*$",  # comments
    r"#quoted\[[^\]]*\]",
    r"- 1\)",  # the place of a word in a list
    r'"[^"\n]*"',  # names of records and numbers
    r"columns: (?:\([^\n]*\)|auto)",  # layout
    r"left-columns: \([^)]*\)",
    r"size: [\d.]+pt",
    r"\$[^$]*\$",  # equations
    r"width: \d+%|\) < 1 \[",
    r"EfficientNetB[04]|ResNet50|DenseNet121|EfficientNetV2",
    r"(?:EfficientNet-Lite0|MobileNetV3(?:-Small)?|CNN~[12]|DeepCONV2D|macro F1)",
    r"DepthwiseConv2D|\bL2\b|seed 0|Adam at 1e-3|CC BY 4\.0",
    r"95~% interval|\b95~%|5~% level",
)


def _literal_numbers(text):
    for pattern in ALLOWED:
        text = re.sub(pattern, "", text)
    return [line.strip() for line in text.splitlines() if re.search(r"\d", line)]


def test_no_number_is_written_by_hand():
    text = (course.root() / "report" / "report.typ").read_text()
    assert _literal_numbers(text) == []
    assert _literal_numbers(text.replace("= Results", "It names 97.4 % of them.")) != []


def test_values_in_the_text_are_required_records():
    text = (course.root() / "report" / "report.typ").read_text()
    runs = report.required({"missing": {}})
    keys = re.findall(r'(?:value|interval|images)\("([^"]+)"\)', text)
    assert keys
    pairs = re.findall(r'(?:gain|shifted|compare)\([^"()]*"(\w[^"]+)"', text)
    assert len(pairs) > 8
    assert {tuple(pair.split("/")[:2]) for pair in pairs} <= set(tables.PAIRS)
    for key in keys:
        run, images, _ = key.split("/")
        assert images in runs[run]


def test_the_reports_two_accuracies_are_two_images_apart():
    found = verdicts._homework()
    assert (found["images apart"], found["least p"]) == ("2", "0.5")


def test_a_step_more_changes_no_sentence_but_its_numbers(built, tmp_path, monkeypatch):
    folder = _copy(built, tmp_path)
    steps = dict(recipes.ABLATION)
    last = {"final": steps.pop("final")}
    monkeypatch.setattr(recipes, "ABLATION", {**steps, "ladder_averaged": "one more", **last})
    for module in (tables, verdicts, figures, report):
        monkeypatch.setattr(module, "ABLATION", recipes.ABLATION)
    labels = {name: records.Records(folder).labels(name) for name in STORED}
    sets = (*tables.PAIRED_SETS, "shifted_validation", "medmnist_c")
    rng = np.random.default_rng(99)
    path = folder / "results.json"
    entries = json.loads(path.read_text()) + _run(
        folder, "ladder_averaged-seed0", sets, labels, rng
    )
    path.write_text(json.dumps(entries))
    build(folder)
    found = json.loads((folder / "numbers.json").read_text())["tables"]["report_table5"]["rows"]
    assert [row[0] for row in found] == list(recipes.ABLATION.values())[1:]
    before = json.loads(built[1][Path("numbers.json")])["tables"]["report_table5"]["rows"]
    assert len(found) == len(before) + 1


def test_a_step_names_all_that_it_changes():
    plain = recipes.find("fine_tuned")
    changed = plain.variant("x", offline="rand_augment", learning_rate=1e-3, patience=None)
    words = ["RandAugment's copies", "rate 1e-3", "no early stopping"]
    assert tables.changes(plain, changed) == words
    with pytest.raises(KeyError, match="dropout"):
        tables.changes(plain, plain.variant("x", dropout=0.5))


def test_the_intervals_of_one_table_hold_together(built):
    loaded = report.load(built[0])
    pair = ("fine_tuned_rand_augment", "fine_tuned", "shifted_test")
    alone = tables.difference(loaded, *pair)
    together = tables.difference(loaded, *pair, family="models")
    assert together.value == alone.value
    assert together.low < alone.low < alone.high < together.high


@pytest.mark.parametrize(
    ("low", "expected", "verdict"),
    [
        (0.1, 1, "reproduced"),
        (-0.1, 1, "cannot be told"),
        (-0.5, 1, "not reproduced"),
        (-0.5, -1, "reproduced"),
        (0.1, -1, "not reproduced"),
    ],
)
def test_a_claimed_difference_is_reproduced_open_or_not(low, expected, verdict):
    found = metrics.Difference(low + 0.15, low, low + 0.3)
    assert verdicts._word(found, expected) == verdict


def _floats():
    """Return what template.typ says of the committed report's floats."""
    folder = course.root() / "report"
    (found,) = json.loads(
        typst.query(
            folder / "report.typ", "<floats>", root=folder, field="value", ignore_system_fonts=True
        )
    )
    return found


def test_floats_stand_in_the_order_of_their_first_mention():
    found = _floats()
    for kind in ("image", "table"):
        placed = [each for each in found["placed"] if each["kind"] == kind]
        mentioned = list(dict.fromkeys(found["mentioned"]))
        names = [each["name"] for each in placed]
        assert names == [name for name in mentioned if name in names]
    assert len(found["placed"]) >= 12


def test_the_last_page_is_full():
    end = _floats()["end"]
    assert end["x"] > 0.5, "it ends in the left column"
    assert end["y"] > 0.6


def _course_data(folder):
    """Return test and shifted test of noise, with the digests that the records name."""
    rng = np.random.default_rng(5)
    labels = np.repeat(np.arange(8), 2)[::-1].copy()
    shape = (16, IMAGE_SIZE, IMAGE_SIZE, 3)
    sets = {n: ImageSet(rng.integers(0, 256, shape, np.uint8), labels) for n in report.EXAMPLE_SETS}
    digests = {"sets": {name: {"sha256": records.digest(sets[name])} for name in sets}}
    (folder / "evaluation_sets.json").write_text(json.dumps(digests))
    source = Source("synthetic", "synthetic cells", False, "0")
    return CourseData(sets, CLASS_NAMES, source, course.PROFILES["quick"], "abc")


def test_the_examples_are_the_first_image_of_each_class(tmp_path):
    (tmp_path / "figures").mkdir()
    data = _course_data(tmp_path)
    with Image.open(report.write_examples(data, tmp_path)) as picture:
        strip = np.asarray(picture)
    assert strip.shape == (2 * IMAGE_SIZE, 8 * IMAGE_SIZE, 3)
    # Labels fall from 7 to 0, two images each: class 0 begins at row 14.
    np.testing.assert_array_equal(strip[:96, :96], data["test"].images[14])
    np.testing.assert_array_equal(strip[96:, -96:], data["shifted_test"].images[0])


def test_other_images_than_those_of_the_records_are_no_examples(tmp_path):
    data = _course_data(tmp_path)
    data["shifted_test"].images[3, 0, 0] ^= 1
    with pytest.raises(course.CourseError, match="images of shifted_test from"):
        report.write_examples(data, tmp_path)
    assert not (tmp_path / "figures").exists()


def test_the_paper_about_the_course_has_its_sections_and_sources():
    """The format of the Journal of Open Source Education: at most 1,000 words."""
    text = (course.root() / "report" / "jose" / "paper.md").read_text(encoding="utf-8")
    sources = (course.root() / "report" / "references.bib").read_text(encoding="utf-8")
    cited = set(re.findall(r"@(\w+)", text.split("---", 2)[2]))
    assert cited
    assert cited <= set(re.findall(r"^@\w+\{(\w+),", sources, re.MULTILINE))
    sections = re.findall(r"^# (.*)$", text, re.MULTILINE)
    wanted = ["Summary", "Statement of need", "Learning objectives", "Content"]
    assert [name for name in sections if name in wanted] == wanted
    assert sections[-1] == "References"
    assert len(text.split()) <= 1000
