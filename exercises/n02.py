"""Checks of 02_clean."""

import numpy as np
import pandas as pd

from exercises import compare, exercise
from helpers.data.cleaning import CENTRE, MAX_DISTANCE, perceptual_hashes


@exercise(
    "02.1", "With keep='first' one of each kind stays; with keep=False whoever has a double goes."
)
def keep_one_or_none(answer) -> str | None:
    """Expect how many of six images stay: with keep="first", and with keep=False."""
    try:
        first, none = (int(value) for value in answer)
    except (TypeError, ValueError):
        return "A pair of whole numbers is expected, such as (1, 2)."
    sentences = {
        (3, 1): None,
        (1, 3): "The order: first keep='first', then keep=False.",
        (3, 3): "The first is correct. keep=False spares nobody who has a double.",
        (3, 5): "Those that keep=False marks are five; asked for are those that stay.",
        (3, 0): "The first is correct. With keep=False, an image without a double stays.",
        (
            2,
            1,
        ): "The second is correct. keep='first' spares one of *each* kind, also of the single.",
    }
    return sentences.get((first, none), "Write down for each of the six whether it stays.")


@exercise("02.2", "hashes.str[:4], and duplicated with the keep that marks every one of a group.")
def short_hashes(answer, *, hashes: pd.Series) -> str | None:
    """Expect the number of images that share their hash's first four digits with another."""
    short = pd.Series(hashes).str[:4]
    shared = int(short.duplicated(keep=False).sum())
    return compare.number(
        answer,
        shared,
        mistakes={
            "keep='first' leaves one of each group out: all that share are asked for.": int(
                short.duplicated(keep="first").sum()
            ),
            "Those do not share their hash: the others are asked for.": len(short) - shared,
            "That is the number of different short hashes.": short.nunique(),
            "That is a fraction: give the number of images.": shared / len(short),
            "Those are the first four *bits*, one digit: take four digits.": int(
                pd.Series(hashes).str[:1].duplicated(keep=False).sum()
            ),
        },
    )


@exercise(
    "02.3", "groupby the hash and transform('nunique') on the label gives one number per row."
)
def two_labels(answer, *, hashes: pd.Series, labels: np.ndarray) -> str | None:
    """Expect True for each row that has an equal image under another label, bool (N,)."""
    table = pd.DataFrame({"hash": np.asarray(hashes), "label": labels})
    per_row = table.groupby("hash")["label"].transform("nunique").to_numpy()
    expected = per_row > 1
    if np.array_equal(np.asarray(answer), per_row) and not np.array_equal(expected, per_row):
        return "Those are numbers of labels: True or False is asked for."
    if len(np.shape(answer)) and len(answer) == expected.sum() != len(expected):
        return (
            "Those are the rows, or their numbers: give True or False for *every* row of the set."
        )
    verdict = compare.array(answer, expected)
    if verdict is None or np.shape(answer) != expected.shape:
        return verdict
    found = np.asarray(answer, bool)
    copies = table["hash"].duplicated(keep=False).to_numpy()
    if np.array_equal(found, copies):
        return "Those are all that have an equal image: its label must be another one."
    if np.array_equal(found, copies & ~expected):
        return "Those are copies under *one* label."
    if np.array_equal(found, ~expected):
        return "True and False are exchanged."
    if (found <= expected).all():
        return "Some are missing: every row of such a group counts, the first one as well."
    return verdict


@exercise(
    "02.4", "Hash image[32:64, 32:64] before and after the move, and count the bits that differ."
)
def survives_a_move(answer, *, images: np.ndarray) -> str | None:
    """Expect the fraction of images whose centre's hash survives a move by one pixel."""

    def survive(before: np.ndarray, after: np.ndarray, most: int = MAX_DISTANCE) -> float:
        bits = perceptual_hashes(before, CENTRE) ^ perceptual_hashes(after, CENTRE)
        return float((np.bitwise_count(bits) <= most).mean())

    to_the_right = np.roll(images, 1, axis=2)
    middle = images[:, 32:64, 32:64]
    expected = survive(images, to_the_right)
    return compare.number(
        answer,
        expected,
        mistakes={
            "Those change by more than four bits: the others are asked for.": 1 - expected,
            "You moved them down: axis=1 of one image moves to the right.": survive(
                images, np.roll(images, 1, axis=1)
            ),
            "You counted fewer than four bits: four still count.": survive(
                images, to_the_right, MAX_DISTANCE - 1
            ),
            "You hashed the whole image: take its centre.": survive(
                images[:, ::3, ::3], to_the_right[:, ::3, ::3]
            ),
            "You moved the centre: move the image first, then take its centre.": survive(
                middle, np.roll(middle, 1, axis=2)
            ),
        },
    )


@exercise("02.5", "np.isin(groups of the validation images, groups of the training images).")
def leaks_by_group(
    answer, *, groups: np.ndarray, train: np.ndarray, validation: np.ndarray
) -> str | None:
    """Expect True for each validation image whose patient is in training, too."""
    expected = np.isin(groups[validation], groups[train])
    if np.shape(answer) == np.shape(train):
        return "That is one value per training image: the validation images are asked for."
    verdict = compare.array(answer, expected)
    if verdict is None or np.shape(answer) != expected.shape:
        return verdict
    found = np.asarray(answer)
    if np.array_equal(found, np.isin(validation, train)):
        return "You looked for the same *images*: the same patients are asked for."
    if found.dtype == bool and np.array_equal(found, ~expected):
        return "Those are the images of patients whom training has *not* seen."
    if np.array_equal(found, groups[validation]):
        return "Those are the patients: mark the images whose patient is in training, too."
    return verdict


@exercise("02.6", "best_similarity to the nearer of the two wanted pictures, and a border for it.")
def find_damaged(answer, *, planted: np.ndarray) -> str | None:
    """Expect True for the planted images, with recall and precision of at least 95 %."""
    try:
        found = np.asarray(answer)
    except ValueError:
        return "True or False per image is expected."
    if found.shape != planted.shape:
        return f"The shape is {found.shape} instead of {planted.shape}: one value per image."
    if found.dtype != bool:
        return f"True or False per image is expected, not {found.dtype}: compare with a border."
    if not found.any():
        return "Nothing is marked: recall is 0."
    recall, precision = found[planted].mean(), planted[found].mean()
    if recall < 0.95 and precision < 0.95:
        return f"Recall is {recall:.0%} and precision {precision:.0%}: are the two exchanged?"
    if recall < 0.95:
        return f"Recall is {recall:.0%}: planted ones are missed. Have you tried turns, and both?"
    if precision < 0.95:
        return f"Precision is {precision:.0%}: too many photographs are marked."
    return None
