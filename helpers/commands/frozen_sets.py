"""The evaluation sets of the full run on the mirror, fixed by hash before models were compared.

Command:
    python -m helpers freeze      write report/evaluation_sets.json; once, on purpose

A shifted set that may still be changed after a model was seen to fail on it measures nothing. Each
record names the hash of its images, and a test compares it with this file's.
"""

import argparse
import hashlib
import json
from pathlib import Path

from helpers import course
from helpers.changes import shifts
from helpers.data.photographs import ImageSet
from helpers.data.sets import (
    SHIFT_SEEDS,
    SHIFT_SEVERITY,
    SHIFT_VERSION,
    CourseData,
    load_course_data,
)
from helpers.files import replaced


def digest(images: ImageSet) -> str:
    """Return the SHA-256 of a set's pixels and labels, in order."""
    pixels = hashlib.sha256(images.images.tobytes())
    pixels.update(images.labels.astype("<i8").tobytes())
    return pixels.hexdigest()


def path() -> Path:
    """Return the file that holds the hashes."""
    return course.root() / "report" / "evaluation_sets.json"


def freeze(data: CourseData) -> dict:
    """Return what `report/evaluation_sets.json` holds: how each set was made, and its hash."""
    operations = shifts.OPERATIONS.values()
    return {
        "fingerprint": data.fingerprint,
        "source": data.source.name,
        "source_checksum": data.source.checksum,
        "shift_recipe": SHIFT_VERSION,
        "shift_seeds": SHIFT_SEEDS,
        "severity": SHIFT_SEVERITY,
        "seen_operations": [operation.name for operation in operations if operation.seen],
        "unseen_operations": [operation.name for operation in operations if not operation.seen],
        "sets": {
            name: {"images": len(images), "sha256": digest(images)}
            for name, images in data.evaluation_sets.items()
        },
    }


def main(arguments: list[str] | None = None) -> None:
    """Write the file anew, from this run's images."""
    argparse.ArgumentParser(description=main.__doc__).parse_args(arguments)
    with replaced(path()) as temporary:
        temporary.write_text(json.dumps(freeze(load_course_data()), indent=1) + "\n")


if __name__ == "__main__":
    course.run_command(main)
