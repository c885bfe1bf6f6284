"""The ladder to the final model: what each step's network reached, and whether that is chance."""

import itertools

import pandas as pd

from helpers.data.sets import CourseData
from helpers.evaluation import metrics
from helpers.training.recorded import Judged

# Columns of a ladder, by the image set or the record that they come from.
COLUMNS = {
    "test": "clean test",
    "shifted_test": "shifted test",
    "medmnist_c": "MedMNIST-C",
    "second_acquisition": "second acquisition",
}


def table(steps: dict[str, Judged]) -> pd.DataFrame:
    """Return a row a step: "minutes" of training, and an `Estimate` (or None) for each of COLUMNS.

    What no step was measured on is left out.
    """
    measured = {name for step in steps.values() for name in step.accuracies}
    kept = {name: column for name, column in COLUMNS.items() if name in measured}
    rows = {
        title: {"minutes": step.minutes}
        | {column: step.accuracies.get(name) for name, column in kept.items()}
        for title, step in steps.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def cell(value: metrics.Estimate | float | None) -> str:
    """Return a ladder's entry as text: "93.4 (92.1–94.5)", minutes, or "–"."""
    if isinstance(value, metrics.Estimate):
        return f"{100 * value.value:.1f} ({100 * value.low:.1f}–{100 * value.high:.1f})"
    return "–" if pd.isna(value) else f"{value:.0f}"


def paired_tests(steps: dict[str, Judged], data: CourseData) -> pd.DataFrame:
    """Return McNemar's test of each step against the one before, on the sets that choose.

    Returns:
        A row a step but the first; for validation and shifted validation the "gain" in points and
        "p", the chance of a difference at least as uneven if both steps were equally good.
    """
    rows = {}
    for before, after in itertools.pairwise(steps):
        row = {}
        for name in ("validation", "shifted_validation"):
            labels = data[name].labels
            first, second = (steps[title].logits[name] for title in (before, after))
            test = metrics.compare(labels, first, second)
            gain = 100 * (test.only_second - test.only_first) / len(labels)
            judge = name.replace("_", " ")
            row |= {f"{judge}: gain": f"{gain:+.1f}", f"{judge}: p": f"{test.p_value:.2g}"}
        rows[after] = row
    return pd.DataFrame.from_dict(rows, orient="index")
