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

import typst

from helpers import course, evaluation, report_claims, report_facts, report_figures, report_records
from helpers.dataset import CLASS_NAMES
from helpers.evaluation import Estimate
from helpers.files import replaced
from helpers.report_figures import COLUMN, PAGE, Panel
from helpers.report_records import FAMILIES, FINAL, MODELS, REFERENCE, TRIALS, Records
from helpers.report_tables import REPORTED_MODELS, difference, percent, tables

# Titles of panels that share one column.
SHORT = {"validation": "validation", "shifted_validation": "shifted"}
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
            report_records.check_exists(folder / source)
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
        typst.compile(work / "report.typ", work / "report.pdf", root=work, ignore_system_fonts=True)
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
    panels = []
    for place, images in enumerate(("validation", "shifted_test")):
        estimates = [records.estimate(name, images) for name in MODELS]
        reported = [REPORTED_MODELS.get(name) for name in MODELS]
        quoted = [float(both[place]) / 100 if both else None for both in reported]
        panels.append(Panel(("validation (clean)", "shifted test")[place], estimates, quoted))
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
    names = [name.replace("granulocytes", "gran.") for name in CLASS_NAMES]
    return report_figures.confusions(matrices, names, heading), heading


def _tuning(records: Records) -> tuple:
    panels = []
    for images, title in SHORT.items():
        values = [records.values(name, images) for name in TRIALS]
        estimates = [Estimate(v.mean(), v.min(), v.max(), len(v)) for v in values]
        panels.append(Panel(title, estimates))
    others = [name for name in TRIALS if name != REFERENCE]
    differ = [
        sum(difference(records, name, REFERENCE, images).sign != 0 for name in others)
        for images in SHORT
    ]
    heading = (
        f"Of {len(others)} trials, {differ[0]} differ from the reference on validation "
        f"and {differ[1]} on shifted validation"
    )
    rows = list(TRIALS.values())
    return report_figures.side_by_side(rows, panels, heading, COLUMN), heading


def _families(records: Records) -> tuple:
    panels = [
        Panel(title, [records.estimate(name, images) for name in FAMILIES])
        for images, title in SHORT.items()
    ]
    shifted = {name: records.estimate(name, "shifted_validation").value for name in FAMILIES}
    best = max(shifted, key=shifted.get)
    heading = (
        f"Most right on shifted validation: {FAMILIES[best]} ({percent(shifted[best])} %), "
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
