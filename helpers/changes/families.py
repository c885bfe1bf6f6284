"""Families of change, drawn on the fly: stateless, batched, one seed an image.

Each is a function of a batch and of uniform draws, a column an image, so that an image's change
depends on its own draws alone. `augment.augmenter` draws them from the image's seed.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import tensorflow as tf

from helpers.changes.shifts import LUMA

# "Slight" translation (fraction of the side), rotation (degrees), beside flips in both directions.
MILD_SHIFT = 0.05
MILD_DEGREES = 18.0

Function = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


@dataclass(frozen=True)
class Family:
    """Augmentation of one kind: (float32 images, float32 draws (draws, B)) -> float32 images."""

    function: Function
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
        shift: float32 (B,) each: x, y, as a fraction of the side.
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


def _geometry(degrees: float, shift: float, zoom: float) -> Function:
    """Return flips, rotation up to +-degrees, translation up to +-shift, zoom 1/zoom to zoom."""

    def change(images: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
        angle = _between(drawn[0], -1, 1) * math.radians(degrees)
        scale = tf.exp(_between(drawn[1], -1, 1) * math.log(zoom))
        mirror_x, mirror_y = (tf.where(drawn[k] < 0.5, -scale, scale) for k in (2, 3))
        cosine, sine = tf.cos(angle), tf.sin(angle)
        matrix = [mirror_x * cosine, -mirror_y * sine, mirror_x * sine, mirror_y * cosine]
        return _warped(images, matrix, [_between(drawn[k], -shift, shift) for k in (4, 5)])

    return change


def _colour_jitter(images: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
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


def _random_erasing(areas: tuple[float, float], certain: int) -> Function:
    """Cover rectangles of these fractions of the image, 8 draws each, with random colours.

    The first `certain` of them in every image, the others in half of the images each. Random
    erasing (Zhong et al. 2017), which cutout (DeVries and Taylor 2017) does with squares.
    """

    def erase(images: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
        for number, own in enumerate(tf.split(drawn, drawn.shape[0] // 8)):
            images = _erased(images, own, areas, fraction=1.0 if number < certain else 0.5)
        return images

    return erase


def _erased(
    images: tf.Tensor, drawn: tf.Tensor, areas: tuple[float, float], fraction: float
) -> tf.Tensor:
    """Cover one rectangle, its sides in a ratio of 1/2 to 2, in this fraction of the images."""
    rows = tf.range(tf.shape(images)[1], dtype=tf.float32)[None, :, None, None]
    columns = tf.range(tf.shape(images)[2], dtype=tf.float32)[None, None, :, None]
    size = tf.cast(tf.shape(images), tf.float32)
    height, width = size[1], size[2]
    area, aspect, top, left, present, *colour = tf.unstack(drawn)
    side, stretch = tf.sqrt(_between(area, *areas)), 2 ** _between(aspect, -0.5, 0.5)
    tall, wide = side * stretch, side / stretch
    top, left = _per_image(top * (1 - tall) * height), _per_image(left * (1 - wide) * width)
    inside = (rows >= top) & (rows < top + _per_image(tall * height))
    inside &= (columns >= left) & (columns < left + _per_image(wide * width))
    inside &= _per_image(present) < fraction
    return tf.where(inside, 255 * tf.stack(colour, axis=1)[:, None, None], images)


def _changed(images: tf.Tensor, drawn: tf.Tensor, rows: tf.Tensor, function: Function) -> tf.Tensor:
    """Return the batch with a function applied to some of its images, int64 rows (R, 1)."""
    chosen = function(tf.gather_nd(images, rows), tf.gather(drawn, rows[:, 0], axis=1))
    return tf.tensor_scatter_nd_update(images, rows, chosen)


def _one_of(
    functions: Sequence[Function], images: tf.Tensor, drawn: tf.Tensor, choice: tf.Tensor
) -> tf.Tensor:
    """Return each image changed by the function whose number is its choice, float32 (B,)."""
    choice = tf.cast(choice, tf.int32)
    for index, function in enumerate(functions):
        images = _changed(images, drawn, tf.where(choice == index), function)
    return images


def _rand_augment(images: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
    """Apply one operation of keras-cv's RandAugment with the homework report's parameters.

    The same ten operations and ranges as `rand_augment_copies` at its defaults (one operation per
    image at rate 0.9, magnitude 0.5 +- 0.15), each drawn per image.
    """
    operations = (
        _auto_contrast,
        _equalize,
        _solarize,
        lambda images, drawn: _desaturated(images, _magnitude(drawn[2])),
        lambda images, drawn: _contrast(images, drawn[2] - 0.5),
        lambda images, drawn: _clipped(images + _per_image(255 * (drawn[2] - 0.5))),
        lambda images, drawn: _shear(images, drawn, along_rows=True),
        lambda images, drawn: _shear(images, drawn, along_rows=False),
        lambda images, drawn: _translate(images, drawn[2] - 0.5, 0 * drawn[2]),
        lambda images, drawn: _translate(images, 0 * drawn[2], drawn[2] - 0.5),
    )
    choice = tf.where(drawn[0] < 0.9, drawn[1] * len(operations), -1)
    return _one_of(operations, images, drawn, choice)


def _magnitude(drawn: tf.Tensor) -> tf.Tensor:
    normal = tf.math.ndtri(tf.clip_by_value(drawn, 1e-6, 1 - 1e-6))
    return tf.clip_by_value(0.5 + 0.15 * normal, 0, 1)


def _solarize(images: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
    added = _clipped(images + _per_image(110 * _magnitude(drawn[2])))
    return tf.where(added < _per_image(255 * _magnitude(drawn[3])), added, 255 - added)


def _desaturated(images: tf.Tensor, amount: tf.Tensor) -> tf.Tensor:
    grey = tf.tensordot(images, LUMA, 1)[..., None]
    return images + _per_image(amount) * (grey - images)


def _contrast(images: tf.Tensor, change: tf.Tensor) -> tf.Tensor:
    means = tf.reduce_mean(images, axis=(1, 2), keepdims=True)
    return _clipped(means + (images - means) * _per_image(1 + change))


def _shear(images: tf.Tensor, drawn: tf.Tensor, along_rows: bool) -> tf.Tensor:
    """Shear about the first row or column, not the centre, as keras-cv does."""
    shear = tf.where(drawn[3] < 0.5, -1.0, 1.0) * _magnitude(drawn[2])
    one, zero = tf.ones_like(shear), tf.zeros_like(shear)
    if along_rows:
        return _warped(images, [one, shear, zero, one], [shear / 2, zero])
    return _warped(images, [one, zero, shear, one], [zero, shear / 2])


def _translate(images: tf.Tensor, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    one, zero = tf.ones_like(x), tf.zeros_like(x)
    return _warped(images, [one, zero, zero, one], [x, y])


def _auto_contrast(images: tf.Tensor, _: tf.Tensor | None = None) -> tf.Tensor:
    low = tf.reduce_min(images, axis=(1, 2), keepdims=True)
    high = tf.reduce_max(images, axis=(1, 2), keepdims=True)
    return tf.where(high > low, 255 * tf.math.divide_no_nan(images - low, high - low), images)


def _equalize(images: tf.Tensor, _: tf.Tensor | None = None) -> tf.Tensor:
    """Return the images with each channel's histogram made even, as keras-cv's layer does it."""
    channels = tf.transpose(tf.cast(images, tf.int32), (0, 3, 1, 2))
    shape = tf.shape(channels)
    count = shape[0] * 3
    cells = tf.reshape(channels, (count, -1)) + 256 * tf.range(count)[:, None]
    histogram = tf.math.bincount(tf.reshape(cells, (-1,)), minlength=256 * count)
    histogram = tf.reshape(histogram, (count, 256))
    smallest = tf.reduce_min(tf.where(histogram == 0, tf.int32.max, histogram), axis=1)
    step = ((shape[2] * shape[3] - smallest) // 255)[:, None]
    table = (tf.cumsum(histogram, axis=1, exclusive=True) + step // 2) // tf.maximum(step, 1)
    table = tf.where(step == 0, tf.range(256)[None], tf.clip_by_value(table, 0, 255))
    mapped = tf.reshape(tf.gather(tf.reshape(table, (-1,)), cells), shape)
    return tf.cast(tf.transpose(mapped, (0, 2, 3, 1)), tf.float32)


# --- the final model's chains: every family, each on some of the images -------------------------


def _sometimes(family: Family, fraction: float) -> Family:
    """Return the family applied to this fraction of the images only; the others cost nothing."""

    def function(images: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
        return _changed(images, drawn[1:], tf.where(drawn[0] < fraction), family.function)

    return Family(function, family.draws + 1)


def _random_affine(images: tf.Tensor, drawn: tf.Tensor, smallest: float = 1 / 1.6) -> tf.Tensor:
    """Rotate at will, mirror, scale, stretch, shear and translate, in one resampling.

    The scale lies between `smallest` and 1.6. What lies outside is reflected in half of the images,
    and one random colour in the others.
    """
    angle = _between(drawn[0], -1, 1) * math.pi
    scale = tf.exp(_between(drawn[1], -math.log(1.6), -math.log(smallest)))
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


def _white_balance_and_gamma(images: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
    """Change each channel's gain x 0.75-1.33 (white balance), and gamma 1/2-2."""
    gains = tf.exp(_between(tf.transpose(drawn[:3]), -1, 1) * math.log(4 / 3))[:, None, None]
    gamma = _per_image(tf.exp(_between(drawn[3], -1, 1) * math.log(2.0)))
    return 255 * tf.pow(tf.clip_by_value(images * gains / 255, 1e-4, 1.0), gamma)


def _tone(images: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
    """Do one of: solarize, posterize, equalize, auto contrast, desaturation, negative."""

    def posterize(images: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
        step = _per_image(2.0 ** tf.floor(_between(drawn[1], 3, 7)))
        return tf.floor(images / step) * step

    operations = (
        lambda x, d: tf.where(x < _per_image(_between(d[1], 100, 250)), x, 255 - x),
        posterize,
        _equalize,
        _auto_contrast,
        lambda x, d: _desaturated(x, d[1]),
        lambda x, _: 255 - x,
    )
    return _one_of(operations, images, drawn, drawn[0] * len(operations))


def _blur(images: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
    """Blur by a Gaussian of 0.5, 1, 1.5 or 2 pixels, drawn per image."""
    operations = [
        lambda images, _, sigma=sigma: _clipped(_smoothed(images, sigma))
        for sigma in (0.5, 1.0, 1.5, 2.0)
    ]
    return _one_of(operations, images, drawn, drawn[0] * len(operations))


def _smoothed(images: tf.Tensor, sigma: float) -> tf.Tensor:
    """Return the images convolved with a Gaussian that counts only what lies inside the image."""
    reach = math.ceil(2.5 * sigma)
    kernel = tf.exp(-0.5 * (tf.range(-reach, reach + 1, dtype=tf.float32) / sigma) ** 2)
    kernel = tf.tile((kernel / tf.reduce_sum(kernel))[:, None, None, None], (1, 1, 3, 1))

    def convolved(images: tf.Tensor) -> tf.Tensor:
        rows = tf.nn.depthwise_conv2d(images, kernel, (1, 1, 1, 1), "SAME")
        columns = tf.transpose(kernel, (1, 0, 2, 3))
        return tf.nn.depthwise_conv2d(rows, columns, (1, 1, 1, 1), "SAME")

    return convolved(images) / convolved(tf.ones_like(images[:1]))


def _noise(images: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
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


def _tone_curve(images: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
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


def _vignetting(images: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
    """Light one side more than the other (x 0.6 to 1.4), or the centre more than the corners."""
    rows = tf.linspace(-1.0, 1.0, tf.shape(images)[1])[None, :, None, None]
    columns = tf.linspace(-1.0, 1.0, tf.shape(images)[2])[None, None, :, None]
    angle = _per_image(_between(drawn[0], -1, 1) * math.pi)
    amount = _per_image(_between(drawn[1], 0.1, 0.4))
    slope = (tf.cos(angle) * columns + tf.sin(angle) * rows) / math.sqrt(2)
    rounded = 0.5 - (rows**2 + columns**2) / 2
    field = tf.where(_per_image(drawn[2]) < 0.5, slope, rounded)
    return _clipped(images * (1 + amount * field))


def _sharpen(images: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
    """Add up to twice what a Gaussian of one pixel takes away, as cameras sharpen."""
    gain = _per_image(_between(drawn[0], 0.3, 2))
    return _clipped(images + gain * (images - _smoothed(images, 1.0)))


# --- generic families: they resemble no single fault, and belong to no list of tested ones -------

# Optical densities of haematoxylin, eosin and what is left over, a row a stain (Ruifrok & Johnston
# 2001, Anal. Quant. Cytol. Histol. 23). Romanowsky's azure and eosin lie near the first two.
_STAINS = tf.constant([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])


def _stain_jitter(images: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
    """Change how much of each stain there is x 0.6-1.5, and add up to 0.06 of optical density.

    Source: Tellez et al. 2018, Whole-slide mitosis detection, IEEE TMI 37, section III-D.
    """
    density = -tf.math.log((images + 1) / 256)
    unmixed = tf.matmul(density, tf.linalg.inv(_STAINS)[None, None])
    gains = tf.exp(_between(tf.transpose(drawn[:3]), math.log(0.6), math.log(1.5)))
    added = _between(tf.transpose(drawn[3:6]), -0.06, 0.06)
    changed = unmixed * gains[:, None, None] + added[:, None, None]
    return _clipped(256 * tf.exp(-tf.matmul(changed, _STAINS[None, None])) - 1)


def _random_filter(images: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
    """Convolve with a kernel of 5 x 5 random weights around the image itself.

    Source: Modas et al. 2022, PRIME, ECCV, section 3.
    """
    side, reach = 5, 2
    normal = tf.math.ndtri(tf.clip_by_value(drawn[1:], 1e-6, 1 - 1e-6))
    weights = _between(drawn[0], 0.05, 0.3) * normal
    # Of sum 1 with the centre's, so that brightness stays.
    centre = 1 - tf.reduce_sum(weights, axis=0)
    padded = tf.pad(images, ((0, 0), (reach, reach), (reach, reach), (0, 0)), "REFLECT")
    height, width = tf.shape(images)[1], tf.shape(images)[2]
    filtered = _per_image(centre) * images
    for number in range(side * side):
        top, left = divmod(number, side)
        part = padded[:, top : top + height, left : left + width]
        filtered += _per_image(weights[number]) * part
    return _clipped(filtered)


def _random_waves(images: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
    """Map grey values by a straight line and a few sine waves, by channel in half of the images.

    Source: Modas et al. 2022, PRIME, ECCV, section 3.
    """
    waves = 5
    place = tf.clip_by_value(images, 0.0, 255.0) * (math.pi / 255)
    amounts = tf.reshape(_between(drawn[2:], -1, 1), (waves, 3, -1))
    amounts = tf.where(drawn[0] < 0.5, amounts, amounts[:, :1])
    strength = _per_image(_between(drawn[1], 10, 60))
    for number in range(1, waves + 1):
        amount = tf.transpose(amounts[number - 1])[:, None, None]
        images += strength * amount / math.sqrt(number) * tf.sin(number * place)
    return _clipped(images)


def _random_masks(images: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
    """Lay a colour over regions of random shape, 3 to 30 % of the image, hard or soft, see-through.

    The regions are where a field of random numbers, coarse or fine, is highest: dirt, folds, glare.
    """
    cells = tf.reshape(drawn[6:], (8, 8, -1))
    fine = tf.transpose(cells, (2, 0, 1))[..., None]
    size = tf.shape(images)[1:3]
    field = tf.where(
        _per_image(drawn[0]) < 0.5,
        tf.image.resize(fine, size, "bicubic"),
        tf.image.resize(fine[:, :4, :4], size, "bicubic"),
    )
    share = _between(drawn[1], 0.03, 0.3)
    ordered = tf.sort(tf.reshape(field[:, ::4, ::4], (tf.shape(images)[0], -1)), axis=1)
    count = tf.cast(tf.shape(ordered)[1], tf.float32)
    rank = tf.cast((1 - share) * (count - 1), tf.int32)
    edge = _per_image(tf.gather(ordered, rank, batch_dims=1))
    sharpness = _per_image(tf.exp(_between(drawn[2], math.log(5.0), math.log(200.0))))
    inside = tf.sigmoid(sharpness * (field - edge)) * _per_image(_between(drawn[3], 0.4, 1))
    grey = _per_image(drawn[4])
    tint = tf.transpose(tf.stack([drawn[4], drawn[5], 1 - drawn[5]]))[:, None, None]
    colour = 255 * tf.where(_per_image(drawn[5]) < 0.5, grey * tf.ones_like(tint), tint)
    return images + inside * (colour - images)


_GEOMETRY = Family(_geometry(180.0, 0.15, 1.4), 6)
_COLOUR = Family(_colour_jitter, 4)
_OCCLUSION = Family(_random_erasing((0.04, 0.16), certain=1), 16)
_STRONG = (
    _sometimes(Family(_random_affine, 11), 0.9),
    _sometimes(_COLOUR, 0.7),
    _sometimes(Family(_white_balance_and_gamma, 4), 0.4),
    _sometimes(Family(_tone, 2), 0.25),
    _sometimes(Family(_blur, 1), 0.3),
    _sometimes(Family(_noise, 4), 0.3),
    _sometimes(_OCCLUSION, 0.5),
)
# The final model's last step: more of the same kinds, and the faults of lamps and cameras.
_HEAVY = (
    _sometimes(Family(_random_affine, 11), 0.9),
    _sometimes(_COLOUR, 0.65),
    _sometimes(Family(_white_balance_and_gamma, 4), 0.35),
    _sometimes(Family(_tone, 2), 0.25),
    _sometimes(Family(_tone_curve, 16), 0.2),
    _sometimes(Family(_vignetting, 3), 0.2),
    _sometimes(Family(_blur, 1), 0.3),
    _sometimes(Family(_sharpen, 1), 0.15),
    _sometimes(Family(_noise, 4), 0.3),
    _sometimes(_OCCLUSION, 0.4),
    _sometimes(Family(_random_erasing((0.005, 0.04), certain=3), 48), 0.3),
)
# Cells from 0.45 to 1.6 times their size, other stains, and the generic families.
_WIDE = (
    _sometimes(Family(partial(_random_affine, smallest=0.45), 11), 0.9),
    _sometimes(_COLOUR, 0.5),
    _sometimes(Family(_white_balance_and_gamma, 4), 0.3),
    _sometimes(Family(_stain_jitter, 6), 0.3),
    _sometimes(Family(_tone, 2), 0.2),
    _sometimes(Family(_tone_curve, 16), 0.15),
    _sometimes(Family(_random_waves, 17), 0.25),
    _sometimes(Family(_vignetting, 3), 0.15),
    _sometimes(Family(_random_filter, 26), 0.25),
    _sometimes(Family(_blur, 1), 0.25),
    _sometimes(Family(_sharpen, 1), 0.1),
    _sometimes(Family(_noise, 4), 0.25),
    _sometimes(Family(_random_masks, 70), 0.35),
    _sometimes(_OCCLUSION, 0.35),
    _sometimes(Family(_random_erasing((0.005, 0.04), certain=3), 48), 0.2),
)

AUGMENTATIONS: dict[str, tuple[Family, ...]] = {
    "none": (),
    "mild": (Family(_geometry(MILD_DEGREES, MILD_SHIFT, 1.0), 6),),
    "rand_augment": (Family(_rand_augment, 4),),
    "geometry": (_GEOMETRY,),
    "colour": (_COLOUR,),
    "occlusion": (_OCCLUSION,),
    "composed": (_GEOMETRY, _COLOUR, _OCCLUSION),
    "without_geometry": (_COLOUR, _OCCLUSION),
    "without_colour": (_GEOMETRY, _OCCLUSION),
    "without_occlusion": (_GEOMETRY, _COLOUR),
    "strong": _STRONG,
    "heavy": _HEAVY,
    "wide": _WIDE,
}


# --- mixing: the fraction of each pixel that comes from another image -----------------------------


def _cutmix_fraction(images: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
    """Return 1 inside a rectangle of a uniformly drawn area, 0 outside: (B, H, W, 1)."""
    height, width = tf.shape(images)[1], tf.shape(images)[2]
    side = tf.sqrt(drawn[0])
    top, left = drawn[1] * (1 - side), drawn[2] * (1 - side)
    rows = (tf.range(height, dtype=tf.float32) + 0.5) / tf.cast(height, tf.float32)
    columns = (tf.range(width, dtype=tf.float32) + 0.5) / tf.cast(width, tf.float32)
    inside_rows = (rows >= top[:, None]) & (rows < (top + side)[:, None])
    inside_columns = (columns >= left[:, None]) & (columns < (left + side)[:, None])
    return tf.cast(inside_rows[:, :, None, None] & inside_columns[:, None, :, None], tf.float32)


def _mixup_fraction(images: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
    """Return one uniformly drawn fraction, 0 to 0.5, for all pixels of an image: (B, H, W, 1)."""
    return _per_image(drawn[0] / 2) * tf.ones_like(images[..., :1])


MIXING = {"cutmix": _cutmix_fraction, "mixup": _mixup_fraction}
