"""Finds the cells on a photograph, so that a network is shown each as large as it is used to.

A network that learned from cells of one size takes a small nucleus for a platelet, and is sure of
it. Classical image processing is enough to find a nucleus: it is the only large thing on a stained
smear that swallows red light.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage

from helpers.data import reading

# Diameter of a nucleus as a fraction of a picture's side. In the training's photographs the medians
# of the classes with a nucleus go from 0.33 to 0.58: a smaller one is enlarged to both sizes.
SMALL_NUCLEUS = 0.34
NUCLEUS_SIZES = (0.42, 0.5)
# More would show pixels, not a cell.
LARGEST_ZOOM = 4.0

# A photograph is a field of several cells if its shorter side has at least so many pixels and no
# nucleus takes more than this fraction of it.
FIELD_SIDE = 400
FIELD_NUCLEUS = 0.25
# Beside the largest and darkest nucleus of a field, what is smaller or paler is no nucleus. (Chosen
# on 150 fields of six validation cells; most platelets are smaller.)
SMALLEST_AREA = 0.12
PALEST = 0.6

# Nuclei are looked for on a photograph of at most this longer side.
WORKING_SIDE = 384

# What the background of the training's photographs looks like (90th percentile, RGB), and how
# little it may be multiplied by before it counts as another colour.
BACKGROUND = np.array([255.0, 228.0, 203.0])
SMALLEST_GAIN = 1.05
DARKEST_BACKGROUND = 40.0


class Cell(NamedTuple):
    """A cell: the centre of its nucleus and the diameter of a disc of its area, in pixels."""

    left: float
    top: float
    diameter: float


def find_cells(image: Image.Image) -> list[Cell]:
    """Return the cell in the middle of a photograph, or every cell of a whole field.

    Args:
        image: RGB, any size.

    Returns:
        One cell; several, by place, if it is a field (FIELD_SIDE, FIELD_NUCLEUS); none if nothing
        on the photograph is dark and large enough.
    """
    scale = min(1.0, WORKING_SIDE / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    pixels = np.asarray(image.resize(size, Image.Resampling.BOX), np.float64)
    density = _red_density(pixels)
    darkest = np.percentile(density, 99.5)
    mask = density > darkest / 2
    # The lobes of one nucleus lie closer to each other than two cells do.
    reach = max(1, round(0.02 * min(size)))
    numbers, count = ndimage.label(ndimage.binary_dilation(mask, iterations=reach))
    if not count or not darkest:
        return []
    index, numbers = np.arange(1, count + 1), numbers * mask
    areas = ndimage.sum_labels(mask, numbers, index)
    tops, lefts = np.array(ndimage.center_of_mass(mask, numbers, index)).T
    diameters = 2 * np.sqrt(areas / np.pi)
    found = [Cell(*place) for place in np.stack([lefts, tops, diameters], axis=1) / scale]
    is_large = min(image.size) >= FIELD_SIDE
    if is_large and diameters.max() < FIELD_NUCLEUS * min(size):
        depths = ndimage.mean(density, numbers, index)
        chosen = (areas > SMALLEST_AREA * areas.max()) & (depths > PALEST * depths.max())
        return [found[k] for k in np.flatnonzero(chosen & ~_touches_border(numbers, index))]
    away = np.hypot(tops / size[1] - 0.5, lefts / size[0] - 0.5)
    return [found[np.argmax(areas * np.exp(-((away / 0.25) ** 2)))]]


def squares(image: Image.Image, cell: Cell | None) -> list[tuple[int, int, int]]:
    """Return left, top and side, in pixels, of the squares in which a network is shown a cell.

    A small cell's nucleus has one of NUCLEUS_SIZES in each, the first being the larger square. A
    large cell has the largest square that is possible; None has the photograph's middle.
    """
    whole = min(image.size)
    is_small = cell and cell.diameter < SMALL_NUCLEUS * whole
    sides = {_side(whole, cell, size) for size in NUCLEUS_SIZES} if is_small else {whole}
    middle = (cell.left, cell.top) if cell else (image.width / 2, image.height / 2)
    return [
        (*(min(max(int(m - s / 2), 0), n - s) for m, n in zip(middle, image.size, strict=True)), s)
        for s in sorted(sides, reverse=True)
    ]


def views(image: Image.Image, squares: list[tuple[int, int, int]]) -> np.ndarray:
    """Return the pictures of a cell that a network is asked about.

    They are the squares and, where the background has another colour than the training's, the
    squares with the channels' gains mended.

    Args:
        image: RGB, any size.
        squares: as `squares` returns them.

    Returns:
        uint8 (1 to 4, 96, 96, 3), the squares as they are first.
    """
    crops = [reading.resized_square(image, *square) for square in squares]
    return np.stack([*crops, *(b for crop in crops if (b := _balanced(crop)) is not None)])


def _side(whole: int, cell: Cell, nucleus: float) -> int:
    """Return the side of the square in which a small cell's nucleus has this size."""
    zoom = min(nucleus * whole / cell.diameter, LARGEST_ZOOM * max(1, whole / WORKING_SIDE))
    return max(1, round(whole / zoom))


def _red_density(pixels: np.ndarray) -> np.ndarray:
    """Return how much red light is swallowed, float64 (H, W): 0 for the background."""
    red = ndimage.uniform_filter(pixels[..., 0], 3)
    return np.maximum(-np.log((red + 4) / (np.percentile(red, 90) + 4)), 0)


def _touches_border(numbers: np.ndarray, index: np.ndarray) -> np.ndarray:
    border = np.concatenate([numbers[0], numbers[-1], numbers[:, 0], numbers[:, -1]])
    return np.isin(index, border)


def _balanced(crop: np.ndarray) -> np.ndarray | None:
    """Return a crop whose background has the training's colour; None if it has it already."""
    found = np.percentile(crop.reshape(-1, 3), 90, axis=0)
    gains = BACKGROUND / np.maximum(found, DARKEST_BACKGROUND)
    if np.abs(np.log(gains)).max() < np.log(SMALLEST_GAIN):
        return None
    return np.clip(np.rint(crop * gains), 0, 255).astype(np.uint8)
