"""Synthetic blood cells: eight classes drawn from their morphology, where no images are reached.

What is drawn of each class (nucleus, granules, cytoplasm, size) follows the descriptions in
B. J. Bain, Blood Cells: A Practical Guide (5th ed., Wiley 2015), chapter 3, and the photographs of
A. Acevedo et al., Data in Brief 30 (2020) 105474, whose class counts, duplicates and second
acquisition `draw_photographs` repeats, so that every lesson of the course has data with a known
answer.

An image is light that passed through stain: every cell is a layer of transmission (0-1 for red,
green and blue), the stain's strength and hue vary from image to image as powers of the
transmission, and the lamp's colour and evenness multiply the whole. Shapes are signed distances in
pixels, negative inside, computed on the whole image at once.
"""

import hashlib
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache, partial
from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter

from helpers.course import CourseError
from helpers.data.downloads import progress_bar
from helpers.data.photographs import CLASS_NAMES, IMAGE_SIZE, Photographs, Source

# Raised by hand whenever the same seed draws other images.
CACHE_VERSION = 2

# The mirror's photographs, by class (see CLASS_NAMES).
CLASS_COUNTS = (1096, 2805, 1396, 2606, 1093, 1278, 2996, 2113)
SECOND_ACQUISITION_COUNTS = (46, 46, 45, 136, 45, 45, 45, 0)
DUPLICATE_PAIRS = 17

EOSINOPHIL, IG, LYMPHOCYTE, NEUTROPHIL, PLATELET = 1, 3, 4, 6, 7

_CHUNK = 128
_TILE = 256

Colour = tuple[float, float, float]
Rng = np.random.Generator


def draw_cells(labels: np.ndarray, seed: int) -> np.ndarray:
    """Draw one image a label, none of them of the second acquisition.

    Image i depends on the seed, i and its label only, so the first rows of a longer drawing are the
    shorter one.

    Args:
        labels: int (N,), 0-7, index into CLASS_NAMES.
        seed: not negative; another seed draws other cells.

    Returns:
        uint8 (N, 96, 96, 3), RGB.
    """
    return _draw_rows(seed, np.arange(len(labels)), labels, np.zeros(len(labels), bool))


def draw_photographs(seed: int = 0) -> Photographs:
    """Draw the stand-in for the whole set of photographs, on every processor.

    15,383 images in random order, with the mirror's class counts; 17 pairs of bit-identical images,
    one of them labelled once eosinophil and once neutrophil; 408 images of a second acquisition.
    A script that calls this must guard its own code with `if __name__ == "__main__":`, because the
    drawing processes import it again; a notebook needs nothing.

    Returns:
        images uint8 (15383, 96, 96, 3), labels int64 (15383,).

    Raises:
        CourseError: if a drawing process stops.
    """
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(CLASS_COUNTS)), CLASS_COUNTS))
    second_acquisition, originals, copies = _special_rows(labels, rng)
    images = _draw_in_parallel(seed, labels, second_acquisition)
    images[copies] = images[originals]
    description = f"cells drawn from their morphology (version {CACHE_VERSION}, seed {seed})"
    checksum = hashlib.sha256(description.encode()).hexdigest()
    source = Source("synthetic", description, are_photographs=False, checksum=checksum)
    return Photographs(images, labels, CLASS_NAMES, source)


def _special_rows(labels: np.ndarray, rng: Rng) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the mask of the second acquisition, and both rows of each duplicate pair."""
    rows = [rng.permutation(np.flatnonzero(labels == label)) for label in range(len(CLASS_NAMES))]
    second_acquisition = np.zeros(len(labels), bool)
    for label, count in enumerate(SECOND_ACQUISITION_COUNTS):
        second_acquisition[rows[label][:count]] = True
        rows[label] = rows[label][count:]
    pairs = [(rows[EOSINOPHIL][-1], rows[NEUTROPHIL][-1])]
    for pair in range(DUPLICATE_PAIRS - 1):
        start = 2 * (pair // len(CLASS_NAMES))
        pairs.append(tuple(rows[pair % len(CLASS_NAMES)][start : start + 2]))
    originals, copies = np.array(pairs).T
    return second_acquisition, originals, copies


def _draw_in_parallel(seed: int, labels: np.ndarray, second_acquisition: np.ndarray) -> np.ndarray:
    images = np.empty((len(labels), IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
    rows = np.arange(len(labels))
    chunks = [rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)]
    given = zip(
        *((seed, chunk, labels[chunk], second_acquisition[chunk]) for chunk in chunks), strict=True
    )
    # Forking a process that has started TensorFlow can hang, so the processes start afresh.
    fresh = multiprocessing.get_context("spawn")
    try:
        with (
            ProcessPoolExecutor(min(8, os.cpu_count() or 1), mp_context=fresh) as pool,
            progress_bar(total=len(rows), desc="Drawing cells", unit="image") as bar,
        ):
            for chunk, drawing in zip(chunks, pool.map(_draw_rows, *given), strict=True):
                images[chunk] = drawing
                bar.update(len(chunk))
    except BrokenProcessPool as error:
        raise CourseError(
            "A process that draws cells stopped: free some memory, and in a script put your code "
            'under `if __name__ == "__main__":`, then run again.'
        ) from error
    return images


def _draw_rows(
    seed: int, rows: np.ndarray, labels: np.ndarray, second_acquisition: np.ndarray
) -> np.ndarray:
    """Draw some rows of a set, the second acquisition, bool (N,), under a bluish-white lamp.

    There blue exceeds red on the background; all others have a warm one, where red exceeds blue.
    """
    images = np.empty((len(rows), IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
    for i, (row, label, second) in enumerate(zip(rows, labels, second_acquisition, strict=True)):
        rng = np.random.default_rng([seed, int(row), int(label), int(second)])
        images[i] = _draw_image(rng, MORPHOLOGIES[int(label)], bool(second))
    return images


# Nuclei: unions of circles (K, 3: x, y, radius), in units of the cell's radius, round its centre


def _oval(smallest: float, largest: float, rng: Rng) -> np.ndarray:
    size = rng.uniform(smallest, largest)
    stretch = rng.uniform(0, 0.14) * size
    shift = rng.uniform(0, max(0.0, 0.92 - size - stretch))
    return np.array([[shift - stretch, 0, size - stretch], [shift + stretch, 0, size - stretch]])


def _curved(bend: tuple[float, float], thickness: tuple[float, float], rng: Rng) -> np.ndarray:
    """A bean, horseshoe or band: circles along an arc that spans `bend` radians."""
    angle, thick = rng.uniform(*bend), rng.uniform(*thickness)
    reach = min(0.86 - thick, 0.55)
    places = reach * _directions(np.linspace(-angle / 2, angle / 2, 7))
    places[:, 0] -= rng.uniform(0.25, 0.8) * reach * np.sinc(angle / (2 * np.pi))
    return np.column_stack([places, thick * (1 + rng.normal(0, 0.07, 7))])


def _lobed(counts: tuple[int, ...], smallest: float, largest: float, rng: Rng) -> np.ndarray:
    """Oval lobes along an arc, each joined to the next by a thin bridge."""
    count = rng.choice(counts)
    sizes = rng.uniform(smallest, largest, count)
    reach = 0.9 - sizes.max()
    step = 2 * np.arcsin(min(0.95, rng.uniform(0.9, 1.1) * sizes.mean() / reach))
    angles = step * np.arange(count) + rng.normal(0, 0.08, count)
    places = reach * rng.uniform(0.8, 1.0, (count, 1)) * _directions(angles)
    places -= rng.uniform(0, 0.6) * places.mean(axis=0)
    bridges = np.column_stack([(places[:-1] + places[1:]) / 2, np.full(count - 1, 0.1)])
    stretch = 0.3 * sizes[:, None] * _directions(rng.uniform(0, np.pi, count))
    halves = [np.column_stack([places + side * stretch, 0.85 * sizes]) for side in (1, -1)]
    return np.vstack([*halves, bridges])


def _either(fraction: float, first: Callable, second: Callable, rng: Rng) -> np.ndarray:
    return first(rng) if rng.random() < fraction else second(rng)


def _directions(angles: np.ndarray) -> np.ndarray:
    return np.column_stack([np.cos(angles), np.sin(angles)])


# What each class looks like. Colours are transmissions (red, green, blue), lengths are pixels.


class Body(NamedTuple):
    """Radius (mean, standard deviation), how far noise of which wavelength bends the outline, and
    the two colours between which the cytoplasm lies."""

    radius: float
    deviation: float
    bend: float
    wavelength: float
    colours: tuple[Colour, Colour]

    def draw_radius(self, rng: Rng) -> float:
        radius = rng.normal(self.radius, self.deviation)
        return min(max(radius, 0.7 * self.radius), 1.3 * self.radius)


class Nucleus(NamedTuple):
    """A nucleus' shape, its chromatin's dark and light colour and that pattern's wavelength."""

    circles: Callable[[Rng], np.ndarray]
    chromatin: tuple[Colour, Colour]
    wavelength: float


class Granules(NamedTuple):
    """Granules' colour and distance, the least and most of them that take stain, and how opaque
    they are where they lie over the nucleus (0-1)."""

    colour: Colour
    spacing: float
    fewest: float
    most: float
    over_nucleus: float


class Morphology(NamedTuple):
    """How a class looks; a cell has from none to `most_vacuoles` vacuoles."""

    body: Body
    nucleus: Nucleus | None
    granules: Granules | None
    most_vacuoles: int = 0


_BAND = partial(_curved, (2.6, 4.4), (0.19, 0.25))
_SEGMENTS = partial(_lobed, (2, 3, 3, 4, 4, 5), 0.22, 0.29)
_BEAN = partial(_curved, (1.0, 2.4), (0.36, 0.46))

# In the order of CLASS_NAMES.
MORPHOLOGIES = (
    Morphology(
        Body(30, 3.0, 1.0, 26, ((0.86, 0.70, 0.92), (0.70, 0.62, 0.88))),
        Nucleus(partial(_lobed, (2, 3), 0.38, 0.5), ((0.34, 0.19, 0.58), (0.56, 0.40, 0.76)), 7),
        Granules((0.17, 0.08, 0.38), 4.5, 0.6, 0.95, 0.9),
    ),
    Morphology(
        Body(33, 3.0, 0.9, 30, ((0.93, 0.85, 0.90), (0.78, 0.76, 0.92))),
        Nucleus(
            partial(_lobed, (2, 2, 2, 3), 0.30, 0.38), ((0.26, 0.16, 0.53), (0.50, 0.37, 0.76)), 6
        ),
        Granules((0.82, 0.46, 0.46), 4.0, 0.5, 0.9, 0.1),
    ),
    Morphology(
        Body(22, 3.0, 1.0, 24, ((0.56, 0.57, 0.86), (0.83, 0.74, 0.80))),
        Nucleus(partial(_oval, 0.48, 0.68), ((0.13, 0.07, 0.36), (0.24, 0.16, 0.48)), 7),
        None,
    ),
    Morphology(
        Body(34, 4.0, 1.2, 32, ((0.84, 0.76, 0.93), (0.60, 0.62, 0.92))),
        Nucleus(
            partial(_either, 0.35, _BEAN, partial(_oval, 0.56, 0.76)),
            ((0.34, 0.19, 0.56), (0.56, 0.41, 0.74)),
            4.5,
        ),
        Granules((0.44, 0.18, 0.52), 3.0, 0.45, 0.85, 0.4),
    ),
    Morphology(
        Body(25, 3.5, 0.9, 28, ((0.50, 0.60, 0.94), (0.74, 0.76, 0.97))),
        Nucleus(partial(_oval, 0.74, 0.9), ((0.24, 0.13, 0.48), (0.50, 0.37, 0.74)), 10),
        None,
    ),
    Morphology(
        Body(37, 4.0, 2.6, 34, ((0.62, 0.64, 0.86), (0.82, 0.77, 0.89))),
        Nucleus(
            partial(_curved, (1.4, 3.6), (0.3, 0.42)), ((0.36, 0.23, 0.60), (0.62, 0.49, 0.82)), 8
        ),
        Granules((0.60, 0.55, 0.82), 2.5, 0.1, 0.4, 0.0),
        most_vacuoles=9,
    ),
    Morphology(
        Body(32, 3.0, 1.0, 30, ((0.93, 0.78, 0.80), (0.84, 0.78, 0.92))),
        Nucleus(
            partial(_either, 0.3, _BAND, _SEGMENTS), ((0.25, 0.15, 0.51), (0.49, 0.36, 0.74)), 6
        ),
        Granules((0.64, 0.46, 0.70), 2.5, 0.25, 0.7, 0.05),
    ),
    Morphology(
        Body(13, 2.5, 1.5, 7, ((0.80, 0.74, 0.94), (0.62, 0.56, 0.86))),
        None,
        Granules((0.34, 0.18, 0.58), 3.5, 0.55, 0.9, 0.0),
    ),
)


# Painting


def _draw_image(rng: Rng, morphology: Morphology, second_acquisition: bool) -> np.ndarray:
    """Draw one field of view: uint8 (96, 96, 3)."""
    view = _View(rng)
    centre = IMAGE_SIZE / 2 + rng.uniform(-15, 15, 2)
    radius = morphology.body.draw_radius(rng) * view.zoom
    view.paint_red_cells(centre, radius)
    view.paint_bystanders(centre, radius)
    view.paint_cell(morphology, centre, radius)
    return view.photograph(second_acquisition)


class _View:
    """What light passes through: `transmission`, float32 (96, 96, 3), 1 where nothing is."""

    def __init__(self, rng: Rng):
        self.rng = rng
        self.zoom = rng.uniform(0.72, 1.22)
        self.transmission = np.ones((IMAGE_SIZE, IMAGE_SIZE, 3), np.float32)

    def cover(self, colour: np.ndarray | Colour, fraction: np.ndarray) -> None:
        """Lay a colour, (3,) or (96, 96, 3), over a fraction (96, 96) of each pixel."""
        self.transmission += (np.float32(colour) - self.transmission) * fraction[..., None]

    def pattern(self, tile: Callable[[float], np.ndarray], length: float) -> np.ndarray:
        """Return a random window of a tile of this length in pixels, float32 (96, 96)."""
        top, left = self.rng.integers(_TILE, size=2)
        whole = tile(round(2 * length * self.zoom) / 2)
        window = whole[top : top + IMAGE_SIZE, left : left + IMAGE_SIZE]
        return window.T if self.rng.random() < 0.5 else window

    def coordinates(
        self, centre: np.ndarray, bend: float, wavelength: float, stretch: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return x and y from a centre, turned, stretched and bent by noise, as if grown."""
        x, y = (
            axis - np.float32(place) + bend * self.zoom * self.pattern(_noise, wavelength)
            for axis, place in zip(_grid(), centre, strict=True)
        )
        stretch = 1 + self.rng.uniform(-stretch, stretch)
        angle = self.rng.uniform(0, 2 * np.pi)
        cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        return (cosine * x + sine * y) * stretch, (cosine * y - sine * x) / stretch

    def paint_cell(self, morphology: Morphology, centre: np.ndarray, radius: float) -> None:
        """Paint one cell of a class over what is there; `centre` (x, y) and `radius` in pixels."""
        rng, (body, nucleus, granules, most_vacuoles) = self.rng, morphology
        place = self.coordinates(centre, body.bend, body.wavelength, 0.07)
        edge = np.hypot(*place) - np.float32(radius)
        inside = _inside(edge, 1.5)
        shade = 1 + 0.035 * self.pattern(_noise, 9) - 0.08 * np.exp(-((edge / 2.5) ** 2))
        self.cover(_between(body.colours, rng.uniform()) * shade[..., None], 0.95 * inside)
        if count := rng.integers(most_vacuoles + 1):
            away = radius * rng.uniform(0.45, 0.9, (count, 1))
            places = away * _directions(rng.uniform(0, 2 * np.pi, count))
            holes = np.column_stack([places, radius * rng.uniform(0.04, 0.12, count)])
            self.cover((0.95, 0.93, 0.97), 0.85 * _inside(_distance(*place, holes, 0.3)) * inside)
        covered = np.float32(0)
        if nucleus:
            distance = _distance(*place, radius * nucleus.circles(rng), 0.8 * self.zoom)
            covered = _inside(distance + 0.4 * self.pattern(_noise, 12)) * inside
            chromatin = 0.42 + 0.4 * self.pattern(_noise, nucleus.wavelength)
            chromatin -= 0.25 * np.exp(-((distance / 2) ** 2))
            self.cover(_between(nucleus.chromatin, np.clip(chromatin, 0, 1)), covered)
        if granules:
            room = inside * np.clip(-edge / 3, 0, 1) * (1 - covered * (1 - granules.over_nucleus))
            spots = self.pattern(_spots, granules.spacing) + 0.12 * self.pattern(_noise, 14)
            stained = 4 * (spots - 1 + rng.uniform(granules.fewest, granules.most))
            self.cover(granules.colour, rng.uniform(0.6, 0.95) * np.clip(stained, 0, 1) * room)

    def paint_red_cells(self, centre: np.ndarray, radius: float) -> None:
        """Paint red cells round the main cell, some partly under it."""
        rng, zoom = self.rng, self.zoom
        places = rng.uniform(-12, IMAGE_SIZE + 12, (rng.integers(0, 14), 2))
        away = np.hypot(*(places - centre).T) > radius + zoom * rng.uniform(2, 16, len(places))
        colour = np.array([0.81, 0.74, 0.79]) ** rng.uniform(0.6, 1.3) + rng.normal(0, 0.02, 3)
        pallor = rng.uniform(0.2, 0.85)
        for place in places[away]:
            size = zoom * rng.normal(18, 1.5)
            distance = np.hypot(*self.coordinates(place, 1.0, 36, 0.15))
            thickness = 1 - pallor * np.exp(-((distance / (0.42 * size)) ** 2))
            thickness *= _inside(distance - size)
            self.transmission *= 1 - thickness[..., None] * (1 - colour).astype(np.float32)

    def paint_bystanders(self, centre: np.ndarray, radius: float) -> None:
        """Paint, now and then, a stray platelet and a white cell cut by the image's edge."""
        rng, zoom = self.rng, self.zoom
        place = rng.uniform(0, IMAGE_SIZE, 2)
        if rng.random() < 0.25 and np.hypot(*(place - centre)) > radius + 8:
            self.paint_cell(MORPHOLOGIES[PLATELET], place, zoom * rng.uniform(4, 8))
        if rng.random() < 0.08:
            neighbour = MORPHOLOGIES[rng.choice([IG, LYMPHOCYTE, NEUTROPHIL])]
            size = neighbour.body.draw_radius(rng) * zoom
            (direction,) = _directions(rng.uniform(0, 2 * np.pi, 1))
            self.paint_cell(neighbour, centre + (radius + size + 2) * direction, size)

    def photograph(self, second_acquisition: bool) -> np.ndarray:
        """Return uint8 (96, 96, 3): stain, lamp, focus and sensor applied to transmission."""
        rng = self.rng
        density = -np.log(np.maximum(self.transmission, 0.02))
        strength = rng.uniform(0.68, 1.3) * np.exp(rng.normal(0, 0.075, 3))
        mixing = np.diag(strength) + rng.normal(0, 0.02, (3, 3))
        light = np.exp(-np.maximum(density @ mixing.astype(np.float32), 0))
        lamp = np.array([212, 217, 238] if second_acquisition else [253, 230, 205])
        lamp = (lamp + rng.uniform(-7, 7, 3)) * rng.uniform(0.78, 1.0)
        (direction,) = _directions(rng.uniform(0, 2 * np.pi, 1))
        across = sum(c * axis for c, axis in zip(direction, _grid(), strict=True)) / IMAGE_SIZE
        evenness = 1 + rng.uniform(0, 0.25) * (across - across.mean())
        light *= (evenness[..., None] * lamp).astype(np.float32)
        sharpness = rng.uniform(0.0, 0.55)
        light = gaussian_filter(light, (sharpness, sharpness, 0))
        light += rng.standard_normal(light.shape, np.float32) * np.float32(rng.uniform(1, 3))
        return np.clip(light + 0.5, 0, 255).astype(np.uint8)


# Distances, and patterns that repeat without a seam


def _distance(x: np.ndarray, y: np.ndarray, circles: np.ndarray, blend: float) -> np.ndarray:
    """Return the signed distance to a union of circles (K, 3: x, y, radius).

    Neighbours closer than about `blend` pixels melt into each other.
    """
    circles = circles.astype(np.float32)[:, :, None, None]
    distances = np.hypot(x - circles[:, 0], y - circles[:, 1]) - circles[:, 2]
    nearest = distances.min(axis=0)
    return nearest - blend * np.log(np.exp((nearest - distances) / blend).sum(axis=0))


def _inside(distance: np.ndarray, softness: float = 1.4) -> np.ndarray:
    """Return how much of each pixel lies inside, 0-1."""
    return np.clip(0.5 - distance / softness, 0, 1)


def _between(colours: tuple[Colour, Colour], position: float | np.ndarray) -> np.ndarray:
    """Return a colour, or an image of colours, between two."""
    first, second = np.float32(colours)
    return first + (second - first) * np.float32(position)[..., None]


@cache
def _grid() -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.mgrid[0:IMAGE_SIZE, 0:IMAGE_SIZE].astype(np.float32)
    return columns, rows


@cache
def _noise(wavelength: float) -> np.ndarray:
    """Return a tile of noise of about one wavelength (pixels), mean 0 and standard deviation 1."""
    white = np.random.default_rng(int(10 * wavelength)).standard_normal((_TILE, _TILE))
    fine, coarse = (gaussian_filter(white, wavelength / k, mode="wrap") for k in (5, 2))
    return _seamless((fine - coarse) / (fine - coarse).std())


@cache
def _spots(spacing: float) -> np.ndarray:
    """Return a tile of round spots of height 0-1, about `spacing` pixels apart."""
    rng = np.random.default_rng(int(10 * spacing))
    count = round(_TILE / spacing)
    places = np.stack(np.mgrid[0:count, 0:count]) + rng.uniform(-0.45, 0.45, (2, count, count))
    rows, columns = np.round(places * _TILE / count).astype(int) % _TILE
    spots = np.zeros((_TILE, _TILE))
    spots[rows, columns] = rng.permutation(np.linspace(0, 1, count**2)).reshape(count, count)
    width = 0.32 * spacing
    return _seamless(2 * np.pi * width**2 * gaussian_filter(spots, width, mode="wrap"))


def _seamless(tile: np.ndarray) -> np.ndarray:
    return np.pad(tile, (0, IMAGE_SIZE), mode="wrap").astype(np.float32)
