"""`make score`: what a submission.zip, the reader's own or a friend's, would have reached.

Its code runs in a process of its own; commands.isolated says what is enforced there.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from commands import isolated
from helpers.course import CourseError
from helpers.data.photographs import CLASS_NAMES
from helpers.data.sets import CourseData, load_course_data
from helpers.evaluation import metrics
from helpers.evaluation.records import REPORT_ON
from helpers.files import kind

TITLES = {
    "test": "clean test",
    "shifted_test": "shifted test",
    "second_acquisition": "second acquisition",
}

# Per cent on the private, shifted test: final standings, and the homework report's table.
LEADERBOARD = (
    ("first of 192: ConvNeXt-XLarge at 224 px, 15 chained augmentations", 96.87),
    ("second: EfficientNetV2 S/M/L ensemble, CutMix and MixUp", 96.05),
    ("a team of the top ten: EfficientNetB2 at 260 px, RandAugment and cutout", 94),
    ("the homework report: EfficientNetB0 fine-tuned, RandAugment, Adam", 77),
    ("the homework report: the same with Lion", 76),
    ("the homework report: MobileNetV3, frozen", 42),
)

# Images asked for once more, in another order, and some of them one by one.
SHUFFLED, ALONE = 48, 8


@dataclass(frozen=True)
class Score:
    """What a submission reached.

    Attributes:
        classes: predictions, int (N,) in 0-7, for each image set of `records.REPORT_ON` there is.
        checked: how many images were asked for again in other batches.
        changed: how many of those then got another class.
        printed_lines: how many lines the submission printed.
        seconds: wall-clock time of its process.
    """

    classes: dict[str, np.ndarray]
    checked: int
    changed: int
    printed_lines: int
    seconds: float


def score(path: Path, data: CourseData, minutes: float = 10, gigabytes: float = 6) -> Score:
    """Let a submission predict the test sets, and some of their images again in other batches.

    Raises:
        CourseError: if the data has other classes than a submission answers with, the zip is
            refused, or its Model fails, takes too long, or answers with anything but classes.
    """
    if len(data.class_names) != len(CLASS_NAMES):
        raise CourseError(
            f"A submission answers with {len(CLASS_NAMES)} classes, but these images have "
            f"{len(data.class_names)}: score it on another source (BLOODCELLS_SOURCE)."
        )
    names = [name for name in REPORT_ON if name in data.sets]
    lengths = [len(data[name].labels) for name in names]
    images = np.concatenate([data[name].images for name in names])
    calls = _calls(len(images), names.index("shifted_test"), lengths)
    answer = isolated.predict(path, [images[rows] for rows, _ in calls], minutes, gigabytes)
    again, classes = [], np.empty(len(images), int)
    for (rows, counts), returned in zip(calls, answer.classes, strict=True):
        given = _checked(returned, len(rows), path.name)
        classes[rows[counts]] = given[counts]
        again.append((rows[~counts], given[~counts]))
    rows, given = (np.concatenate(parts) for parts in zip(*again, strict=True))
    by_name = dict(zip(names, np.split(classes, np.cumsum(lengths)[:-1]), strict=True))
    changed = int((given != classes[rows]).sum())
    return Score(by_name, len(rows), changed, answer.printed_lines, answer.seconds)


def _calls(count: int, shifted: int, lengths: list[int]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the rows that each call asks for, and which of its answers count (bool).

    All sets' images come mixed, in an order that nobody knows before, in two parts cut somewhere in
    the middle: neither set nor class can be told from an image's place, and both parts look alike
    to a network that normalises over its batch. SHUFFLED images are in both parts, and ALONE of
    them come once more by themselves; those answers do not count.
    """
    rng = np.random.default_rng()
    order = rng.permutation(count)
    cut = rng.integers(2 * count // 5, 3 * count // 5 + 1)
    start = sum(lengths[:shifted])
    again = start + rng.permutation(lengths[shifted])[:SHUFFLED]
    calls = [(np.array([row]), np.array([False])) for row in again[:ALONE]]
    for own in (order[:cut], order[cut:]):
        rows = rng.permutation(np.concatenate([own, np.setdiff1d(again, own)]))
        calls.append((rows, np.isin(rows, own)))
    return [calls[call] for call in rng.permutation(len(calls))]


def recalls(result: Score, data: CourseData) -> pd.DataFrame:
    """Return the fraction of each class' images that was recognised: classes by image sets.

    NaN where a set has no image of a class.
    """
    columns = {}
    for name, classes in result.classes.items():
        table = metrics.per_class(
            data[name].labels, np.eye(len(CLASS_NAMES))[classes], data.class_names
        )
        columns[TITLES[name]] = table["recall"].where(table["images"] > 0)
    return pd.DataFrame(columns)


def standing(percent: float) -> str:
    """Return the public ladder with this submission in its place, one line a team."""
    own = ("YOURS, on our shifted test", percent)
    # Level with a team, it stands below: sorted() keeps the order.
    ordered = sorted([*LEADERBOARD, own], key=lambda rung: -rung[1])
    lines = [f"{'->' if rung == own else '':2s} {rung[1]:6.2f}  {rung[0]}" for rung in ordered]
    return "\n".join(lines)


def report(result: Score, data: CourseData) -> str:
    """Return all that a score tells, as text."""
    accuracies = {
        name: metrics.fraction(classes == data[name].labels)
        for name, classes in result.classes.items()
    }
    paragraphs = [
        f"Scored on {data.source.caption}, profile {data.profile.name}, "
        f"in {result.seconds:.0f} seconds.",
        "\n".join(f"{TITLES[name]:20s}{value}" for name, value in accuracies.items()),
        "Recall of each class:\n"
        + recalls(result, data).to_string(float_format="{:.1%}".format, na_rep="-"),
        "Per cent on the competition's private test, as published, and this submission:\n"
        + standing(100 * accuracies["shifted_test"].value),
        "Our shifted test is not the competition's: it was made here, from other photographs and "
        "by changes of our own choice. The place is a guess, not a result.",
        _batches_note(result),
    ]
    if result.printed_lines:
        paragraphs.append(f"It printed {result.printed_lines:,} lines, which were put aside.")
    return "\n\n".join(paragraphs)


def _checked(classes: np.ndarray, count: int, name: str) -> np.ndarray:
    """Return a submission's answer if it is `count` classes, int (count,) in 0-7."""
    if classes.shape != (count,):
        reason = f"has shape {classes.shape} for {count} images: return shape ({count},)"
    elif classes.dtype.kind not in "iu":
        reason = f"has dtype {classes.dtype}: return whole numbers, such as an argmax gives"
    elif not ((classes >= 0) & (classes < len(CLASS_NAMES))).all():
        reason = f"holds labels from {classes.min()} to {classes.max()}: return labels from 0 to 7"
    else:
        return classes
    raise CourseError(f"{name}: what Model.predict returned {reason}.")


def _batches_note(result: Score) -> str:
    if not result.changed:
        return (
            f"Asked again in another order and one by one, {result.checked} images got the same "
            "classes."
        )
    return (
        f"WARNING: asked again in another order or one by one, {result.changed} of "
        f"{result.checked} images got another class: predict each image for itself (is training "
        "mode off?)."
    )


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and print the score."""
    parser = argparse.ArgumentParser(description="Score a submission.zip at home.")
    parser.add_argument("submission", type=Path, metavar="SUBMISSION.zip")
    parser.add_argument("--minutes", type=positive, default=10, help="the most time for all of it")
    parser.add_argument("--gigabytes", type=positive, default=6, help="the most memory (Linux)")
    options = parser.parse_args(arguments)
    if kind(options.submission) != "file":
        fault = "is a folder" if kind(options.submission) else "is not there"
        raise CourseError(f"{options.submission} {fault}: name a submission's zip.")
    print(isolated.caution(), flush=True)
    data = load_course_data()
    print(report(score(options.submission, data, options.minutes, options.gigabytes), data))


def positive(text: str) -> float:
    """Return a positive, finite number from the command line: argparse's `type`."""
    if not 0 < (number := float(text)) < float("inf"):
        raise ValueError
    return number
