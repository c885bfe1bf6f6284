"""Names the cells on photographs of your own, with a released model (see helpers.models.released).

Command:
    python -m helpers predict PATH... [--model final] [--pbc] [--csv out.csv] [--sheet sheet.png]

PATH is an image file, or a folder that is searched for images, its folders too. Each image should
show one cell in its centre. It is cropped to its central square and resized to 96 px. PBC
photographs, told by their size, are cropped to their central 200 pixels, as for the training;
--pbc does so with every image.

For teaching, not for diagnosis.
"""

import argparse
import csv
import io
import sys
import textwrap
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import keras
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from tqdm import tqdm

from helpers.course import CourseError
from helpers.data import reading
from helpers.data.downloads import progress_bar
from helpers.evaluation import calibration
from helpers.figures import style
from helpers.files import replaced
from helpers.models import released

CAUTION = "For teaching, not for diagnosis."

# Width and height of the PBC photographs: as published, and as a mirror may hold them. Those of
# the second acquisition have other sizes.
PBC_SIZES = {(360, 363), (208, 208)}

# The network always sees this many pictures, the last batch filled up with black ones: the same
# arithmetic for each image, however many are asked for.
BATCH = 64

# More images than this go to a CSV even if none is asked for.
FEW = 20
DEFAULT_CSV = Path("predictions.csv")

# A contact sheet shows the first so many.
SHEET_IMAGES = 96


def classify(model: keras.Model, images: np.ndarray, temperature: float) -> np.ndarray:
    """Return the calibrated probability of each class for each image.

    An image's probabilities do not depend on the images beside it.

    Args:
        model: takes images in 0-255, returns logits, as `release.load` returns it.
        images: uint8 (N, 96, 96, 3), RGB.
        temperature: by which logits are divided: `release.card(name)["temperature"]`.

    Returns:
        float32 (N, classes), each row of sum 1.
    """
    logits = np.empty((len(images), model.output_shape[-1]), np.float32)
    for start in range(0, len(images), BATCH):
        part = images[start : start + BATCH]
        batch = np.zeros((BATCH, *images.shape[1:]), np.float32)
        batch[: len(part)] = part
        logits[start : start + BATCH] = model.predict_on_batch(batch)[: len(part)]
    return calibration.softmax(logits, temperature).astype(np.float32)


def read_image(path: Path, pbc: bool = False) -> np.ndarray:
    """Return one image file as the networks take it, decoded like the course's class folders.

    Args:
        path: of a file in one of `image_folders.FORMATS`.
        pbc: crop to the central 200 pixels whatever its size; else only if it is in PBC_SIZES.

    Returns:
        uint8 (96, 96, 3), RGB, 0-255.

    Raises:
        CourseError: if it cannot be read, is no image, a damaged or a far too large one.
    """
    data = reading.read_file(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return reading.decode(data, _shown(path), pbc or _has_pbc_size(data))


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
    with (
        suppress(Exception),
        Image.open(io.BytesIO(data), formats=reading.FORMATS) as image,
    ):
        return image.size in PBC_SIZES
    return False


def _files(paths: list[Path]) -> list[Path]:
    """Return the files that were named and the images in the folders that were, each once.

    Raises:
        CourseError: if a folder holds no image.
    """
    found: dict[Path, None] = {}
    for path in paths:
        found |= dict.fromkeys(_images_below(path) if path.is_dir() else [path])
    return list(found)


def _images_below(folder: Path) -> list[Path]:
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in reading.SUFFIXES
        and not reading.is_litter(path.relative_to(folder).parts)
        and path.is_file()
    )
    if not found:
        raise CourseError(
            f"The folder {_shown(folder)} holds no image: name one that holds files that end in "
            f"{', '.join(sorted(reading.SUFFIXES))}."
        )
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
                    tqdm.write(str(error), file=sys.stderr)
                bar.update()
            if images:
                probabilities = classify(model, np.stack(list(images.values())), temperature)
                yield from zip(images, images.values(), probabilities, strict=True)


def _best_two(probabilities: np.ndarray) -> np.ndarray:
    return np.argsort(-probabilities, kind="stable")[:2]


def _line(path: Path, probabilities: np.ndarray, class_names: Sequence[str]) -> str:
    first, second = _best_two(probabilities)
    return (
        f"{_shown(path)}: {class_names[first]}, {_percent(probabilities[first])} "
        f"(second: {class_names[second]}, {_percent(probabilities[second])})"
    )


def _write_csv(path: Path, found: dict[Path, np.ndarray], class_names: Sequence[str]) -> None:
    with (
        replaced(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(
            ["file", "class", "probability", "second", "second_probability", *class_names]
        )
        for image, probabilities in found.items():
            first, second = _best_two(probabilities)
            chosen = [
                *(class_names[first], f"{probabilities[first]:.6f}"),
                *(class_names[second], f"{probabilities[second]:.6f}"),
            ]
            writer.writerow([_shown(image), *chosen, *(f"{p:.6f}" for p in probabilities)])


def _write_sheet(path: Path, figure: Figure) -> None:
    with replaced(path) as temporary:
        figure.savefig(temporary, metadata={"Software": None})
    plt.close(figure)


def _shown(path: Path) -> str:
    """Return a path as text that can be written anywhere, bytes that are no UTF-8 escaped."""
    return str(path).encode("utf-8", "backslashreplace").decode()


def _percent(probability: float) -> str:
    # No network is certain.
    return ">99.9 %" if probability > 0.9995 else f"{100 * probability:.1f} %"


def _images(count: int) -> str:
    return f"{count:,} image{'s' if count != 1 else ''}"


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
    """Read the command line and predict; 0 if every image could be read, else 1."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except CourseError as error:
        print(error, file=sys.stderr)
        return 1


def _run(options: argparse.Namespace) -> int:
    if options.sheet and options.sheet.suffix.lower() != ".png":
        raise CourseError(f"The sheet {_shown(options.sheet)} is no .png: let its name end so.")
    files = _files(options.paths)
    card, model = released.card(options.model), released.load(options.model)
    class_names = card["class_names"]
    note = (
        f"Model {options.model}: {released.recipe(card)}. It calls whatever it is shown one of its "
        f"{len(class_names)} classes. {CAUTION}"
    )
    print(note)
    found, first = {}, []
    for path, image, probabilities in _predictions(files, model, card["temperature"], options.pbc):
        found[path] = probabilities
        if len(first) < SHEET_IMAGES:
            first.append(image)
        tqdm.write(_line(path, probabilities, class_names))
    if not found:
        raise CourseError("No image could be read: name photographs, or a folder of them.")
    if table := _table_path(options, files):
        _write_csv(table, found, class_names)
        print(f"{_shown(table)} written: {_images(len(found))}.")
    if options.sheet:
        # No window is wanted, and on some machines none can be opened.
        matplotlib.use("agg")
        figure = sheet(np.stack(first), np.stack(list(found.values())), class_names, note)
        _write_sheet(options.sheet, figure)
        print(f"{_shown(options.sheet)} written.")
    missing = len(files) - len(found)
    if missing:
        print(f"{missing:,} of {_images(len(files))} could not be read.", file=sys.stderr)
    return 1 if missing else 0


def _table_path(options: argparse.Namespace, files: list[Path]) -> Path | None:
    is_wanted = len(files) > FEW or any(path.is_dir() for path in options.paths)
    return options.csv or (DEFAULT_CSV if is_wanted else None)


if __name__ == "__main__":
    # A file's name may hold letters that the terminal has not.
    sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(main())
