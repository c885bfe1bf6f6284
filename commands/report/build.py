"""`make report`: from the records in git to tables, figures and the typeset report.

Commands:
    python -m helpers report
    python -m helpers report --examples     cut the example photographs anew, once; needs images

The first needs neither images nor TensorFlow. Everything is made in a temporary folder first, and
then put in place of the old files all at once: if anything fails, report/ stays as it is. Where a
record of OPTIONAL is missing, the report says so; without any other it is not made.
"""

import argparse
import json
import re
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from commands.report.figures import draw
from commands.report.tables import (
    CHOOSING_SETS,
    CORRUPTED,
    PAIRED_SETS,
    UNSEEN,
    Records,
    commands,
    quoted,
    tables,
)
from commands.report.verdicts import claims, example_rows, numbers
from helpers import course
from helpers.course import CourseError
from helpers.data.sets import CourseData, load_course_data
from helpers.evaluation.records import accuracy_key, digest, experiment_of
from helpers.files import replaced
from helpers.training.recipes import (
    ABLATION,
    ALONE,
    CONTROLS,
    FAMILIES,
    HOMEWORK_FINAL,
    MODELS,
    REMEDIES,
    SEEDS,
    SUBSET_OF_NETWORK,
    TRIALS,
    model_seeds,
)

try:
    import typst
except ImportError:  # a group of its own, which no lesson needs
    typst = None

OPTIONAL = ("vgg_like", *TRIALS)
# Photographs, two rows of eight: the first of each class in the test and in the shifted test.
EXAMPLES = "figures/report_examples.png"
EXAMPLE_SETS = ("test", "shifted_test")
SOURCES = ("report.typ", "template.typ", "references.bib", EXAMPLES)
# Files that a command of their own writes.
MADE_BY = {
    "costs.json": "helpers measure costs",
    "evaluation_sets.json": "helpers train freeze",
    "report_examples.png": "helpers report --examples",
}


def load(folder: Path) -> Records:
    """Read everything the report needs from its folder.

    Raises:
        CourseError: if a file or a record outside OPTIONAL is missing: one sentence that names all
            of them and says what makes them; if a file is damaged.
    """
    _check_exists(folder / "results.json")
    found = Records(folder)
    found.costs = _json(folder / "costs.json", ("networks", "missing", "device"))
    wanted = ("sets", "seen_operations", "unseen_operations")
    found.sets = _json(folder / "evaluation_sets.json", wanted)
    runs = required(found.costs)
    found.missing = _missing(found.by_key, runs)
    # Seeds are pooled: an experiment that lacks one on an image set counts as not measured there.
    incomplete = {_without_seed(key) for key in found.missing}
    found.by_key = {k: r for k, r in found.by_key.items() if _without_seed(k) not in incomplete}
    _check_logits(found, runs)
    return found


def required(costs: dict) -> dict[str, Iterable[str]]:
    """Return the image sets that each run must have records for, those of OPTIONAL once trained."""
    runs: dict[str, Iterable[str]] = {}
    for name in MODELS | ABLATION:
        for seed in model_seeds(name):
            corrupted = ("medmnist_c",) if seed == 0 else ()
            corrupted = CORRUPTED if (name, seed) == (HOMEWORK_FINAL, 0) else corrupted
            runs[f"{name}-seed{seed}"] = (*PAIRED_SETS, "shifted_validation", *corrupted)
    for name in (*TRIALS, *REMEDIES, *FAMILIES, *ALONE, *CONTROLS):
        for seed in SEEDS:
            runs[f"{name}-seed{seed}"] = tuple(CHOOSING_SETS)
    networks = [name for net, name in SUBSET_OF_NETWORK.items() if net not in costs["missing"]]
    for name in networks:
        runs.setdefault(f"{name}-seed0", tuple(CHOOSING_SETS))
    for name in UNSEEN:
        runs[f"{name}-seed0"] = (*runs.get(f"{name}-seed0", ()), "unseen_only")
    return runs


def _missing(entries: dict, runs: dict[str, Iterable[str]]) -> list[str]:
    """Return the keys that have no record; raise CourseError if one of them is not OPTIONAL."""
    keys = [accuracy_key(run, image_set) for run, sets in runs.items() for image_set in sets]
    missing = [key for key in keys if key not in entries]
    needed = [key for key in missing if experiment_of(key) not in OPTIONAL]
    if needed:
        raise CourseError(
            f"report/results.json lacks {len(needed)} of the report's {len(keys)} records "
            f"({', '.join(needed)}): make them with {quoted(commands(needed))}."
        )
    return missing


def _without_seed(key: str) -> str:
    return re.sub(r"-seed\d+/", "/", key)


def _check_logits(records: Records, runs: dict[str, Iterable[str]]) -> None:
    """Raise unless every run has logits for the labels of every stored set it has a record for."""
    labels = records.arrays("labels")
    wrong = [
        f"{run}/{image_set}"
        for run, sets in runs.items()
        for image_set in sets
        if image_set not in ("shifted_test_seen", "shifted_test_unseen", "unseen_only", *CORRUPTED)
        and accuracy_key(run, image_set) in records.by_key
        and len(records.arrays(run).get(image_set, ())) != len(labels.get(image_set, "?"))
    ]
    if wrong:
        raise CourseError(
            f"report/predictions/ lacks the logits of {', '.join(wrong)}, or has others than "
            f"labels.npz has labels for: make them with {quoted(commands(wrong))}."
        )


def _json(path: Path, keys: Iterable[str]) -> dict:
    _check_exists(path)
    restore = f"restore it from git, or make it with `python -m {MADE_BY[path.name]}`"
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CourseError(
            f"{path.name} in {path.parent.name}/ cannot be read ({error}): {restore}."
        ) from error
    lacking = [key for key in keys if not isinstance(found, dict) or not found.get(key)]
    if lacking:
        raise CourseError(
            f"{path.name} in {path.parent.name}/ has no {', '.join(lacking)}: {restore}."
        )
    return found


def _check_exists(path: Path) -> None:
    """Raise CourseError if a file that the report is made from is not there."""
    if not path.exists():
        maker = MADE_BY.get(path.name)
        command = f", or make it with `python -m {maker}`" if maker else ""
        raise CourseError(
            f"{path.name} is missing in {path.parent.name}/, and the report is made from it: "
            f"restore it from git{command}."
        )


def build(records: Records, folder: Path) -> list[Path]:
    """Make the report of records in the folder of its sources; return the files written.

    Raises:
        CourseError: if a source is missing or cannot be typeset, a file cannot be written, or the
            package typst is missing; the folder then is as it was.
    """
    if typst is None:
        raise CourseError(
            "The package typst is missing: in the course's folder, run "
            'python -m pip install -e ".[report]" first.'
        )
    with TemporaryDirectory() as name:
        work = Path(name)
        for source in SOURCES:
            _check_exists(folder / source)
            (work / source).parent.mkdir(exist_ok=True)
            shutil.copy(folder / source, work / source)
        _make(records, work)
        made = [path.relative_to(work) for path in sorted(work.rglob("*")) if path.is_file()]
        new = {folder / path: work / path for path in made if path.as_posix() not in SOURCES}
        _put_in_place(new)
    return list(new)


def _put_in_place(new: dict[Path, Path]) -> None:
    """Replace all target files by the new ones, {target: new}; on any failure replace none."""
    kept, undo = [], []
    try:
        for target, source in new.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            kept.append(_beside(target, "new"))
            shutil.copyfile(source, kept[-1])
        for target in new:
            undo.append((target, target.exists()))
            if target.exists():
                kept.append(_beside(target, "old"))
                target.replace(kept[-1])
            _beside(target, "new").replace(target)
    except BaseException as error:
        for target, existed in reversed(undo):
            if not existed:
                target.unlink(missing_ok=True)
            elif _beside(target, "old").exists():
                _beside(target, "old").replace(target)
        if isinstance(error, OSError):
            raise CourseError(
                f"The report could not be written ({error.strerror or error}), and the old one was "
                "kept: free some disk space or give yourself the right to write, then run again."
            ) from error
        raise
    finally:
        for path in kept:
            with suppress(OSError):
                path.unlink(missing_ok=True)


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(f".{path.name}.{ending}")


def _make(records: Records, work: Path) -> None:
    """Write tables/, figures/, numbers.json and report.pdf into a folder that holds the sources."""
    found = numbers(records)
    made = tables(records)
    for table in (*made, claims(records)):
        table.write(work / "tables")
    found["tables"] = {table.name: table.as_json() for table in made}
    found["alt"] = draw(records, work / "figures")
    text = json.dumps(found, indent=1, ensure_ascii=False, sort_keys=True)
    (work / "numbers.json").write_text(text + "\n", encoding="utf-8")
    try:
        # The fonts inside the package alone: the same file on every machine.
        typst.compile(work / "report.typ", work / "report.pdf", root=work, ignore_system_fonts=True)
    except typst.TypstError as error:
        raise CourseError(
            f"report.typ could not be typeset ({error}): mend that line, then run again."
        ) from error


def write_examples(data: CourseData, folder: Path) -> Path:
    """Write the example photographs of the report's first figure; return their file.

    Raises:
        CourseError: if these are not the images that the records were measured on.
    """
    recorded = _json(folder / "evaluation_sets.json", ("sets",))["sets"]
    other = [name for name in EXAMPLE_SETS if digest(data[name]) != recorded[name]["sha256"]]
    if other:
        raise CourseError(
            f"The images of {' and '.join(other)} from {data.source.name} are not those of the "
            "records: set COURSE_PROFILE=full and BLOODCELLS_MIRROR to the photographs of report/."
        )
    rows = example_rows(data["test"].labels)
    tiles = [np.concatenate(list(data[name].images[rows]), axis=1) for name in EXAMPLE_SETS]
    with replaced(folder / EXAMPLES) as temporary:
        Image.fromarray(np.concatenate(tiles)).save(temporary, "PNG", optimize=True)
    return folder / EXAMPLES


def main(arguments: list[str] | None = None) -> None:
    """Build the committed report; say what was written, and what is missing."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--examples", action="store_true", help="cut its example photographs anew")
    options = parser.parse_args(arguments)
    folder = course.root() / "report"
    if options.examples:
        print(write_examples(load_course_data(), folder).relative_to(course.root()))
        return
    records = load(folder)
    for path in build(records, folder):
        print(path.relative_to(course.root()))
    print(missing(records))


def missing(records: Records) -> str:
    """Return which runs the report lacks and the commands that fill them."""
    experiments = dict.fromkeys(map(experiment_of, records.missing))
    if not experiments:
        return "No run is missing."
    lines = "\n".join(f"  {command}" for command in commands(records.missing))
    return (
        f"Missing, and said so in the report: {len(records.missing)} records of "
        f"{', '.join(experiments)}. These make them; then run `make report` again:\n{lines}"
    )
