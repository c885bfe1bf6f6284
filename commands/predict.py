"""Names the cells on photographs of your own, with a released model (`models.released`).

PATH is an image file, or a folder that is searched for images, its folders too. The cell in the
middle is found and enlarged to the size that the model knows (`cells`); on a large photograph of a
whole field every cell is. What is unlike all that the model was trained on gets no name
(`familiarity`). PBC photographs, told by their size, are cropped to their central 200 pixels, as
for the training; --pbc does so with every image, and --whole takes the central square. How the
network is asked stands in `asking`; here are the command line, the table and the contact sheet.
"""

import argparse
import csv
import errno
import os
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, count
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from tqdm import tqdm

from commands.asking import BATCH, Answer, Network, load_network, looks, named
from helpers.course import CourseError, printable, stop_printing
from helpers.data import reading
from helpers.data.downloads import progress_bar
from helpers.figures import style
from helpers.files import replaced
from helpers.models import released

CAUTION = "For teaching, not for diagnosis."

# Said of a picture that is unlike the training's.
UNKNOWN = "not a cell I know"

# More images than this go to a CSV even if none is asked for.
FEW = 20
DEFAULT_CSV = Path("predictions.csv")

CSV_HEADER = ["file", "class", "probability", "second", "second_probability"]
# After the classes: which cell of the image, and the square of it that was looked at, in pixels.
CSV_PLACE = ["cell", "left", "top", "side"]
FORMULA = ("=", "+", "-", "@")
# Written into each sheet, by which it is known as one.
SHEET_NOTE = {"Title": "Contact sheet of python -m helpers predict", "Software": None}

# A contact sheet shows the first so many.
SHEET_IMAGES = 96
# Letters that fit above one of them.
TILE = 14


def read_image(path: Path) -> Image.Image:
    """Return one image file, RGB, upright, as large as it is.

    Args:
        path: of a file in one of `reading.FORMATS`.

    Raises:
        CourseError: if it cannot be read, is no image, a damaged or a far too large one.
    """
    return reading.decode(reading.read_file(path), printable(path))


def sheet(answers: Sequence[Answer], class_names: Sequence[str], note: str) -> Figure:
    """Return a contact sheet: what was looked at, its file, class and probability.

    SHEET_IMAGES at most.

    Args:
        answers: the first SHEET_IMAGES with their pictures.
        class_names: one name a class.
        note: written below.
    """
    style.use_course_style()
    shown = answers[:SHEET_IMAGES]
    titles = [_tile(answer, class_names) for answer in shown]
    counts = Counter(name_of(answer, class_names) for answer in answers).most_common()
    heading = f"{_counted(answers)}: " + ", ".join(f"{n} {name}" for name, n in counts)
    if len(shown) < len(answers):
        heading += f" (the first {len(shown)} are shown)"
    columns = min(max(len(shown), 4), 8)
    # About 10 characters of a heading to the inch, in the style of `figures.save`.
    figure = style.contact_sheet([answer.picture for answer in shown], titles, columns, "")
    figure.suptitle(
        textwrap.fill(heading, 10 * columns), fontsize=11, fontweight="bold", x=0.01, ha="left"
    )
    figure.supxlabel(textwrap.fill(note, 16 * columns), fontsize=7, color="0.45")
    return figure


def _tile(answer: Answer, class_names: Sequence[str]) -> str:
    """Return what stands above a picture of the sheet: its file, its class, how sure that is."""
    file = printable(answer.path.name)
    place = file if len(file) <= TILE else f"{file[: TILE - 1]}…"
    cell = f"\ncell {answer.number} of {answer.count}" if answer.count > 1 else ""
    sure = f"\n{_percent(answer.probabilities.max())}" if answer.known else ""
    return f"{place}{cell}\n{textwrap.fill(name_of(answer, class_names), TILE)}{sure}"


def name_of(answer: Answer, class_names: Sequence[str]) -> str:
    """Return the class of an answer, or UNKNOWN."""
    return class_names[answer.probabilities.argmax()] if answer.known else UNKNOWN


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


def _answers(files: list[Path], network: Network, pbc: bool, whole: bool) -> Iterator[Answer]:
    """Yield what is said of each cell of each readable file; say of the others what is wrong.

    One photograph is held at once, and of a batch the pictures that the network is shown.
    """
    with progress_bar(total=len(files), desc="Predicting", unit="image") as bar:
        for start in range(0, len(files), BATCH):
            shown = []
            for path in files[start : start + BATCH]:
                try:
                    shown += looks(path, read_image(path), pbc, whole)
                except CourseError as error:
                    tqdm.write(printable(error), file=sys.stderr)
                bar.update()
            if shown:
                yield from named(shown, network)


def _best_two(probabilities: np.ndarray) -> np.ndarray:
    return np.argsort(-probabilities, kind="stable")[:2]


def _line(answer: Answer, class_names: Sequence[str]) -> str:
    first, second = _best_two(answer.probabilities)
    place = printable(answer.path)
    if answer.count > 1:
        place += f", cell {answer.number} of {answer.count}"
    likely = f"{class_names[first]}, {_percent(answer.probabilities[first])}"
    if not answer.known:
        return f"{place}: {UNKNOWN} (most like: {likely})"
    chance = _percent(answer.probabilities[second])
    return f"{place}: {likely} (second: {class_names[second]}, {chance})"


def _write_csv(path: Path, answers: Iterable[Answer], class_names: Sequence[str]) -> None:
    with replaced(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*CSV_HEADER, *class_names, *CSV_PLACE])
        for answer in answers:
            row = answer.probabilities
            likely = [(class_names[k], f"{row[k]:.6f}") for k in _best_two(row)]
            chosen = likely if answer.known else [(UNKNOWN, ""), likely[0]]
            name = printable(answer.path)
            # A spreadsheet takes a cell that begins so for a formula.
            name = f"'{name}" if name.startswith(FORMULA) else name
            place = (answer.number, *answer.square)
            writer.writerow([name, *chain(*chosen), *(f"{p:.6f}" for p in row), *place])


def _percent(probability: float) -> str:
    # No network is certain.
    return ">99.9 %" if probability > 0.9995 else f"{100 * probability:.1f} %"


def _images(number: int) -> str:
    return f"{number:,} image{'s' if number != 1 else ''}"


def _counted(answers: Sequence[Answer]) -> str:
    """Return how many images there are, and how many cells, if those are more."""
    images = len({answer.path for answer in answers})
    cells_too = f", {len(answers):,} cells" if len(answers) > images else ""
    return _images(images) + cells_too


def _note(name: str, network: Network) -> str:
    """Return what the model is, which classes it may answer, and what it does with the rest."""
    classes = network.card["class_names"]
    of = f"{network.allowed.sum()} of its {len(classes)} classes"
    if network.allowed.all():
        of = f"its {len(classes)} classes"
    rest = f"What is unlike its training images is {UNKNOWN!r}; all else is called one of {of}."
    if not network.reference:
        rest = f"It calls whatever it is shown one of {of}."
    if not network.finds_cells:
        rest += " Its classes are not the course's, so no cell is looked for."
    return f"Model {name}: {released.summary(network.card)}. {rest} {CAUTION}"


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
        "--classes", metavar="A,B", help="the classes that can occur, where you know; else all"
    )
    taken = parser.add_mutually_exclusive_group()
    taken.add_argument(
        "--pbc",
        action="store_true",
        help="crop every image to its central 200 pixels, as PBC photographs are, which are "
        "otherwise told by their size",
    )
    taken.add_argument(
        "--whole", action="store_true", help="look for no cell: take the central square"
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
    network = load_network(options.model, options.classes)
    class_names = network.card["class_names"]
    note = _note(options.model, network)
    _say(note)
    found: list[Answer] = []
    try:
        whole = options.whole or not network.finds_cells
        for answer in _answers(files, network, options.pbc, whole):
            # The pictures of a sheet are kept, and no others.
            shown = drawn and len(found) < SHEET_IMAGES
            found.append(answer if shown else answer._replace(picture=None))
            _say(_line(answer, class_names))
    finally:
        if table and found:
            _write_csv(table, found, class_names)
            _say(f"{printable(options.csv or table)} written: {_counted(found)}.")
    if not found:
        raise CourseError("No image could be read: name photographs, or a folder of them.")
    names = {name_of(answer, class_names) for answer in found}
    read = {answer.path for answer in found}
    if len(read) > FEW and len(names) == 1:
        _say(
            f"All got the same class, {names.pop()} ({_counted(found)}): does each show one "
            "stained cell that fills much of the picture?"
        )
    if drawn:
        # No window is wanted, and on some machines none can be opened.
        matplotlib.use("agg")
        figure = sheet(found, class_names, note)
        with replaced(drawn) as temporary:
            figure.savefig(temporary, metadata=SHEET_NOTE)
        plt.close(figure)
        _say(f"{printable(options.sheet)} written.")
    missing = len(files) - len(read)
    if missing:
        print(f"{missing:,} of {_images(len(files))} could not be read.", file=sys.stderr)
    return 1 if missing else 0
