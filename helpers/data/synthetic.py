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
from dataclasses import dataclass
from functools import cache

import numpy as np
from tqdm import tqdm

from helpers.course import CourseError
from helpers.data.photographs import CLASS_NAMES, IMAGE_SIZE, Photographs, Source

# Raised by hand whenever the same seed draws other images.
CACHE_VERSION = 1

# The mirror's photographs, by class (see CLASS_NAMES).
CLASS_COUNTS = (1096, 2805, 1396, 2606, 1093, 1278, 2996, 2113)
SECOND_ACQUISITION_COUNTS = (46, 46, 45, 136, 45, 45, 45, 0)
DUPLICATE_PAIRS = 17

BASOPHIL, EOSINOPHIL, ERYTHROBLAST, IG, LYMPHOCYTE, MONOCYTE, NEUTROPHIL, PLATELET = range(8)

_CHUNK = 128
_NOISE_TILE = 256

Colour = tuple[float, float, float]


def draw_cells(
    labels: np.ndarray, seed: int, second_acquisition: np.ndarray | None = None
) -> np.ndarray:
    """Draw one image a label.

    Image i depends on the seed, i, its label and its acquisition only, so the first rows of a
    longer drawing are the shorter one.

    Args:
        labels: int (N,), 0-7, index into CLASS_NAMES.
        seed: not negative; another seed draws other cells.
        second_acquisition: bool (N,); True draws under a bluish-white lamp (on the background
            blue exceeds red) instead of a warm one (red exceeds blue). None: all warm.

    Returns:
        uint8 (N, 96, 96, 3), RGB.
    """
    labels = np.asarray(labels)
    if second_acquisition is None:
        second_acquisition = np.zeros(len(labels), dtype=bool)
    return _draw_rows(seed, np.arange(len(labels)), labels, second_acquisition)


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
    made_by = f"synthetic cells, version {CACHE_VERSION}, seed {seed}"
    source = Source(
        name="synthetic",
        description=f"cells drawn from their morphology (version {CACHE_VERSION}, seed {seed})",
        are_photographs=False,
        checksum=hashlib.sha256(made_by.encode()).hexdigest(),
    )
    return Photographs(images, labels, CLASS_NAMES, source)


def _special_rows(
    labels: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the mask of the second acquisition, and both rows of each duplicate pair."""
    rows = [rng.permutation(np.flatnonzero(labels == label)) for label in range(len(CLASS_NAMES))]
    second_acquisition = np.zeros(len(labels), dtype=bool)
    for label, count in enumerate(SECOND_ACQUISITION_COUNTS):
        second_acquisition[rows[label][:count]] = True
        rows[label] = rows[label][count:]
    pairs = [(rows[EOSINOPHIL][-1], rows[NEUTROPHIL][-1])]
    for pair in range(DUPLICATE_PAIRS - 1):
        candidates = rows[pair % len(CLASS_NAMES)]
        start = 2 * (pair // len(CLASS_NAMES))
        pairs.append((candidates[start], candidates[start + 1]))
    originals, copies = np.array(pairs).T
    return second_acquisition, originals, copies


def _draw_in_parallel(seed: int, labels: np.ndarray, second_acquisition: np.ndarray) -> np.ndarray:
    images = np.empty((len(labels), IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)
    chunks = [np.arange(i, min(i + _CHUNK, len(labels))) for i in range(0, len(labels), _CHUNK)]
    # Forking a process that has started TensorFlow can hang, so the processes start afresh.
    fresh = multiprocessing.get_context("spawn")
    try:
        with (
            ProcessPoolExecutor(min(8, os.cpu_count() or 1), mp_context=fresh) as pool,
            tqdm(total=len(labels), desc="Drawing cells", unit="image") as progress,
        ):
            drawings = pool.map(
                _draw_rows,
                [seed] * len(chunks),
                chunks,
                [labels[chunk] for chunk in chunks],
                [second_acquisition[chunk] for chunk in chunks],
            )
            for chunk, drawing in zip(chunks, drawings, strict=True):
                images[chunk] = drawing
                progress.update(len(chunk))
    except BrokenProcessPool as error:
        raise CourseError(
            "A process that draws cells stopped: free some memory, and in a script put your code "
            'under `if __name__ == "__main__":`, then run again.'
        ) from error
    return images


def _draw_rows(
    seed: int, rows: np.ndarray, labels: np.ndarray, second_acquisition: np.ndarray
) -> np.ndarray:
    images = np.empty((len(rows), IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)
    for i, (row, label, second) in enumerate(zip(rows, labels, second_acquisition, strict=True)):
        rng = np.random.default_rng([seed, int(row), int(label), int(second)])
        images[i] = _draw_image(rng, int(label), bool(second))
    return images


def _draw_image(rng: np.random.Generator, label: int, second_acquisition: bool) -> np.ndarray:
    """Draw one field of view: uint8 (96, 96, 3)."""
    transmission = np.ones((IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.float32)
    zoom = rng.uniform(0.72, 1.22)
    centre = IMAGE_SIZE / 2 + rng.uniform(-15, 15, 2)
    radius = MORPHOLOGIES[label].draw_radius(rng) * zoom
    _paint_red_cells(transmission, rng, centre, radius, zoom)
    _paint_bystanders(transmission, rng, centre, radius, zoom)
    _paint_cell(transmission, rng, MORPHOLOGIES[label], centre, radius, zoom)
    return _photograph(transmission, rng, second_acquisition)


# Noise and distances


@cache
def _noise_tile(wavelength: float) -> np.ndarray:
    """Return noise of one wavelength (pixels), mean 0 and sd 1, that repeats without a seam."""
    rng = np.random.default_rng(int(10 * wavelength))
    frequencies = np.fft.fftfreq(_NOISE_TILE)
    distance = np.hypot(frequencies[:, None], frequencies[None, :]) * wavelength
    smoothing = np.where(distance < 1, 1, np.exp(-(((distance - 1) / 0.35) ** 2)))
    smoothing *= np.clip(distance / 0.4, 0, 1)
    tile = _filtered(rng.standard_normal((_NOISE_TILE, _NOISE_TILE)), smoothing)
    return _seamless(tile / tile.std())


@cache
def _granule_tile(spacing: float) -> np.ndarray:
    """Return round spots of height 0-1 about `spacing` pixels apart, repeating without a seam."""
    rng = np.random.default_rng(int(10 * spacing))
    count = round(_NOISE_TILE / spacing)
    places = np.stack(np.mgrid[0:count, 0:count]) + rng.uniform(-0.45, 0.45, (2, count, count))
    rows, columns = np.round(places * _NOISE_TILE / count).astype(int) % _NOISE_TILE
    spots = np.zeros((_NOISE_TILE, _NOISE_TILE))
    spots[rows, columns] = rng.permutation(np.linspace(0, 1, count**2)).reshape(count, count)
    frequencies = np.fft.fftfreq(_NOISE_TILE)
    distance = np.hypot(frequencies[:, None], frequencies[None, :])
    width = 0.32 * spacing
    smoothing = 2 * np.pi * width**2 * np.exp(-2 * (np.pi * width * distance) ** 2)
    return _seamless(_filtered(spots, smoothing))


def _filtered(tile: np.ndarray, response: np.ndarray) -> np.ndarray:
    return np.fft.ifft2(np.fft.fft2(tile) * response).real


def _seamless(tile: np.ndarray) -> np.ndarray:
    return np.pad(tile, (0, IMAGE_SIZE), mode="wrap").astype(np.float32)


def _noise(rng: np.random.Generator, wavelength: float) -> np.ndarray:
    """Return a random window of noise, float32 (96, 96), its wavelength rounded to half a pixel."""
    return _window(rng, _noise_tile(round(2 * wavelength) / 2))


def _granules(rng: np.random.Generator, spacing: float) -> np.ndarray:
    """Return a random window of spots, float32 (96, 96), their spacing rounded to half a pixel."""
    return _window(rng, _granule_tile(round(2 * spacing) / 2))


def _window(rng: np.random.Generator, tile: np.ndarray) -> np.ndarray:
    top, left = rng.integers(_NOISE_TILE, size=2)
    window = tile[top : top + IMAGE_SIZE, left : left + IMAGE_SIZE]
    return window.T if rng.random() < 0.5 else window


@cache
def _grid() -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.mgrid[0:IMAGE_SIZE, 0:IMAGE_SIZE].astype(np.float32)
    return columns, rows


def _warped(
    rng: np.random.Generator, centre: np.ndarray, amplitude: float, wavelength: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y (pixels from `centre`), bent by noise, so that circles look grown."""
    x, y = _grid()
    return (
        x - np.float32(centre[0]) + np.float32(amplitude) * _noise(rng, wavelength),
        y - np.float32(centre[1]) + np.float32(amplitude) * _noise(rng, wavelength),
    )


def _distance(x: np.ndarray, y: np.ndarray, circles: np.ndarray, blend: float) -> np.ndarray:
    """Return the signed distance to a union of circles (K, 3: x, y, radius).

    Neighbours closer than about `blend` pixels melt into each other.
    """
    circles = np.asarray(circles, dtype=np.float32)[:, :, None, None]
    distances = np.hypot(x - circles[:, 0], y - circles[:, 1]) - circles[:, 2]
    nearest = distances.min(axis=0)
    spread = np.exp((nearest - distances) / np.float32(blend)).sum(axis=0)
    return nearest - np.float32(blend) * np.log(spread)


def _inside(distance: np.ndarray, softness: float = 1.0) -> np.ndarray:
    """Return how much of each pixel lies inside, 0-1."""
    return np.clip(0.5 - distance / np.float32(softness), 0, 1)


def _cover(transmission: np.ndarray, colour: np.ndarray | Colour, share: np.ndarray) -> None:
    """Lay a colour, (3,) or (96, 96, 3), over `share` (96, 96) of each pixel."""
    transmission += (np.asarray(colour, dtype=np.float32) - transmission) * share[..., None]


def _between(first: Colour, second: Colour, position: float | np.ndarray) -> np.ndarray:
    """Return a colour, or an image of colours, between two."""
    first, second = np.asarray(first, np.float32), np.asarray(second, np.float32)
    return first + (second - first) * np.asarray(position, np.float32)[..., None]


# Nuclei: unions of circles, in units of the cell's radius, round the cell's centre


def _oval_nucleus(rng: np.random.Generator, smallest: float, largest: float) -> np.ndarray:
    size = rng.uniform(smallest, largest)
    stretch = rng.uniform(0, 0.14) * size
    shift = rng.uniform(0, max(0.0, 0.92 - size - stretch))
    return np.array([[shift - stretch, 0, size - stretch], [shift + stretch, 0, size - stretch]])


def _curved_nucleus(
    rng: np.random.Generator, bend: tuple[float, float], thickness: tuple[float, float]
) -> np.ndarray:
    """A bean, horseshoe or band: circles along an arc that spans `bend` radians."""
    angle = rng.uniform(*bend)
    thick = rng.uniform(*thickness)
    reach = min(0.86 - thick, 0.55)
    angles = np.linspace(-angle / 2, angle / 2, 7)
    radii = thick * (1 + rng.normal(0, 0.07, 7))
    offset = rng.uniform(0.25, 0.8) * reach * np.sinc(angle / (2 * np.pi))
    return np.column_stack([reach * np.cos(angles) - offset, reach * np.sin(angles), radii])


def _lobed_nucleus(
    rng: np.random.Generator, counts: tuple[int, ...], size: tuple[float, float]
) -> np.ndarray:
    """Oval lobes along an arc, each joined to the next by a thin bridge."""
    count = rng.choice(counts)
    sizes = rng.uniform(*size, count)
    reach = 0.9 - sizes.max()
    step = 2 * np.arcsin(min(0.95, rng.uniform(0.9, 1.1) * sizes.mean() / reach))
    angles = step * np.arange(count) + rng.normal(0, 0.08, count)
    places = reach * rng.uniform(0.8, 1.0, (count, 1)) * _directions(angles)
    places -= rng.uniform(0, 0.6) * places.mean(axis=0)
    bridges = (places[:-1] + places[1:]) / 2
    stretch = 0.3 * sizes[:, None] * _directions(rng.uniform(0, np.pi, count))
    return np.vstack(
        [
            np.column_stack([places + stretch, 0.85 * sizes]),
            np.column_stack([places - stretch, 0.85 * sizes]),
            np.column_stack([bridges, np.full(count - 1, 0.1)]),
        ]
    )


def _directions(angles: np.ndarray) -> np.ndarray:
    return np.column_stack([np.cos(angles), np.sin(angles)])


def _neutrophil_nucleus(rng: np.random.Generator) -> np.ndarray:
    if rng.random() < 0.3:
        return _curved_nucleus(rng, bend=(2.6, 4.4), thickness=(0.19, 0.25))
    return _lobed_nucleus(rng, (2, 3, 3, 4, 4, 5), size=(0.22, 0.29))


def _eosinophil_nucleus(rng: np.random.Generator) -> np.ndarray:
    return _lobed_nucleus(rng, (2, 2, 2, 3), size=(0.30, 0.38))


def _basophil_nucleus(rng: np.random.Generator) -> np.ndarray:
    return _lobed_nucleus(rng, (2, 3), size=(0.38, 0.5))


def _monocyte_nucleus(rng: np.random.Generator) -> np.ndarray:
    return _curved_nucleus(rng, bend=(1.4, 3.6), thickness=(0.3, 0.42))


def _immature_nucleus(rng: np.random.Generator) -> np.ndarray:
    if rng.random() < 0.35:
        return _curved_nucleus(rng, bend=(1.0, 2.4), thickness=(0.36, 0.46))
    return _oval_nucleus(rng, 0.56, 0.76)


def _lymphocyte_nucleus(rng: np.random.Generator) -> np.ndarray:
    return _oval_nucleus(rng, 0.74, 0.9)


def _erythroblast_nucleus(rng: np.random.Generator) -> np.ndarray:
    return _oval_nucleus(rng, 0.48, 0.68)


# Cells


@dataclass(frozen=True)
class Morphology:
    """How a class looks. Colours are transmissions (red, green, blue), lengths are pixels.

    Attributes:
        radius: mean and standard deviation of the cell's radius.
        outline: how far noise bends the outline, and that noise's wavelength.
        cytoplasm: the two colours between which a cell's cytoplasm lies.
        nucleus: draws the nucleus as circles (K, 3), or None for a cell without one.
        chromatin: the nucleus' dark and light colour, or None.
        chromatin_wavelength: size of the chromatin's pattern.
        granule: the granules' colour, or None.
        granule_spacing: distance between granules.
        granule_share: least and most share of the granules that take stain.
        granules_over_nucleus: how opaque the granules are where they lie over the nucleus, 0-1.
        most_vacuoles: a cell has from none to this many.
    """

    radius: tuple[float, float]
    outline: tuple[float, float]
    cytoplasm: tuple[Colour, Colour]
    nucleus: Callable[[np.random.Generator], np.ndarray] | None = None
    chromatin: tuple[Colour, Colour] | None = None
    chromatin_wavelength: float = 6.0
    granule: Colour | None = None
    granule_spacing: float = 3.0
    granule_share: tuple[float, float] = (0.0, 0.0)
    granules_over_nucleus: float = 0.0
    most_vacuoles: int = 0

    def draw_radius(self, rng: np.random.Generator) -> float:
        mean, deviation = self.radius
        return float(np.clip(rng.normal(mean, deviation), 0.7 * mean, 1.3 * mean))


MORPHOLOGIES = {
    BASOPHIL: Morphology(
        radius=(30, 3.0),
        outline=(1.0, 26),
        cytoplasm=((0.86, 0.70, 0.92), (0.70, 0.62, 0.88)),
        nucleus=_basophil_nucleus,
        chromatin=((0.34, 0.19, 0.58), (0.56, 0.40, 0.76)),
        chromatin_wavelength=7,
        granule=(0.17, 0.08, 0.38),
        granule_spacing=4.5,
        granule_share=(0.6, 0.95),
        granules_over_nucleus=0.9,
    ),
    EOSINOPHIL: Morphology(
        radius=(33, 3.0),
        outline=(0.9, 30),
        cytoplasm=((0.93, 0.85, 0.90), (0.78, 0.76, 0.92)),
        nucleus=_eosinophil_nucleus,
        chromatin=((0.26, 0.16, 0.53), (0.50, 0.37, 0.76)),
        chromatin_wavelength=6,
        granule=(0.82, 0.46, 0.46),
        granule_spacing=4.0,
        granule_share=(0.5, 0.9),
        granules_over_nucleus=0.1,
    ),
    ERYTHROBLAST: Morphology(
        radius=(22, 3.0),
        outline=(1.0, 24),
        cytoplasm=((0.56, 0.57, 0.86), (0.83, 0.74, 0.80)),
        nucleus=_erythroblast_nucleus,
        chromatin=((0.13, 0.07, 0.36), (0.24, 0.16, 0.48)),
        chromatin_wavelength=7,
    ),
    IG: Morphology(
        radius=(34, 4.0),
        outline=(1.2, 32),
        cytoplasm=((0.84, 0.76, 0.93), (0.60, 0.62, 0.92)),
        nucleus=_immature_nucleus,
        chromatin=((0.34, 0.19, 0.56), (0.56, 0.41, 0.74)),
        chromatin_wavelength=4.5,
        granule=(0.44, 0.18, 0.52),
        granule_spacing=3.0,
        granule_share=(0.45, 0.85),
        granules_over_nucleus=0.4,
    ),
    LYMPHOCYTE: Morphology(
        radius=(25, 3.5),
        outline=(0.9, 28),
        cytoplasm=((0.50, 0.60, 0.94), (0.74, 0.76, 0.97)),
        nucleus=_lymphocyte_nucleus,
        chromatin=((0.24, 0.13, 0.48), (0.50, 0.37, 0.74)),
        chromatin_wavelength=10,
    ),
    MONOCYTE: Morphology(
        radius=(37, 4.0),
        outline=(2.6, 34),
        cytoplasm=((0.62, 0.64, 0.86), (0.82, 0.77, 0.89)),
        nucleus=_monocyte_nucleus,
        chromatin=((0.36, 0.23, 0.60), (0.62, 0.49, 0.82)),
        chromatin_wavelength=8,
        granule=(0.60, 0.55, 0.82),
        granule_spacing=2.5,
        granule_share=(0.1, 0.4),
        most_vacuoles=9,
    ),
    NEUTROPHIL: Morphology(
        radius=(32, 3.0),
        outline=(1.0, 30),
        cytoplasm=((0.93, 0.78, 0.80), (0.84, 0.78, 0.92)),
        nucleus=_neutrophil_nucleus,
        chromatin=((0.25, 0.15, 0.51), (0.49, 0.36, 0.74)),
        chromatin_wavelength=6,
        granule=(0.64, 0.46, 0.70),
        granule_spacing=2.5,
        granule_share=(0.25, 0.7),
        granules_over_nucleus=0.05,
    ),
    PLATELET: Morphology(
        radius=(13, 2.5),
        outline=(1.5, 7),
        cytoplasm=((0.80, 0.74, 0.94), (0.62, 0.56, 0.86)),
        granule=(0.34, 0.18, 0.58),
        granule_spacing=3.5,
        granule_share=(0.55, 0.9),
    ),
}


def _paint_cell(
    transmission: np.ndarray,
    rng: np.random.Generator,
    morphology: Morphology,
    centre: np.ndarray,
    radius: float,
    zoom: float,
) -> None:
    """Paint one cell of a class over what is there; `centre` (x, y) and `radius` in pixels."""
    amplitude, wavelength = morphology.outline
    x, y = _warped(rng, centre, amplitude * zoom, wavelength * zoom)
    stretch = rng.uniform(0.93, 1.07)
    angle = rng.uniform(0, 2 * np.pi)
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    x, y = (
        (cosine * x + sine * y) * np.float32(stretch),
        (cosine * y - sine * x) / np.float32(stretch),
    )
    edge = np.hypot(x, y) - np.float32(radius)
    body = _inside(edge, 1.5)

    cytoplasm = _between(*morphology.cytoplasm, rng.uniform())
    shade = 1 + 0.035 * _noise(rng, 9 * zoom) - 0.08 * np.exp(-((edge / 2.5) ** 2))
    _cover(transmission, cytoplasm * shade[..., None], body * np.float32(0.95))

    if morphology.most_vacuoles:
        _paint_vacuoles(transmission, rng, morphology.most_vacuoles, (x, y), radius, body)
    nucleus = np.zeros_like(body)
    if morphology.nucleus is not None:
        nucleus = _paint_nucleus(transmission, rng, morphology, (x, y), radius, zoom, body)
    if morphology.granule is not None:
        room = body * np.clip(-edge / 3, 0, 1)
        room *= 1 - nucleus * np.float32(1 - morphology.granules_over_nucleus)
        _paint_granules(transmission, rng, morphology, room, zoom)


def _paint_vacuoles(
    transmission: np.ndarray,
    rng: np.random.Generator,
    most: int,
    coordinates: tuple[np.ndarray, np.ndarray],
    radius: float,
    body: np.ndarray,
) -> None:
    count = rng.integers(0, most + 1)
    if count == 0:
        return
    angles, distances = rng.uniform(0, 2 * np.pi, count), radius * rng.uniform(0.45, 0.9, count)
    sizes = radius * rng.uniform(0.04, 0.12, count)
    circles = np.column_stack([distances[:, None] * _directions(angles), sizes])
    holes = _inside(_distance(*coordinates, circles, blend=0.3), 1.5) * body
    _cover(transmission, (0.95, 0.93, 0.97), holes * np.float32(0.85))


def _paint_nucleus(
    transmission: np.ndarray,
    rng: np.random.Generator,
    morphology: Morphology,
    coordinates: tuple[np.ndarray, np.ndarray],
    radius: float,
    zoom: float,
    body: np.ndarray,
) -> np.ndarray:
    """Paint the nucleus and return its share of each pixel, (96, 96)."""
    distance = _distance(*coordinates, radius * morphology.nucleus(rng), blend=0.8 * zoom)
    nucleus = _inside(distance + 0.4 * _noise(rng, 12 * zoom), 1.4) * body
    pattern = 0.42 + 0.4 * _noise(rng, morphology.chromatin_wavelength * zoom)
    pattern -= 0.25 * np.exp(-((distance / 2) ** 2))
    _cover(transmission, _between(*morphology.chromatin, np.clip(pattern, 0, 1)), nucleus)
    return nucleus


def _paint_granules(
    transmission: np.ndarray,
    rng: np.random.Generator,
    morphology: Morphology,
    room: np.ndarray,
    zoom: float,
) -> None:
    """Paint granules where there is `room` (96, 96), 0-1."""
    share = rng.uniform(*morphology.granule_share)
    spots = _granules(rng, morphology.granule_spacing * zoom)
    granules = np.clip(4 * (spots + 0.12 * _noise(rng, 14 * zoom) - 1 + share), 0, 1) * room
    _cover(transmission, morphology.granule, granules * np.float32(rng.uniform(0.6, 0.95)))


def _paint_red_cells(
    transmission: np.ndarray,
    rng: np.random.Generator,
    centre: np.ndarray,
    radius: float,
    zoom: float,
) -> None:
    """Paint red cells round the main cell, some partly under it."""
    count = rng.integers(0, 14)
    places = rng.uniform(-12, IMAGE_SIZE + 12, (count, 2))
    away = np.hypot(*(places - centre).T) > radius + zoom * rng.uniform(2, 16, count)
    colour = np.array([0.81, 0.74, 0.79]) ** rng.uniform(0.6, 1.3) + rng.normal(0, 0.02, 3)
    pallor = rng.uniform(0.2, 0.85)
    for place in places[away]:
        x, y = _warped(rng, place, 1.0 * zoom, 36 * zoom)
        stretch = np.float32(rng.uniform(0.85, 1.15))
        size = zoom * rng.normal(18, 1.5)
        distance = np.hypot(x * stretch, y / stretch)
        relative = distance / np.float32(size)
        thickness = (1 - np.float32(pallor) * np.exp(-((relative / 0.42) ** 2))) * _inside(
            distance - np.float32(size), 1.6
        )
        transmission *= 1 - thickness[..., None] * (1 - colour).astype(np.float32)


def _paint_bystanders(
    transmission: np.ndarray,
    rng: np.random.Generator,
    centre: np.ndarray,
    radius: float,
    zoom: float,
) -> None:
    """Paint, now and then, a stray platelet and a white cell cut by the image's edge."""
    if rng.random() < 0.25:
        place = rng.uniform(0, IMAGE_SIZE, 2)
        if np.hypot(*(place - centre)) > radius + 8:
            _paint_cell(
                transmission, rng, MORPHOLOGIES[PLATELET], place, zoom * rng.uniform(4, 8), zoom
            )
    if rng.random() < 0.08:
        neighbour = MORPHOLOGIES[int(rng.choice([IG, LYMPHOCYTE, NEUTROPHIL]))]
        size = neighbour.draw_radius(rng) * zoom
        angle = rng.uniform(0, 2 * np.pi)
        place = centre + (radius + size + 2) * np.array([np.cos(angle), np.sin(angle)])
        _paint_cell(transmission, rng, neighbour, place, size, zoom)


# The microscope


def _photograph(
    transmission: np.ndarray, rng: np.random.Generator, second_acquisition: bool
) -> np.ndarray:
    """Return uint8 (96, 96, 3): stain, lamp, focus and sensor applied to transmission."""
    density = -np.log(np.maximum(transmission, 0.02))
    strength = rng.uniform(0.68, 1.3) * np.exp(rng.normal(0, 0.075, 3))
    mixing = np.diag(strength) + rng.normal(0, 0.02, (3, 3))
    light = np.exp(-np.maximum(density @ mixing.astype(np.float32), 0))

    lamp = np.array([212, 217, 238] if second_acquisition else [253, 230, 205])
    lamp = (lamp + rng.uniform(-7, 7, 3)) * rng.uniform(0.78, 1.0)
    x, y = _grid()
    angle, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.25)
    across = (np.cos(angle) * x + np.sin(angle) * y) / IMAGE_SIZE
    across -= across.mean()
    light *= (1 + slope * across.astype(np.float32))[..., None] * lamp.astype(np.float32)

    light = _blurred(light, rng.uniform(0.0, 0.6))
    light += rng.standard_normal(light.shape, dtype=np.float32) * np.float32(rng.uniform(1, 3))
    return np.clip(light + 0.5, 0, 255).astype(np.uint8)


def _blurred(image: np.ndarray, amount: float) -> np.ndarray:
    """Mix an image with its 3x3 binomial blur; `amount` 0 leaves it, 1 blurs it wholly."""
    side = np.float32(amount / 4)
    middle = np.float32(1 - amount / 2)
    for axis in (0, 1):
        padded = np.pad(image, [(1, 1) if a == axis else (0, 0) for a in range(3)], mode="edge")
        before, after = (padded[:-2], padded[2:]) if axis == 0 else (padded[:, :-2], padded[:, 2:])
        image = middle * image + side * (before + after)
    return image
