"""One role for every image: what trains, what chooses, what reports, and what is left out."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from helpers import course
from helpers.course import CourseError
from helpers.data import cleaning, homework
from helpers.data.photographs import Photographs
from helpers.files import read_cache, replaced

ROLES = (
    *("train", "validation", "test", "reserved_for_shift"),
    *("second_acquisition", "dropped"),
)
# Every class must have an image in each of these.
NEEDED_BY_EVERY_CLASS = ROLES[:4]

VALIDATION_FRACTION = 0.1
# Of the homework's own file, which comes without any other photographs; half of it for the test,
# half for the shifted validation set.
HELD_OUT_FRACTION = 0.15
SMALLEST_ACQUISITION = 5

# Raised by hand whenever the same photographs would get other roles.
SPLIT_VERSION = 1
SEED = 0


@dataclass(frozen=True)
class Roles:
    """The role of every photograph of a source.

    Attributes:
        codes: uint8 (N,), index into ROLES.
        hash: hex digest of all images' hashes and codes.
    """

    codes: np.ndarray
    hash: str

    def indices(self, role: str) -> np.ndarray:
        """Return the rows of the photographs in this role, int64, ascending."""
        return np.flatnonzero(self.codes == ROLES.index(role))


def load_roles(photographs: Photographs) -> Roles:
    """Return the roles of a source's photographs, from the split file in the data folder.

    The file is written once. It is made anew if it is damaged, of another version, or about other
    images. For images of one's own, a printed line says how many that judge have a near-copy among
    the training images.

    Raises:
        CourseError: if a class is too small to be split, or the file cannot be written.
    """
    hashes = cleaning.image_hashes(photographs.images)
    source = photographs.source
    path = course.data_folder() / f"split-{source.name}-{source.checksum[:12]}.npz"
    codes = _read_codes(path, hashes)
    if codes is None:
        codes = assign_roles(photographs, hashes)
        with replaced(path) as temporary:
            np.savez(temporary, roles=codes, hashes=hashes, seed=SEED, version=SPLIT_VERSION)
    digest = hashlib.sha256(hashes.astype("<u8").tobytes() + codes.tobytes())
    roles = Roles(codes, digest.hexdigest()[:16])
    if source.name == "folder":
        _warn_of_near_copies(photographs, roles)
    return roles


def training_copies(photographs: Photographs, roles: Roles) -> dict[str, np.ndarray]:
    """Return by role the rows that have one of `cleaning.near_copies` among the training images."""
    train = photographs.images[roles.indices("train")]
    rows_of = {role: roles.indices(role) for role in ROLES[1:-1]}
    return {
        role: rows[cleaning.near_copies(train, photographs.images[rows])]
        for role, rows in rows_of.items()
    }


def assign_roles(photographs: Photographs, hashes: np.ndarray | None = None) -> np.ndarray:
    """Return one role for every photograph.

    The homework's rows without any copy of a duplicate are split 90/10 into train and validation.
    All other photographs, each once and none that the homework's rows show too, are split in two:
    test and reserved_for_shift (the source's own test and validation splits, where it has them).
    The homework's own file has no others: 15 % of it is set aside first. The second acquisition is
    taken out of all of these. Every split keeps the proportions of the classes.

    Returns:
        uint8 (N,), index into ROLES. `hashes`, the images' `cleaning.image_hashes`, are computed
        if not given.

    Raises:
        CourseError: if a class has too few images for an image in every split.
    """
    labels = photographs.labels
    is_homework_file = photographs.source.name == "homework"
    group_ids = cleaning.duplicate_group_ids(photographs.images, hashes)
    if is_homework_file:
        rows = np.arange(len(photographs))
        planted = cleaning.find_planted(photographs.images)
    else:
        rows = homework.choose_homework_rows(photographs, group_ids=group_ids)
        planted = np.zeros(len(photographs), bool)
    in_homework = _mask(rows, len(photographs))
    once = _once(group_ids, in_homework) & ~planted
    once &= ~cleaning.conflicting_labels(group_ids, labels)
    second = _second_acquisition(photographs, once)
    clean = _mask(rows[cleaning.drop_every_copy(group_ids[rows])], len(photographs))
    clean &= ~planted & ~second
    held_out = once & ~in_homework & ~second

    rng = np.random.default_rng(SEED)
    if is_homework_file:
        held_out = _fraction(clean, labels, HELD_OUT_FRACTION, rng)
        clean &= ~held_out
    if photographs.official_split is None:
        test = _fraction(held_out, labels, 0.5, rng)
    else:
        test = held_out & (photographs.official_split == "test")
    validation = _fraction(clean, labels, VALIDATION_FRACTION, rng)
    codes = np.full(len(photographs), ROLES.index("dropped"), np.uint8)
    for role, members in {
        "second_acquisition": second,
        "reserved_for_shift": held_out & ~test,
        "test": test,
        "train": clean & ~validation,
        "validation": validation,
    }.items():
        codes[members] = ROLES.index(role)
    _check_every_class(codes, labels, photographs.class_names)
    return codes


def subset(indices: np.ndarray, labels: np.ndarray, count: int | None) -> np.ndarray:
    """Return `count` of the indices, classes in the same proportions, in the order given.

    They are the same ones each time. Every class keeps at least one image if `count` allows. A
    smaller subset lies within a larger one, up to the rounding of the proportions.

    Args:
        indices: int (N,), what is chosen from.
        labels: int (N,), the label of each index.
        count: how many; None, or more than there are, for all of them.
    """
    if count is None or count >= len(indices):
        return indices
    classes, sizes = np.unique(labels, return_counts=True)
    rng = np.random.default_rng(SEED)
    chosen = np.zeros(len(indices), bool)
    for label, quota in zip(classes, _quotas(sizes, count), strict=True):
        chosen[rng.permutation(np.flatnonzero(labels == label))[:quota]] = True
    return indices[chosen]


def write_processed(
    path: Path, homework_set: homework.HomeworkSet, keep: np.ndarray, acquisition: np.ndarray
) -> None:
    """Write the cleaned homework set as an .npz with the keys images, labels and acquisition.

    Args:
        path: usually `data_folder() / "data_processed.npz"`.
        homework_set: the contaminated set of N images.
        keep: bool (N,), the rows to write.
        acquisition: bool (N,), True for the second acquisition.

    Raises:
        CourseError: if the file cannot be written.
    """
    images, labels = homework_set.images[keep], homework_set.labels[keep]
    with replaced(path) as temporary:
        np.savez(temporary, images=images, labels=labels, acquisition=acquisition[keep])


def _read_codes(path: Path, hashes: np.ndarray) -> np.ndarray | None:
    """Return the stored codes, or None where there are none for exactly these images."""

    def read() -> np.ndarray | None:
        with np.load(path, allow_pickle=False) as stored:
            codes, is_same = stored["roles"], np.array_equal(stored["hashes"], hashes)
            is_same &= (stored["version"], stored["seed"]) == (SPLIT_VERSION, SEED)
        if is_same and (codes.dtype, codes.shape) != (np.uint8, hashes.shape):
            raise ValueError("other roles")
        if is_same and codes.max() >= len(ROLES):
            raise ValueError("unknown roles")
        return codes if is_same else None

    return read_cache(path, read)


def _warn_of_near_copies(photographs: Photographs, roles: Roles) -> None:
    for role, rows in training_copies(photographs, roles).items():
        if len(rows):
            name = f"row {rows[0]}"
            if photographs.file_names is not None:
                name = photographs.file_names[rows[0]]
            print(
                "Warning: near-copies (recompressed, turned, mirrored) of training images in "
                f"'{role}': {len(rows)} of {len(roles.indices(role))}, such as {name}. They "
                "flatter every model: keep one of each."
            )


def _once(group_ids: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Return bool (N,): one row of each group, from the rows marked `first` if it has any there."""
    order = np.argsort(~first, kind="stable")
    once = np.empty(len(group_ids), bool)
    once[order] = cleaning.keep_first(group_ids[order])
    return once


def _second_acquisition(photographs: Photographs, candidates: np.ndarray) -> np.ndarray:
    """Return which candidates have the bluish background of a second acquisition, bool (N,).

    None, where that would take most of a class (there the colour tells classes apart) or is only
    a handful, which says nothing about any model.
    """
    second = np.zeros(len(photographs), bool)
    rows = np.flatnonzero(candidates)
    second[rows] = cleaning.bluish(cleaning.background_colour(photographs.images)[rows])
    classes = len(photographs.class_names)
    taken = np.bincount(photographs.labels[second], minlength=classes)
    available = np.bincount(photographs.labels[rows], minlength=classes)
    return second & (2 * taken <= available).all() & (taken.sum() >= SMALLEST_ACQUISITION)


def _fraction(
    members: np.ndarray, labels: np.ndarray, fraction: float, rng: np.random.Generator
) -> np.ndarray:
    """Return bool (N,): `fraction` of each class's members, rounded, at least one."""
    chosen = np.zeros(len(members), bool)
    for label in np.unique(labels[members]):
        rows = np.flatnonzero(members & (labels == label))
        chosen[rng.permutation(rows)[: max(1, round(fraction * len(rows)))]] = True
    return chosen


def _quotas(sizes: np.ndarray, count: int) -> np.ndarray:
    """Return how many of each class make `count` in all, by largest remainder, one at least."""
    one_each = np.ones(len(sizes), np.int64) if count >= len(sizes) else 0 * sizes
    exact = np.maximum(sizes * count / sizes.sum(), one_each)
    quotas = np.floor(exact).astype(np.int64)
    for _ in range(count - quotas.sum()):
        quotas[np.argmax(exact - quotas)] += 1
    for _ in range(quotas.sum() - count):
        quotas[np.argmax(quotas)] -= 1
    return quotas


def _mask(rows: np.ndarray, count: int) -> np.ndarray:
    mask = np.zeros(count, bool)
    mask[rows] = True
    return mask


def _check_every_class(codes: np.ndarray, labels: np.ndarray, class_names: tuple[str, ...]) -> None:
    for role in NEEDED_BY_EVERY_CLASS:
        members = labels[codes == ROLES.index(role)]
        counts = np.bincount(members, minlength=len(class_names))
        if (counts == 0).any():
            label = int(np.argmin(counts))
            raise CourseError(
                f"The class '{class_names[label]}' has too few images "
                f"({(labels == label).sum()}, copies included) to leave one for "
                f"'{role.replace('_', ' ')}': "
                "give it at least 10 different images, or remove the class."
            )
