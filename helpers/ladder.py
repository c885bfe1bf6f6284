"""The ladder to the final model: what each step's network reached, and whether that is chance."""

import itertools
from dataclasses import dataclass

import numpy as np
import pandas as pd

from helpers import evaluation, results
from helpers.course_data import CourseData
from helpers.experiments import Experiment, run

# Columns of a ladder, by the image set or the record that they come from.
COLUMNS = {
    "test": "clean test",
    "shifted_test": "shifted test",
    "medmnist_c": "MedMNIST-C",
    "second_acquisition": "second acquisition",
}


@dataclass(frozen=True)
class Judged:
    """What a finished training reached.

    Attributes:
        logits: float (N, classes) for each evaluation set.
        minutes: of training, with those of the experiment that it starts from.
        accuracies: as recorded, by the keys of COLUMNS; those that were not measured are missing.
    """

    logits: dict[str, np.ndarray]
    minutes: float
    accuracies: dict[str, evaluation.Estimate]


def judged(experiment: Experiment, data: CourseData) -> Judged:
    """Return what an experiment reached, from its records if they are of these images, else anew.

    A record counts if its split and profile are this run's: the logits stored beside it then say
    all that the network would, and nothing is trained.
    """
    records = {entry["key"]: entry for entry in results.read(data.source)}
    key = f"{experiment.run_name}/validation/accuracy"
    if not _is_of(records.get(key), data):
        results.record_outcome(run(experiment, data), data)
        records = {entry["key"]: entry for entry in results.read(data.source)}
    found = {name: records.get(f"{experiment.run_name}/{name}/accuracy") for name in COLUMNS}
    before = judged(experiment.starts_from, data).minutes if experiment.starts_from else 0
    return Judged(
        results.stored_predictions(experiment.run_name, data.source),
        before + records[key]["seconds"] / 60,
        {name: _estimate(entry) for name, entry in found.items() if _is_of(entry, data)},
    )


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


def cell(value: evaluation.Estimate | float | None) -> str:
    """Return a ladder's entry as text: "93.4 (92.1–94.5)", minutes, or "–"."""
    if isinstance(value, evaluation.Estimate):
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
            test = evaluation.compare(labels, first, second)
            gain = 100 * (test.only_second - test.only_first) / len(labels)
            judge = name.replace("_", " ")
            row |= {f"{judge}: gain": f"{gain:+.1f}", f"{judge}: p": f"{test.p_value:.2g}"}
        rows[after] = row
    return pd.DataFrame.from_dict(rows, orient="index")


def _is_of(record: dict | None, data: CourseData) -> bool:
    if record is None:
        return False
    return (record["split"], record["profile"]) == (data.fingerprint, data.profile.name)


def _estimate(record: dict) -> evaluation.Estimate:
    return evaluation.Estimate(record["value"], *record["interval"], record["n"])
