"""The homework's contaminated training set, rebuilt from any source of photographs.

The homework appended two joke pictures, each blended over a cell and copied many times, to the
photographs. These are joke pictures of our own.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import zoom

from helpers.course import CourseError
from helpers.data import cleaning
from helpers.data.photographs import CLASS_NAMES, IMAGE_SIZE, Photographs, Source, chunks

# Of the homework's 11,959 photographs, in the order of CLASS_NAMES.
CLASS_COUNTS = np.array([852, 2181, 1085, 2026, 849, 993, 2330, 1643])
DUPLICATE_PAIRS = 8
COPIES_PER_LABEL = 200
LABEL_OF_SECOND_PICTURE = 5
# Of a set with other classes or fewer photographs.
HOMEWORK_FRACTION = 0.7
# Chooses the photographs, and the cells under the pictures; draws backgrounds.
SEED = 0

VARIANTS = ("identical", "backgrounds")
JOKES = ("vampire", "duck")
JOKE_OPACITY = 0.6
# Radii in pixels between which the foreground gives way to a new background.
FOREGROUND_RADII = (30, 38)


@dataclass(frozen=True)
class HomeworkSet:
    """A training set as the homework handed it out: photographs, then planted pictures.

    Attributes:
        images: uint8 (N, 96, 96, 3).
        labels: int64 (N,).
        planted: bool (N,), the known answer, used only to score what cleaning finds; None for the
            homework's own file, where nobody has marked them.
        photograph_index: int64 (N,), row of the source's photographs, -1 for planted pictures.
        class_names: one name a class.
        source: where the photographs came from.
    """

    images: np.ndarray
    labels: np.ndarray
    planted: np.ndarray | None
    photograph_index: np.ndarray
    class_names: tuple[str, ...]
    source: Source

    def __len__(self) -> int:
        return len(self.labels)


def homework_set(photographs: Photographs, variant: str = "identical") -> HomeworkSet:
    """Return the contaminated training set; the homework's own file is returned as it is.

    Args:
        photographs: from any source.
        variant: "identical" (every copy of a planted picture has the same bytes, as in the
            homework's file) or "backgrounds" (a different background behind each copy, as the
            homework report describes).

    Raises:
        CourseError: if there is no such variant, or too few photographs.
    """
    if photographs.source.name == "homework":
        index = np.arange(len(photographs))
        images, labels = photographs.images, photographs.labels
        return HomeworkSet(images, labels, None, index, photographs.class_names, photographs.source)
    rows = choose_homework_rows(photographs)
    images, labels, planted = plant(
        photographs.images,
        photographs.labels,
        rows,
        class_count=len(photographs.class_names),
        variant=variant,
        copies_per_label=max(2, round(COPIES_PER_LABEL * len(rows) / CLASS_COUNTS.sum())),
    )
    index = np.concatenate([rows, np.full(planted.sum(), -1)])
    return HomeworkSet(images, labels, planted, index, photographs.class_names, photographs.source)


def choose_homework_rows(
    photographs: Photographs, seed: int = SEED, group_ids: np.ndarray | None = None
) -> np.ndarray:
    """Return which photographs the homework set is made of, and in which order.

    Where the source fixes a training split, that split in its own order. Else, where every one of
    the eight classes has enough photographs, the homework's class counts, with eight pairs of exact
    duplicates among them (as far as there are so many), one of those under two labels. Else 70 %
    of each class. Copies of one image never lie on both sides, unless the source's split does that.

    Returns:
        int64 rows, in a random order unless the source fixes one. `group_ids`, the images'
        `cleaning.duplicate_group_ids`, are computed if not given.
    """
    if photographs.official_split is not None:
        return np.flatnonzero(photographs.official_split == "train")
    rng = np.random.default_rng(seed)
    if group_ids is None:
        group_ids = cleaning.duplicate_group_ids(photographs.images)
    if _has_homework_counts(photographs, group_ids):
        rows = _rows_at_homework_counts(photographs.labels, group_ids, rng)
    else:
        rows = _fraction_of_each_class(photographs.labels, group_ids, rng)
    return rng.permutation(rows)


def plant(
    images: np.ndarray,
    labels: np.ndarray,
    rows: np.ndarray,
    class_count: int,
    variant: str,
    copies_per_label: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Append two joke pictures to a set of images, as the homework did.

    The first picture follows `copies_per_label` times under each label, in class order; then the
    second as often, all labelled 5 (or as the last class, where there are fewer than six).

    Args:
        images: uint8 (N, 96, 96, 3).
        labels: int64 (N,).
        rows: int (M,), which of them make the set, in this order.
        class_count: number of classes.
        variant: "identical" or "backgrounds".
        copies_per_label: copies of the first picture under each label, and of the second.

    Returns:
        images, labels and a bool for each, True for the planted ones.

    Raises:
        CourseError: if there is no such variant, or no image.
    """
    if variant not in VARIANTS:
        named = " or ".join(map(repr, VARIANTS))
        raise CourseError(f"There is no variant {variant!r} of the homework set: choose {named}.")
    if len(rows) == 0:
        raise CourseError(
            "These are too few for a homework set: give each class at least 10 different images."
        )
    rng = np.random.default_rng(SEED)
    copies = np.repeat([0, 1], [copies_per_label * class_count, copies_per_label])
    # Filled in place: a set takes 380 MB, and a concatenation would take them twice.
    everything = np.empty((len(rows) + len(copies), *images.shape[1:]), np.uint8)
    kept, appended = np.split(everything, [len(rows)])
    for place, chunk in chunks(images, rows):
        kept[place] = chunk
    cells = kept[rng.choice(len(kept), size=2, replace=len(kept) < 2)]
    pictures = [joke_picture(which, cell) for which, cell in zip(JOKES, cells, strict=True)]
    appended[:] = np.stack(pictures)[copies]
    if variant == "backgrounds":
        appended[:] = _on_new_backgrounds(appended, kept, rng)
    second_label = min(LABEL_OF_SECOND_PICTURE, class_count - 1)
    appended_labels = np.append(np.arange(class_count), second_label).repeat(copies_per_label)
    return (
        everything,
        np.concatenate([labels[rows], appended_labels]),
        np.arange(len(everything)) >= len(kept),
    )


def joke_picture(which: str, cell: np.ndarray) -> np.ndarray:
    """Return a cell with a translucent joke over it: "vampire" or "duck".

    Args:
        which: name in JOKES.
        cell: uint8 (96, 96, 3).

    Returns:
        uint8 (96, 96, 3).
    """
    canvas = Image.new("RGBA", (4 * IMAGE_SIZE, 4 * IMAGE_SIZE))
    {"vampire": _draw_vampire, "duck": _draw_duck}[which](ImageDraw.Draw(canvas))
    joke = np.asarray(canvas.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BOX), np.float32)
    opacity = JOKE_OPACITY * joke[..., 3:] / 255
    return np.rint((1 - opacity) * cell + opacity * joke[..., :3]).astype(np.uint8)


def _draw_vampire(draw: ImageDraw.ImageDraw) -> None:
    """Draw on 384 x 384 pixels: cape, pale face, widow's peak, smile with two fangs."""
    draw.polygon([(70, 350), (100, 210), (192, 300), (284, 210), (314, 350)], fill="#8c0d1c")
    draw.ellipse((112, 76, 272, 296), fill="#e8f0d8")
    draw.pieslice((108, 66, 276, 236), 180, 360, fill="#16121c")
    draw.polygon([(150, 150), (192, 190), (234, 150)], fill="#16121c")
    for x in (158, 226):
        draw.ellipse((x - 19, 174, x + 19, 212), fill="white", outline="#16121c", width=4)
        draw.ellipse((x - 8, 185, x + 8, 203), fill="#c01020")
    draw.chord((142, 196, 242, 274), 15, 165, fill="#5a0612")
    for x in (168, 208):
        draw.polygon([(x - 2, 246), (x + 18, 246), (x + 8, 272)], fill="white")


def _draw_duck(draw: ImageDraw.ImageDraw) -> None:
    """Draw on 384 x 384 pixels: a rubber duck on two waves."""
    draw.polygon([(82, 214), (60, 158), (140, 206)], fill="#f2c200")
    draw.ellipse((78, 186, 298, 314), fill="#f8d210")
    draw.ellipse((180, 82, 294, 212), fill="#f8d210")
    draw.pieslice((104, 190, 234, 288), 10, 190, fill="#e0ac00")
    draw.polygon([(276, 136), (338, 150), (282, 178)], fill="#f07818")
    draw.ellipse((242, 116, 266, 140), fill="white")
    draw.ellipse((250, 122, 264, 136), fill="black")
    for y in (296, 320):
        for x in range(60, 324, 66):
            draw.arc((x, y - 14, x + 66, y + 22), 20, 160, fill="#2a7fc8", width=10)


def _on_new_backgrounds(
    pictures: np.ndarray, photographs: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return the pictures, each with its centre kept and another background around it."""
    inner, outer = FOREGROUND_RADII
    offset = np.arange(IMAGE_SIZE) - (IMAGE_SIZE - 1) / 2
    radius = np.hypot(offset[:, None], offset)
    foreground = np.clip((outer - radius) / (outer - inner), 0, 1)[..., None].astype(np.float32)
    backgrounds = (_gradient, _texture, _photograph)
    changed = np.empty_like(pictures)
    for row, kind in enumerate(rng.integers(len(backgrounds), size=len(pictures))):
        background = backgrounds[kind](photographs, rng)
        # Noise as in any photograph, so that not even two equal backgrounds have the same bytes.
        background = background + rng.normal(0, 2, background.shape)
        blend = foreground * pictures[row] + (1 - foreground) * background
        changed[row] = np.rint(blend).clip(0, 255)
    return changed


def _gradient(_: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    start, stop = rng.uniform(0, 255, size=(2, 1, 1, 3))
    column = start + np.linspace(0, 1, IMAGE_SIZE)[:, None, None] * (stop - start)
    return np.rot90(np.repeat(column, IMAGE_SIZE, axis=1), rng.integers(4))


def _texture(_: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    cells = int(rng.choice([4, 8, 16]))
    coarse = rng.normal(0, 40, (cells, cells, 1)) + rng.uniform(40, 215, size=3)
    return zoom(coarse, (IMAGE_SIZE / cells, IMAGE_SIZE / cells, 1), order=1)


def _photograph(photographs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.rot90(photographs[rng.integers(len(photographs))], rng.integers(4))


def _has_homework_counts(photographs: Photographs, group_ids: np.ndarray) -> bool:
    """Whether the homework's class counts can be had, with at least 5 % left over for testing."""
    if photographs.class_names != CLASS_NAMES:
        return False
    singles = photographs.labels[cleaning.drop_every_copy(group_ids)]
    return bool((np.bincount(singles, minlength=len(CLASS_NAMES)) >= 1.05 * CLASS_COUNTS).all())


def _rows_at_homework_counts(
    labels: np.ndarray, group_ids: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    pairs = [rows for rows in cleaning.duplicate_groups(group_ids) if len(rows) == 2]
    conflicting, agreeing = (
        [pair for pair in pairs if (labels[pair[0]] == labels[pair[1]]) == agree]
        for agree in (False, True)
    )
    chosen = [conflicting[i] for i in rng.permutation(len(conflicting))[:1]]
    chosen += [agreeing[i] for i in rng.permutation(len(agreeing))[: DUPLICATE_PAIRS - len(chosen)]]
    rows = np.concatenate([*chosen, np.empty(0, np.int64)])
    missing = CLASS_COUNTS - np.bincount(labels[rows], minlength=len(CLASS_COUNTS))
    alone = cleaning.drop_every_copy(group_ids)
    singles = [
        rng.choice(np.flatnonzero(alone & (labels == label)), size=count, replace=False)
        for label, count in enumerate(missing)
    ]
    return np.concatenate([rows, *singles])


def _fraction_of_each_class(
    labels: np.ndarray, group_ids: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return HOMEWORK_FRACTION of each class, groups whole, at least two images on either side."""
    groups = cleaning.duplicate_groups(group_ids, smallest=1)
    label_of_group = labels[[rows[0] for rows in groups]]
    chosen = [np.empty(0, np.int64)]
    for label in np.unique(label_of_group):
        of_class = np.flatnonzero(label_of_group == label)
        count = min(max(round(HOMEWORK_FRACTION * len(of_class)), 2), len(of_class) - 2)
        chosen += [groups[group] for group in rng.permutation(of_class)[: max(count, 0)]]
    return np.concatenate(chosen)
