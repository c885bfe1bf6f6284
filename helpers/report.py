"""`make report`: from the records in git to tables, figures and the typeset report.

Command:
    python -m helpers.report

Neither images nor TensorFlow are needed. Everything is made in a temporary folder first: if a
record is missing, or anything fails, report/ stays as it is.
"""

import json
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import typst

from helpers import course, evaluation, report_claims, report_facts, report_figures, report_records
from helpers.dataset import CLASS_NAMES
from helpers.evaluation import Estimate
from helpers.files import replaced
from helpers.report_figures import COLUMN, PAGE, Panel
from helpers.report_records import CHOOSING_SETS, FAMILIES, FINAL, MODELS, TRIALS, Records
from helpers.report_tables import REPORTED_MODELS, percent, tables

SOURCES = ("report.typ", "template.typ", "references.bib")


def build(folder: Path) -> list[Path]:
    """Make the report of a folder that holds its records and its sources; return the files written.

    Raises:
        CourseError: if a record, a file or a source is missing.
    """
    records = report_records.load(folder)
    with TemporaryDirectory() as name:
        work = Path(name)
        for source in SOURCES:
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
    numbers = report_facts.facts(records)
    made = [*tables(records), report_claims.claims(records)]
    for table in made:
        table.write(work / "tables")
    numbers["tables"] = {table.name: table.as_json() for table in made}
    numbers["alt"] = _draw(records, work / "figures")
    text = json.dumps(numbers, indent=1, ensure_ascii=False, sort_keys=True)
    (work / "numbers.json").write_text(text + "\n", encoding="utf-8")
    try:
        # The fonts inside the package alone: the same file on every machine.
        typst.compile(
            work / "report.typ", work / "report.pdf", root=work, ignore_system_fonts=True
        )
    except typst.TypstError as error:
        raise course.CourseError(
            f"report.typ could not be typeset ({error}): mend that line, then run again."
        ) from error


def _draw(records: Records, folder: Path) -> dict[str, str]:
    """Write all figures; return what each shows, in words."""
    headings = {}
    for name, maker in FIGURES.items():
        figure, headings[name] = maker(records)
        report_figures.write(figure, folder, name)
    return headings


def _clean_and_shifted(records: Records) -> tuple:
    quoted = [
        [float(REPORTED_MODELS[name][place]) / 100 if name in REPORTED_MODELS else None]
        for place in (0, 1)
        for name in MODELS
    ]
    quoted = np.array(quoted, dtype=object).reshape(2, len(MODELS)).tolist()
    panels = [
        Panel(title, [records.estimate(name, images) for name in MODELS], published)
        for (images, title), published in zip(
            {"validation": "validation (clean)", "shifted_test": "shifted test"}.items(),
            quoted,
            strict=True,
        )
    ]
    heading = report_facts.headline(records)
    rows = list(MODELS.values())
    return report_figures.side_by_side(rows, panels, heading, PAGE, same_scale=True), heading


def _confusions(records: Records) -> tuple:
    matrices, texts = {}, []
    for images, title in (("test", "clean test"), ("shifted_test", "shifted test")):
        logits = records.logits[f"{FINAL}-seed0"][images]
        matrices[title] = evaluation.confusion(records.labels[images], logits)
        hardest, recall = report_claims.hardest_class(records, images)
        texts.append(f"{title}: lowest recall {percent(recall)} %, {hardest}")
    heading = "; ".join(texts).capitalize()
    return report_figures.confusions(matrices, CLASS_NAMES, heading), heading


def _tuning(records: Records) -> tuple:
    panels = []
    for images, title in CHOOSING_SETS.items():
        values = [records.values(name, images) for name in TRIALS]
        estimates = [Estimate(v.mean(), v.min(), v.max(), len(v)) for v in values]
        panels.append(Panel(title, estimates))
    ranges = [np.ptp([estimate.value for estimate in panel.estimates]) for panel in panels]
    heading = (
        f"The trials' means lie {percent(ranges[0])} points apart\n"
        f"on validation, {percent(ranges[1])} on shifted validation"
    )
    rows = [title for title, _ in TRIALS.values()]
    return report_figures.side_by_side(rows, panels, heading, COLUMN), heading


def _families(records: Records) -> tuple:
    panels = [
        Panel(title, [records.estimate(name, images) for name in FAMILIES])
        for images, title in CHOOSING_SETS.items()
    ]
    shifted = {name: records.estimate(name, "shifted_validation").value for name in FAMILIES}
    best = max(shifted, key=shifted.get)
    heading = (
        f"Most right on shifted validation:\n{FAMILIES[best]} ({percent(shifted[best])} %), "
        f"against {percent(shifted['subset_fine_tuned'])} % with none"
    )
    rows = list(FAMILIES.values())
    return report_figures.side_by_side(rows, panels, heading, COLUMN), heading


FIGURES = {
    "report_clean_and_shifted": _clean_and_shifted,
    "report_confusion": _confusions,
    "report_tuning": _tuning,
    "report_families": _families,
}


def main() -> int:
    """Build the committed report and say what was written."""
    try:
        written = build(course.root() / "report")
    except course.CourseError as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(str(path.relative_to(course.root())) for path in written))
    return 0


if __name__ == "__main__":
    sys.exit(main())
