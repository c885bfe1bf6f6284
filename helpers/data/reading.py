"""Class folders, plain or zipped, read into arrays: one folder a class, one file an image."""

import io
import os
import re
import stat
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from helpers.course import CourseError
from helpers.data.downloads import progress_bar
from helpers.data.photographs import CLASS_NAMES, IMAGE_SIZE

# The PBC set's folders, in the order of CLASS_NAMES.
PBC_FOLDERS = (
    "basophil",
    "eosinophil",
    "erythroblast",
    "ig",
    "lymphocyte",
    "monocyte",
    "neutrophil",
    "platelet",
)
# BloodMNIST is the centre of each PBC photograph, this many pixels a side.
PBC_CROP = 200

# Pillow's other readers start programs (EPS) or are no photographs.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}

MAX_FILE_BYTES = 64 * 2**20
# Deflate cannot pack more than 1,032 to 1; images pack to a tenth at the very best.
MAX_UNPACKED_RATIO = 500

# What systems and viewers leave among a user's files; names with a leading dot are skipped too.
LITTER = {"__macosx", "thumbs.db", "desktop.ini"}

Parts = tuple[str, ...]


def read_class_folders(
    path: Path,
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...], list[str]]:
    """Read a folder, or a zip, that holds one folder of image files for each class.

    The class folders may lie deeper (`set/images/<class>/x.jpg`). A zip is read in memory and never
    unpacked to disk. Every image becomes RGB: EXIF orientation applied, transparency laid over
    white, 16 bits cut to the upper 8. It is cropped to its central square and resized to 96 px
    (bicubic, antialiased). If the class folders are the eight of the PBC set, the crop is
    BloodMNIST's, the central 200 x 200 pixels, and the classes are in BloodMNIST's order.

    A class with a single image is read like any other; it is the split that has no use for it.

    Returns:
        images: uint8 (N, 96, 96, 3), RGB, 0-255; by class, then by file name.
        labels: int64 (N,), index into the class names.
        class_names: the folders' names, sorted; CLASS_NAMES for the PBC set.
        file_names: N paths `<class folder>/<file>`.

    Raises:
        CourseError: if there are no class folders or only one; if a class folder is empty or holds
            folders; if an image lies outside of them; if a file is no image; if an archive is
            truncated, encrypted, holds links or paths that lead out of it, or unpacks to far more
            than photographs do.
    """
    path = Path(path)
    if path.is_dir():
        return _decode_classes(path.name, *_list_folder(path))
    try:
        with zipfile.ZipFile(path) as archive:
            return _decode_classes(path.name, *_list_archive(archive, path))
    except (zipfile.BadZipFile, EOFError, UnicodeDecodeError) as error:
        raise CourseError(
            f"{path.name} is no zip archive, or a truncated one: get it again."
        ) from error
    except OSError as error:
        raise CourseError(
            f"{path.name} cannot be read ({error.strerror}): name a folder or a zip of class "
            "folders that you may read."
        ) from error


def _list_folder(top: Path) -> tuple[dict[Parts, Callable[[], bytes]], set[Parts]]:
    """Return a reader for each file, and all folders, by their path below `top`."""
    files, folders = {}, set()
    for folder, subfolders, names in os.walk(top):
        here = Path(folder).relative_to(top).parts
        folders |= {(*here, name) for name in subfolders}
        for name in names:
            files[(*here, name)] = _file_reader(Path(folder) / name)
    return files, folders


def _list_archive(
    archive: zipfile.ZipFile, path: Path
) -> tuple[dict[Parts, Callable[[], bytes]], set[Parts]]:
    """Return a reader for each file, and all folders, by their path in the archive."""
    members = archive.infolist()
    if sum(member.file_size for member in members) > MAX_UNPACKED_RATIO * path.stat().st_size:
        raise CourseError(
            f"{path.name} would unpack to more than {MAX_UNPACKED_RATIO} times its size, which "
            "photographs never do: get the archive from a place you trust."
        )
    files, folders = {}, set()
    for member in members:
        _refuse_unsafe(member, path)
        parts = PurePosixPath(member.filename.replace("\\", "/")).parts
        folders |= {parts[:depth] for depth in range(1, len(parts))}
        if member.is_dir():
            folders.add(parts)
        else:
            files[parts] = _member_reader(archive, member, path)
    return files, folders


def _refuse_unsafe(member: zipfile.ZipInfo, path: Path) -> None:
    name = member.filename.replace("\\", "/")
    if name.startswith("/") or re.match("[A-Za-z]:", name) or ".." in name.split("/"):
        reason = "has a path that leads out of the archive"
    elif member.flag_bits & 1:
        reason = "is encrypted"
    elif stat.S_ISLNK(member.external_attr >> 16):
        reason = "is a link"
    elif member.file_size > MAX_FILE_BYTES:
        reason = f"unpacks to more than {MAX_FILE_BYTES // 2**20} MiB"
    else:
        return
    raise CourseError(
        f"{member.filename} in {path.name} {reason}: make the archive again from image files only."
    )


def _file_reader(path: Path) -> Callable[[], bytes]:
    def read() -> bytes:
        try:
            with path.open("rb") as file:
                return file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise CourseError(
                f"{path} cannot be read ({error.strerror}): mend or remove it."
            ) from error

    return read


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


def _decode_classes(
    name: str, files: dict[Parts, Callable[[], bytes]], folders: set[Parts]
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...], list[str]]:
    files = {parts: read for parts, read in files.items() if not _is_litter(parts)}
    folders = {parts for parts in folders if not _is_litter(parts)}
    root = _class_root(name, folders)
    class_folders = sorted(_children(root, folders))
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
    with (
        warnings.catch_warnings(),
        progress_bar(total=len(members), desc=f"Decoding {name}", unit="image") as bar,
    ):
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for row, (_, parts) in enumerate(members):
            images[row] = _decode(files[parts](), f"{file_names[row]} in {name}", is_pbc)
            bar.update()
    return images, labels, CLASS_NAMES if is_pbc else tuple(class_folders), file_names


def _is_litter(parts: Parts) -> bool:
    return any(part.startswith(".") or part.lower() in LITTER for part in parts)


def _children(folder: Parts, folders: set[Parts]) -> set[str]:
    return {
        parts[-1] for parts in folders if len(parts) == len(folder) + 1 and parts[:-1] == folder
    }


def _class_root(name: str, folders: set[Parts]) -> Parts:
    """Return the folder whose folders are the classes: the first that holds more than one."""
    root: Parts = ()
    while True:
        children = _children(root, folders)
        if len(children) > 1:
            return root
        if not children:
            break
        root = (*root, *children)
    raise CourseError(
        f"{name} does not hold two class folders or more: "
        "give it one folder of images for each class."
    )


def _refuse_misplaced(
    name: str, root: Parts, files: dict[Parts, object], folders: set[Parts]
) -> None:
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


def _decode(data: bytes, name: str, is_pbc: bool) -> np.ndarray:
    """Return uint8 (96, 96, 3)."""
    if len(data) > MAX_FILE_BYTES:
        raise CourseError(f"{name} is larger than {MAX_FILE_BYTES // 2**20} MiB: make it smaller.")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            rgb = _as_rgb(ImageOps.exif_transpose(image))
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
    side = min(rgb.size)
    if is_pbc and side >= PBC_CROP:
        side = PBC_CROP
    left, top = (rgb.width - side) // 2, (rgb.height - side) // 2
    square = rgb.crop((left, top, left + side, top + side))
    return np.asarray(square.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC))


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
