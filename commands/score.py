"""`make score`: what a submission.zip, the reader's own or a friend's, would have reached.

Command:
    python -m helpers score SUBMISSION.zip [--images 300] [--minutes 10] [--gigabytes 6]

Its code runs in a process of its own; commands.isolated says what is enforced there. The first few
images are timed, and how long the whole will take is said before the rest; what would take longer
than it may ends there.
"""

import argparse
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from commands import isolated
from helpers.course import CourseError, printable
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

# Per cent on the private, shifted test as the teams themselves say, and what gave it;
# docs/leaderboard.md has the same rows, and their sources.
LEADERBOARD = (
    ("first of 192: ConvNeXt-XLarge at 224 px, a long chain of augmentations", 96.87),
    ("second: EfficientNetV2 S, M and L together, CutMix and MixUp", 96.05),
    ("YNWA, top ten: EfficientNetB2 at 260 px, RandAugment and Cutout", 94),
    ("OverfittingExorcists (development phase): two EfficientNetV2-S, averaged", 93),
    ("Neural Network November: ConvNeXt-Tiny, AugMix and RandAugment", 92),
    ("zFireFist01: ConvNeXt-XLarge", 90),
    ("JohnCarta01: EfficientNetV2-L, unfrozen step by step", 89),
    ("AXON Biotech: ConvNeXt-Large, MixUp, CutMix, AugMix", 87),
    ("le acque del friuli: EfficientNetV2-B3 and -L, views averaged", 86),
    ("annasime1: EfficientNetV2-M, RandAugment, Lion", 85),
    ("Gan's n Roses: ConvNeXt-Large, CutMix, MixUp, RandAugment", 83),
    ("DoneyMoney: ConvNeXt-Base, CutMix, Cutout, RandAugment", 80),
    ("the homework report: EfficientNetB0 fine-tuned, RandAugment, Adam", 77),
    ("FeedForward Force: EfficientNetV2-S, AugMix", 77),
    ("faccioliandrea: ConvNeXt", 77),
    ("the homework report: the same with Lion", 76),
    ("fede-mat: ConvNeXt-S, EfficientNetV2-S and -B3 together", 76),
    ("the homework report: MobileNetV3, frozen", 42),
)

# Images asked for twice: first of all in these batches (the first starts the network up, the others
# are timed), and some of them one by one.
FIRST, ALONE = (8, 8, 32), 8
# Seconds of the second batch from which on it tells enough, and of the whole from which on a way to
# shorten it is named.
SLOW, LONG = 10, 120


@dataclass(frozen=True)
class Score:
    """What a submission reached.

    Attributes:
        classes: predictions, int (N,) in 0-7, for each image set of `records.REPORT_ON` there is.
        checked: how many images were asked for again in other batches.
        changed: how many of those then got another class.
        printed_lines: how many lines the submission printed.
        seconds: wall-clock time of its process.
        folder: that model.py lies in, within the zip; "." at its top.
    """

    classes: dict[str, np.ndarray]
    checked: int
    changed: int
    printed_lines: int
    seconds: float
    folder: str


def part(data: CourseData, images: int) -> CourseData:
    """Return data with at most `images` of each set to report on, its classes in proportion.

    The same images each time, and of the clean and the shifted test the same cells.
    """
    sets = {name: data.sample(name, images) for name in REPORT_ON if name in data.sets}
    return replace(data, sets={**data.sets, **sets})


def score(path: Path, data: CourseData, minutes: float = 10, gigabytes: float = 6) -> Score:
    """Let a submission predict the test sets, and some of their images again in other batches.

    Prints how long it will take, where it takes long enough to be told.

    Raises:
        CourseError: if the data has other classes than a submission answers with, the zip is
            refused, or its Model fails, takes too long, would take too long, or answers with
            anything but classes.
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
    watch = _watch(path.name, [len(rows) for rows, _ in calls], lengths, minutes)
    answer = isolated.predict(path, [images[rows] for rows, _ in calls], minutes, gigabytes, watch)
    again, classes = [], np.empty(len(images), int)
    for (rows, counts), returned in zip(calls, answer.classes, strict=True):
        given = _checked(returned, len(rows), path.name)
        classes[rows[counts]] = given[counts]
        again.append((rows[~counts], given[~counts]))
    rows, given = (np.concatenate(parts) for parts in zip(*again, strict=True))
    by_name = dict(zip(names, np.split(classes, np.cumsum(lengths)[:-1]), strict=True))
    changed = int((given != classes[rows]).sum())
    return Score(by_name, len(rows), changed, answer.printed_lines, answer.seconds, answer.folder)


def _calls(count: int, shifted: int, lengths: list[int]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the rows that each call asks for, and which of its answers count (bool).

    All sets' images come mixed, in an order that nobody knows before, in two parts cut somewhere in
    the middle: neither set nor class can be told from an image's place, and both parts look alike
    to a network that normalises over its batch. Before them come the FIRST batches, of images of
    the shifted test, and somewhere among them ALONE of these one by one; those answers do not
    count.
    """
    rng = np.random.default_rng()
    order = rng.permutation(count)
    cut = rng.integers(2 * count // 5, 3 * count // 5 + 1)
    again = sum(lengths[:shifted]) + rng.permutation(lengths[shifted])[: sum(FIRST)]
    first = [rows for rows in np.split(again, np.cumsum(FIRST)[:-1]) if len(rows)]
    calls = [(np.array([row]), False) for row in again[:ALONE]]
    calls += [(order[:cut], True), (order[cut:], True)]
    calls = [(rows, False) for rows in first] + [
        calls[call] for call in rng.permutation(len(calls))
    ]
    return [(rows, np.full(len(rows), counts)) for rows, counts in calls]


def _watch(
    name: str, asked: list[int], lengths: list[int], minutes: float
) -> Callable[[list[float]], None]:
    """Return what says, once the first batches are answered, how long all will take.

    Args:
        name: of the zip.
        asked: how many images each call asks for.
        lengths: how many images each set has.
        minutes: the most time for all of it.
    """
    waiting = True

    def watch(moments: list[float]) -> None:
        nonlocal waiting
        if waiting and (pace := _pace(moments, asked)):
            waiting = False
            a_call, an_image = pace
            rest = sum(a_call + an_image * count for count in asked[len(moments) :])
            print(_forecast(name, an_image, moments[-1] + rest, lengths, minutes), flush=True)

    return watch


def _pace(moments: list[float], asked: list[int]) -> tuple[float, float] | None:
    """Return the seconds that a call costs and those that each image in it does, if one can tell.

    A call's own costs, in Keras a tenth of a second and more for each of a submission's networks
    and views, must not count for each image: two calls of unlike length tell them apart.
    """
    seconds = np.maximum(np.diff(moments[: len(FIRST)]), 0)
    if len(seconds) == 1 and seconds[0] >= SLOW:
        return 0.0, seconds[0] / asked[1]
    if len(seconds) < 2:
        return None
    at_most = seconds[1] / asked[2]
    an_image = np.diff(seconds)[0] / max(1, asked[2] - asked[1])
    # Other programs disturb both times.
    an_image = min(max(an_image, at_most / 2), at_most)
    return seconds[1] - an_image * asked[2], an_image


def _forecast(name: str, pace: float, whole: float, lengths: list[int], minutes: float) -> str:
    """Return a sentence on how many seconds a submission needs for an image and for all of them.

    Raises:
        CourseError: if that is longer than it may take.
    """
    fewer = min(300, max(lengths) // 3)
    saved = pace * sum(max(0, length - fewer) for length in lengths)
    takes = f"about {duration(whole)} on this machine ({pace:.2g} seconds an image)"
    rather = f"--images {fewer} scores so many of each set in about {duration(whole - saved)}"
    if whole > 60 * minutes:
        raise CourseError(
            f"{name} needs {takes}, and may take {minutes:g} minutes: allow it more with "
            f"--minutes, or score a part: {rather}."
        )
    return f"It takes {takes}" + (f"; {rather}." if whole > LONG else ".")


def duration(seconds: float) -> str:
    """Return a time in words, rounded as an estimate is."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


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


def report(result: Score, data: CourseData, whole: CourseData | None = None) -> str:
    """Return all that a score tells, as text; `whole` is what `data` is a part of, if it is one."""
    accuracies = {
        name: metrics.fraction(classes == data[name].labels)
        for name, classes in result.classes.items()
    }
    paragraphs = [
        f"Scored on {data.source.caption}, profile {data.profile.name}, "
        f"in {result.seconds:.0f} seconds." + _part_note(result, data, whole),
        "\n".join(f"{TITLES[name]:20s}{value}" for name, value in accuracies.items()),
        "Recall of each class:\n"
        + recalls(result, data).to_string(float_format="{:.1%}".format, na_rep="-"),
        "Per cent on the competition's private test, as the teams say (docs/leaderboard.md), and "
        "this submission:\n" + standing(100 * accuracies["shifted_test"].value),
        "Our shifted test is not the competition's: it was made here, from other photographs and "
        "by changes of our own choice. The place is a guess, not a result.",
        _batches_note(result),
    ]
    if result.folder != ".":
        paragraphs.append(
            f"Its model.py lies in the zip's folder {printable(result.folder)}; the competition's "
            "template has it at the top."
        )
    if result.printed_lines:
        paragraphs.append(f"It printed {result.printed_lines:,} lines, which were put aside.")
    return "\n\n".join(paragraphs)


def _checked(classes: np.ndarray, count: int, name: str) -> np.ndarray:
    """Return a submission's answer if it is `count` classes, int (count,) in 0-7."""
    if classes.shape != (count,):
        reason = f"has shape {classes.shape} for {count} images: return shape ({count},)"
        if classes.shape == (count, len(CLASS_NAMES)):
            reason += ", its argmax(axis=1)"
    elif classes.dtype.kind not in "iu":
        reason = f"has dtype {classes.dtype}: return whole numbers, such as an argmax gives"
    elif not ((classes >= 0) & (classes < len(CLASS_NAMES))).all():
        reason = f"holds labels from {classes.min()} to {classes.max()}: return labels from 0 to 7"
    else:
        return classes
    raise CourseError(f"{name}: what Model.predict returned {reason}.")


def _part_note(result: Score, data: CourseData, whole: CourseData | None) -> str:
    if whole is None:
        return ""
    sizes = (
        f"{len(data[name])} of {len(whole[name]):,} images ({TITLES[name]})"
        for name in result.classes
    )
    return (
        f" Only a part was scored, drawn class by class: {', '.join(sizes)}. The intervals are as "
        "wide as so few images make them."
    )


def _batches_note(result: Score) -> str:
    if not result.changed:
        return (
            f"Asked again in another order and one by one, {result.checked} images got the same "
            "classes."
        )
    return (
        f"WARNING: asked again in another order or one by one, {result.changed} of "
        f"{result.checked} images got another class: predict each image for itself and without "
        "chance. Random test-time augmentation does this, and then another run gives another "
        "score; training mode left on does it too."
    )


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and print the score."""
    parser = argparse.ArgumentParser(description="Score a submission.zip at home.")
    parser.add_argument("submission", type=Path, metavar="SUBMISSION.zip")
    parser.add_argument(
        "--images",
        type=_image_count,
        help="score at most so many images of each set, stratified by class",
    )
    parser.add_argument("--minutes", type=_positive, default=10, help="the most time for all of it")
    parser.add_argument("--gigabytes", type=_positive, default=6, help="the most memory (Linux)")
    options = parser.parse_args(arguments)
    if kind(options.submission) != "file":
        fault = "is a folder" if kind(options.submission) else "is not there"
        raise CourseError(f"{options.submission} {fault}: name a submission's zip.")
    print(isolated.caution(), flush=True)
    whole = load_course_data()
    data = part(whole, options.images) if options.images else whole
    result = score(options.submission, data, options.minutes, options.gigabytes)
    print(report(result, data, whole if options.images else None))


def _positive(text: str) -> float:
    """Return a positive, finite number from the command line: argparse's `type`."""
    with suppress(ValueError):
        if 0 < (number := float(text)) < float("inf"):
            return number
    raise argparse.ArgumentTypeError(f"{text} is no positive number: give one above 0")


def _image_count(text: str) -> int:
    """Return how many images the command line asks for, at least one a class: argparse's `type`."""
    least = len(CLASS_NAMES)
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text} is no whole number: give one from {least}"
        ) from None
    if number < least:
        raise argparse.ArgumentTypeError(f"{text} is too few: give a whole number from {least}")
    return number
