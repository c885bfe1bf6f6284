"""Scoring at home: right numbers for a good zip, one sentence for a bad one, nothing leaks in."""

import errno
import importlib.util
import io
import itertools
import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
import zipfile
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
import pytest

from commands import isolated, score
from helpers import course
from helpers.course import CourseError
from helpers.data import reading
from helpers.data.photographs import CLASS_NAMES, ImageSet, Source
from helpers.data.sets import CourseData

SOURCE = Source("synthetic", "synthetic cells", False, "0")
# Each image of these sets holds its class in its first pixel.
READS_PIXEL = "return X[:, 0, 0, 0].astype(int)"


def image_set(labels) -> ImageSet:
    labels = np.asarray(labels)
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 96, 96, 3), dtype=np.uint8)
    images[:, 0, 0, 0] = labels
    return ImageSet(images, labels)


@pytest.fixture(scope="module")
def data():
    sets = {
        "train": image_set([0]),
        "test": image_set(np.arange(16) % 8),
        "shifted_test": image_set(np.arange(16) % 8),
        # No platelets, as in the real second acquisition.
        "second_acquisition": image_set(np.arange(7)),
    }
    source = Source("synthetic", "synthetic cells", False, "0")
    return CourseData(sets, CLASS_NAMES, source, course.PROFILES["quick"], "fingerprint")


def model(predict: str, init: str = "pass", top: str = "") -> str:
    return (
        f"import numpy as np\n{top}\nclass Model:\n    def __init__(self):\n        {init}\n"
        f"    def predict(self, X):\n        {predict}\n"
    )


def zipped(tmp_path, members: dict):
    path = tmp_path / "submission.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def submission(tmp_path, predict: str, **parts: str):
    return zipped(tmp_path, {"model.py": model(predict, **parts)})


def test_a_good_submission_is_scored_set_by_set(tmp_path, data):
    # Wrong for basophils only: it calls them eosinophils.
    path = submission(tmp_path, "print('busy\\n' * 3); return np.maximum(X[:, 0, 0, 0], 1)")
    result = score.score(path, data)
    assert list(result.classes) == ["test", "shifted_test", "second_acquisition"]
    assert result.changed == 0
    assert result.checked == 16 + 8
    text = score.report(result, data)
    assert "clean test          87.5% (95 % interval" in text
    assert "second acquisition  85.7% (95 % interval" in text
    recall = score.recalls(result, data)
    assert recall.loc["basophil"].tolist() == [0, 0, 0]
    assert recall.loc["eosinophil"].tolist() == [1, 1, 1]
    assert recall.loc["platelet"].isna().tolist() == [False, False, True]
    assert "not the competition's" in text
    assert "synthetic cells, profile quick" in text
    # Three lines and an empty one, for each of 2 parts, 2 first batches and 8 single images.
    assert "It printed 48 lines" in text
    assert "docs/leaderboard.md" in text
    assert "Only a part" not in text
    assert "in the zip's folder" not in text


def test_the_place_beside_the_public_ladder():
    lines = score.standing(95.0).splitlines()
    assert lines[2] == "->  95.00  YOURS, on our shifted test"
    assert len(lines) == len(score.LEADERBOARD) + 1
    assert lines[1].split()[0] == "96.05"
    assert lines[3].split()[0] == "94.00"
    assert score.standing(99.0).splitlines()[0].startswith("->")
    assert score.standing(10.0).splitlines()[-1].startswith("->")


def test_a_model_that_looks_at_its_batch_is_told_on(tmp_path, data):
    result = score.score(
        submission(tmp_path, "return np.full(len(X), len(X) > 1).astype(int)"), data
    )
    # Those that come alone; the others come again in a batch.
    assert result.changed == 8
    assert "WARNING" in score.report(result, data)


def sorted_by_class(count: int) -> CourseData:
    """Return sets as a mirror gives them: by class, each pixel but the first random."""
    names = ("test", "shifted_test", "second_acquisition")
    sets = {name: image_set(np.arange(8).repeat(count // 8)) for name in names}
    return CourseData(sets, CLASS_NAMES, SOURCE, course.PROFILES["quick"], "fingerprint")


def test_the_place_of_an_image_tells_nothing(tmp_path):
    data = sorted_by_class(240)
    guess = "return np.arange(len(X)) * 8 // len(X)"
    result = score.score(submission(tmp_path, guess), data)
    for name, classes in result.classes.items():
        assert (classes == data[name].labels).mean() < 0.25, name


def test_every_call_is_mixed_and_every_image_counts_once():
    lengths = [300, 300, 60]
    calls = score._calls(660, 1, lengths)
    assert sorted(np.concatenate([rows[counts] for rows, counts in calls])) == list(range(660))
    again = np.concatenate([rows[~counts] for rows, counts in calls])
    assert len(again) == sum(score.FIRST) + score.ALONE
    assert ((again >= 300) & (again < 600)).all()
    assert [len(rows) for rows, _ in calls[:3]] == [8, 8, 32]
    assert not np.concatenate([counts for _, counts in calls[:3]]).any()
    large = [rows for rows, counts in calls if counts.any()]
    assert len(large) == 2
    for rows in large:
        # Shares of the three sets, as in the whole.
        shares = np.histogram(rows, [0, 300, 600, 660])[0] / len(rows)
        np.testing.assert_allclose(shares, [0.45, 0.45, 0.1], atol=0.15)
        assert abs(np.corrcoef(np.arange(len(rows)), rows)[0, 1]) < 0.25
    other, again = (
        np.concatenate([rows for rows, _ in score._calls(660, 1, lengths)]) for _ in "ab"
    )
    assert (other != again).any()


def test_a_model_that_normalises_over_its_batch_is_judged_fairly(tmp_path):
    data = sorted_by_class(240)
    # Right only where a batch holds the classes evenly.
    normalise = (
        "first = X[:, 0, 0, 0].astype(float); "
        "return np.clip(np.round((first - first.mean()) + 3.5), 0, 7).astype(int)"
    )
    result = score.score(submission(tmp_path, normalise), data)
    for name, classes in result.classes.items():
        assert (classes == data[name].labels).mean() > 0.9, name


ANSWERS = {
    "one too few": ("return np.zeros(len(X) - 1, int)", r"has shape \(\d+,\) for \d+ images"),
    "a column": ("return np.zeros((len(X), 1), int)", r"has shape \(\d+, 1\) for \d+ images"),
    "logits": ("return np.zeros((len(X), 8))", r"shape \(\d+, 8\) .* its argmax\(axis=1\)"),
    "nothing": ("pass", r"is no array of numbers \(ValueError: Object arrays"),
    "words": ("return ['platelet'] * len(X)", "has dtype <U8"),
    "floats": ("return X[:, 0, 0, 0] / 1", "has dtype float64"),
    "label 8": ("return np.full(len(X), 8)", "holds labels from 8 to 8"),
    "label -1": ("return np.full(len(X), -1)", "holds labels from -1 to -1"),
}

CRASHES = {
    "import": (
        model("pass", top="import nothing_like_it"),
        "needs the package 'nothing_like_it'",
    ),
    "syntax": ("class Model", "fails when it is imported (SyntaxError: expected ':' (model.py"),
    "no class": ("Model = 1", "has no class Model (TypeError: its classes: none); mend"),
    "lower case": ("class model: pass", "has no class Model (TypeError: its classes: model); mend"),
    "a path": (
        "class Model:\n    def __init__(self, path): pass",
        "Model() fails (TypeError: Model.__init__() missing 1 required positional argument: 'path'",
    ),
    "init": (model("pass", init="open('weights.keras')"), "Model() fails (FileNotFoundError: "),
    "predict": (model("1 / 0"), "Model.predict fails (ZeroDivisionError: division by zero (mod"),
    "its line": (model("1 / 0"), "(model.py, line 7)"),
    "escape code": (model("raise ValueError('\\x1b[2J')"), "ValueError: \\x1b[2J"),
    "exit": (model("raise SystemExit(0)"), "Model.predict fails (SystemExit: 0"),
    "hard exit": (model("import os; os._exit(0)"), "ended its own process too early"),
    "abort": (model("import os; os.abort()"), "ended its own process (signal 6"),
    "memory": (model("return np.ones(2**30)"), "needs more than 1 GB of memory"),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_wrong_answers_get_one_sentence(tmp_path, data, case):
    predict, expected = ANSWERS[case]
    with pytest.raises(CourseError, match=f"^submission.zip: .*{expected}"):
        score.score(submission(tmp_path, predict), data)


@pytest.mark.parametrize("case", CRASHES)
@pytest.mark.skipif(sys.platform == "win32", reason="no signals, no memory limit")
def test_crashes_get_one_sentence(tmp_path, case):
    source, expected = CRASHES[case]
    with pytest.raises(CourseError) as error:
        run(zipped(tmp_path, {"model.py": source}), gigabytes=1)
    assert expected in str(error.value)
    assert str(error.value).isprintable()


def run(path, minutes=1.0, gigabytes=6.0) -> isolated.Answer:
    return isolated.predict(path, [image_set([3]).images], minutes, gigabytes)


def test_what_hangs_is_stopped_with_all_it_started(tmp_path):
    mark = f"time.sleep(600)  # {tmp_path}"
    hang = (
        "import subprocess, sys; "
        f"subprocess.Popen([sys.executable, '-c', 'import time; ' + {mark!r}]).wait()"
    )
    with pytest.raises(CourseError, match=r"submission.zip was stopped after 0.06 minutes"):
        run(submission(tmp_path, hang), minutes=0.06)
    if sys.platform == "linux":
        time.sleep(0.2)
        lines = {path.parent: read(path) for path in Path("/proc").glob("[0-9]*/cmdline")}
        started = [folder for folder, line in lines.items() if mark.encode() in line]
        assert not [folder for folder in started if is_running(folder / "stat")]


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def is_running(status: str | Path) -> bool:
    try:
        with open(status) as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_thread_left_behind_holds_nothing_up(tmp_path):
    thread = "import threading, time; threading.Thread(target=time.sleep, args=(600,)).start()"
    answer = run(submission(tmp_path, READS_PIXEL, init=thread), minutes=0.5)
    assert answer.classes[0].tolist() == [3]


def test_nothing_of_this_repository_or_its_settings_is_handed_on(tmp_path, monkeypatch):
    for name in ("HTTPS_PROXY", "http_proxy", "BLOODCELLS_MIRROR", "SECRET_TOKEN", "PYTHONPATH"):
        monkeypatch.setenv(name, str(course.root()))
    tell = (
        "import os, sys, json; "
        "told = [dict(os.environ), sys.path, os.getcwd(), sys.argv, sys.flags.no_site]; "
        "return np.frombuffer(json.dumps(told).encode(), np.uint8)"
    )
    told = run(submission(tmp_path, tell)).classes[0].tobytes()
    environment, path, folder, arguments, without_pth_files = json.loads(told)
    own = {"HOME", "USERPROFILE", "TMPDIR", "TEMP", "TMP"}
    # LC_CTYPE is Python's own doing where no locale is set.
    assert set(environment) <= {*isolated.HANDED_ON, *own, "LC_CTYPE"}
    assert environment["HOME"].startswith(str(path[0]).removesuffix("submission"))
    assert str(course.root()) not in path
    # A .pth file puts an editable installation on the path, or in the place of the path.
    assert without_pth_files
    assert folder == path[0]
    assert arguments == ["model.py"]


def test_the_courses_helpers_cannot_be_imported_but_ones_own_can(tmp_path, monkeypatch):
    installed = [str(course.root()), *isolated._libraries()]
    monkeypatch.setattr(isolated, "_libraries", lambda: installed)
    with pytest.raises(CourseError, match=r"ModuleNotFoundError|needs the package 'helpers'"):
        run(submission(tmp_path, READS_PIXEL, top="import helpers"))
    own = {
        "model.py": model("return classes_of(X)", top="from helpers import classes_of"),
        "helpers.py": "def classes_of(X):\n    return X[:, 0, 0, 0]\n",
    }
    assert run(zipped(tmp_path, own)).classes[0].tolist() == [3]


def test_prediction_files_are_never_unpickled(tmp_path):
    # In the place of the array that the script would write.
    forge = (
        "import atexit, os, pathlib; save = np.save; "
        "np.save = lambda path, a, **k: save(path, np.array([print]), allow_pickle=True); "
        "return X[:, 0, 0, 0]"
    )
    with pytest.raises(CourseError, match="no array of numbers"):
        run(submission(tmp_path, forge))


def member(name: str, mode: int = 0o100644, flags: int = 0) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr, info.flag_bits = mode << 16, flags
    return info


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"../evil.py": ""}, "'../evil.py' in submission.zip has a path that leads out"),
        ({"a/../../evil.py": ""}, "has a path that leads out"),
        ({"/etc/evil": ""}, "has a path that leads out"),
        ({"C:/evil": ""}, "has a path that leads out"),
        ({"a\\..\\evil": ""}, "has a path that leads out"),
        ({"model.py": "", "MODEL.py": ""}, "'MODEL.py' in submission.zip comes twice"),
        ({member("link", stat.S_IFLNK | 0o777): "/etc"}, "is a link or no plain file"),
        ({member("pipe", stat.S_IFIFO | 0o644): ""}, "is a link or no plain file"),
        ({str(i): "" for i in range(1001)}, "holds 1,001 files, more than 1,000"),
        ({"model.py": b"\0" * 2_000_000}, "would unpack to more than 500 times its size"),
        ({"weights": "", "weights/a": "a" * 9}, "is no zip that can be unpacked"),
        ({"weights.npy": ""}, "should hold one model.py and holds none: zip it again"),
        ({"a/model.py": "", "b/model.py": ""}, "one model.py and holds 2, but none at its top"),
    ],
)
def test_archives_that_are_refused(tmp_path, members, expected):
    with pytest.raises(CourseError) as error:
        run(zipped(tmp_path, members))
    assert expected in str(error.value)
    assert not list(tmp_path.parent.rglob("evil*"))


def test_more_than_two_gigabytes_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MAX_SUBMISSION_BYTES", 100)
    with pytest.raises(CourseError, match=r"would unpack to 0\.0 GB"):
        run(submission(tmp_path, READS_PIXEL))


def test_files_that_are_no_whole_zip_are_refused(tmp_path):
    path = submission(tmp_path, READS_PIXEL)
    content = path.read_bytes()
    start = content.index(b"model.py") + len("model.py")
    damaged = content[:start] + b"\xff" * 20 + content[start + 20 :]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("model.py", bytes(range(256)) * 20)
    lzma = bytearray(packed.getvalue())
    lzma[60:120] = b"\xff" * 60
    for broken in (b"model", content[:-30], damaged, bytes(lzma)):
        path.write_bytes(broken)
        with pytest.raises(CourseError, match="is no zip that can be unpacked"):
            run(path)
    with pytest.raises(CourseError, match="is not there"):
        run(tmp_path / "missing.zip")
    with pytest.raises(CourseError, match="is no zip that can be unpacked"):
        run(tmp_path)


def test_encrypted_members_are_refused(tmp_path):
    path = submission(tmp_path, READS_PIXEL)
    content = bytearray(path.read_bytes())
    # The first flag bit, in the central directory.
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(CourseError, match="is encrypted"):
        run(path)


def test_the_command_says_what_remains_and_the_score(tmp_path, data, monkeypatch, capsys):
    monkeypatch.setattr(score, "load_course_data", lambda: data)
    with pytest.raises(CourseError, match="division by zero"):
        score.main([str(submission(tmp_path, "1 / 0"))])
    score.main([str(submission(tmp_path, READS_PIXEL))])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Whoever runs a stranger's zip runs a stranger's program")
    assert any("YOURS, on our shifted test" in line for line in lines)


def test_a_wrong_path_or_limit_is_told_before_images_are_loaded(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(score, "load_course_data", lambda: pytest.fail("images were loaded"))
    with pytest.raises(CourseError, match="is not there"):
        score.main([str(tmp_path / "missing.zip")])
    with pytest.raises(CourseError, match="is a folder: name a submission's zip"):
        score.main([str(tmp_path)])
    path = str(submission(tmp_path, READS_PIXEL))
    wrong = {
        ("--minutes", "--gigabytes"): dict.fromkeys(
            ("nan", "-1", "0", "inf", "many"), "is no positive number: give one above 0"
        ),
        ("--images",): dict.fromkeys(("-1", "0", "7"), "is too few: give a whole number from 8")
        | dict.fromkeys(("nan", "12.5", "many"), "is no whole number: give one from 8"),
    }
    for options, faults in wrong.items():
        for option, (value, fault) in itertools.product(options, faults.items()):
            with pytest.raises(SystemExit) as ended:
                score.main([path, f"{option}={value}"])
            assert ended.value.code == 2
            assert f"{option}: {value} {fault}\n" in capsys.readouterr().err


def test_the_ladder_and_the_page_with_its_sources_are_one():
    page = (course.root() / "docs" / "leaderboard.md").read_text("utf-8").partition("\n## ")[0]
    rows = re.findall(r"^\| ([\d.]+) \| .* \| \[.+\]\(\S+\) \|$", page, re.MULTILINE)
    # The page has one row for the homework report, whose other networks stand in it.
    ladder = [p for name, p in score.LEADERBOARD if "report: the same" not in name and p != 42]
    assert [float(row) for row in rows] == ladder
    assert "frozen 42; the same with Lion 76" in page


# ---- What real teams hand in


def saved(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


LOADS = model("return self.classes[X[:, 0, 0, 0]]", init="self.classes = np.load('weights.npy')")
WEIGHTS = saved(np.arange(256) % 8)


def test_weights_are_found_by_their_relative_path(tmp_path, data):
    result = score.score(zipped(tmp_path, {"model.py": LOADS, "weights.npy": WEIGHTS}), data)
    assert (result.classes["test"] == data["test"].labels).all()
    with pytest.raises(CourseError) as error:
        run(zipped(tmp_path, {"model.py": LOADS, "first_attempt.npy": WEIGHTS}))
    assert "No such file or directory: 'weights.npy'" in str(error.value)
    assert "the zip holds first_attempt.npy, model.py)" in str(error.value)


def test_a_folder_around_the_files_is_looked_into_and_told(tmp_path, data):
    members = {"our team/model.py": LOADS, "our team/weights.npy": WEIGHTS}
    litter = {"__MACOSX/our team/model.py": "", "our team/.old/model.py": ""}
    result = score.score(zipped(tmp_path, {**members, **litter}), data)
    assert (result.classes["test"] == data["test"].labels).all()
    assert "Its model.py lies in the zip's folder our team; the" in score.report(result, data)


@pytest.mark.skipif(importlib.util.find_spec("cv2") is not None, reason="OpenCV is installed")
def test_opencv_is_named_as_pip_names_it(tmp_path):
    with pytest.raises(CourseError, match=r"lacks: .*\(pip install opencv-python-headless\)"):
        run(submission(tmp_path, "return cv2.resize(X[0], (224, 224))", top="import cv2"))


def test_random_views_are_scored_and_told_on(tmp_path, data):
    vote = "return (X[:, 0, 0, 0] + np.random.randint(0, 2, len(X))) % 8"
    result = score.score(submission(tmp_path, vote), data)
    assert result.changed
    assert "Random test-time augmentation does this" in score.report(result, data)


def test_one_call_an_image_is_timed_and_what_each_prints_put_aside(tmp_path, capsys):
    # Keras' predict prints a line a call.
    loop = (
        "def one(x): print('1/1 - 0s'); time.sleep(0.004); return x[0, 0, 0, 0]\n"
        "        return np.array([one(x[None]) for x in X])"
    )
    data = sorted_by_class(240)
    result = score.score(submission(tmp_path, loop, top="import time"), data)
    assert (result.classes["test"] == data["test"].labels).all()
    asked = 720 + sum(score.FIRST) + score.ALONE
    assert result.printed_lines == asked
    told = re.fullmatch(
        r"It takes about (\d+) seconds on this machine \((\S+) seconds an image\)\.\n",
        capsys.readouterr().out,
    )
    # Half of it at least, see score._pace.
    assert 0.002 <= float(told[2]) < 0.1
    assert float(told[1]) >= round(0.002 * asked)


def test_what_would_take_too_long_is_ended_at_once(tmp_path):
    slow = "time.sleep(0.15 * len(X)); return X[:, 0, 0, 0]"
    started = time.monotonic()
    with pytest.raises(CourseError) as error:
        score.score(submission(tmp_path, slow, top="import time"), sorted_by_class(240), minutes=1)
    assert time.monotonic() - started < 40
    assert re.match(
        r"submission.zip needs about 2 minutes on this machine \(0\.\d+ seconds an image\), and "
        r"may take 1 minutes: .* --minutes, .* --images 80 scores so many of each set in about",
        str(error.value),
    )


def test_a_call_s_own_costs_do_not_count_for_each_image():
    asked = [8, 8, 32, 1, 1863, 1868]
    # Three seconds a call and 0.1 an image.
    assert score._pace([20, 23.8], asked) is None
    assert score._pace([20, 23.8, 30], asked) == pytest.approx((3, 0.1))
    # Five seconds an image: the third call is not waited for.
    assert score._pace([60, 100], asked) == pytest.approx((0, 5))
    # Disturbed times, forged times, and too few images for three calls.
    assert score._pace([20, 26, 26.4], asked) == pytest.approx((0.2, 0.4 / 64))
    assert score._pace([20, 10, 5], asked) == (0, 0)
    assert score._pace([20, 21, 22], [8, 1, 1]) == pytest.approx((0.5, 0.5))


def test_five_hours_are_forecast_with_a_shorter_way():
    asked = ("winner.zip", 5.0, 5 * 3790, [1663, 1663, 408])
    with pytest.raises(CourseError, match=r"about 5\.3 hours .*--images 300 .*in about 80 minutes"):
        score._forecast(*asked, minutes=10)
    assert "5.3 hours" in (told := score._forecast(*asked, minutes=600))
    assert "--images 300" in told
    assert "--images" not in score._forecast("small.zip", 0.02, 76, [1663, 1663, 408], minutes=10)


def test_a_part_of_the_images_is_drawn_by_class_and_told(tmp_path, monkeypatch, capsys):
    whole = sorted_by_class(240)
    monkeypatch.setattr(score, "load_course_data", lambda: whole)
    # The same cells in the clean and the shifted test.
    some = score.part(whole, 80)
    for name in ("test", "shifted_test", "second_acquisition"):
        assert np.bincount(some[name].labels).tolist() == [10] * 8
        assert (some[name].labels == some["test"].labels).all()
    path = submission(tmp_path, "return np.maximum(X[:, 0, 0, 0], 1)")
    score.main([str(path), "--images", "80"])
    text = capsys.readouterr().out
    assert "80 of 240 images (clean test), 80 of 240 images (shifted test), 80 of 240" in text
    assert "clean test          87.5% (95 % interval 78.5% to 93.1%, n = 80)" in text
    score.main([str(path), "--images", "9000"])
    assert "240 of 240 images" in capsys.readouterr().out


def older_keras_file() -> bytes:
    """Return a .keras file with a config that Keras 3.4.1 wrote: the red channel's mean decides."""
    weights, archive = io.BytesIO(), io.BytesIO()
    with h5py.File(weights, "w") as file:
        for layer in ("input_layer", "random_flip", "global_average_pooling2d"):
            file.create_group(f"layers/{layer}/vars")
        # The largest logit, k r / 16 - k - k**2, is that of the band of 32 which r lies in.
        k = np.arange(8)
        file["layers/dense/vars/0"] = np.outer([1, 0, 0], k / 16).astype("float32")
        file["layers/dense/vars/1"] = -(k + k**2).astype("float32")
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("metadata.json", json.dumps({"keras_version": "3.4.1"}))
        file.writestr("config.json", Path(__file__).with_name("keras-3.4.1.json").read_text())
        file.writestr("model.weights.h5", weights.getvalue())
    return archive.getvalue()


READS_KERAS = """
import numpy as np
import tensorflow as tf
from tensorflow import keras as tfk

class Model:
    def __init__(self):
        self.net = tfk.models.load_model("older.keras")
        self.net.export("saved", verbose=False)
        self.saved = tf.saved_model.load("saved").signatures["serving_default"]
        try:
            tfk.models.load_model("saved")
        except ValueError as error:
            assert "File format not supported" in str(error)

    def predict(self, X):
        one_by_one = [np.argmax(self.net.predict(x[None], verbose=0)) for x in X]
        (logits,) = self.saved(tf.constant(X, tf.float32)).values()
        together = tf.argmax(logits, -1)
        assert (one_by_one == together.numpy()).all()
        return together
"""


def test_an_older_keras_file_and_a_saved_model_are_scored(tmp_path):
    labels = np.arange(8)
    images = np.broadcast_to((32 * labels + 16)[:, None, None, None], (8, 96, 96, 3))
    path = zipped(tmp_path, {"model.py": READS_KERAS, "older.keras": older_keras_file()})
    answer = isolated.predict(path, [images.astype(np.uint8)], 5, 6)
    assert answer.classes[0].tolist() == labels.tolist()


def test_a_saved_model_that_keras_3_refuses_is_told_how_to_open(tmp_path):
    # Keras' own words, which the test before this one holds it to.
    load = "raise ValueError('File format not supported: filepath=saved. Keras 3 only supports')"
    members = {
        "model.py": model("pass", init=load),
        "saved/saved_model.pb": "",
        "saved/variables": "",
    }
    with pytest.raises(CourseError) as error:
        run(zipped(tmp_path, members))
    assert "its weights are a SavedModel folder, which Keras 3 does not load" in str(error.value)
    assert "tf.saved_model.load or keras.layers.TFSMLayer" in str(error.value)


def test_weights_of_a_keras_that_this_one_cannot_read_are_told_with_their_version(tmp_path):
    # Keras 3.15's own words about a layer that Keras 2.18 saved.
    load = "raise TypeError('Error when deserializing class \\'DepthwiseConv2D\\' using config')"
    members = {"model.py": model("pass", init=load), "weights.keras": older_keras_file()}
    with pytest.raises(CourseError) as error:
        run(zipped(tmp_path, members))
    assert re.search(
        r"under this machine's versions \(.*keras 3\..*'DepthwiseConv2D'", str(error.value)
    )
    assert "that it was made with (weights.keras: Keras 3.4.1): score it in" in str(error.value)


LINUX = pytest.mark.skipif(sys.platform != "linux", reason="of Linux")
CONFINED = pytest.mark.skipif(not isolated.landlock_version(), reason="no Landlock here")


@LINUX
@pytest.mark.parametrize(
    "trick",
    [
        "os.mkfifo('../stdout')",
        "os.symlink('/dev/zero', '../stdout'); os.symlink('/dev/zero', '../stderr')",
        "os.mkfifo('../exchange/classes-0000.npy'); os._exit(0)",
        "os.symlink('/dev/zero', '../exchange/classes-0000.npy')",
        "os.symlink('/dev/zero', '../exchange/failure')",
        "shutil.rmtree('..', ignore_errors=True)",
        "shutil.rmtree('..', ignore_errors=True); os.abort()",
    ],
)
def test_what_the_judge_reads_cannot_be_put_under_it(tmp_path, trick):
    path = submission(tmp_path, f"{trick}; return X[:, 0, 0, 0]", top="import os, shutil")

    def fail(*_) -> None:
        pytest.fail("it waits for a pipe's other end, or reads for ever")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(60)
    try:
        with suppress(CourseError):
            run(path, minutes=5)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def test_an_answer_larger_than_any_classes_is_not_read(tmp_path):
    with pytest.raises(CourseError, match="no array of numbers"):
        run(submission(tmp_path, "return np.zeros((1000, 1000))"))


@LINUX
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_nothing_runs_on_when_the_judge_is_ended(tmp_path, number):
    spin = "open('../home/pid', 'w').write(str(os.getpid()))\n        while True: pass"
    path = submission(tmp_path, spin, top="import os")
    judge = (
        "import numpy as np, pathlib\nfrom helpers import course\n"
        "from commands import isolated\n"
        "images = np.zeros((1, 96, 96, 3), np.uint8)\n"
        f"course.run_command(lambda: isolated.predict(pathlib.Path({str(path)!r}), [images], 5, 6))"
    )
    environment = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": str(course.root())}
    with subprocess.Popen([sys.executable, "-c", judge], env=environment) as process:
        deadline = time.monotonic() + 60
        while not (found := list(tmp_path.glob("score-*/home/pid"))) or not found[0].read_text():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        child = int(found[0].read_text())
        process.send_signal(number)
    deadline = time.monotonic() + 10
    while is_running(f"/proc/{child}/stat"):
        assert time.monotonic() < deadline, "the submission runs on"
        time.sleep(0.1)


@LINUX
def test_processor_time_is_limited(tmp_path):
    tell = "import resource; return np.array([resource.getrlimit(resource.RLIMIT_CPU)[0]])"
    answer = run(submission(tmp_path, tell), minutes=0.5)
    assert answer.classes[0].tolist() == [30 * os.cpu_count()]


@CONFINED
@pytest.mark.parametrize(
    "reach",
    {
        "the labels": f"open({str(course.root() / 'pyproject.toml')!r})",
        "the judge's folder": "os.listdir(f'/proc/{os.getppid()}/cwd/.')",
        "the judge's environment": "open(f'/proc/{os.getppid()}/environ').read()",
        "the judge's memory": "open(f'/proc/{os.getppid()}/mem')",
        "the judge's output": "open(f'/proc/{os.getppid()}/fd/1', 'w')",
        "the judge": "os.kill(os.getppid(), 15)",
        "a file of the user's": f"open({str(course.root() / 'written')!r}, 'w')",
        "another temporary folder": "os.listdir('/tmp')",
    }.items(),
    ids=lambda case: case[0],
)
def test_what_a_submission_cannot_reach(tmp_path, reach):
    what, how = reach
    if what == "the judge" and isolated.landlock_version() < 6:
        pytest.skip("signals are kept in from Landlock 6")
    with pytest.raises(CourseError, match="PermissionError"):
        run(submission(tmp_path, how, top="import os"))
    assert not (course.root() / "written").exists()


def test_a_course_within_a_readable_folder_is_left_out_of_it(tmp_path, monkeypatch):
    for name in ("opt/tools", "opt/lectures/blood/report", "opt/lectures/other"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setattr(course, "root", lambda: tmp_path / "opt" / "lectures" / "blood")
    found = isolated._beside_course(tmp_path / "opt")
    assert sorted(found) == [str(tmp_path / "opt" / name) for name in ("lectures/other", "tools")]
    assert isolated._beside_course(tmp_path / "opt" / "tools") == [str(tmp_path / "opt" / "tools")]
    assert isolated._beside_course(course.root()) == []


def test_no_path_of_the_repository_in_the_environment(tmp_path, monkeypatch):
    own = str(course.root() / "tools")
    monkeypatch.setenv("PATH", os.pathsep.join([own, os.environ["PATH"]]))
    environment = isolated._environment(tmp_path)
    assert own not in environment["PATH"]
    assert environment["PATH"]
    assert not [value for value in environment.values() if str(course.root()) in value]


def test_a_full_disk_is_not_the_zip_s_fault(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = submission(tmp_path, READS_PIXEL)
    for place, name, advice in (
        (np, "save", "name another with TMPDIR; submission.zip is not at fault"),
        (reading.shutil, "copyfileobj", "free some disk space"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(place, name, full)
            with pytest.raises(CourseError, match=rf"No space left .*{advice}"):
                run(path)


def test_a_layer_that_these_versions_lack_is_not_the_model_s_fault(tmp_path):
    members = {
        "model.py": model("pass", top="import keras_cv"),
        "keras_cv/__init__.py": "raise AttributeError('module keras.src has no attribute backend')",
    }
    with pytest.raises(CourseError, match=r"under this machine's versions .*keras-cv 0\.9\.0"):
        run(zipped(tmp_path, members))
    unknown = "raise TypeError(\"Could not locate class 'RandAugment'.\")"
    with pytest.raises(CourseError, match="under this machine's versions"):
        run(submission(tmp_path, unknown))


def test_images_of_other_classes_are_refused(data, tmp_path):
    other = CourseData(data.sets, ("a", "b"), data.source, data.profile, "other")
    with pytest.raises(CourseError, match="these images have 2"):
        score.score(tmp_path / "any.zip", other)
