"""Shifted evaluation sets: photographs changed as the competition's private test is said to be.

Nobody outside has seen that test; those who took part report heavily and multiply altered images.
Each image here gets a chain of two to four operations, each from another family. The course's
training augmentation (`augment`) has a counterpart for some operations and none for the others, so
that a score can be split into "shifts seen in training" and "shifts never seen".
"""

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from helpers.course import CourseError

CHAIN_LENGTHS = (2, 3, 4)
# A drawn operation is never so weak that it does nothing: its strength is severity x (0.5 to 1).
WEAKEST = 0.5

# Rec. 601, the weights of red, green and blue in brightness.
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)

Function = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Operation:
    """One way of changing an image.

    Attributes:
        name: as it stands in `OPERATIONS`.
        family: "geometry", "colour", "degradation" or "occlusion".
        function: (uint8 (H, W, 3), strength, rng) -> uint8 (H, W, 3). Strength 0 changes at most
            rounding, 1 is heavy; more than 1 is allowed.
        counterpart: the kind of change in the course's training augmentations (`families`) that
            resembles it, or None; a test holds the list of those kinds.
    """

    name: str
    family: str
    function: Function
    counterpart: str | None

    @property
    def seen(self) -> bool:
        """Whether any training augmentation of the course has a counterpart."""
        return self.counterpart is not None


OPERATIONS: dict[str, Operation] = {}


def competition_like(
    images: np.ndarray,
    seed: int,
    severity: float = 1.0,
    operations: Iterable[str] | None = None,
) -> np.ndarray:
    """Return the images, each changed by a random chain of two to four operations.

    Image i depends on (seed, i) and on itself alone: the first k images of a set come out as they
    do in the whole set, and a higher severity makes the same changes stronger.

    Args:
        images: uint8 (N, 96, 96, 3).
        seed: of the chains and of everything drawn within them.
        severity: scales all strengths; 0 leaves the images as they are, 1 is the default shift.
        operations: names in `OPERATIONS` to draw from; None for all.

    Returns:
        uint8 (N, 96, 96, 3).

    Raises:
        CourseError: if a name is unknown, no name is given, or severity is negative.
    """
    if severity < 0:
        raise CourseError(f"The severity of a shift is {severity}: give a number from 0 up.")
    by_family = _by_family(operations)
    shifted = np.empty_like(images)
    for i, image in enumerate(images):
        rng = np.random.default_rng([seed, i])
        for name in _chain(rng, by_family):
            strength = severity * rng.uniform(WEAKEST, 1)
            # A generator of its own for each operation: how much one draws moves no other.
            own = np.random.default_rng(rng.integers(2**63))
            image = OPERATIONS[name].function(image, strength, own)
        shifted[i] = image
    return shifted


def chains(count: int, seed: int, operations: Iterable[str] | None = None) -> list[tuple[str, ...]]:
    """Return the operations that `competition_like` applies to images 0 to count - 1, in order."""
    by_family = _by_family(operations)
    return [_chain(np.random.default_rng([seed, i]), by_family) for i in range(count)]


def of_family(family: str) -> tuple[str, ...]:
    """Return the names of a family's operations."""
    return tuple(name for name, operation in OPERATIONS.items() if operation.family == family)


def seen_only(chain: tuple[str, ...]) -> bool:
    """Return whether every operation of a chain has a counterpart in the training augmentations."""
    return all(OPERATIONS[name].seen for name in chain)


def seen_images(count: int, seed: int) -> np.ndarray:
    """Return bool (count,): `seen_only` of each image's chain in `competition_like`."""
    return np.array([seen_only(chain) for chain in chains(count, seed)])


def apply_operation(images: np.ndarray, name: str, strength: float = 0.75) -> np.ndarray:
    """Return uint8 (N, 96, 96, 3) images changed by one operation, each by its own draw.

    The default strength is the mean strength within `competition_like` at severity 1.

    Raises:
        CourseError: if no operation has that name.
    """
    function = _named([name])[0].function
    shifted = np.empty_like(images)
    for i, image in enumerate(images):
        shifted[i] = function(image, strength, np.random.default_rng([0, i]))
    return shifted


def _named(names: Iterable[str]) -> list[Operation]:
    names = list(names)
    unknown = [name for name in names if name not in OPERATIONS]
    if unknown or not names:
        what = f"There is no operation {unknown[0]!r}" if unknown else "No operation was named"
        raise CourseError(f"{what}: choose from {', '.join(sorted(OPERATIONS))}.")
    return [OPERATIONS[name] for name in names]


def _by_family(names: Iterable[str] | None) -> list[list[str]]:
    chosen = list(OPERATIONS.values()) if names is None else _named(names)
    families = dict.fromkeys(operation.family for operation in chosen)
    return [[o.name for o in chosen if o.family == family] for family in families]


def _chain(rng: np.random.Generator, by_family: list[list[str]]) -> tuple[str, ...]:
    length = min(rng.choice(CHAIN_LENGTHS), len(by_family))
    families = rng.permutation(len(by_family))[:length]
    return tuple(str(rng.choice(by_family[family])) for family in families)


def _operation(name: str, family: str, counterpart: str | None) -> Callable[[Function], Function]:
    def register(function: Function) -> Function:
        OPERATIONS[name] = Operation(name, family, function, counterpart)
        return function

    return register


# --- shared with the corruptions ------------------------------------------------------------------
# Products are written with einsum: matrix products round as the processor's BLAS does, and the
# evaluation sets are fixed by hash.


def rounded(image: np.ndarray) -> np.ndarray:
    """Return the nearest uint8 values."""
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def compressed(image: np.ndarray, quality: int) -> np.ndarray:
    """Return uint8 (H, W, 3) as JPEG of that quality shows it."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def coarsened(image: np.ndarray, width: int, height: int, enlarge: Image.Resampling) -> np.ndarray:
    """Return uint8 (H, W, 3) averaged to width x height pixels and enlarged again."""
    small = Image.fromarray(image).resize((width, height), Image.Resampling.BOX)
    return np.asarray(small.resize(image.shape[1::-1], enlarge))


def _sign(rng: np.random.Generator) -> float:
    return float(rng.choice((-1.0, 1.0)))


# --- geometry -----------------------------------------------------------------------------------


def _resample(
    image: np.ndarray, rows: np.ndarray, columns: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return the image read at float (H, W) coordinates; outside it: reflected, or border colour.

    Those are the two fills that augmentation libraries offer most.
    """
    mode = str(rng.choice(["reflect", "constant"]))
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    fill = np.median(border, axis=0)
    resampled = np.empty(image.shape, np.float32)
    for c in range(3):
        ndimage.map_coordinates(
            image[..., c], (rows, columns), resampled[..., c], order=1, mode=mode, cval=fill[c]
        )
    return rounded(resampled)


def _centred_grid(image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return float rows and columns (H, W) counted from the centre, and the centre (2,)."""
    centre = (np.array(image.shape[:2]) - 1) / 2
    rows, columns = np.indices(image.shape[:2], dtype=np.float64)
    return rows - centre[0], columns - centre[1], centre


def _affine(
    image: np.ndarray, matrix: np.ndarray, rng: np.random.Generator, shift: tuple = (0.0, 0.0)
) -> np.ndarray:
    """Return the image whose pixel p, from the centre, is read at matrix @ p + shift."""
    rows, columns, centre = _centred_grid(image)
    return _resample(
        image,
        matrix[0, 0] * rows + matrix[0, 1] * columns + shift[0] + centre[0],
        matrix[1, 0] * rows + matrix[1, 1] * columns + shift[1] + centre[1],
        rng,
    )


@_operation("rotation", "geometry", "rotation")
def _rotation(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    angle = _sign(rng) * strength * np.pi / 2
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return _affine(image, matrix, rng)


@_operation("shear", "geometry", "shear")
def _shear(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    matrix = np.eye(2)
    row = rng.integers(2)
    matrix[row, 1 - row] = _sign(rng) * 0.4 * strength
    return _affine(image, matrix, rng)


@_operation("zoom", "geometry", "zoom")
def _zoom(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    return _affine(image, np.eye(2) * 1.4 ** (_sign(rng) * strength), rng)


@_operation("translation", "geometry", "translation")
def _translation(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    angle, distance = rng.uniform(0, 2 * np.pi), 0.25 * strength * image.shape[0]
    return _affine(image, np.eye(2), rng, (distance * np.sin(angle), distance * np.cos(angle)))


@_operation("flip", "geometry", "flip")
def _flip(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Flip rows, columns or both; there is no half a flip, so any strength above 0 does it."""
    axes = ((0,), (1,), (0, 1))[rng.integers(3)]
    return np.flip(image, axes) if strength else image


@_operation("perspective", "geometry", None)
def _perspective(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    rows, columns, centre = _centred_grid(image)
    angle = rng.uniform(0, 2 * np.pi)
    slope = 0.3 * min(strength, 2) / np.hypot(*centre)
    depth = 1 + slope * (rows * np.sin(angle) + columns * np.cos(angle))
    return _resample(image, rows / depth + centre[0], columns / depth + centre[1], rng)


@_operation("elastic", "geometry", None)
def _elastic(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Displace by a smooth random field (Simard et al. 2003), 2 px root mean square at 1."""
    field = ndimage.gaussian_filter(rng.standard_normal((2, *image.shape[:2])), (0, 7, 7))
    field *= 2 * strength / np.sqrt(np.mean(field**2))
    rows, columns = np.indices(image.shape[:2])
    return _resample(image, rows + field[0], columns + field[1], rng)


# --- colour -------------------------------------------------------------------------------------


@_operation("brightness", "colour", "brightness")
def _brightness(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    return rounded(image + _sign(rng) * 55 * strength)


@_operation("contrast", "colour", "contrast")
def _contrast(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    mean = np.einsum("hwc,c->hw", image, LUMA).mean()
    return rounded(mean + (image - mean) * 1.9 ** (_sign(rng) * strength))


@_operation("saturation", "colour", "saturation")
def _saturation(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    grey = np.einsum("hwc,c->hw", image, LUMA)[..., None]
    factor = 1 - min(0.8 * strength, 1) if rng.random() < 0.5 else 1 + strength
    return rounded(grey + (image - grey) * factor)


@_operation("hue", "colour", "hue")
def _hue(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Rotate colours about the grey axis, by 36 degrees at strength 1."""
    angle = _sign(rng) * strength * np.pi / 5
    side = np.sin(angle) / np.sqrt(3)
    axis = (1 - np.cos(angle)) / 3
    matrix = (
        axis + np.cos(angle) * np.eye(3) + side * np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    )
    return rounded(np.einsum("hwc,kc->hwk", image, matrix))


@_operation("solarize", "colour", "solarize")
def _solarize(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    threshold = 255 - 100 * strength
    return rounded(np.where(image > threshold, 255 - image, image))


@_operation("posterize", "colour", "posterize")
def _posterize(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    step = 2 ** int(np.rint(min(5 * strength, 7)))
    return (image // step) * step


@_operation("gamma", "colour", "brightness")
def _gamma(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    return rounded(255 * (image / 255) ** (1.9 ** (_sign(rng) * strength)))


@_operation("channel gain", "colour", "white balance")
def _channel_gain(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Scale one channel up and another down: a wrong white balance, or another stain."""
    gains = rng.permutation([1.25**strength, 1.25**-strength, 1.0])
    return rounded(image * gains)


# --- degradation --------------------------------------------------------------------------------


@_operation("blur", "degradation", "sharpness")
def _blur(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian blur; Keras' RandAugment blurs lightly under the name sharpness."""
    sigma = 1.6 * strength
    return rounded(ndimage.gaussian_filter(image.astype(np.float32), (sigma, sigma, 0)))


@_operation("motion blur", "degradation", None)
def _motion_blur(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    reach = int(np.rint(4 * strength))
    angle = rng.uniform(0, np.pi)
    padded = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="symmetric")
    height, width = image.shape[:2]
    total = np.zeros(image.shape, np.float32)
    for step in range(-reach, reach + 1):
        row, column = np.rint([reach + step * np.sin(angle), reach + step * np.cos(angle)]).astype(
            int
        )
        total += padded[row : row + height, column : column + width]
    return rounded(total / (2 * reach + 1))


@_operation("noise", "degradation", "noise")
def _noise(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    return rounded(image + 25 * strength * rng.standard_normal(image.shape, dtype=np.float32))


@_operation("jpeg", "degradation", None)
def _jpeg(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    quality = int(np.clip(np.rint(60 - 48 * strength), 3, 60))
    return compressed(image, quality) if strength else image


@_operation("pixelate", "degradation", None)
def _pixelate(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    height, width = image.shape[:2]
    fraction = 1 - 0.6 * min(strength, 1.5)
    small = (max(1, round(width * fraction)), max(1, round(height * fraction)))
    return coarsened(image, *small, Image.Resampling.NEAREST)


# --- occlusion ----------------------------------------------------------------------------------


@_operation("cutout", "occlusion", "cutout")
def _cutout(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Cover one to three rectangles, together up to a sixth of the image at strength 1."""
    image = image.copy()
    height, width = image.shape[:2]
    count = rng.integers(1, 4)
    for _ in range(count):
        aspect = rng.uniform(0.6, 1.6)
        side = 0.4 * np.sqrt(min(strength, 3) / count)
        tall, wide = round(height * side * aspect**0.5), round(width * side / aspect**0.5)
        top, left = rng.integers(height - tall + 1), rng.integers(width - wide + 1)
        image[top : top + tall, left : left + wide] = rng.choice([0, 127, 255])
    return image


@_operation("stripes", "occlusion", None)
def _stripes(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Cover stripes in one direction, or in both (a grid), about a seventh of the image at 1."""
    image = image.copy()
    directions = (("rows",), ("columns",), ("rows", "columns"))[rng.integers(3)]
    period, colour = rng.integers(12, 25), rng.choice([0, 127, 255])
    covered = 0.15 * min(strength, 5) / len(directions)
    for direction in directions:
        length = image.shape[0] if direction == "rows" else image.shape[1]
        hidden = (np.arange(length) + rng.integers(period)) % period < round(covered * period)
        image[hidden if direction == "rows" else (slice(None), hidden)] = colour
    return image


@_operation("bubbles", "occlusion", None)
def _bubbles(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Lay pale discs with a bright rim over the image, like air under a cover slip."""
    size = image.shape[0]
    layer = Image.new("RGBA", image.shape[1::-1])
    draw = ImageDraw.Draw(layer)
    for _ in range(round(5 * strength)):
        row, column = rng.uniform(0, size, 2)
        radius = rng.uniform(0.04, 0.14) * size
        box = (column - radius, row - radius, column + radius, row + radius)
        draw.ellipse(box, fill=(235, 235, 240, 190), outline=(255, 255, 255, 255), width=2)
    return _overlaid(image, layer)


@_operation("scratches", "occlusion", None)
def _scratches(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    size = image.shape[0]
    layer = Image.new("RGBA", image.shape[1::-1])
    draw = ImageDraw.Draw(layer)
    for _ in range(round(5 * strength)):
        start, angle = rng.uniform(0, size, 2), rng.uniform(0, 2 * np.pi)
        end = start + rng.uniform(0.4, 1.2) * size * np.array([np.cos(angle), np.sin(angle)])
        shade = int(rng.choice([30, 250]))
        draw.line((*start, *end), fill=(shade, shade, shade, 210), width=int(rng.integers(1, 4)))
    return _overlaid(image, layer)


def _overlaid(image: np.ndarray, layer: Image.Image) -> np.ndarray:
    picture = Image.fromarray(image).convert("RGBA")
    return np.asarray(Image.alpha_composite(picture, layer).convert("RGB"))
