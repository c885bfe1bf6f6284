"""Files are written whole or not at all, where they were meant to be, and nothing stays behind."""

import errno
import os
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

from helpers import files
from helpers.course import CourseError
from helpers.files import kind, replaced, write_json


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "folder" / "notes.json"
    write_json(path, {"a": 1})
    assert path.read_text() == '{\n "a": 1\n}\n'
    write_json(path, {})
    assert path.read_text() == "{}\n"
    assert names(path.parent) == ["notes.json"]


@pytest.mark.skipif(sys.platform == "win32", reason="files have no such modes")
def test_a_file_that_is_replaced_keeps_its_mode(tmp_path):
    path = tmp_path / "notes.json"
    write_json(path, {"a": 1})
    assert path.stat().st_mode & 0o777 == 0o644
    path.chmod(0o600)
    write_json(path, {})
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_error_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "notes"
    path.write_text("before")

    def write(error: BaseException) -> None:
        with replaced(path) as temporary:
            temporary.write_text("half")
            raise error

    for kind_of_error in (KeyboardInterrupt, ValueError, FileNotFoundError):
        with pytest.raises(kind_of_error):
            write(kind_of_error())
    with pytest.raises(CourseError, match=r"notes could not be written .*No space left"):
        write(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert path.read_text() == "before"
    assert names(tmp_path) == ["notes"]


def test_a_link_is_followed(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "near").symlink_to(tmp_path / "far" / "notes")
    with replaced(tmp_path / "near") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "near").is_symlink()
    assert (tmp_path / "far" / "notes").read_text() == "new"


DEVICE = pytest.param(
    "/dev/null",
    marks=pytest.mark.skipif(sys.platform == "win32", reason="would be a new folder, C:/dev"),
)


@pytest.mark.parametrize("place", [DEVICE, "/", "notes/x.csv", "notes/no/x.csv", "x" * 300])
def test_a_place_that_is_none_is_one_sentence(tmp_path, place):
    (tmp_path / "notes").write_text("a file")
    with pytest.raises(CourseError), replaced(tmp_path / place) as temporary:
        temporary.write_text("new")
    assert names(tmp_path) == ["notes"]


KILLED = """
import os, sys
from pathlib import Path
from helpers.files import replaced
with replaced(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), 9)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="only age tells there what nobody writes")
def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path):
    path = tmp_path / "cells [1].npy"
    subprocess.run([sys.executable, "-c", KILLED, path], check=False)
    (left,) = names(tmp_path)
    assert left.endswith("-cells [1].npy")
    others = [
        ".abcdefgh-other.npy",
        f"x{left}",
        "abcdefgh-cells [1].npy",
        f".{'a' * 8}-{path.name}",
    ]
    for name in others:
        (tmp_path / name).touch()
    with replaced(path) as running:
        with replaced(path) as temporary:  # another run, meanwhile
            temporary.write_text("whole")
        running.write_text("last")
    assert path.read_text() == "last"
    assert names(tmp_path) == sorted([path.name, *others])


def test_what_is_written_may_be_locked(tmp_path):
    """HDF5 locks what it writes."""
    with replaced(tmp_path / "x.weights.h5") as temporary, h5py.File(temporary, "w") as file:
        file["a"] = 1
    assert (tmp_path / "x.weights.h5").stat().st_size


def test_of_unknown_origin_only_old_files_are_removed(tmp_path):
    path = tmp_path / "notes"
    young, old = (tmp_path / f".{letter * 8}-notes" for letter in "ab")
    for file, age in ((young, 60), (old, 2 * files.ABANDONED_SECONDS)):
        file.touch()
        os.utime(file, (time.time() - age,) * 2)
    with replaced(path) as temporary:
        temporary.write_text("new")
    assert names(tmp_path) == [young.name, "notes"]


def test_what_may_not_be_looked_at_is_one_sentence(tmp_path, monkeypatch):
    assert kind(tmp_path) == "folder"
    assert kind(tmp_path / "nothing") is None
    (tmp_path / "notes").touch()
    assert kind(tmp_path / "notes") == "file"
    assert kind(tmp_path / "notes" / "deeper") is None

    def stat(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(os, "stat", stat)
    with pytest.raises(CourseError, match=r"notes cannot be read \(Permission denied\)"):
        kind(tmp_path / "notes")


@pytest.mark.skipif(sys.platform == "win32", reason="another error there")
def test_a_name_too_long_is_one_sentence(tmp_path):
    with pytest.raises(CourseError, match=r"xxx… cannot be read \(File name too long\)"):
        kind(tmp_path / ("x" * 5000))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_a_pipe_is_neither_file_nor_folder(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CourseError, match="is a pipe or a device"):
        kind(tmp_path / "pipe")


@pytest.mark.parametrize("stop", ["parent", "file"])
def test_a_cache_that_may_not_be_read_is_told_and_not_made_anew(tmp_path, stop, monkeypatch):
    path = tmp_path / "cells.npy"
    np.save(path, np.arange(3))

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    if stop == "parent":
        monkeypatch.setattr(os, "stat", refuse)
    monkeypatch.setattr(np, "load", refuse)
    sentence = pytest.raises(CourseError, match=r"cells\.npy cannot be read \(Permission denied\)")
    with sentence:
        files.read_cache(path, lambda: np.load(path))
    with sentence:
        files.cached_array(path, lambda: pytest.fail("made anew"))
