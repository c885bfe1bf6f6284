"""Files that are never half-written (a temporary file first, then a rename), and cache keys."""

import hashlib
import json
import os
import platform
import re
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import numpy as np
from filelock import FileLock, Timeout

from helpers.course import CourseError

T = TypeVar("T")

# No write lasts so long: an older temporary file is nobody's, whoever made it.
ABANDONED_SECONDS = 3600


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` if the block succeeds.

    Two runs that write the same file each write their own temporary file; the last rename wins
    and both leave a whole file. On any error the temporary file is removed and `path` is as before;
    what a killed run left is removed by the next that writes the same file. A link is followed, and
    a file that is replaced keeps its mode.

    Raises:
        CourseError: if the folder cannot be made or is read-only, `path` is a folder, pipe or
            device, or the disk is full.
    """
    path = Path(path)
    temporary = None
    try:
        path = Path(os.path.realpath(path))
        mode = 0o644
        if kind(path) == "file":
            mode = stat.S_IMODE(path.stat().st_mode)
        elif path.exists():
            raise IsADirectoryError(21, "it is a folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path)
        # The whole name comes last: some writers insist on an ending such as .weights.h5.
        prefix = f".{_machine()}-{os.getpid()}-"
        handle, name = tempfile.mkstemp(f"-{path.name}", prefix, path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        temporary.chmod(mode)
        temporary.replace(path)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and temporary is not None and temporary.exists():
            raise  # something that the block reads
        # NumPy's own "n requested and m written", on a full disk, has no strerror.
        raise CourseError(
            f"{path} could not be written ({error.strerror or error}): "
            "free some disk space or choose a folder you may write to, then run again."
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _remove_abandoned(path: Path) -> None:
    """Remove the temporary files that killed runs left of this file."""
    name = re.escape(path.name)
    # Earlier versions of the course named neither machine nor process.
    pattern = re.compile(rf"\.(?:([0-9a-f]{{6}})-([0-9]+)-)?[a-z0-9_]{{8}}-{name}")
    for entry in os.scandir(path.parent):
        if found := pattern.fullmatch(entry.name):
            with suppress(OSError):  # it may not be removed, or another run was first
                age = time.time() - entry.stat().st_mtime
                # Windows would end the process that it is asked about.
                is_ours = found[1] == _machine() and os.name == "posix"
                if age > ABANDONED_SECONDS or (is_ours and not _runs(int(found[2]))):
                    os.unlink(entry.path)


def _machine() -> str:
    return short_hash(platform.node())[:6]


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # it is another user's, or no number of a process
        return True
    return True


def kind(path: Path) -> str | None:
    """Return "file" or "folder", whatever a link leads to; None if nothing is there.

    Raises:
        CourseError: if that may not be looked at, or is a pipe or a device, which a program that
            reads it would wait for.
    """
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise CourseError(
            f"{path} is a pipe or a device: name a file or a folder in its place, or remove it."
        )
    return "folder" if stat.S_ISDIR(mode) else "file"


def unreadable(path: Path, error: Exception) -> CourseError:
    """Return the sentence on a file that cannot be read for this error."""
    name = str(path) if len(str(path)) < 300 else f"{str(path)[:100]}…"
    return CourseError(
        f"{name} cannot be read ({getattr(error, 'strerror', None) or error}): "
        "mend it, remove it, or ask for the right to read it."
    )


def read_cache(path: Path, read: Callable[[], T]) -> T | None:
    """Return what `read` returns of the cache at `path`; None if there is none.

    A damaged one is told in a line, and None is returned.

    Raises:
        CourseError: if it may not be read: made anew, it would keep its mode.
    """
    if kind(path) is None:
        return None
    try:
        return read()
    except PermissionError as error:
        raise unreadable(path, error) from error
    except Exception:  # NumPy, zipfile and json raise errors of many kinds on altered bytes
        print(f"{path.parent.name}/{path.name} is damaged or incomplete and is made anew.")
    return None


def write_json(path: Path, content: object) -> None:
    """Write what JSON can hold, never half."""
    with replaced(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def short_hash(*parts: object) -> str:
    """Return 16 hex digits of the SHA-256 of parts as text: the key of whatever is cached."""
    return hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()[:16]


@contextmanager
def locked(path: Path, waiting: str | None = None) -> Iterator[None]:
    """Hold the lock file `path` while a block runs; another run that holds it is waited for.

    Args:
        path: made if missing, and left there.
        waiting: printed before waiting.

    Raises:
        CourseError: if the file cannot be made.
    """
    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if waiting:
                print(waiting, flush=True)
            lock.acquire()
    except OSError as error:
        raise unreadable(path, error) from error
    try:
        yield
    finally:
        lock.release()


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return all arrays of an .npz file by name, none of them a pickle.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except FileNotFoundError:
        raise
    except Exception as error:  # zipfile, each kind of compression and NumPy raise errors of theirs
        raise ValueError(str(error) or type(error).__name__) from error


def cached_array(path: Path, make: Callable[[], np.ndarray]) -> np.ndarray:
    """Return the array of an .npy file, read-only and memory-mapped; made and written if missing.

    A damaged file is told and made anew.
    """

    def read() -> np.ndarray:
        return np.load(path, mmap_mode="r", allow_pickle=False)

    array = read_cache(path, read)
    if array is None:
        with replaced(path) as temporary:
            np.save(temporary, make(), allow_pickle=False)
        array = read()
    return array
