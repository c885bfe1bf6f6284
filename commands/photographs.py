"""What `predict` makes of cells of other sizes, of fields of cells, and of pictures without any.

Command (minutes):
    COURSE_PROFILE=full python -m helpers photographs

It is asked about validation photographs, as it is used and without looking for the cell; fields are
joined from test photographs.
"""

import argparse

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

from commands import asking, cells
from helpers.data.photographs import IMAGE_SIZE
from helpers.data.sets import load_course_data
from helpers.evaluation import metrics
from helpers.models import released

SCALES = (0.3, 0.5, 0.75, 1.0, 1.5)
PHOTOGRAPHS = 240
# Part of a validation photograph's side in its upper left corner, where red cells lie.
CORNER = 0.3
PALEST_NUCLEUS = 0.5
# Cells down and across a field, and how far each photograph's edges are continued, in pixels.
DOWN, ACROSS, MARGIN = 2, 3, 72
FIELDS = 150


def rescaled(image: np.ndarray, scale: float) -> np.ndarray:
    """Return an image whose cell has this fraction of its size, its edges continued outwards.

    Args:
        image: uint8 (96, 96, 3).
        scale: more than 1 shows the image's middle.
    """
    side = round(IMAGE_SIZE * min(scale, 1))
    small = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))
    before = (IMAGE_SIZE - side) // 2
    margin = (before, IMAGE_SIZE - side - before)
    padded = np.pad(small, (margin, margin, (0, 0)), mode="edge")
    cut = round(IMAGE_SIZE * (1 - 1 / max(scale, 1)) / 2)
    return padded[cut : IMAGE_SIZE - cut, cut : IMAGE_SIZE - cut]


def fields(images: np.ndarray) -> np.ndarray:
    """Return fields of DOWN x ACROSS photographs each, whose edges are continued.

    Args:
        images: uint8 (N, 96, 96, 3); what is left over of the last field is dropped.

    Returns:
        uint8 (N // 6, 480, 720, 3).
    """
    edges = ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0))
    wide = np.pad(images[: len(images) // (DOWN * ACROSS) * DOWN * ACROSS], edges, mode="edge")
    _, side, _, channels = wide.shape
    grid = wide.reshape(-1, DOWN, ACROSS, side, side, channels).swapaxes(2, 3)
    return grid.reshape(-1, DOWN * side, ACROSS * side, channels)


def found_on(field: np.ndarray) -> tuple[np.ndarray, int]:
    """Return which photographs of a field have a cell found on them, and how many cells are more.

    Returns:
        bool (DOWN * ACROSS,), row by row, and an int.
    """
    side = IMAGE_SIZE + 2 * MARGIN
    found, more = np.zeros(DOWN * ACROSS, bool), 0
    for cell in cells.find_cells(Image.fromarray(field)):
        place = int(cell.top // side) * ACROSS + int(cell.left // side)
        inside = max(abs(cell.top % side - side / 2), abs(cell.left % side - side / 2))
        if inside < IMAGE_SIZE / 2 and not found[place]:
            found[place] = True
        else:
            more += 1
    return found, more


def strangers(images: np.ndarray) -> dict[str, list[np.ndarray]]:
    """Return pictures without a cell that a network could know, uint8 (side, side, 3) each."""
    rng, side = np.random.default_rng(0), round(CORNER * IMAGE_SIZE)
    corners = images[:, :side, :side]
    red = corners[..., 0].reshape(len(images), -1).astype(np.float64) + 4
    density = np.log(np.percentile(red, 90, axis=1) / red.min(axis=1))
    holiday = []
    for picture in load_sample_images().images:
        for length in rng.integers(96, 400, 60):
            top, left = (rng.integers(0, n - length) for n in picture.shape[:2])
            holiday.append(picture[top : top + length, left : left + length])
    dark = images[..., :1] < images[..., :1].mean(axis=(1, 2), keepdims=True)
    return {
        "red cells and background": list(corners[density < PALEST_NUCLEUS]),
        "pieces of two holiday pictures": holiday,
        "masks": list(np.repeat(255 * dark.astype(np.uint8), 3, axis=-1)),
        "noise": list(rng.integers(0, 256, images[:60].shape, dtype=np.uint8)),
    }


def main(arguments: list[str] | None = None) -> None:
    """Print accuracy and honesty of `predict` on cells of other sizes, and what strangers get."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default=released.DEFAULT, help="name of a folder in models/")
    options = parser.parse_args(arguments)
    data, network = load_course_data(), asking.load_network(options.model)
    validation = data["validation"]
    rows = np.random.default_rng(0).permutation(len(validation))[:PHOTOGRAPHS]
    images, labels = validation.images[rows], validation.labels[rows]
    judged = {
        f"cells at {scale:.0%} of their size": ([rescaled(i, scale) for i in images], labels)
        for scale in SCALES
    }
    shifted = data["shifted_validation"]
    rows = np.random.default_rng(1).permutation(len(shifted))[: 2 * PHOTOGRAPHS]
    judged["shifted validation"] = (list(shifted.images[rows]), shifted.labels[rows])
    for name, (pictures, truth) in judged.items():
        for way, whole in (("as it is", True), ("found", False)):
            probabilities, known = asking.judged(pictures, network, whole)
            correct = probabilities.argmax(axis=1) == truth
            error = metrics.expected_calibration_error(probabilities[known], truth[known])
            print(
                f"{name}, {way}: correct {metrics.fraction(correct)}, unfamiliar "
                f"{1 - known.mean():.1%}, calibration error of the others {error.value:.3f}",
                flush=True,
            )
    test = data["test"]
    rows = np.random.default_rng(0).permutation(len(test))[: FIELDS * DOWN * ACROSS]
    answers = [found_on(field) for field in fields(test.images[rows])]
    found, more = np.concatenate([of for of, _ in answers]), sum(count for _, count in answers)
    for label, name in enumerate(data.class_names):
        of_class = test.labels[rows][: len(found)] == label
        print(f"fields, {name}: found {metrics.fraction(found[of_class])}", flush=True)
    print(f"fields: places without a cell {more}, cells found {found.sum()} of {len(found)}")
    for name, pictures in strangers(images).items():
        probabilities, known = asking.judged(pictures, network)
        sure = known & (probabilities.max(axis=1) > 0.9)
        print(
            f"{name}: called unfamiliar {metrics.fraction(~known)}, named at more than 90 %: "
            f"{sure.sum()}"
        )
