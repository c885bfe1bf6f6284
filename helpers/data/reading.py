"""Images that others made, read into arrays: class folders, plain or zipped, and .npz files.

Nothing in them is trusted: no pickle is loaded, and no zip is read that leads out of itself or
unpacks to far more than images or weights do.
"""

import errno
import io
import os
import re
import shutil
import stat
import unicodedata
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from helpers.course import CourseError
from helpers.data.downloads import progress_bar
from helpers.data.photographs import CLASS_NAMES, IMAGE_SIZE
from helpers.files import kind, unreadable

# The PBC set's folders, in the order of CLASS_NAMES.
PBC_FOLDERS = (
    *("basophil", "eosinophil", "erythroblast", "ig"),
    *("lymphocyte", "monocyte", "neutrophil", "platelet"),
)
# BloodMNIST is the centre of each PBC photograph, this many pixels a side.
PBC_CROP = 200

# Pillow's other readers start programs (EPS) or are no photographs.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}

MAX_FILE_BYTES = 64 * 2**20
# Deflate cannot pack more than 1,032 to 1; images pack to a tenth at the very best, weights hardly
# at all, code to a tenth.
MAX_RATIO = 500
# Of a submission, and of an image set: BloodMNIST at 224 px has 2.6 GB.
MAX_FILES = 1000
MAX_SUBMISSION_BYTES = 2 * 10**9
MAX_SET_BYTES = 4 * 10**9

# What systems and viewers leave among a user's files; names with a leading dot are skipped too.
LITTER = {"__macosx", "thumbs.db", "desktop.ini"}

Parts = tuple[str, ...]
Readers = dict[Parts, Callable[[], bytes]]
ClassFolders = tuple[np.ndarray, np.ndarray, tuple[str, ...], list[str]]


def read_class_folders(path: Path) -> ClassFolders:
    """Read a folder, or a zip, that holds one folder of image files for each class.

    The class folders may lie deeper (`set/images/<class>/x.jpg`) or be links. A zip is read in
    memory and never unpacked to disk. Every image becomes RGB: EXIF orientation applied,
    transparency laid over white, 16 bits cut to the upper 8. It is cropped to its central square
    and resized to 96 px (bicubic, antialiased). If the class folders are the eight of the PBC set,
    the crop is BloodMNIST's, the central 200 x 200 pixels, and the classes are in BloodMNIST's
    order.

    A class with a single image is read like any other; it is the split that has no use for it.

    Returns:
        images: uint8 (N, 96, 96, 3), RGB, 0-255; by class, then by file name.
        labels: int64 (N,), index into the class names.
        class_names: the folders' names, sorted; CLASS_NAMES for the PBC set.
        file_names: N paths `<class folder>/<file>`.

    Raises:
        CourseError: if there are no class folders or only one; if a class folder is empty or holds
            folders; if an image lies outside of them; if a file is no image or may not be read; if
            an archive is truncated, encrypted, holds links or paths that lead out of it, or unpacks
            to far more than photographs do.
    """
    path = Path(path)
    if kind(path) == "folder":
        files, folders = list_folder(path)
        readers = {parts: lambda file=file: read_file(file) for parts, file in files.items()}
        return _decode_classes(path.name, readers, folders)
    advice = "make the archive again from image files only"
    with opened_zip(path, "is no zip archive, or a truncated one", "get it again") as archive:
        members = _safe_members(archive, path, advice, each=MAX_FILE_BYTES)
        readers = {
            parts: _member_reader(archive, member, path)
            for parts, member in members.items()
            if not member.is_dir()
        }
        folders = {parts[:depth] for parts in members for depth in range(1, len(parts))}
        folders |= {parts for parts, member in members.items() if member.is_dir()}
        return _decode_classes(path.name, readers, folders)


def list_folder(top: Path) -> tuple[dict[Parts, Path], set[Parts]]:
    """Return all files, and all folders, by their path below `top`; links are followed.

    What systems and viewers leave in folders is left out.

    Raises:
        CourseError: if a folder may not be read or leads back to one that was listed already.
    """
    files, folders, seen = {}, set(), set()

    def fail(error: OSError) -> None:
        raise unreadable(Path(error.filename), error)

    for folder, subfolders, names in os.walk(top, onerror=fail, followlinks=True):
        place, here = os.path.realpath(folder), Path(folder).relative_to(top).parts
        if place in seen:
            raise CourseError(f"{folder} is a link to a folder that is read already: remove it.")
        seen.add(place)
        subfolders[:] = [name for name in subfolders if not is_litter((name,))]
        folders |= {(*here, name) for name in subfolders}
        files |= {(*here, name): Path(folder) / name for name in names if not is_litter((name,))}
    return files, folders


def read_file(path: Path) -> bytes:
    """Return a file's content, cut one byte after MAX_FILE_BYTES.

    Raises:
        CourseError: if it may not be read, or is a pipe or a device.
    """
    try:
        kind(path)
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise unreadable(path, error) from error


def read_image_set(
    path: Path, images_key: str = "images", labels_key: str = "labels", side: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Read one set of labelled images of the eight classes from an .npz file.

    Args:
        path: of the file.
        images_key, labels_key: names of the two arrays.
        side: pixels a side that the images must have; None for any.

    Returns:
        uint8 (N, side, side, 3) and int64 (N,), 0-7. Labels may be stored as (N, 1).

    Raises:
        CourseError: if the file is truncated, altered, encrypted or far too large, a key is
            missing, or shape, dtype or labels are not these; it says how to convert them. Pickled
            objects are never loaded.
    """
    path = Path(path)

    def refuse(key: str, fault: str, advice: str) -> None:
        raise CourseError(f"{key} in {path.name} {fault}: store {advice}.")

    with _opened_npz(path) as archive:
        shape, dtype = _header(archive, images_key, path)
        side = side or (shape[1] if len(shape) == 4 else IMAGE_SIZE)
        if shape[1:] != (side, side, 3):
            wanted = f"has the shape {shape} instead of (N, {side}, {side}, 3)"
            refuse(images_key, wanted, f"RGB images of {side} x {side} pixels, row by row")
        if shape[0] == 0:
            refuse(images_key, "is empty", "at least one image")
        if dtype != np.uint8:
            fault, advice = _conversion(archive, images_key, dtype)
            refuse(images_key, f"is {dtype} instead of uint8{fault}", advice)
        labels_shape, labels_dtype = _header(archive, labels_key, path)
        if labels_shape not in [(shape[0],), (shape[0], 1)]:
            wanted = f"has the shape {labels_shape} instead of ({shape[0]},) or ({shape[0]}, 1)"
            refuse(labels_key, wanted, "one class index for each image")
        if labels_dtype.kind not in "iu":
            words = "the index, 0-7, of each word in the list of classes"
            advice = words if labels_dtype.kind in "US" else f"{labels_key}.astype(np.int64)"
            refuse(labels_key, f"is {labels_dtype} instead of integers", advice)
        labels = _array(archive, labels_key).reshape(-1).astype(np.int64)
        if labels.min() < 0 or labels.max() >= len(CLASS_NAMES):
            fault = f"goes from {labels.min()} to {labels.max()}, outside 0-{len(CLASS_NAMES) - 1}"
            refuse(labels_key, fault, "the index of one of the eight classes for each image")
        return _array(archive, images_key), labels


def array_names(path: Path) -> set[str]:
    """Return the names of the arrays in an .npz file, without reading any.

    Raises:
        CourseError: if the file is truncated, altered, encrypted or far too large.
    """
    with _opened_npz(path) as archive:
        return {name.removesuffix(".npy") for name in archive.namelist()}


def unpack(path: Path, folder: Path) -> None:
    """Unpack a submission's zip into an empty folder, after a look at all of its members.

    Raises:
        CourseError: if it is no zip or a damaged one; if a member's path leads out of the folder
            or comes twice; if a member is encrypted, a link or a device; if there are more than
            MAX_FILES members, MAX_SUBMISSION_BYTES or MAX_RATIO times the zip's own size; if there
            is no room.
    """
    again = "zip model.py and its weights again, as plain files"
    if kind(path) is None:
        raise CourseError(f"{path} is not there: name a submission's zip.")
    with opened_zip(path, "is no zip that can be unpacked", again) as archive:
        members = _safe_members(
            archive, path, again, MAX_FILES, MAX_SUBMISSION_BYTES, fold_case=True
        )
        for parts, member in members.items():
            target = folder.joinpath(*parts)
            (target if member.is_dir() else target.parent).mkdir(parents=True, exist_ok=True)
            if not member.is_dir():
                # Never more than the size that was looked at: zipfile stops there.
                with archive.open(member) as packed, target.open("xb") as unpacked:
                    shutil.copyfileobj(packed, unpacked)


@contextmanager
def opened_zip(path: Path, damaged: str, advice: str) -> Iterator[zipfile.ZipFile]:
    """Open a zip for a block that reads it; whatever they raise becomes one sentence.

    `damaged` is what that says of a file that is no zip or a damaged one, `advice` what to do.
    """
    if kind(path) != "file":
        reason = "is a folder" if kind(path) else "cannot be read (No such file or directory)"
        raise CourseError(f"{path.name} {reason}, {damaged}: {advice}.")
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except CourseError:
        raise
    except Exception as error:  # zipfile, each kind of compression and NumPy raise errors of theirs
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise CourseError(
                f"{path.name} could not be unpacked ({error.strerror}): free some disk space."
            ) from error
        if isinstance(error, PermissionError):
            raise unreadable(path, error) from error
        why = str(error).partition("\n")[0][:200] or type(error).__name__
        raise CourseError(f"{path.name} {damaged} ({why}): {advice}.") from error


def _safe_members(
    archive: zipfile.ZipFile,
    path: Path,
    advice: str,
    most_files: int | None = None,
    most_bytes: int | None = None,
    each: int | None = None,
    fold_case: bool = False,
) -> dict[Parts, zipfile.ZipInfo]:
    """Return an archive's members by their path, if all of them are harmless and not too much.

    `fold_case`: names that differ in their case only are the same, as some systems have it.
    """
    infos, members, seen = archive.infolist(), {}, set()
    unpacked = sum(info.file_size for info in infos)
    reason = ""
    if most_files and len(infos) > most_files:
        reason = f"holds {len(infos):,} files, more than {most_files:,}"
    elif most_bytes and unpacked > most_bytes:
        reason = f"would unpack to {unpacked / 1e9:.1f} GB, more than {most_bytes / 1e9:.0f}"
    elif unpacked > MAX_RATIO * path.stat().st_size:
        reason = f"would unpack to more than {MAX_RATIO} times its size"
    if reason:
        raise CourseError(f"{path.name} {reason}, so it is refused: {advice}.")
    for info in infos:
        name = info.filename.replace("\\", "/")
        parts = PurePosixPath(name).parts
        place = name.rstrip("/").casefold() if fold_case else name
        if name.startswith("/") or re.match("[A-Za-z]:", name) or ".." in parts:
            reason = "has a path that leads out of the archive"
        elif not parts or "\0" in name:
            reason = "has no name"
        elif place in seen:
            reason = "comes twice"
        elif info.flag_bits & 1:
            reason = "is encrypted"
        elif stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            reason = "is a link or no plain file"
        elif each and info.file_size > each:
            reason = f"unpacks to more than {each // 2**20} MiB"
        if reason:
            raise CourseError(f"{info.filename!r} in {path.name} {reason}: {advice}.")
        seen.add(place)
        members[parts] = info
    return members


def _member_reader(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path
) -> Callable[[], bytes]:
    def read() -> bytes:
        try:
            with archive.open(member) as file:
                return file.read(MAX_FILE_BYTES + 1)
        except Exception as error:  # each kind of compression raises its own errors
            raise CourseError(
                f"{member.filename} in {path.name} is damaged ({error}): get the archive again."
            ) from error

    return read


@contextmanager
def _opened_npz(path: Path) -> Iterator[zipfile.ZipFile]:
    with opened_zip(path, "is truncated or altered", "get the file again") as archive:
        _safe_members(archive, path, "store the arrays again", most_bytes=MAX_SET_BYTES)
        yield archive


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
    first = np.lib.format.read_array_header_1_0
    read = first if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return shape, dtype


def _array(archive: zipfile.ZipFile, key: str) -> np.ndarray:
    with archive.open(f"{key}.npy") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _conversion(archive: zipfile.ZipFile, key: str, dtype: np.dtype) -> tuple[str, str]:
    """Return what else is wrong, and how to make uint8 pixels of an array, by its first values."""
    if dtype.kind != "f":
        return "", f"{key}.astype(np.uint8), with values in 0-255"
    with archive.open(f"{key}.npy") as file:
        _read_header(file)
        first = np.frombuffer(file.read(dtype.itemsize * 2**20), dtype)
    if not np.isfinite(first).all():
        return " and holds values that are no numbers (NaN or infinity)", "pixels of 0-255"
    if first.min() < 0:
        scaled = f"np.round(({key} + 1) * 127.5).astype(np.uint8)"
        return " and holds negative values", f"pixels of 0-255 (from -1 to 1: {scaled})"
    scaled = f"{key} * 255" if first.max() <= 1 else key
    return "", f"np.round({scaled}).astype(np.uint8)"


def _decode_classes(name: str, files: Readers, folders: set[Parts]) -> ClassFolders:
    files = {parts: read for parts, read in files.items() if not is_litter(parts)}
    folders = {parts for parts in folders if not is_litter(parts)}
    root, class_folders = _class_root(name, folders)
    _refuse_misplaced(name, root, files, folders)
    is_pbc = set(class_folders) == set(PBC_FOLDERS)
    if is_pbc:
        class_folders = list(PBC_FOLDERS)
    members = [
        (label, parts)
        for label, class_folder in enumerate(class_folders)
        for parts in sorted(files)
        if parts[:-1] == (*root, class_folder)
    ]
    labels = np.array([label for label, _ in members], np.int64)
    for label in np.flatnonzero(np.bincount(labels, minlength=len(class_folders)) == 0):
        raise CourseError(
            f"The class folder {class_folders[label]} in {name} is empty: "
            "put images into it or remove it."
        )
    images = np.empty((len(members), IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
    file_names = ["/".join(parts[-2:]) for _, parts in members]
    with progress_bar(total=len(members), desc=f"Decoding {name}", unit="image") as bar:
        for row, (_, parts) in enumerate(members):
            rgb = decode(files[parts](), f"{file_names[row]} in {name}")
            images[row] = resized_square(rgb, *central_square(rgb, PBC_CROP if is_pbc else None))
            bar.update()
    return images, labels, CLASS_NAMES if is_pbc else tuple(map(_typed, class_folders)), file_names


def _typed(name: str) -> str:
    """Return a name as keyboards type it: zips made on a Mac split accented letters in two."""
    return unicodedata.normalize("NFC", name)


def is_litter(parts: Parts) -> bool:
    """Return whether a path is of what systems and viewers leave, or hidden."""
    return any(part.startswith(".") or part.lower() in LITTER for part in parts)


def _class_root(name: str, folders: set[Parts]) -> tuple[Parts, list[str]]:
    """Return the first folder that holds more than one folder, and those: the classes."""
    root: Parts = ()
    while children := sorted(parts[-1] for parts in folders if parts and parts[:-1] == root):
        if len(children) > 1:
            return root, children
        root = (*root, *children)
    raise CourseError(
        f"{name} does not hold two class folders or more: "
        "give it one folder of images for each class."
    )


def _refuse_misplaced(name: str, root: Parts, files: Readers, folders: set[Parts]) -> None:
    for parts in sorted(folders):
        if len(parts) > len(root) + 1:
            raise CourseError(
                f"The class folder {parts[len(root)]} in {name} holds a folder, {parts[-1]}: "
                "name a folder whose folders hold the images of one class each."
            )
    for parts in sorted(files):
        if len(parts) <= len(root) + 1 and Path(parts[-1]).suffix.lower() in SUFFIXES:
            raise CourseError(
                f"The image {parts[-1]} in {name} lies in no class folder: "
                "move it into one or remove it."
            )


def central_square(rgb: Image.Image, most: int | None = None) -> tuple[int, int, int]:
    """Return (left, top, side) of an image's largest middle square, of `most` pixels at most."""
    side = min(*rgb.size, most or rgb.width)
    return (rgb.width - side) // 2, (rgb.height - side) // 2, side


def resized_square(rgb: Image.Image, left: int, top: int, side: int) -> np.ndarray:
    """Return a square of an image as uint8 (96, 96, 3)."""
    square = rgb.crop((left, top, left + side, top + side))
    return np.asarray(square.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC))


def decode(data: bytes, name: str) -> Image.Image:
    """Return an image file's content, RGB, upright, as large as it is; `name` is for the sentence.

    Raises:
        CourseError: if it is no image, a damaged or a far too large one.
    """
    if len(data) > MAX_FILE_BYTES:
        raise CourseError(f"{name} is larger than {MAX_FILE_BYTES // 2**20} MiB: make it smaller.")
    try:
        with (
            warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning),
            Image.open(io.BytesIO(data), formats=FORMATS) as image,
        ):
            return _as_rgb(ImageOps.exif_transpose(image))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise CourseError(
            f"{name} has more than {Image.MAX_IMAGE_PIXELS:,} pixels: make it smaller."
        ) from error
    except UnidentifiedImageError as error:
        raise CourseError(
            f"{name} is no image ({', '.join(FORMATS)}): remove it or save it as one."
        ) from error
    except Exception as error:  # Pillow raises errors of many kinds on damaged files
        raise CourseError(
            f"{name} is an image that cannot be read ({error}): mend or remove it."
        ) from error


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        values = np.asarray(image).clip(0, 2**16 - 1).astype(np.uint16)
        if values.max() < 2**12:
            raise ValueError(
                f"its 16-bit pixels are all below {values.max() + 1}, which would come out black: "
                "save it as 8-bit"
            )
        upper = values >> 8
        image = Image.fromarray(upper.astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("its pixels are floating-point numbers, not 8-bit")
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")
