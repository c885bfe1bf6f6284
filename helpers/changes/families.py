"""Families of change, drawn on the fly: stateless, batched, one seed an image.

Each is a function of a batch and of uniform draws, a column an image, so that an image's change
depends on its own draws alone. `augment.augmenter` draws them from the image's seed.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

# "Slight" translation (share of the side) and rotation (degrees), beside flips in both directions.
MILD_SHIFT = 0.05
MILD_DEGREES = 18.0

LUMA = tf.constant([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class Family:
    """Augmentation of one kind: (float32 images, float32 draws (draws, B)) -> float32 images."""

    function: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    draws: int


def _between(drawn: tf.Tensor, low: float, high: float) -> tf.Tensor:
    return low + (high - low) * drawn


def _per_image(values: tf.Tensor) -> tf.Tensor:
    return tf.reshape(values, (-1, 1, 1, 1))


def _clipped(images: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(images, 0.0, 255.0)


def _warped(
    images: tf.Tensor, matrix: list[tf.Tensor], shift: list[tf.Tensor], fill: str = "REFLECT"
) -> tf.Tensor:
    """Return images whose pixel p = (x, y), from the centre, is read at matrix @ p + shift.

    Args:
        images: float32 (B, H, W, 3).
        matrix: float32 (B,) each: xx, xy, yx, yy.
        shift: float32 (B,) each: x, y, as a share of the side.
        fill: what lies outside the image: "REFLECT", or "CONSTANT" for 0.
    """
    xx, xy, yx, yy = matrix
    size = tf.shape(images)[1:3]
    height, width = tf.cast(size[0], tf.float32), tf.cast(size[1], tf.float32)
    x, y = (width - 1) / 2, (height - 1) / 2
    zero = tf.zeros_like(xx)
    transforms = [
        *(xx, xy, x - xx * x - xy * y + shift[0] * width),
        *(yx, yy, y - yx * x - yy * y + shift[1] * height),
        *(zero, zero),
    ]
    warped = tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack(transforms, axis=1),
        output_shape=size,
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode=fill,
    )
    return tf.ensure_shape(warped, images.shape)


def _moved(
    degrees: float, shift: float, zoom: float
) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Return flips, rotation up to +-degrees, translation up to +-shift, zoom 1/zoom to zoom."""

    def move(images: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
        angle = _between(drawn[0], -1, 1) * math.radians(degrees)
        scale = tf.exp(_between(drawn[1], -1, 1) * math.log(zoom))
        mirror_x, mirror_y = (tf.where(drawn[k] < 0.5, -scale, scale) for k in (2, 3))
        cosine, sine = tf.cos(angle), tf.sin(angle)
        matrix = [mirror_x * cosine, -mirror_y * sine, mirror_x * sine, mirror_y * cosine]
        return _warped(images, matrix, [_between(drawn[k], -shift, shift) for k in (4, 5)])

    return move


def _coloured(images: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
    """Change saturation x 0.3-1.7, hue +-40 degrees, contrast x 0.5-2, brightness +-64.

    Saturation and hue are one 3 x 3 matrix an image; hue is a rotation about the grey axis.
    """
    saturation = tf.reshape(_between(drawn[0], 0.3, 1.7), (-1, 1, 1))
    angle = tf.reshape(_between(drawn[1], -1, 1) * math.radians(40), (-1, 1, 1))
    turn = tf.constant([[0.0, 1.0, -1.0], [-1.0, 0.0, 1.0], [1.0, -1.0, 0.0]])
    hue = (1 - tf.cos(angle)) / 3 + tf.cos(angle) * tf.eye(3) + tf.sin(angle) / math.sqrt(3) * turn
    matrix = (saturation * tf.eye(3) + (1 - saturation) * LUMA[:, None]) @ hue
    contrast = _per_image(tf.exp(_between(drawn[2], -1, 1) * math.log(2)))
    brightness = _per_image(_between(drawn[3], -64, 64))
    mean = tf.reduce_mean(tf.tensordot(images, LUMA, 1), axis=(1, 2))[:, None, None, None]
    # The grey of the mean passes through the matrix unchanged, so it can be taken off first.
    return _clipped(contrast * tf.matmul(images - mean, matrix[:, None]) + mean + brightness)


def _occluded(images: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
    """Cover one or two rectangles, each 4 to 16 % of the image, with a random colour.

    Random erasing (Zhong et al. 2017), which cutout (DeVries and Taylor 2017) does with squares.
    """
    images = _covered(images, drawn[:8], areas=(0.04, 0.16))
    return _covered(images, drawn[8:], areas=(0.04, 0.16), share=0.5)


def _scattered(images: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
    """Cover three to six small rectangles, each 0.5 to 4 % of the image."""
    for number in range(6):
        some = drawn[8 * number : 8 * (number + 1)]
        images = _covered(images, some, areas=(0.005, 0.04), share=1.0 if number < 3 else 0.5)
    return images


def _covered(
    images: tf.Tensor, drawn: tf.Tensor, areas: tuple[float, float], share: float = 1.0
) -> tf.Tensor:
    """Cover a rectangle of a share of the area with a random colour, in this share of the images.

    Its sides are in a ratio of 1/2 to 2.
    """
    rows = tf.range(tf.shape(images)[1], dtype=tf.float32)[None, :, None, None]
    columns = tf.range(tf.shape(images)[2], dtype=tf.float32)[None, None, :, None]
    height, width = (
        tf.cast(tf.shape(images)[1], tf.float32),
        tf.cast(tf.shape(images)[2], tf.float32),
    )
    area, aspect, top, left, present, *colour = tf.unstack(drawn)
    side, stretch = tf.sqrt(_between(area, *areas)), 2 ** _between(aspect, -0.5, 0.5)
    tall, wide = side * stretch, side / stretch
    top, left = _per_image(top * (1 - tall) * height), _per_image(left * (1 - wide) * width)
    inside = (rows >= top) & (rows < top + _per_image(tall * height))
    inside &= (columns >= left) & (columns < left + _per_image(wide * width))
    inside &= _per_image(present) < share
    return tf.where(inside, 255 * tf.stack(colour, axis=1)[:, None, None], images)


def _rand_augmented(images: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
    """Apply one operation of keras-cv's RandAugment with the report's parameters.

    The same ten operations and ranges as `rand_augment_copies` at its defaults (one operation an
    image at rate 0.9, magnitude 0.5 +- 0.15), each drawn per image.
    """
    operations = (
        lambda images, _: _auto_contrasted(images),
        lambda images, _: _equalized(images),
        _solarized,
        _greyed,
        lambda images, drawn: _contrasted(images, drawn[2] - 0.5),
        lambda images, drawn: _clipped(images + _per_image(255 * (drawn[2] - 0.5))),
        lambda images, drawn: _sheared(images, drawn, along_rows=True),
        lambda images, drawn: _sheared(images, drawn, along_rows=False),
        lambda images, drawn: _translated(images, drawn[2] - 0.5, 0 * drawn[2]),
        lambda images, drawn: _translated(images, 0 * drawn[2], drawn[2] - 0.5),
    )
    choice = tf.cast(drawn[1] * len(operations), tf.int32)
    choice = tf.where(drawn[0] < 0.9, choice, -1)
    for index, operation in enumerate(operations):
        rows = tf.where(choice == index)
        chosen = operation(tf.gather_nd(images, rows), tf.gather(drawn, rows[:, 0], axis=1))
        images = tf.tensor_scatter_nd_update(images, rows, chosen)
    return images


def _magnitude(drawn: tf.Tensor) -> tf.Tensor:
    normal = tf.math.ndtri(tf.clip_by_value(drawn, 1e-6, 1 - 1e-6))
    return tf.clip_by_value(0.5 + 0.15 * normal, 0, 1)


def _solarized(images: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
    added = _clipped(images + _per_image(110 * _magnitude(drawn[2])))
    return tf.where(added < _per_image(255 * _magnitude(drawn[3])), added, 255 - added)


def _greyed(images: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
    grey = tf.tensordot(images, LUMA, 1)[..., None]
    return images + _per_image(_magnitude(drawn[2])) * (grey - images)


def _contrasted(images: tf.Tensor, change: tf.Tensor) -> tf.Tensor:
    means = tf.reduce_mean(images, axis=(1, 2), keepdims=True)
    return _clipped(means + (images - means) * _per_image(1 + change))


def _sheared(images: tf.Tensor, drawn: tf.Tensor, along_rows: bool) -> tf.Tensor:
    """Shear about the first row or column, not the centre, as keras-cv does."""
    shear = tf.where(drawn[3] < 0.5, -1.0, 1.0) * _magnitude(drawn[2])
    one, zero = tf.ones_like(shear), tf.zeros_like(shear)
    if along_rows:
        return _warped(images, [one, shear, zero, one], [shear / 2, zero])
    return _warped(images, [one, zero, shear, one], [zero, shear / 2])


def _translated(images: tf.Tensor, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    one, zero = tf.ones_like(x), tf.zeros_like(x)
    return _warped(images, [one, zero, zero, one], [x, y])


def _auto_contrasted(images: tf.Tensor) -> tf.Tensor:
    low = tf.reduce_min(images, axis=(1, 2), keepdims=True)
    high = tf.reduce_max(images, axis=(1, 2), keepdims=True)
    return tf.where(high > low, 255 * tf.math.divide_no_nan(images - low, high - low), images)


def _equalized(images: tf.Tensor) -> tf.Tensor:
    """Return the images with each channel's histogram made even, as keras-cv's layer does it."""
    shape = tf.shape(images)
    count = shape[0] * 3
    flat = tf.reshape(tf.transpose(tf.cast(images, tf.int32), (0, 3, 1, 2)), (count, -1))
    cells = flat + 256 * tf.range(count)[:, None]
    histogram = tf.reshape(
        tf.math.bincount(tf.reshape(cells, (-1,)), minlength=256 * count), (count, 256)
    )
    smallest = tf.reduce_min(tf.where(histogram == 0, tf.int32.max, histogram), axis=1)
    step = ((shape[1] * shape[2] - smallest) // 255)[:, None]
    table = (tf.cumsum(histogram, axis=1, exclusive=True) + step // 2) // tf.maximum(step, 1)
    table = tf.where(step == 0, tf.range(256)[None], tf.clip_by_value(table, 0, 255))
    mapped = tf.reshape(
        tf.gather(tf.reshape(table, (-1,)), cells), (shape[0], 3, shape[1], shape[2])
    )
    return tf.cast(tf.transpose(mapped, (0, 2, 3, 1)), tf.float32)


# --- the final model's chains: every family, each on some of the images -------------------------


def _sometimes(family: Family, share: float) -> Family:
    """Return the family applied to this share of the images only; the others cost nothing."""

    def function(images: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
        rows = tf.where(drawn[0] < share)
        changed = family.function(
            tf.gather_nd(images, rows), tf.gather(drawn[1:], rows[:, 0], axis=1)
        )
        return tf.tensor_scatter_nd_update(images, rows, changed)

    return Family(function, family.draws + 1)


def _placed(images: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
    """Rotate at will, mirror, zoom x 1/1.6-1.6, stretch, shear and translate, in one resampling.

    What lies outside is reflected in half of the images, and one random colour in the others.
    """
    angle = _between(drawn[0], -1, 1) * math.pi
    scale = tf.exp(_between(drawn[1], -1, 1) * math.log(1.6))
    stretch = tf.exp(_between(drawn[2], -1, 1) * math.log(1.25))
    shear = _between(drawn[3], -0.4, 0.4)
    wide = tf.where(drawn[4] < 0.5, -scale, scale) * stretch
    tall = scale / stretch
    cosine, sine = tf.cos(angle), tf.sin(angle)
    matrix = [wide * cosine, tall * (shear * cosine - sine)]
    matrix += [wide * sine, tall * (shear * sine + cosine)]
    shift = [_between(drawn[k], -0.22, 0.22) for k in (5, 6)]
    colour = 255 * tf.transpose(drawn[8:11])[:, None, None]
    reflected = tf.where(drawn[7] < 0.5)
    filled = tf.where(drawn[7] >= 0.5)

    def warp(rows: tf.Tensor, fill: str) -> tf.Tensor:
        chosen = [tf.gather_nd(part, rows) for part in (*matrix, *shift)]
        offset = tf.gather_nd(colour, rows) if fill == "CONSTANT" else 0.0
        moved = _warped(tf.gather_nd(images, rows) - offset, chosen[:4], chosen[4:], fill)
        return _clipped(moved + offset)

    images = tf.tensor_scatter_nd_update(images, reflected, warp(reflected, "REFLECT"))
    return tf.tensor_scatter_nd_update(images, filled, warp(filled, "CONSTANT"))


def _lit(images: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
    """Change the light: each channel's gain x 0.75-1.33 (white balance), gamma 1/2-2."""
    gains = tf.exp(_between(tf.transpose(drawn[:3]), -1, 1) * math.log(4 / 3))[:, None, None]
    gamma = _per_image(tf.exp(_between(drawn[3], -1, 1) * math.log(2.0)))
    return 255 * tf.pow(tf.clip_by_value(images * gains / 255, 1e-4, 1.0), gamma)


def _tone_mapped(images: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
    """Do one of: solarize, posterize, equalize, auto contrast, grey, invert."""
    levels = _per_image(2.0 ** tf.floor(_between(drawn[1], 3, 7)))
    operations = (
        lambda x, d, _: tf.where(x < _per_image(_between(d[1], 100, 250)), x, 255 - x),
        lambda x, d, step: tf.floor(x / step) * step,
        lambda x, d, _: _equalized(x),
        lambda x, d, _: _auto_contrasted(x),
        lambda x, d, _: x + _per_image(d[1]) * (tf.tensordot(x, LUMA, 1)[..., None] - x),
        lambda x, d, _: 255 - x,
    )
    choice = tf.cast(drawn[0] * len(operations), tf.int32)
    for index, operation in enumerate(operations):
        rows = tf.where(choice == index)
        chosen = operation(
            tf.gather_nd(images, rows),
            tf.gather(drawn, rows[:, 0], axis=1),
            tf.gather_nd(levels, rows),
        )
        images = tf.tensor_scatter_nd_update(images, rows, chosen)
    return images


def _blurred(images: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
    """Blur by a Gaussian of 0.5, 1, 1.5 or 2 pixels, drawn per image; the border counts less."""
    sigmas = (0.5, 1.0, 1.5, 2.0)
    choice = tf.cast(drawn[0] * len(sigmas), tf.int32)
    ones = tf.ones_like(images[:1])
    for index, sigma in enumerate(sigmas):
        rows = tf.where(choice == index)
        blurred = _clipped(_smoothed(tf.gather_nd(images, rows), sigma) / _smoothed(ones, sigma))
        images = tf.tensor_scatter_nd_update(images, rows, blurred)
    return images


def _smoothed(images: tf.Tensor, sigma: float) -> tf.Tensor:
    """Return the images convolved with a Gaussian, zero outside."""
    reach = math.ceil(2.5 * sigma)
    kernel = tf.exp(-0.5 * (tf.range(-reach, reach + 1, dtype=tf.float32) / sigma) ** 2)
    kernel = tf.tile((kernel / tf.reduce_sum(kernel))[:, None, None, None], (1, 1, 3, 1))
    rows = tf.nn.depthwise_conv2d(images, kernel, (1, 1, 1, 1), "SAME")
    return tf.nn.depthwise_conv2d(rows, tf.transpose(kernel, (1, 0, 2, 3)), (1, 1, 1, 1), "SAME")


def _noisy(images: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
    """Add Gaussian noise of a standard deviation of up to 35 grey values, grey in half of them."""
    size = tf.shape(images)[1:]
    seeds = tf.cast(tf.transpose(drawn[:2]) * 2**30, tf.int32)
    noise = tf.map_fn(
        lambda seed: tf.random.stateless_normal(size, seed),
        seeds,
        fn_output_signature=tf.TensorSpec(images.shape[1:], tf.float32),
    )
    grey = _per_image(drawn[2]) < 0.5
    noise = tf.where(grey, noise[..., :1], noise)
    return _clipped(images + _per_image(_between(drawn[3], 0, 35)) * noise)


def _curved(images: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
    """Map grey values by a random curve through five points, in half of the images by channel.

    It need not rise: it is what solarizing, gamma, posterizing and a negative have in common.
    """
    knots = 5
    curves = tf.reshape(255 * drawn[1 : 1 + 3 * knots], (3, knots, -1))
    own = drawn[0] < 0.5
    curves = tf.where(own, curves, curves[:1])
    straight = tf.linspace(0.0, 255.0, knots)[None, :, None]
    curves = 0.4 * straight + 0.6 * curves
    place = tf.clip_by_value(images, 0.0, 255.0) * ((knots - 1) / 255)
    # A sum of hats, one a knot: piecewise linear without a lookup.
    hats = [tf.nn.relu(1 - tf.abs(place - knot)) for knot in range(knots)]
    heights = tf.transpose(curves, (1, 2, 0))[:, :, None, None]
    mapped = [hat * height for hat, height in zip(hats, tf.unstack(heights), strict=True)]
    return _clipped(tf.add_n(mapped))


def _shaded(images: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
    """Light one side more than the other (x 0.6 to 1.4), or the centre more than the corners."""
    rows = tf.linspace(-1.0, 1.0, tf.shape(images)[1])[None, :, None, None]
    columns = tf.linspace(-1.0, 1.0, tf.shape(images)[2])[None, None, :, None]
    angle = _per_image(_between(drawn[0], -1, 1) * math.pi)
    amount = _per_image(_between(drawn[1], 0.1, 0.4))
    slope = (tf.cos(angle) * columns + tf.sin(angle) * rows) / math.sqrt(2)
    rounded = 0.5 - (rows**2 + columns**2) / 2
    field = tf.where(_per_image(drawn[2]) < 0.5, slope, rounded)
    return _clipped(images * (1 + amount * field))


def _sharpened(images: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
    """Add up to twice what a Gaussian of one pixel takes away, as cameras sharpen."""
    smooth = _smoothed(images, 1.0) / _smoothed(tf.ones_like(images[:1]), 1.0)
    return _clipped(images + _per_image(_between(drawn[0], 0.3, 2)) * (images - smooth))


_MILD = Family(_moved(MILD_DEGREES, MILD_SHIFT, 1.0), 6)
_GEOMETRY = Family(_moved(180.0, 0.15, 1.4), 6)
_COLOUR = Family(_coloured, 4)
_OCCLUSION = Family(_occluded, 16)
_RAND_AUGMENT = Family(_rand_augmented, 4)
_STRONG = (
    _sometimes(Family(_placed, 11), 0.9),
    _sometimes(_COLOUR, 0.7),
    _sometimes(Family(_lit, 4), 0.4),
    _sometimes(Family(_tone_mapped, 2), 0.25),
    _sometimes(Family(_blurred, 1), 0.3),
    _sometimes(Family(_noisy, 4), 0.3),
    _sometimes(_OCCLUSION, 0.5),
)
# The final model's last step: more of the same kinds, and the faults of lamps and cameras.
_HEAVY = (
    _sometimes(Family(_placed, 11), 0.9),
    _sometimes(_COLOUR, 0.65),
    _sometimes(Family(_lit, 4), 0.35),
    _sometimes(Family(_tone_mapped, 2), 0.25),
    _sometimes(Family(_curved, 16), 0.2),
    _sometimes(Family(_shaded, 3), 0.2),
    _sometimes(Family(_blurred, 1), 0.3),
    _sometimes(Family(_sharpened, 1), 0.15),
    _sometimes(Family(_noisy, 4), 0.3),
    _sometimes(_OCCLUSION, 0.4),
    _sometimes(Family(_scattered, 48), 0.3),
)

AUGMENTATIONS: dict[str, tuple[Family, ...]] = {
    "none": (),
    "mild": (_MILD,),
    "rand_augment": (_RAND_AUGMENT,),
    "geometry": (_GEOMETRY,),
    "colour": (_COLOUR,),
    "occlusion": (_OCCLUSION,),
    "composed": (_GEOMETRY, _COLOUR, _OCCLUSION),
    "strong": _STRONG,
    "heavy": _HEAVY,
}


# --- mixing: the share of each pixel that comes from another image --------------------------------


def _cutmix_share(images: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
    """Return 1 inside a rectangle of a uniformly drawn area, 0 outside: (B, H, W, 1)."""
    height, width = tf.shape(images)[1], tf.shape(images)[2]
    side = tf.sqrt(drawn[0])
    top, left = drawn[1] * (1 - side), drawn[2] * (1 - side)
    rows = (tf.range(height, dtype=tf.float32) + 0.5) / tf.cast(height, tf.float32)
    columns = (tf.range(width, dtype=tf.float32) + 0.5) / tf.cast(width, tf.float32)
    inside_rows = (rows >= top[:, None]) & (rows < (top + side)[:, None])
    inside_columns = (columns >= left[:, None]) & (columns < (left + side)[:, None])
    return tf.cast(inside_rows[:, :, None, None] & inside_columns[:, None, :, None], tf.float32)


def _mixup_share(images: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
    """Return one uniformly drawn share, 0 to 0.5, for all pixels of an image: (B, H, W, 1)."""
    return _per_image(drawn[0] / 2) * tf.ones_like(images[..., :1])


MIXING = {"cutmix": _cutmix_share, "mixup": _mixup_share}
