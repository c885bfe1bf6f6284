"""Where the images come from: the homework's file, a mirror, BloodMNIST, or synthetic cells.

BLOODCELLS_SOURCE asks for one of them by name ("homework", "mirror", "bloodmnist", "synthetic"), or
for a folder or zip of class folders by its path. BLOODCELLS_MIRROR names a mirror (a folder or an
http URL), see data/README.md.
"""

import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from helpers import course
from helpers.course import CourseError
from helpers.data import downloads
from helpers.data.photographs import CLASS_NAMES, IMAGE_SIZE, Photographs, Source
from helpers.data.reading import read_class_folders
from helpers.files import replaced

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


@dataclass(frozen=True)
class _Candidate:
    """A source that can be asked for by name.

    Attributes:
        load: returns the images, or None where they are not to be had.
        reason: why it was chosen, if nobody asked for it.
        missing: why it could not be, where `load` returns None.
    """

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
            its files are truncated, altered or of another shape than they should be.
    """
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
        return _class_folders(asked)
    photographs = candidates[asked].load()
    if photographs is None:
        raise CourseError(
            f"BLOODCELLS_SOURCE asks for {asked!r}, but {candidates[asked].missing}: "
            "mend that, or unset BLOODCELLS_SOURCE to use the first source that can be had."
        )
    return photographs


def _candidates() -> dict[str, _Candidate]:
    """Return the sources in the order in which they are tried."""
    return {
        "homework": _Candidate(
            load=_homework,
            reason=f"because data/{HOMEWORK_FILE} is there",
            missing=f"data/{HOMEWORK_FILE} is missing",
        ),
        "mirror": _Candidate(
            load=_mirror,
            reason="because BLOODCELLS_MIRROR is set",
            missing="BLOODCELLS_MIRROR is not set",
        ),
        "bloodmnist": _Candidate(
            load=_bloodmnist,
            reason="because it can be downloaded",
            missing="zenodo.org cannot be reached",
        ),
        "synthetic": _Candidate(
            load=_synthetic,
            reason="because no photographs could be had",
            missing="they cannot be drawn",
        ),
    }


def _homework() -> Photographs | None:
    path = course.data_folder() / HOMEWORK_FILE
    if not path.exists():
        return None
    checksum = downloads.digest(path)

    def read() -> Photographs:
        images, labels = read_image_set(path, "images", "labels", IMAGE_SIZE)
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
        raise CourseError(
            f"BLOODCELLS_MIRROR names {course.mirror()}, which holds no images ({names}): "
            "correct it, or unset it to use the official hosts."
        )
    return _decoded_bloodmnist(*held)


def _pbc(archive: Path) -> Photographs:
    checksum = downloads.digest(archive)

    def read() -> Photographs:
        images, labels, class_names, _ = read_class_folders(archive)
        if class_names != CLASS_NAMES:
            raise CourseError(
                f"{archive.name} holds the classes {', '.join(class_names)}, not the eight of the "
                "PBC set: get it again, or name it in BLOODCELLS_SOURCE as class folders."
            )
        description = f"{len(labels):,} photographs of the PBC set (mirror), CC BY 4.0"
        source = Source("mirror", description, are_photographs=True, checksum=checksum)
        return Photographs(images, labels, class_names, source)

    return _cached("mirror", checksum, read)


def _bloodmnist() -> Photographs | None:
    held = _bloodmnist_on_mirror()
    if held is not None:
        return _decoded_bloodmnist(*held)
    size = _bloodmnist_sizes()[0]
    name = _bloodmnist_name(size)
    url, path = BLOODMNIST_URL.format(name=name), course.data_folder() / name
    if not path.exists() and not downloads.reachable(url, seconds=5):
        return None
    return _decoded_bloodmnist(downloads.download(url, path, md5=BLOODMNIST_MD5[size]), size)


def _bloodmnist_on_mirror() -> tuple[Path, int] | None:
    for size in _bloodmnist_sizes():
        path = downloads.mirror_file(_bloodmnist_name(size), md5=BLOODMNIST_MD5[size])
        if path is not None:
            return path, size
    return None


def _bloodmnist_sizes() -> list[int]:
    """Return the sizes to look for; the first is the one to download."""
    wanted = 64 if course.profile().name == "quick" else 128
    return [wanted, *(size for size in BLOODMNIST_MD5 if size != wanted)]


def _bloodmnist_name(size: int) -> str:
    return f"bloodmnist_{size}.npz"


def _decoded_bloodmnist(path: Path, size: int) -> Photographs:
    checksum = downloads.digest(path)

    def read() -> Photographs:
        images, labels = [], []
        for split in SPLITS:
            originals, split_labels = read_image_set(
                path, f"{split}_images", f"{split}_labels", size
            )
            images.append(_resized(originals))
            labels.append(split_labels)
        official_split = np.repeat(SPLITS, [len(split_labels) for split_labels in labels])
        description = (
            f"{len(official_split):,} photographs of BloodMNIST ({size} px resized to "
            f"{IMAGE_SIZE}), CC BY 4.0"
        )
        source = Source("bloodmnist", description, are_photographs=True, checksum=checksum)
        return Photographs(
            np.concatenate(images), np.concatenate(labels), CLASS_NAMES, source, official_split
        )

    return _cached("bloodmnist", checksum, read)


def _resized(originals: np.ndarray) -> np.ndarray:
    """Return uint8 (N, 96, 96, 3), bicubic and antialiased."""
    images = np.empty((len(originals), IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
    for row, original in enumerate(originals):
        picture = Image.fromarray(original)
        images[row] = picture.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC)
    return images


def _class_folders(asked: str) -> Photographs:
    path = course.root() / Path(asked).expanduser()
    if not path.exists():
        raise CourseError(
            f"BLOODCELLS_SOURCE is {asked!r}, which is none of {', '.join(_candidates())}, "
            "nor a folder or zip that is there: correct it or unset it."
        )
    checksum = _listing_digest(path) if path.is_dir() else downloads.digest(path)

    def read() -> Photographs:
        images, labels, class_names, _ = read_class_folders(path)
        description = f"{len(labels):,} photographs in {len(class_names)} class folders of your own"
        source = Source("folder", description, are_photographs=True, checksum=checksum)
        return Photographs(images, labels, class_names, source)

    return _cached("folder", checksum, read)


def _listing_digest(top: Path) -> str:
    """Return a digest of the names, sizes and times of all files in a folder."""
    lines = []
    for folder, _, names in os.walk(top):
        for name in names:
            status = (Path(folder) / name).lstat()
            relative = (Path(folder) / name).relative_to(top).as_posix()
            lines.append(f"{relative}|{status.st_size}|{status.st_mtime_ns}")
    return hashlib.sha256("\n".join(sorted(lines)).encode("utf-8", "surrogateescape")).hexdigest()


def _synthetic() -> Photographs:
    from helpers.data import synthetic  # only here: nothing else needs it

    return _cached("synthetic", f"version {synthetic.CACHE_VERSION}", synthetic.draw_photographs)


def read_image_set(
    path: Path, images_key: str, labels_key: str, side: int
) -> tuple[np.ndarray, np.ndarray]:
    """Read one set of labelled images of the eight classes from an .npz file.

    Returns:
        uint8 (N, side, side, 3) and int64 (N,), 0-7. Labels may be stored as (N, 1).

    Raises:
        CourseError: if the file is truncated or altered, a key is missing, or shape, dtype or
            labels are not these; it says how to convert them. Pickled objects are never loaded.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            shape, dtype = _header(archive, images_key, path)
            if shape[1:] != (side, side, 3) or shape[0] == 0:
                raise CourseError(
                    f"{images_key} in {path.name} has the shape {shape} instead of "
                    f"(N, {side}, {side}, 3): store RGB images of {side} x {side} pixels, row by "
                    "row."
                )
            if dtype != np.uint8:
                advice = _conversion(archive, images_key, dtype)
                raise CourseError(
                    f"{images_key} in {path.name} is {dtype} instead of uint8: store {advice}."
                )
            labels_shape, labels_dtype = _header(archive, labels_key, path)
            if labels_shape not in [(shape[0],), (shape[0], 1)]:
                raise CourseError(
                    f"{labels_key} in {path.name} has the shape {labels_shape} instead of "
                    f"({shape[0]},) or ({shape[0]}, 1): store one class index for each image."
                )
            if labels_dtype.kind not in "iu":
                raise CourseError(
                    f"{labels_key} in {path.name} is {labels_dtype} instead of integers: "
                    f"store {labels_key}.astype(np.int64)."
                )
            labels = _array(archive, labels_key).reshape(-1).astype(np.int64)
            if labels.min() < 0 or labels.max() >= len(CLASS_NAMES):
                raise CourseError(
                    f"{labels_key} in {path.name} goes from {labels.min()} to {labels.max()}, "
                    f"outside 0-{len(CLASS_NAMES) - 1}: store the index of one of the eight "
                    "classes for each image."
                )
            return _array(archive, images_key), labels
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError) as error:
        raise CourseError(
            f"{path.name} is truncated or altered ({error}): get the file again."
        ) from error


def _header(archive: zipfile.ZipFile, key: str, path: Path) -> tuple[tuple[int, ...], np.dtype]:
    """Return an array's shape and dtype without reading the array."""
    if f"{key}.npy" not in archive.namelist():
        held = ", ".join(sorted(Path(name).stem for name in archive.namelist())) or "nothing"
        raise CourseError(
            f"{path.name} has no array called {key} (it holds {held}): store it under that name."
        )
    with archive.open(f"{key}.npy") as file:
        shape, dtype = _read_header(file)
    if dtype.hasobject:
        raise CourseError(
            f"{key} in {path.name} holds pickled objects, which can run code when they are loaded "
            "and never are here: store a plain array of numbers."
        )
    if dtype.itemsize * int(np.prod(shape, dtype=object)) > archive.getinfo(f"{key}.npy").file_size:
        raise ValueError(f"{key} is shorter than it says")
    return shape, dtype


def _read_header(file) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(file)
    read = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, _, dtype = read(file)
    return shape, dtype


def _array(archive: zipfile.ZipFile, key: str) -> np.ndarray:
    with archive.open(f"{key}.npy") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _conversion(archive: zipfile.ZipFile, key: str, dtype: np.dtype) -> str:
    """Return the expression that makes uint8 pixels of an array, judged by its first values."""
    if dtype.kind != "f":
        return f"{key}.astype(np.uint8), with values in 0-255"
    with archive.open(f"{key}.npy") as file:
        _read_header(file)
        first = np.frombuffer(file.read(dtype.itemsize * 2**20), dtype)
    scaled = f"{key} * 255" if first.max() <= 1 else key
    return f"np.round({scaled}).astype(np.uint8)"


def _cached(name: str, identity: str, make: Callable[[], Photographs]) -> Photographs:
    """Return what `make` returns, from the data folder if it was made before."""
    key = hashlib.sha256(f"{CACHE_VERSION}|{name}|{identity}".encode()).hexdigest()[:16]
    path = course.data_folder() / f"decoded-{name}-{key}.npy"
    photographs = _read_cache(path)
    if photographs is None:
        _write_cache(path, make())
        photographs = _read_cache(path)
    return photographs


def _read_cache(path: Path) -> Photographs | None:
    """Return None if the cache is not there, truncated, or its parts do not fit each other."""
    try:
        images = np.load(path, mmap_mode="r", allow_pickle=False)
        with np.load(path.with_suffix(".npz"), allow_pickle=False) as arrays:
            rest = dict(arrays)
        source = Source(**json.loads(str(rest["source"])))
        labels, class_names = rest["labels"], tuple(rest["class_names"].tolist())
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
    if images.dtype != np.uint8 or images.shape != (len(labels), IMAGE_SIZE, IMAGE_SIZE, 3):
        return None
    return Photographs(images, labels, class_names, source, rest.get("official_split"))


def _write_cache(path: Path, photographs: Photographs) -> None:
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
    if photographs.official_split is not None:
        rest["official_split"] = photographs.official_split
    with replaced(path.with_suffix(".npz")) as temporary:
        np.savez(temporary, **rest)
