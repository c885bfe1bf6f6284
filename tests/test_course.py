import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import course
from helpers.files import replaced


def test_a_mistyped_profile_is_an_error(monkeypatch):
    monkeypatch.setenv("COURSE_PROFILE", "fulll")
    with pytest.raises(course.CourseError, match="'fulll'"):
        course.profile()


def test_only_full_runs_on_photographs_write_to_the_report():
    report = course.root() / "report"
    assert course.output_folder("full", "mirror", True) == report
    for profile, source, photographs in [
        ("quick", "mirror", True),
        ("full", "synthetic", False),
        ("quick", "synthetic", False),
        ("full", "folder-0badc0de", False),
    ]:
        assert course.output_folder(profile, source, photographs) != report


def test_a_relative_mirror_counts_from_the_course_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("BLOODCELLS_MIRROR", "../pictures")
    monkeypatch.chdir(tmp_path)
    assert Path(course.mirror()) == course.root().parent / "pictures"


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "results.json"
    path.write_text("old")

    def interrupted():
        with replaced(path) as temporary:
            temporary.write_text("half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_one_sentence_and_loses_nothing(tmp_path):
    path = tmp_path / "results.json"
    path.write_text("old")
    with pytest.raises(course.CourseError, match="free some disk space"), replaced(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert path.read_text() == "old"


def test_a_folder_in_the_place_of_a_file_is_one_sentence(tmp_path):
    (tmp_path / "data").write_text("not a folder")
    refused = pytest.raises(course.CourseError, match="could not be written")
    with refused, replaced(tmp_path / "data" / "images.npy"):
        pass


def test_a_command_says_a_course_error_in_one_sentence(capsys):
    def main():
        raise course.CourseError("No images: name a folder.")

    with pytest.raises(SystemExit) as ended:
        course.run_command(main)
    assert ended.value.code == 1
    assert capsys.readouterr().err == "No images: name a folder.\n"


def test_another_backend_of_keras_is_one_sentence():
    done = subprocess.run(
        [sys.executable, "-c", "import helpers.models.networks"],
        env={**os.environ, "KERAS_BACKEND": "torch"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0
    assert "KERAS_BACKEND=torch is not used: this course needs TensorFlow." in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOSPC])
def test_what_the_system_refuses_is_one_sentence_wherever_it_is_noticed(number, capsys):
    def main():
        raise OSError(number, os.strerror(number), "/a/\x1b[2Jb")

    with pytest.raises(SystemExit) as ended:
        course.run_command(main)
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith(rf"/a/\x1b[2Jb cannot be read or written ({os.strerror(number)}): ")
