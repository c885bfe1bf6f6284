"""Unpacks a zip that someone else made: whatever leads out of it or is far too much is refused."""

import lzma
import re
import shutil
import stat
import zipfile
import zlib
from pathlib import Path

from helpers.course import CourseError

MAX_FILES = 1000
MAX_BYTES = 2 * 10**9
# Weights hardly pack at all, code to a tenth; a bomb packs to a thousandth.
MAX_RATIO = 500

# What zipfile raises on damaged members, and on names that are no text.
DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, UnicodeDecodeError),
    *(EOFError, NotImplementedError, OSError),
)


def unpack(path: Path, folder: Path) -> None:
    """Unpack a zip into an empty folder, after a look at all of its members.

    Raises:
        CourseError: if it is no zip or a damaged one; if a member's path leads out of the folder,
            has a backslash or comes twice; if a member is encrypted, a link or a device; if there
            are more than MAX_FILES members, MAX_BYTES or MAX_RATIO times the zip's own size.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _refuse_too_much(members, path)
            _refuse_unsafe(members, path)
            for member in members:
                _write(archive, member, folder)
    except FileNotFoundError as error:
        raise CourseError(f"{path} is not there: name a submission's zip.") from error
    except DAMAGED as error:
        raise CourseError(
            f"{path.name} is no zip that can be unpacked ({error}): zip model.py and its weights "
            "again."
        ) from error


def _refuse_too_much(members: list[zipfile.ZipInfo], path: Path) -> None:
    unpacked = sum(member.file_size for member in members)
    if len(members) > MAX_FILES:
        reason = f"holds {len(members):,} files, more than {MAX_FILES:,}"
    elif unpacked > MAX_BYTES:
        reason = f"would unpack to {unpacked / 1e9:.1f} GB, more than {MAX_BYTES / 1e9:.0f}"
    elif unpacked > MAX_RATIO * path.stat().st_size:
        reason = f"would unpack to more than {MAX_RATIO} times its size, as no weights do"
    else:
        return
    raise CourseError(f"{path.name} {reason}: zip only model.py and what it needs.")


def _refuse_unsafe(members: list[zipfile.ZipInfo], path: Path) -> None:
    seen = set()
    for member in members:
        name = member.filename
        # Some systems do not tell upper case from lower.
        place = name.rstrip("/").casefold()
        if name.startswith("/") or re.match("[A-Za-z]:", name) or ".." in name.split("/"):
            reason = "has a path that leads out of the archive"
        elif "\\" in name:
            reason = "has a backslash in its path"
        elif place in seen:
            reason = "comes twice"
        elif member.flag_bits & 1:
            reason = "is encrypted"
        elif stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            reason = "is a link or no plain file"
        else:
            seen.add(place)
            continue
        raise CourseError(
            f"{name!r} in {path.name} {reason}: zip model.py and its weights again, as plain files."
        )


def _write(archive: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path) -> None:
    target = folder / member.filename
    if member.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    # Never more than the size that was looked at: zipfile stops there.
    with archive.open(member) as packed, target.open("xb") as unpacked:
        shutil.copyfileobj(packed, unpacked)
