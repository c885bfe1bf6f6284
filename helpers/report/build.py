"""`make report`: from the records in git to tables, figures and the typeset report.

Command:
    python -m helpers report

Neither images nor TensorFlow are needed. Everything is made in a temporary folder first: if
anything fails, report/ stays as it is. Where a record of `records.OPTIONAL` is missing, the report
says so.
"""

import argparse
import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import typst
from matplotlib.figure import Figure

from helpers import course
from helpers.data.photographs import CLASS_NAMES
from helpers.evaluation import metrics
from helpers.evaluation.metrics import Estimate
from helpers.figures import charts, style
from helpers.files import replaced
from helpers.report.facts import facts, headline
from helpers.report.records import (
    NotMeasuredError,
    Records,
    check_exists,
    commands,
    experiment_of,
    load,
)
from helpers.report.tables import REPORTED_MODELS, difference, percent, tables
from helpers.report.verdicts import claims, hardest_class
from helpers.training.recipes import (
    FAMILIES,
    HOMEWORK_FINAL,
    MODELS,
    REFERENCE,
    TRIALS,
)

# Titles of panels that share one column.
SHORT = {"validation": "validation", "shifted_validation": "shifted"}
# Widths of one column and of the page, inches.
COLUMN, PAGE = 3.3, 6.9
SOURCES = ("report.typ", "template.typ", "references.bib")


def build(records: Records, folder: Path) -> list[Path]:
    """Make the report of records in the folder of its sources; return the files written.

    Raises:
        CourseError: if a source is missing or cannot be typeset.
    """
    with TemporaryDirectory() as name:
        work = Path(name)
        for source in SOURCES:
            check_exists(folder / source)
            shutil.copy(folder / source, work / source)
        _make(records, work)
        made = [p for p in sorted(work.rglob("*")) if p.is_file() and p.name not in SOURCES]
        written = [folder / path.relative_to(work) for path in made]
        for path, target in zip(made, written, strict=True):
            with replaced(target) as temporary:
                shutil.copyfile(path, temporary)
    return written


def _make(records: Records, work: Path) -> None:
    """Write tables/, figures/, numbers.json and report.pdf into a folder that holds the sources."""
    numbers = facts(records)
    made = [*tables(records), claims(records)]
    for table in made:
        table.write(work / "tables")
    numbers["tables"] = {table.name: table.as_json() for table in made}
    numbers["alt"] = _draw(records, work / "figures")
    text = json.dumps(numbers, indent=1, ensure_ascii=False, sort_keys=True)
    (work / "numbers.json").write_text(text + "\n", encoding="utf-8")
    try:
        # The fonts inside the package alone: the same file on every machine.
        typst.compile(work / "report.typ", work / "report.pdf", root=work, ignore_system_fonts=True)
    except typst.TypstError as error:
        raise course.CourseError(
            f"report.typ could not be typeset ({error}): mend that line, then run again."
        ) from error


def _draw(records: Records, folder: Path) -> dict[str, str]:
    """Write all figures but those that are not measured yet; return what each shows, in words."""
    headings = {}
    for name, maker in FIGURES.items():
        with style.print_style():
            try:
                figure = maker(records)
            except NotMeasuredError:
                continue
            headings[name] = figure.get_suptitle()
            style.wrap_titles(figure)
            style.write(figure, folder / name, (".pdf", ".svg"))
            plt.close(figure)
    return headings


def _clean_and_shifted(records: Records) -> Figure:
    sets = {"validation (clean)": "validation", "shifted test": "shifted_test"}
    trained = records.trained(MODELS)
    rows = {
        title: {panel: records.estimate(name, images) for panel, images in sets.items()}
        for name, title in trained.items()
    }
    quoted = {
        trained[name]: {p: float(v) / 100 for p, v in zip(sets, both, strict=True)}
        for name, both in REPORTED_MODELS.items()
        if name in trained
    }
    style_ = {"panels": True, "same_scale": True, "quoted": quoted, "width": PAGE}
    return charts.dots(rows, headline(records), "accuracy, %", **style_)


def _confusions(records: Records) -> Figure:
    matrices, texts = {}, []
    for images, title in (("test", "clean test"), ("shifted_test", "shifted test")):
        matrices[title] = metrics.confusion(
            records.labels(images), records.logits(HOMEWORK_FINAL, images)
        )
        hardest, recall = hardest_class(records, images)
        texts.append(f"{title}: lowest recall {percent(recall)} %, {hardest}")
    heading = "; ".join(texts).capitalize()
    names = [name.replace("granulocytes", "gran.") for name in CLASS_NAMES]
    return charts.confusion(matrices, names, heading, PAGE)


def _tuning(records: Records) -> Figure:
    trials = records.trained(TRIALS)
    if REFERENCE not in trials:
        raise NotMeasuredError(REFERENCE, "validation")
    rows = {}
    for name, title in trials.items():
        values = {panel: records.values(name, images) for images, panel in SHORT.items()}
        rows[title] = {p: Estimate(v.mean(), v.min(), v.max(), len(v)) for p, v in values.items()}
    others = [name for name in trials if name != REFERENCE]
    differ = [
        sum(difference(records, name, REFERENCE, images).sign != 0 for name in others)
        for images in SHORT
    ]
    heading = (
        f"Of {len(others)} trials, {differ[0]} differ from the reference on validation "
        f"and {differ[1]} on shifted validation"
    )
    return charts.dots(rows, heading, "accuracy, %", panels=True, width=COLUMN)


def _families(records: Records) -> Figure:
    rows = {
        title: {panel: records.estimate(name, images) for images, panel in SHORT.items()}
        for name, title in FAMILIES.items()
    }
    shifted = {name: records.estimate(name, "shifted_validation").value for name in FAMILIES}
    best = max(shifted, key=shifted.get)
    heading = (
        f"Most accurate on shifted validation: {FAMILIES[best]} ({percent(shifted[best])} %), "
        f"against {percent(shifted['subset_fine_tuned'])} % with none"
    )
    return charts.dots(rows, heading, "accuracy, %", panels=True, width=COLUMN)


FIGURES = {
    "report_clean_and_shifted": _clean_and_shifted,
    "report_confusion": _confusions,
    "report_tuning": _tuning,
    "report_families": _families,
}


def main(arguments: list[str] | None = None) -> None:
    """Build the committed report; say what was written, and what is missing."""
    argparse.ArgumentParser(description=main.__doc__).parse_args(arguments)
    folder = course.root() / "report"
    records = load(folder)
    written = build(records, folder)
    print("\n".join(str(path.relative_to(course.root())) for path in written))
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


if __name__ == "__main__":
    course.run_command(main)
