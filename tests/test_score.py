"""Scoring at home: right numbers for a good zip, one sentence for a bad one, nothing leaks in."""

import io
import json
import stat
import sys
import zipfile

import numpy as np
import pytest

from helpers import course
from helpers.commands import isolated, score
from helpers.course import CourseError
from helpers.data import reading
from helpers.data.photographs import CLASS_NAMES, ImageSet, Source
from helpers.data.sets import CourseData

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
    # Three lines and an empty one, for each of 3 sets, 1 shuffled batch, 8 single images.
    assert "It printed 48 lines" in text


def test_the_place_beside_the_public_ladder():
    lines = score.standing(95.0).splitlines()
    assert lines[2] == "->  95.00  YOURS, on our shifted test"
    assert lines[1].split()[0] == "96.05"
    assert lines[3].split()[0] == "94.00"
    assert score.standing(99.0).splitlines()[0].startswith("->")
    assert score.standing(10.0).splitlines()[-1].startswith("->")


def test_a_model_that_looks_at_its_batch_is_told_on(tmp_path, data):
    result = score.score(submission(tmp_path, "return np.full(len(X), len(X) % 8)"), data)
    # 16 shuffled images come as 16 again, the others alone.
    assert result.changed == 8
    assert "WARNING" in score.report(result, data)


ANSWERS = {
    "one too few": ("return np.zeros(len(X) - 1, int)", "has shape (15,) for 16 images"),
    "a column": ("return np.zeros((len(X), 1), int)", "has shape (16, 1) for 16 images"),
    "logits": ("return np.zeros((len(X), 8))", "has shape (16, 8) for 16 images"),
    "nothing": ("pass", "is no array of numbers (ValueError: Object arrays"),
    "words": ("return ['platelet'] * len(X)", "has dtype <U8"),
    "floats": ("return X[:, 0, 0, 0] / 1", "has dtype float64"),
    "label 8": ("return np.full(len(X), 8)", "holds labels from 8 to 8"),
    "label -1": ("return np.full(len(X), -1)", "holds labels from -1 to -1"),
}

CRASHES = {
    "import": (model("pass", top="import nothing_like_it"), "fails when it is imported (Module"),
    "syntax": ("class Model", "fails when it is imported (SyntaxError: expected ':' (model.py"),
    "no class": ("model = 1", "model.py has no class Model; mend"),
    "no class either": ("Model = 1", "model.py has no class Model; mend"),
    "init": (model("pass", init="open('weights.keras')"), "Model() fails (FileNotFoundError: "),
    "predict": (model("1 / 0"), "Model.predict fails (ZeroDivisionError: division by zero (mod"),
    "its line": (model("1 / 0"), "(model.py, line 7)"),
    "escape code": (model("raise ValueError('\\x1b[2J')"), "ValueError:  [2J"),
    "exit": (model("raise SystemExit(0)"), "Model.predict fails (SystemExit: 0"),
    "hard exit": (model("import os; os._exit(0)"), "ended its own process too early"),
    "abort": (model("import os; os.abort()"), "ended its own process (signal 6"),
    "memory": (model("return np.ones(2**30)"), "needs more than 1 GB of memory"),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_wrong_answers_get_one_sentence(tmp_path, data, case):
    predict, expected = ANSWERS[case]
    with pytest.raises(CourseError) as error:
        score.score(submission(tmp_path, predict), data)
    assert expected in str(error.value)
    assert str(error.value).startswith("submission.zip: ")


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
    started = tmp_path / "started"
    hang = (
        "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', "
        f"'import time; time.sleep(600)']); open({str(started)!r}, 'w').write(str(child.pid)); "
        "child.wait()"
    )
    with pytest.raises(CourseError, match=r"submission.zip was stopped after 0.06 minutes"):
        run(submission(tmp_path, hang), minutes=0.06)
    status = f"/proc/{started.read_text()}/stat"
    if sys.platform == "linux":
        assert not is_running(status)


def is_running(status: str) -> bool:
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
        "raise ValueError(open(OUT, 'w').write(json.dumps("
        "[dict(os.environ), sys.path, os.getcwd(), sys.argv, sys.flags.no_site])))"
    )
    out = tmp_path / "told.json"
    with pytest.raises(CourseError):
        run(submission(tmp_path, tell, top=f"OUT = {str(out)!r}"))
    environment, path, folder, arguments, without_pth_files = json.loads(out.read_text())
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
    with pytest.raises(CourseError, match="imported \\(ModuleNotFoundError"):
        run(submission(tmp_path, READS_PIXEL, top="import helpers"))
    own = {
        "model.py": model("return classes_of(X)", top="from helpers import classes_of"),
        "helpers.py": "def classes_of(X):\n    return X[:, 0, 0, 0]\n",
    }
    assert run(zipped(tmp_path, own)).classes[0].tolist() == [3]


def test_prediction_files_are_never_unpickled(tmp_path):
    # In the place of the array that isolated_run.py would write.
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
        ({"folder/model.py": "class Model: pass"}, "has no model.py at its top"),
    ],
)
def test_archives_that_are_refused(tmp_path, members, expected):
    with pytest.raises(CourseError) as error:
        run(zipped(tmp_path, members))
    assert expected in str(error.value)
    assert not list(tmp_path.parent.rglob("evil*"))


def test_more_than_two_gigabytes_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MAX_BYTES", 100)
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


def test_the_command_returns_1_with_one_sentence(tmp_path, data, monkeypatch, capsys):
    monkeypatch.setattr(score, "load_course_data", lambda: data)
    assert score.main([str(submission(tmp_path, "1 / 0"))]) == 1
    output = capsys.readouterr()
    assert "NOT enforced" in output.out
    assert output.err.count("\n") == 1
    assert score.main([str(submission(tmp_path, READS_PIXEL))]) == 0
    assert "YOURS, on our shifted test" in capsys.readouterr().out


def test_images_of_other_classes_are_refused(data, tmp_path):
    other = CourseData(data.sets, ("a", "b"), data.source, data.profile, "other")
    with pytest.raises(CourseError, match="these images have 2"):
        score.score(tmp_path / "any.zip", other)
