"""Files that are never half-written (a temporary file first, then a rename), and cache keys."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from helpers.course import CourseError


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` if the block succeeds.

    Two runs that write the same file each write their own temporary file; the last rename wins
    and both leave a whole file. On any error the temporary file is removed and `path` is as before.

    Raises:
        CourseError: if the folder is read-only or the disk is full.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The whole name comes last: some writers insist on an ending such as .weights.h5.
        handle, name = tempfile.mkstemp(prefix=".", suffix=f"-{path.name}", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise
        # NumPy's own "n requested and m written", on a full disk, has no strerror.
        raise CourseError(
            f"{path} could not be written ({error.strerror or error}): "
            "free some disk space or choose a folder you may write to, then run again."
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_json(path: Path, content: object) -> None:
    """Write what JSON can hold, never half."""
    with replaced(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def short_hash(*parts: object) -> str:
    """Return 16 hex digits of the SHA-256 of parts as text: the key of whatever is cached."""
    return hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()[:16]
