"""Where the images come from: the homework's file, a mirror, BloodMNIST, or synthetic cells.

BLOODCELLS_SOURCE asks for one of them by name ("homework", "mirror", "bloodmnist", "synthetic"), or
for a folder or zip of class folders by its path. BLOODCELLS_MIRROR names a mirror (a folder or an
http URL), see data/README.md.
"""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from helpers import course
from helpers.course import CourseError
from helpers.data import downloads, synthetic
from helpers.data.photographs import CLASS_NAMES, IMAGE_SIZE, Photographs, Source
from helpers.data.reading import (
    array_names,
    central_square,
    list_folder,
    read_class_folders,
    read_image_set,
    resized_square,
)
from helpers.files import kind, read_cache, replaced, short_hash, unreadable

# Raised by hand whenever the same file is decoded to other pixels or another order.
CACHE_VERSION = 1

HOMEWORK_FILE = "training_set.npz"
PBC_ZIP = "PBC_dataset_normal_DIB.zip"

# The official files, from https://zenodo.org/records/10519652, by pixels a side.
BLOODMNIST_URL = "https://zenodo.org/records/10519652/files/{name}?download=1"
BLOODMNIST_MD5 = {
    64: "2b94928a2ae4916078ca51e05b6b800b",
    128: "adace1e0ed228fccda1f39692059dd4c",
    224: "b718ff6835fcbdb22ba9eacccd7b2601",
}
SPLITS = ("train", "val", "test")


class _Candidate(NamedTuple):
    """A source that can be asked for by name: what loads it (None where it is not to be had), why
    it was chosen if nobody asked for it, and why it could not be."""

    load: Callable[[], Photographs | None]
    reason: str
    missing: str


def load_photographs() -> Photographs:
    """Return the images of the source that was asked for, else of the first that can be had.

    The order is: the homework's own file, the mirror, BloodMNIST, synthetic cells. One printed line
    says which was chosen and why. Decoded images are kept in the data folder, so that only the
    first call takes long; they are memory-mapped and read-only.

    Raises:
        CourseError: if a source was asked for by name (or a mirror named) and cannot be had, or
            its files are truncated, altered or of another shape than they should be; if
            COURSE_PROFILE names no profile (before any image is loaded).
    """
    course.profile()
    asked = os.environ.get("BLOODCELLS_SOURCE", "").strip()
    if not asked:
        photographs, reason = _first_available()
    else:
        photographs, reason = _asked_for(asked), "because BLOODCELLS_SOURCE asks for them"
    source = photographs.source
    what = source.description if source.are_photographs else source.caption
    print(f"Images: {what}, {reason}.")
    return photographs


def _first_available() -> tuple[Photographs, str]:
    missing = []
    for candidate in _candidates().values():
        photographs = candidate.load()
        if photographs is not None:
            break
        missing.append(candidate.missing)
    tried = f" ({', '.join(missing)})" if missing else ""
    return photographs, candidate.reason + tried


def _asked_for(asked: str) -> Photographs:
    candidates = _candidates()
    if asked == "drawn":
        raise CourseError("BLOODCELLS_SOURCE=drawn is now called BLOODCELLS_SOURCE=synthetic.")
    if asked not in candidates:
        return _at_path(asked)
    photographs = candidates[asked].load()
    if photographs is None:
        raise CourseError(
            f"BLOODCELLS_SOURCE asks for {asked!r}, but {candidates[asked].missing}: "
            "mend that, or unset BLOODCELLS_SOURCE to use the first source that can be had."
        )
    return photographs


def _at_path(asked: str) -> Photographs:
    """Return the images of a folder or zip of class folders, or of an .npz file."""
    path = course.expanded(asked)
    if kind(path) is None:
        raise CourseError(
            f"BLOODCELLS_SOURCE is {asked!r}, which is none of {', '.join(_candidates())}, "
            "nor a folder, zip or npz that is there: correct it or unset it."
        )
    if path.suffix.lower() != ".npz" or kind(path) == "folder":
        return _class_folders(path)
    if f"{SPLITS[0]}_images" in array_names(path):
        return _decoded_bloodmnist(path)
    return _homework(path)


def _candidates() -> dict[str, _Candidate]:
    """Return the sources in the order in which they are tried."""
    file = f"data/{HOMEWORK_FILE}"
    nothing, never = "because no photographs could be had", "they cannot be drawn"
    return {
        "homework": _Candidate(_homework, f"because {file} is there", f"{file} is missing"),
        "mirror": _Candidate(
            _mirror, "because BLOODCELLS_MIRROR is set", "BLOODCELLS_MIRROR is not set"
        ),
        "bloodmnist": _Candidate(
            _bloodmnist, "because it can be downloaded", "zenodo.org cannot be reached"
        ),
        "synthetic": _Candidate(_synthetic, nothing, never),
    }


def _homework(path: Path | None = None) -> Photographs | None:
    path = path or course.data_folder() / HOMEWORK_FILE
    if kind(path) is None:
        return None
    if kind(path) == "folder":
        raise CourseError(f"{path} is a folder: put the homework's file there, or remove it.")
    checksum = downloads.digest(path)

    def read() -> Photographs:
        images, labels = read_image_set(path, side=IMAGE_SIZE)
        description = f"{len(labels):,} images of the homework's own file, not for redistribution"
        source = Source("homework", description, are_photographs=True, checksum=checksum)
        return Photographs(images, labels, CLASS_NAMES, source)

    return _cached("homework", checksum, read)


def _mirror() -> Photographs | None:
    if course.mirror() is None:
        return None
    archive = downloads.mirror_file(PBC_ZIP)
    if archive is not None:
        return _pbc(archive)
    held = _bloodmnist_on_mirror()
    if held is None:
        names = ", ".join([PBC_ZIP, *map(_bloodmnist_name, BLOODMNIST_MD5)])
        place = downloads.public(course.mirror())
        raise CourseError(
            f"BLOODCELLS_MIRROR names {place}, which holds no images ({names}): "
            "correct it, or unset it to use the official hosts."
        )
    return _decoded_bloodmnist(held)


def _pbc(archive: Path) -> Photographs:
    checksum = downloads.digest(archive)

    def read() -> Photographs:
        images, labels, class_names, file_names = read_class_folders(archive)
        if class_names != CLASS_NAMES:
            raise CourseError(
                f"{archive.name} holds the classes {', '.join(class_names)}, not the eight of the "
                "PBC set: get it again, or name it in BLOODCELLS_SOURCE as class folders."
            )
        description = f"{len(labels):,} photographs of the PBC set (mirror), CC BY 4.0"
        source = Source("mirror", description, are_photographs=True, checksum=checksum)
        names = np.array(file_names)
        return Photographs(images, labels, class_names, source, file_names=names)

    return _cached("mirror", checksum, read)


def _bloodmnist() -> Photographs | None:
    held = _bloodmnist_on_mirror()
    if held is not None:
        return _decoded_bloodmnist(held)
    size = _bloodmnist_sizes()[0]
    name = _bloodmnist_name(size)
    url, path = BLOODMNIST_URL.format(name=name), course.data_folder() / name
    is_there = kind(path) == "file"
    is_intact = is_there and downloads.digest(path, "md5") == BLOODMNIST_MD5[size]
    if not is_intact and not downloads.reachable(url, seconds=5):
        if is_there:
            raise CourseError(
                f"{path} is damaged (its MD5 is not the official one) and zenodo.org cannot be "
                "reached to get it again: connect to the internet, or remove the file."
            )
        return None
    return _decoded_bloodmnist(downloads.download(url, path, md5=BLOODMNIST_MD5[size]))


def _bloodmnist_on_mirror() -> Path | None:
    for size in _bloodmnist_sizes():
        path = downloads.mirror_file(_bloodmnist_name(size), md5=BLOODMNIST_MD5[size])
        if path is not None:
            return path
    return None


def _bloodmnist_sizes() -> list[int]:
    """Return the sizes to look for; the first is the one to download."""
    wanted = 64 if course.profile().name == "quick" else 128
    return [wanted, *(size for size in BLOODMNIST_MD5 if size != wanted)]


def _bloodmnist_name(size: int) -> str:
    return f"bloodmnist_{size}.npz"


def _decoded_bloodmnist(path: Path) -> Photographs:
    checksum = downloads.digest(path)

    def read() -> Photographs:
        parts = [read_image_set(path, f"{split}_images", f"{split}_labels") for split in SPLITS]
        labels = np.concatenate([labels for _, labels in parts])
        side = parts[0][0].shape[1]
        description = (
            f"{len(labels):,} photographs of BloodMNIST ({side} px resized to {IMAGE_SIZE}), "
            "CC BY 4.0"
        )
        source = Source("bloodmnist", description, are_photographs=True, checksum=checksum)
        images = np.concatenate([_resized(images) for images, _ in parts])
        official_split = np.repeat(SPLITS, [len(labels) for _, labels in parts])
        return Photographs(images, labels, CLASS_NAMES, source, official_split)

    return _cached("bloodmnist", checksum, read)


def _resized(originals: np.ndarray) -> np.ndarray:
    """Return uint8 (N, 96, 96, 3), bicubic and antialiased."""
    images = np.empty((len(originals), IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
    for row, original in enumerate(originals):
        picture = Image.fromarray(original)
        images[row] = resized_square(picture, *central_square(picture))
    return images


def _class_folders(path: Path) -> Photographs:
    checksum = _listing_digest(path) if kind(path) == "folder" else downloads.digest(path)

    def read() -> Photographs:
        images, labels, class_names, file_names = read_class_folders(path)
        description = f"{len(labels):,} photographs in {len(class_names)} class folders of your own"
        source = Source("folder", description, are_photographs=True, checksum=checksum)
        names = np.array(file_names)
        return Photographs(images, labels, class_names, source, file_names=names)

    return _cached("folder", checksum, read)


def _listing_digest(top: Path) -> str:
    """Return a digest of all folders below one, and of the names, sizes and times of all files."""
    files, folders = list_folder(top)
    lines = ["/".join(parts) for parts in folders]
    for parts, path in files.items():
        try:
            status = os.stat(path)
        except OSError as error:
            raise unreadable(path, error) from error
        lines.append(f"{'/'.join(parts)}|{status.st_size}|{status.st_mtime_ns}")
    return hashlib.sha256("\n".join(sorted(lines)).encode("utf-8", "surrogateescape")).hexdigest()


def _synthetic() -> Photographs:
    version = f"version {synthetic.CACHE_VERSION}"
    return _cached("synthetic", version, synthetic.draw_photographs)


def _cached(name: str, identity: str, make: Callable[[], Photographs]) -> Photographs:
    """Return what `make` returns, from the data folder if it was made before."""
    key = short_hash(CACHE_VERSION, name, identity)
    path = course.data_folder() / f"decoded-{name}-{key}.npy"
    photographs = read_cache(path, partial(_read, path))
    if photographs is None:
        _write(path, make())
        photographs = _read(path)
    return photographs


def _read(path: Path) -> Photographs:
    """Return what is cached; an exception says that it is damaged or its parts do not fit."""
    images = np.load(path, mmap_mode="r", allow_pickle=False)
    with np.load(path.with_suffix(".npz"), allow_pickle=False) as arrays:
        rest = dict(arrays)
    source = Source(**json.loads(str(rest["source"])))
    labels, class_names = rest["labels"], tuple(rest["class_names"].tolist())
    official_split, file_names = rest.get("official_split"), rest.get("file_names")
    is_of_files = source.name in ("mirror", "folder")
    if not (
        images.dtype == np.uint8
        and images.shape == (len(labels), IMAGE_SIZE, IMAGE_SIZE, 3)
        and labels.dtype == np.int64
        and set(np.unique(labels)) <= set(range(len(class_names)))
        and (official_split is None or official_split.shape == labels.shape)
        # Older caches lack them.
        and (file_names.shape == labels.shape if is_of_files else file_names is None)
    ):
        raise ValueError("parts that do not fit")
    return Photographs(images, labels, class_names, source, official_split, file_names)


def _write(path: Path, photographs: Photographs) -> None:
    images = np.ascontiguousarray(photographs.images)
    with replaced(path) as temporary, temporary.open("wb") as file:
        header = np.lib.format.header_data_from_array_1_0(images)
        np.lib.format.write_array_header_1_0(file, header)
        file.write(images.data)  # np.save's error for a full disk does not say that it is full
    rest = {
        "labels": photographs.labels,
        "class_names": np.array(photographs.class_names),
        "source": np.array(json.dumps(asdict(photographs.source))),
    }
    for name in ("official_split", "file_names"):
        if getattr(photographs, name) is not None:
            rest[name] = getattr(photographs, name)
    with replaced(path.with_suffix(".npz")) as temporary:
        np.savez(temporary, **rest)
