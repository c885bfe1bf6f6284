"""Names the cells on photographs of your own, with a released model (`models.released`).

PATH is an image file, or a folder that is searched for images, its folders too. Each image should
show one cell in its centre. It is cropped to its central square and resized to 96 px. PBC
photographs, told by their size, are cropped to their central 200 pixels, as for the training;
--pbc does so with every image.
"""

import argparse
import csv
import errno
import io
import os
import sys
import textwrap
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, count
from pathlib import Path

import keras
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from tqdm import tqdm

from helpers.course import CourseError, printable, stop_printing
from helpers.data import reading
from helpers.data.downloads import progress_bar
from helpers.figures import style
from helpers.files import replaced
from helpers.models import released

CAUTION = "For teaching, not for diagnosis."

# Width and height of the PBC photographs: as published, and as a mirror may hold them. Those of
# the second acquisition have other sizes.
PBC_SIZES = {(360, 363), (208, 208)}

# Images that are read before the network is asked; no more are held at once.
BATCH = released.BATCH

# More images than this go to a CSV even if none is asked for.
FEW = 20
DEFAULT_CSV = Path("predictions.csv")

CSV_HEADER = ["file", "class", "probability", "second", "second_probability"]
FORMULA = ("=", "+", "-", "@")
# Written into each sheet, by which it is known as one.
SHEET_NOTE = {"Title": "Contact sheet of python -m helpers predict", "Software": None}

# A contact sheet shows the first so many.
SHEET_IMAGES = 96


def read_image(path: Path, pbc: bool = False) -> np.ndarray:
    """Return one image file as the networks take it, decoded like the course's class folders.

    Args:
        path: of a file in one of `reading.FORMATS`.
        pbc: crop to the central 200 pixels whatever its size; else only if it is in PBC_SIZES.

    Returns:
        uint8 (96, 96, 3), RGB, 0-255.

    Raises:
        CourseError: if it cannot be read, is no image, a damaged or a far too large one.
    """
    data = reading.read_file(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return reading.decode(data, printable(path), pbc or _has_pbc_size(data))


def sheet(
    images: np.ndarray, probabilities: np.ndarray, class_names: Sequence[str], note: str
) -> Figure:
    """Return a contact sheet: each image with its class and probability, the first SHEET_IMAGES.

    Args:
        images: uint8 (at least min(N, SHEET_IMAGES), 96, 96, 3).
        probabilities: float (N, classes).
        class_names: one name a class.
        note: written below.
    """
    style.use_course_style()
    shown = min(len(probabilities), SHEET_IMAGES)
    titles = [
        f"{textwrap.fill(class_names[row.argmax()], 14)}\n{_percent(row.max())}"
        for row in probabilities[:shown]
    ]
    counts = Counter(class_names[k] for k in probabilities.argmax(axis=1)).most_common()
    heading = f"{_images(len(probabilities))}: " + ", ".join(f"{n} {name}" for name, n in counts)
    if shown < len(probabilities):
        heading += f" (the first {shown} are shown)"
    columns = min(max(shown, 4), 8)
    # About 10 characters of a heading to the inch, in the style of `figures.save`.
    figure = style.contact_sheet(images[:shown], titles, columns, "")
    figure.suptitle(
        textwrap.fill(heading, 10 * columns), fontsize=11, fontweight="bold", x=0.01, ha="left"
    )
    figure.supxlabel(textwrap.fill(note, 16 * columns), fontsize=7, color="0.45")
    return figure


def _has_pbc_size(data: bytes) -> bool:
    # What is wrong with an image is told when it is decoded.
    with suppress(Exception), Image.open(io.BytesIO(data), formats=reading.FORMATS) as image:
        return image.size in PBC_SIZES
    return False


def _files(paths: list[Path]) -> list[Path]:
    """Return the files that were named and the images in the folders that were, each once.

    Raises:
        CourseError: if a folder holds no image, or may not be read.
    """
    found: dict[Path, None] = {}
    for path in paths:
        found |= dict.fromkeys(_images_below(path) if os.path.isdir(path) else [path])
    return list(found)


def _images_below(folder: Path) -> list[Path]:
    files = [path for _, path in sorted(reading.list_folder(folder)[0].items())]
    found = [path for path in files if path.suffix.lower() in reading.SUFFIXES]
    kinds = f"files that end in {', '.join(sorted(reading.SUFFIXES))}"
    if not found:
        raise CourseError(
            f"The folder {printable(folder)} holds no image: name one that holds {kinds}."
        )
    endings = Counter(path.suffix.lower() or "no ending" for path in files)
    others = [f"{n:,} {ending}" for ending, n in endings.items() if ending not in reading.SUFFIXES]
    if others:
        named = printable(", ".join(others))
        print(f"Left out of {printable(folder)}: {named} (read are {kinds}).", file=sys.stderr)
    return found


def _predictions(
    files: list[Path], model: keras.Model, temperature: float, pbc: bool
) -> Iterator[tuple[Path, np.ndarray, np.ndarray]]:
    """Yield path, image and probabilities of each readable file; say of the others what is wrong.

    No more than a batch of images is held at once.
    """
    with progress_bar(total=len(files), desc="Predicting", unit="image") as bar:
        for start in range(0, len(files), BATCH):
            images = {}
            for path in files[start : start + BATCH]:
                try:
                    images[path] = read_image(path, pbc)
                except CourseError as error:
                    tqdm.write(printable(error), file=sys.stderr)
                bar.update()
            if images:
                batch = np.stack(list(images.values()))
                probabilities = released.classify(model, batch, temperature)
                yield from zip(images, images.values(), probabilities, strict=True)


def _best_two(probabilities: np.ndarray) -> np.ndarray:
    return np.argsort(-probabilities, kind="stable")[:2]


def _line(path: Path, probabilities: np.ndarray, class_names: Sequence[str]) -> str:
    first, second = _best_two(probabilities)
    return (
        f"{printable(path)}: {class_names[first]}, {_percent(probabilities[first])} "
        f"(second: {class_names[second]}, {_percent(probabilities[second])})"
    )


def _write_csv(path: Path, found: dict[Path, np.ndarray], class_names: Sequence[str]) -> None:
    with replaced(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*CSV_HEADER, *class_names])
        for image, probabilities in found.items():
            first, second = _best_two(probabilities)
            chosen = [
                *(class_names[first], f"{probabilities[first]:.6f}"),
                *(class_names[second], f"{probabilities[second]:.6f}"),
            ]
            name = printable(image)
            # A spreadsheet takes a cell that begins so for a formula.
            name = f"'{name}" if name.startswith(FORMULA) else name
            writer.writerow([name, *chosen, *(f"{p:.6f}" for p in probabilities)])


def _percent(probability: float) -> str:
    # No network is certain.
    return ">99.9 %" if probability > 0.9995 else f"{100 * probability:.1f} %"


def _images(number: int) -> str:
    return f"{number:,} image{'s' if number != 1 else ''}"


def _say(text: str) -> None:
    """Print a line; if nobody reads any more (`| head`), the work still goes on."""
    try:
        tqdm.write(text)
    except BrokenPipeError:
        stop_printing()


def _is_table(path: Path) -> bool:
    with suppress(OSError), path.open("rb") as file:
        return file.readline(1000).startswith(",".join(CSV_HEADER).encode())
    return False


def _is_sheet(path: Path) -> bool:
    with suppress(Exception), Image.open(path, formats=["PNG"]) as image:
        return image.info.get("Title") == SHEET_NOTE["Title"]
    return False


def _output(path: Path | None, ending: str, is_ours: Callable[[Path], bool]) -> Path | None:
    """Return where to write, links followed, if nothing but an older output of ours stands there.

    Raises:
        CourseError: if the name ends otherwise, leads to something else, or has no folder.
    """
    if path is None:
        return None
    name, option = printable(path), {".csv": "--csv", ".png": "--sheet"}[ending]
    target = Path(os.path.realpath(path))
    if not path.suffix.lower() == target.suffix.lower() == ending:
        raise CourseError(f"{name} is no {ending}: let the name after {option} end so.")
    if os.path.lexists(target) and not (os.path.isfile(target) and is_ours(target)):
        raise CourseError(
            f"{name} is there and was not written by this command: give {option} another name."
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            os.lstat(target)  # its name may be too long
        if not os.access(target.parent, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise CourseError(
            f"{name} cannot be written ({error.strerror}): give {option} a folder that you may "
            "write to."
        ) from error
    return target


def _unused(path: Path) -> Path:
    """Return a path, with a number behind its name if that is taken: predictions-2.csv."""
    numbered = (path.with_stem(f"{path.stem}-{number}") for number in count(2))
    return next(p for p in chain([path], numbered) if not os.path.lexists(p))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Name the cells on photographs with a released model.", epilog=CAUTION
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="an image or a folder")
    parser.add_argument("--model", default=released.DEFAULT, help="name of a folder in models/")
    parser.add_argument(
        "--pbc",
        action="store_true",
        help="crop every image to its central 200 pixels, as PBC photographs are, which are "
        "otherwise told by their size",
    )
    parser.add_argument(
        "--csv",
        type=Path,
        help=f"where to write a table; {DEFAULT_CSV} for a folder or more than {FEW} images",
    )
    parser.add_argument("--sheet", type=Path, help="where to draw a contact sheet: a .png")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Read the command line and predict; 0 if every image could be read, else 1.

    What was answered until Ctrl-C is in the table.
    """
    options = _parser().parse_args(arguments)
    table = _output(options.csv, ".csv", _is_table)
    drawn = _output(options.sheet, ".png", _is_sheet)
    files = [path for path in _files(options.paths) if Path(os.path.realpath(path)) != drawn]
    if not table and (len(files) > FEW or any(os.path.isdir(path) for path in options.paths)):
        table = _output(_unused(DEFAULT_CSV), ".csv", _is_table)
    card, model = released.card(options.model), released.load(options.model)
    class_names = card["class_names"]
    note = (
        f"Model {options.model}: {released.summary(card)}. It calls whatever it is shown one of "
        f"its {len(class_names)} classes. {CAUTION}"
    )
    _say(note)
    found, first = {}, []
    try:
        for path, image, row in _predictions(files, model, card["temperature"], options.pbc):
            found[path] = row
            if len(first) < SHEET_IMAGES:
                first.append(image)
            _say(_line(path, row, class_names))
    finally:
        if table and found:
            _write_csv(table, found, class_names)
            _say(f"{printable(options.csv or table)} written: {_images(len(found))}.")
    if not found:
        raise CourseError("No image could be read: name photographs, or a folder of them.")
    answers = {class_names[row.argmax()] for row in found.values()}
    if len(found) > FEW and len(answers) == 1:
        _say(
            f"All {_images(len(found))} got the same class, {answers.pop()}: does each show one "
            "stained cell that fills much of the picture?"
        )
    if drawn:
        # No window is wanted, and on some machines none can be opened.
        matplotlib.use("agg")
        figure = sheet(np.stack(first), np.stack(list(found.values())), class_names, note)
        with replaced(drawn) as temporary:
            figure.savefig(temporary, metadata=SHEET_NOTE)
        plt.close(figure)
        _say(f"{printable(options.sheet)} written.")
    missing = len(files) - len(found)
    if missing:
        print(f"{missing:,} of {_images(len(files))} could not be read.", file=sys.stderr)
    return 1 if missing else 0
