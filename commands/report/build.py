"""`make report`: from the records in git to tables, figures and the typeset report.

Command:
    python -m helpers report

Neither images nor TensorFlow are needed. Everything is made in a temporary folder first, and then
put in place of the old files all at once: if anything fails, report/ stays as it is. Where a record
of OPTIONAL is missing, the report says so; without any other it is not made.
"""

import argparse
import json
import re
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import typst
from matplotlib.figure import Figure

from commands.report.tables import (
    ABLATION_SETS,
    CHOOSING_SETS,
    CORRUPTED,
    PAIRED_SETS,
    REPORTED_MODELS,
    TABLE1_SETS,
    Records,
    commands,
    percent,
    quoted,
    tables,
)
from commands.report.verdicts import claims, hardest_class, numbers, spread
from helpers import course
from helpers.course import CourseError
from helpers.data.photographs import CLASS_NAMES
from helpers.evaluation import metrics
from helpers.evaluation.records import accuracy_key, experiment_of
from helpers.figures import charts, style
from helpers.training.recipes import (
    ABLATION,
    FAMILIES,
    HOMEWORK_FINAL,
    MODELS,
    REMEDIES,
    SEEDS,
    SUBSET_OF_NETWORK,
    TRIALS,
    model_seeds,
)

OPTIONAL = ("vgg_like", *TRIALS)
SOURCES = ("report.typ", "template.typ", "references.bib", "figures/03_shifted_examples.pdf")
# Files that a command of their own writes.
MADE_BY = {
    "costs.json": "helpers measure costs",
    "evaluation_sets.json": "helpers train freeze",
    "03_shifted_examples.pdf": "helpers notebooks store 03_custom_cnns",
}
# Widths of one column and of the page, inches.
COLUMN, PAGE = 3.3, 6.9


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
    for name in MODELS:
        for seed in model_seeds(name):
            corrupted = ("medmnist_c",) if seed == 0 else ()
            corrupted = CORRUPTED if name == HOMEWORK_FINAL else corrupted
            runs[f"{name}-seed{seed}"] = (*PAIRED_SETS, "shifted_validation", *corrupted)
    for name in ABLATION:
        runs.setdefault(f"{name}-seed0", (*PAIRED_SETS, "shifted_validation", "medmnist_c"))
    for name in (*TRIALS, *REMEDIES):
        for seed in SEEDS:
            runs[f"{name}-seed{seed}"] = tuple(CHOOSING_SETS)
    networks = [name for net, name in SUBSET_OF_NETWORK.items() if net not in costs["missing"]]
    for name in (*networks, *FAMILIES):
        runs.setdefault(f"{name}-seed0", tuple(CHOOSING_SETS))
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
        if image_set not in ("shifted_test_seen", "shifted_test_unseen", *CORRUPTED)
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
        CourseError: if a source is missing or cannot be typeset, or a file cannot be written; the
            folder then is as it was.
    """
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
    found["alt"] = _draw(records, work / "figures")
    text = json.dumps(found, indent=1, ensure_ascii=False, sort_keys=True)
    (work / "numbers.json").write_text(text + "\n", encoding="utf-8")
    try:
        # The fonts inside the package alone: the same file on every machine.
        typst.compile(work / "report.typ", work / "report.pdf", root=work, ignore_system_fonts=True)
    except typst.TypstError as error:
        raise CourseError(
            f"report.typ could not be typeset ({error}): mend that line, then run again."
        ) from error


def _draw(records: Records, folder: Path) -> dict[str, str]:
    """Write all figures; return what each shows, in words."""
    found = {}
    for name, maker in FIGURES.items():
        with style.print_style():
            figure, found[name] = maker(records)
            style.write(figure, folder / name, (".pdf", ".svg"))
            plt.close(figure)
    return found


def _clean_and_shifted(records: Records) -> tuple[Figure, str]:
    sets = {"validation (clean)": "validation", "shifted test": "shifted_test"}
    trained = records.trained(MODELS)
    rows = {
        title: {panel: records.estimate(name, image_set) for panel, image_set in sets.items()}
        for name, title in trained.items()
    }
    reported = {
        trained[name]: {p: float(v) / 100 for p, v in zip(sets, both, strict=True)}
        for name, both in REPORTED_MODELS.items()
        if name in trained
    }
    spreads = [percent(spread(records, image_set)) for image_set in sets.values()]
    alt = (
        "On validation the fine-tuned networks lie within {} points, on the shifted test within {}"
    )
    options = {"panels": True, "same_scale": True, "quoted": reported, "width": PAGE}
    return charts.dots(rows, "", "accuracy, %", **options), alt.format(*spreads)


def _confusions(records: Records) -> tuple[Figure, str]:
    matrices, texts = {}, []
    for image_set, title in (("test", "clean test"), ("shifted_test", "shifted test")):
        logits = records.logits(HOMEWORK_FINAL, image_set)
        matrices[title] = metrics.confusion(records.labels(image_set), logits)
        hardest, recall = hardest_class(records, image_set)
        texts.append(f"{title}: lowest recall {percent(recall)} %, {hardest}")
    names = [name.replace("granulocytes", "gran.") for name in CLASS_NAMES]
    return charts.confusion(matrices, names, "", PAGE), "; ".join(texts).capitalize()


def _families(records: Records) -> tuple[Figure, str]:
    panels = {"validation": "validation", "shifted": "shifted_validation"}
    rows = {
        title: {panel: records.estimate(name, image_set) for panel, image_set in panels.items()}
        for name, title in FAMILIES.items()
    }
    best = max(rows, key=lambda title: rows[title]["shifted"].value)
    alt = f"Most accurate on shifted validation: {best} ({percent(rows[best]['shifted'].value)} %)"
    return charts.dots(rows, "", "accuracy, %", panels=True, width=COLUMN), alt


def _ablation(records: Records) -> tuple[Figure, str]:
    rows = {
        title: {
            TABLE1_SETS[image_set]: records.estimate(name, image_set) for image_set in ABLATION_SETS
        }
        for name, title in ABLATION.items()
    }
    first, *_, last = (percent(row["shifted test"].value) for row in rows.values())
    alt = f"From {first} to {last} % on the shifted test, step by step"
    return charts.dots(rows, "", "accuracy, %", panels=True, width=PAGE), alt


FIGURES = {
    "report_clean_and_shifted": _clean_and_shifted,
    "report_families": _families,
    "report_ablation": _ablation,
    "report_confusion": _confusions,
}


def main(arguments: list[str] | None = None) -> None:
    """Build the committed report; say what was written, and what is missing."""
    argparse.ArgumentParser(description=main.__doc__).parse_args(arguments)
    folder = course.root() / "report"
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
