"""The 11 corruptions of MedMNIST-C for blood cells, at five severities: a test, never training.

They must NEVER serve as a training augmentation: a network that has trained on them shows with
them that it remembers, not that it is robust. Nothing that trains imports this module.

Source: Di Salvo et al. 2024, "MedMNIST-C: Comprehensive benchmark and improved classifier
robustness by simulating realistic image corruptions", arXiv:2406.17536, and its repository
github.com/francescodisalvo05/medmnistc-api, whose formulas and BloodMNIST parameters are followed.
The original is tuned for 224 px: lengths are scaled by width / 224, while ratios, qualities and
factors stay. Each function says where it differs; the blurs and saturation round to whole grey
levels where the original cuts off, so that flat images stay flat.
"""

import functools
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance
from scipy import ndimage

from helpers.changes.shifts import coarsened, compressed, rounded
from helpers.course import CourseError

SEVERITIES = (1, 2, 3, 4, 5)
# Side of the images that the original's lengths are meant for.
TUNED_FOR = 224

Function = Callable[[np.ndarray, Any, np.random.Generator], np.ndarray]


def corrupt(images: np.ndarray, name: str, severity: int, seed: int = 0) -> np.ndarray:
    """Return the images with one corruption.

    Image i depends on (seed, name, severity, i) and on itself alone: the first k images of a set
    come out as they do in the whole set. Only motion blur, stain deposits and bubbles draw at all.

    Args:
        images: uint8 (N, H, W, 3), square; the course's are 96 x 96.
        name: in `CORRUPTIONS`.
        severity: in `SEVERITIES`; 5 is the strongest.
        seed: of the blur's direction and of the places of deposits and bubbles.

    Returns:
        uint8 (N, H, W, 3).

    Raises:
        CourseError: if the name or the severity is unknown.
    """
    if name not in _TABLE:
        raise CourseError(
            f"There is no corruption {name!r}: choose from {', '.join(sorted(CORRUPTIONS))}."
        )
    if severity not in SEVERITIES:
        raise CourseError(
            f"The severity of {name} is {severity!r}: choose a whole number from "
            f"{SEVERITIES[0]} to {SEVERITIES[-1]}."
        )
    function, parameters = _TABLE[name]
    level = SEVERITIES.index(severity)
    # The name's own number, not its place in a list that might be sorted otherwise one day.
    key = zlib.crc32(name.encode())
    corrupted = np.empty_like(images)
    for i, image in enumerate(images):
        rng = np.random.default_rng([seed, key, level, i])
        corrupted[i] = function(image, parameters[level], rng)
    return corrupted


# --- digital ------------------------------------------------------------------------------------


def _pixelate(image: np.ndarray, factor: float, rng: np.random.Generator) -> np.ndarray:
    """Reduce to a fraction of the side and back: far fewer pixels stay at 96 px than at 224."""
    small = (int(side * factor) for side in image.shape[1::-1])
    return coarsened(image, *small, Image.Resampling.BOX)


def _jpeg_compression(image: np.ndarray, quality: int, rng: np.random.Generator) -> np.ndarray:
    """Compress; JPEG's blocks stay 8 px, so they are larger beside a cell than at 224 px."""
    return compressed(image, quality)


# --- blur ---------------------------------------------------------------------------------------


def _defocus_blur(image: np.ndarray, radius: int, rng: np.random.Generator) -> np.ndarray:
    """Average over a disc; the original's smoothing of its rim, sigma at most 0.1 px, does nothing.

    Scaled, the disc's pixels lie between ours and are shared among the nearest.
    """
    return _filtered(image, _disc(radius, image.shape[0]), border="reflect")


def _motion_blur(
    image: np.ndarray, radius_and_sigma: tuple[int, int], rng: np.random.Generator
) -> np.ndarray:
    """Drag the image along a line within 45 degrees of the rows, as ImageMagick does.

    Its kernel is one half of a Gaussian, at whole pixels along the line; scaled, these lie between
    ours and are shared among the nearest.
    """
    radius, sigma = radius_and_sigma
    steps = np.arange(2 * radius + 1)
    angle = np.deg2rad(rng.uniform(-45, 45))
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    rows, columns = np.rint(steps * np.sin(angle)), np.rint(steps * np.cos(angle))
    kernel = _kernel(rows, columns, weights, image.shape[0])
    return _filtered(image, kernel, border="edge")


@functools.cache
def _disc(radius: int, side: int) -> np.ndarray:
    rows, columns = np.indices((2 * radius + 1, 2 * radius + 1)) - radius
    inside = rows**2 + columns**2 <= radius**2
    return _kernel(rows[inside], columns[inside], np.ones(inside.sum()), side)


def _kernel(rows: np.ndarray, columns: np.ndarray, weights: np.ndarray, side: int) -> np.ndarray:
    """Return a float32 kernel of sum 1: weights (K,) at places (K,) given for 224 px, scaled.

    A place between pixels gives the four around it their bilinear weight, which is closer to
    blurring at 224 px and reducing than rounding.
    """
    places = np.stack([rows, columns]) * (side / TUNED_FOR)
    whole = np.floor(places).astype(int)
    part = places - whole
    reach = np.abs(whole).max() + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    for down in (0, 1):
        for right in (0, 1):
            near = np.abs(1 - down - part[0]) * np.abs(1 - right - part[1])
            at = (whole[0] + down + reach, whole[1] + right + reach)
            np.add.at(kernel, at, (near * weights / weights.sum()).astype(np.float32))
    return kernel


def _filtered(image: np.ndarray, kernel: np.ndarray, border: str) -> np.ndarray:
    """Return the image correlated with a square kernel; `border` is a mode of `np.pad`.

    One addition of the image per pixel of the kernel: ten times as fast as scipy.ndimage here.
    """
    height, width = image.shape[:2]
    reach = len(kernel) // 2
    padded = np.pad(image.astype(np.float32), ((reach, reach), (reach, reach), (0, 0)), mode=border)
    total = np.zeros(image.shape, np.float32)
    for row, column in np.argwhere(kernel):
        total += kernel[row, column] * padded[row : row + height, column : column + width]
    return rounded(total)


# --- colour -------------------------------------------------------------------------------------


def _enhanced(enhancer: type) -> Function:
    return lambda image, factor, _: np.asarray(enhancer(Image.fromarray(image)).enhance(factor))


def _saturate(image: np.ndarray, rise: float, rng: np.random.Generator) -> np.ndarray:
    """Raise the saturation of HSV: hue and value stay, so each channel's distance to value scales.

    Grey has no hue; as in the original it takes hue 0 and turns reddish.
    """
    channels = image.transpose(2, 0, 1).astype(np.float32)
    value = np.maximum.reduce(channels)
    below = value - channels
    chroma = np.maximum.reduce(below)
    below[1:, chroma == 0] = 1
    saturation = np.minimum(chroma / np.maximum(value, 1) + rise, 1)
    saturated = value - value * saturation * below / np.where(chroma == 0, 1, chroma)
    return rounded(saturated.transpose(1, 2, 0))


# --- microscopy ---------------------------------------------------------------------------------
# Both draw on a canvas of 224 x 224 px and reduce it, so small marks have smooth edges.


def _stain_deposit(
    image: np.ndarray, most_and_side: tuple[int, int], rng: np.random.Generator
) -> np.ndarray:
    """Lay one to `most` black blots on the image, each within a square of `side` px at 224.

    The original picks each from ten stored shapes; here each is drawn anew, as ragged and as large.
    """
    most, side = most_and_side
    canvas = np.zeros((TUNED_FOR, TUNED_FOR), np.uint8)
    for _ in range(rng.integers(1, most, endpoint=True)):
        row, column = rng.integers(10, TUNED_FOR - side - 10, size=2, endpoint=True)
        canvas[row : row + side, column : column + side] |= _blot(side, rng)
    return rounded(image * (1 - _reduced(Image.fromarray(canvas), image)))


def _blot(side: int, rng: np.random.Generator) -> np.ndarray:
    """Return uint8 (side, side): 255 within a ragged round shape over about half of it, else 0.

    The stored shapes of the original cover 48 to 78 % of their square at 24 px, 47 to 61 at 32.
    """
    rows, columns = (np.indices((side, side)) - (side - 1) / 2) / (side / 2)
    noise = ndimage.gaussian_filter(rng.standard_normal((side, side)), 2.5)
    field = 0.25 * noise / noise.std() - rows**2 - columns**2
    covered = rng.uniform(0.47, 0.78 if side == 24 else 0.61)
    return np.where(field > np.quantile(field, 1 - covered), 255, 0).astype(np.uint8)


def _bubble(
    image: np.ndarray, radius_and_count: tuple[int, int], rng: np.random.Generator
) -> np.ndarray:
    """Blend 7 to `count` white discs with a brighter rim, of radius 3 to `radius` px at 224."""
    largest, most = radius_and_count
    canvas = Image.new("L", (TUNED_FOR, TUNED_FOR))
    draw = ImageDraw.Draw(canvas)
    for _ in range(rng.integers(7, most, endpoint=True)):
        radius = int(rng.integers(3, largest, endpoint=True))
        x, y = rng.integers(radius, TUNED_FOR - radius, size=2, endpoint=True).tolist()
        for reach, opacity in ((radius + 2, 130), (radius, 100)):
            draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=opacity)
    opacity = _reduced(canvas, image)
    return rounded(image * (1 - opacity) + 255 * opacity)


def _reduced(canvas: Image.Image, image: np.ndarray) -> np.ndarray:
    """Return a canvas of 0 to 255 as float32 (H, W, 1) of 0 to 1, at the image's size."""
    reduced = canvas.resize(image.shape[1::-1], Image.Resampling.BOX)
    return np.asarray(reduced, np.float32)[..., None] / 255


# Name -> the function, and its parameter at severities 1 to 5.
_TABLE: dict[str, tuple[Function, Sequence]] = {
    "pixelate": (_pixelate, (0.6, 0.5, 0.4, 0.3, 0.25)),
    "jpeg_compression": (_jpeg_compression, (50, 30, 15, 10, 7)),
    "defocus_blur": (_defocus_blur, (2, 3, 4, 5, 6)),
    "motion_blur": (_motion_blur, ((3, 3), (5, 5), (10, 5), (10, 7), (10, 9))),
    "brightness_up": (_enhanced(ImageEnhance.Brightness), (1.1, 1.2, 1.3, 1.35, 1.4)),
    "brightness_down": (_enhanced(ImageEnhance.Brightness), (0.9, 0.8, 0.7, 0.6, 0.5)),
    "contrast_up": (_enhanced(ImageEnhance.Contrast), (1.1, 1.15, 1.2, 1.25, 1.3)),
    "contrast_down": (_enhanced(ImageEnhance.Contrast), (0.9, 0.8, 0.7, 0.6, 0.5)),
    "saturate": (_saturate, (0.05, 0.10, 0.15, 0.17, 0.20)),
    "stain_deposit": (_stain_deposit, ((1, 24), (2, 24), (3, 24), (3, 24), (3, 32))),
    "bubble": (_bubble, ((5, 10), (7, 10), (10, 10), (12, 12), (15, 12))),
}
CORRUPTIONS: tuple[str, ...] = tuple(_TABLE)
