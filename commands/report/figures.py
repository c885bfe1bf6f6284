"""The report's figures, drawn from records."""

from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from commands.report.tables import (
    ABLATION_SETS,
    REPORTED_MODELS,
    TABLE1_SETS,
    Records,
    percent,
)
from commands.report.verdicts import hardest_class, reliability, spread
from helpers.data.photographs import CLASS_NAMES
from helpers.evaluation import metrics
from helpers.figures import charts, style
from helpers.training.recipes import ABLATION, FAMILIES, HOMEWORK_FINAL, MODELS

# Widths of one column, of the confusion matrices, and of the page, inches.
COLUMN, CONFUSIONS, PAGE = 3.3, 5.3, 6.9


def draw(records: Records, folder: Path) -> dict[str, str]:
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
    figure = charts.dot_panels(rows, "", "accuracy, %", same_scale=True, quoted=reported)
    figure.set_figwidth(PAGE)
    return figure, alt.format(*spreads)


def _confusions(records: Records) -> tuple[Figure, str]:
    matrices, texts = {}, []
    for image_set, title in (("test", "clean test"), ("shifted_test", "shifted test")):
        logits = records.logits(HOMEWORK_FINAL, image_set)
        matrices[title] = metrics.confusion(records.labels(image_set), logits)
        hardest, recall = hardest_class(records, image_set)
        texts.append(f"{title}: lowest recall {percent(recall)} %, {hardest}")
    names = [name.replace("granulocytes", "gran.") for name in CLASS_NAMES]
    figure = charts.confusion(matrices, names, "", CONFUSIONS)
    figure.set_figheight(0.48 * CONFUSIONS)
    return figure, "; ".join(texts).capitalize()


def _families(records: Records) -> tuple[Figure, str]:
    panels = {"validation": "validation", "shifted": "shifted_validation"}
    rows = {
        title: {panel: records.mean(name, image_set) for panel, image_set in panels.items()}
        for name, title in FAMILIES.items()
    }
    best = max(rows, key=lambda title: rows[title]["shifted"].value)
    alt = f"Most accurate on shifted validation: {best} ({percent(rows[best]['shifted'].value)} %)"
    figure = charts.dot_panels(rows, "", "accuracy, %")
    figure.set_figwidth(COLUMN)
    return figure, alt


def _ablation(records: Records) -> tuple[Figure, str]:
    rows = {
        title: {
            TABLE1_SETS[image_set]: records.estimate(name, image_set) for image_set in ABLATION_SETS
        }
        for name, title in ABLATION.items()
    }
    first, *_, last = (percent(row["shifted test"].value) for row in rows.values())
    alt = f"From {first} to {last} % on the shifted test, step by step"
    figure = charts.dot_panels(rows, "", "accuracy, %")
    figure.set_figwidth(PAGE)
    return figure, alt


def _reliability(records: Records) -> tuple[Figure, str]:
    panels, errors = {}, []
    for (word, image_set), (error, table) in reliability(records).items():
        title = f"{word}, {TABLE1_SETS[image_set]}"
        panels[f"{title}\nerror {percent(error.value)} points"] = table
        errors.append(f"{title}: {percent(error.value)}")
    figure = charts.reliability(panels, "")
    figure.set_size_inches(PAGE, 0.34 * PAGE)
    for axis in figure.axes:
        axis.tick_params(labelsize=plt.rcParams["font.size"])
    return figure, f"Distance of confidence from accuracy in points: {'; '.join(errors)}"


FIGURES = {
    "report_clean_and_shifted": _clean_and_shifted,
    "report_families": _families,
    "report_ablation": _ablation,
    "report_confusion": _confusions,
    "report_reliability": _reliability,
}
