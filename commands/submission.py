"""Writes submission.zip: a trained network in the competition's format, free of the course's code.

Command:
    python -m helpers submission [EXPERIMENT] [--views 1|8] [--to submission.zip]

Without EXPERIMENT it is the released model `larger` (`models.released`), which needs no training
and no photographs.
"""

import argparse
import zipfile
from contextlib import suppress
from pathlib import Path

import keras

from helpers import course
from helpers.course import CourseError, printable
from helpers.data.photographs import CLASS_NAMES
from helpers.data.sets import load_course_data
from helpers.files import kind, replaced
from helpers.models import released
from helpers.training import recipes, run

TEMPLATE = Path(__file__).with_name("submission_model.py")
LARGEST_BYTES = 25 * 10**6

# Of the released models the steadiest under changes that nobody practised (docs/decisions/0004).
PACKED = "larger"


def write_submission(model: keras.Model, path: Path, views: int = 1) -> None:
    """Write a trained network as submission.zip: model.py, network.json, weights.npz.

    Args:
        model: takes images (N, 96, 96, 3) in 0-255 and returns logits (N, 8); made of Keras' own
            layers only, any upsampling among them. It need not be compiled.
        path: of the zip.
        views: 1, or 8 to average the probabilities of the 8 flips and quarter turns.

    Raises:
        CourseError: if the network has other inputs or outputs, layers that are not Keras' own, or
            makes a zip of more than 25 MB.
    """
    released.check_shapes(model, len(CLASS_NAMES))
    members = {
        "model.py": _model_file(views),
        released.NETWORK: released.network_file(model),
        released.WEIGHTS: released.weights_file(model.get_weights()),
    }
    archive = released.zipped(members)
    if len(archive) > LARGEST_BYTES:
        raise CourseError(
            f"{path.name} would have {len(archive) / 1e6:.0f} MB, more than "
            f"{LARGEST_BYTES / 1e6:.0f}: submit a smaller network."
        )
    with replaced(path) as temporary:
        temporary.write_bytes(archive)


def _model_file(views: int) -> bytes:
    if views not in (1, 8):
        raise CourseError(f"{views} views cannot be averaged: ask for 1 or 8.")
    source = TEMPLATE.read_text(encoding="utf-8")
    return source.replace("\nVIEWS = 1\n", f"\nVIEWS = {views}\n").encode()


def _check_target(path: Path) -> None:
    """Raise CourseError if anything but an earlier zip of this command's would be written over."""
    name = printable(path)
    if path.suffix.lower() != ".zip":
        raise CourseError(f"{name} is no .zip: let the name after --to end so.")
    if kind(path) and not _is_ours(path):
        raise CourseError(
            f"{name} is there and was not written by this command: give --to another name."
        )


def _is_ours(path: Path) -> bool:
    beginning = TEMPLATE.read_bytes().partition(b"\n")[0]
    with suppress(Exception), zipfile.ZipFile(path) as archive, archive.open("model.py") as file:
        return file.read(len(beginning)) == beginning
    return False


def main(arguments: list[str] | None = None) -> int:
    """Read the command line, load or train the network and write the zip; 0 if it is written."""
    parser = argparse.ArgumentParser(description="Write submission.zip from a trained network.")
    parser.add_argument(
        "experiment",
        nargs="?",
        help="a name that `python -m helpers train list` prints, trained first if need be; "
        f"without it the released model {PACKED}",
    )
    parser.add_argument("--views", type=int, default=1, choices=(1, 8))
    parser.add_argument("--to", type=Path, default=course.root() / "submission.zip")
    options = parser.parse_args(arguments)
    _check_target(options.to)
    if options.experiment:
        experiment = recipes.find(options.experiment)
        data = load_course_data()
        if len(data.class_names) != len(CLASS_NAMES):
            raise CourseError(
                f"A submission answers with {len(CLASS_NAMES)} classes, but these images have "
                f"{len(data.class_names)}: train it on another source (BLOODCELLS_SOURCE)."
            )
        model = run.load_trained(experiment, data)
    else:
        model = released.load(PACKED)
    write_submission(model, options.to, options.views)
    print(
        f"{options.to} written, {options.to.stat().st_size / 1e6:.1f} MB: `make score` scores it."
    )
    return 0
