"""Records: every number the course prints, with what it needs to be believed."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock

from helpers import course
from helpers.commands.frozen_sets import digest
from helpers.data.photographs import Source
from helpers.data.sets import SHIFT_SEEDS, CourseData
from helpers.evaluation import metrics
from helpers.evaluation.machine import provenance
from helpers.files import replaced


def folder(source: Source) -> Path:
    """Return where this run's figures, tables and records go (see `course.output_folder`)."""
    return course.output_folder(course.profile().name, source.label, source.is_published)


def record(
    key: str,
    estimate: metrics.Estimate,
    *,
    source: Source,
    seed: int | None = None,
    split: str | None = None,
    seconds: float | None = None,
    **details: object,
) -> None:
    """Write one number to results.json, see `record_all`.

    Args:
        key: "notebook or experiment/what", unique.
        estimate: the value with its interval and n.
        source: where the images came from.
        seed: of the experiment, where it has one.
        split: fingerprint of the roles of the images.
        seconds: what it took.
        details: anything JSON holds.
    """
    shared = {"seed": seed, "split": split, "seconds": seconds, **details}
    record_all({key: estimate}, {key: shared}, source)


def record_all(
    estimates: dict[str, metrics.Estimate], details: dict[str, dict], source: Source
) -> None:
    """Write numbers to results.json at once; records with the same keys are replaced.

    Args:
        estimates: value, interval and n by key.
        details: by key what else the record holds; its provenance, if given, takes the place of
            this process'.
        source: where the images came from.
    """
    here, path = provenance(), folder(source) / "results.json"
    # Between reading and writing, another run on this machine may write too.
    with FileLock(course.build_folder() / "results.lock"):
        records = {entry["key"]: entry for entry in _read(path)}
        for key, estimate in estimates.items():
            records[key] = {
                "key": key,
                "value": estimate.value,
                "interval": [estimate.low, estimate.high],
                "n": estimate.n,
                "profile": course.profile().name,
                "source": source.name,
                "source_checksum": source.checksum,
                **here,
                **details[key],
            }
        with replaced(path) as temporary:
            ordered = [records[name] for name in sorted(records)]
            temporary.write_text(json.dumps(ordered, indent=1) + "\n")


def record_outcome(outcome, data: CourseData) -> None:
    """Record a finished experiment's accuracy on every evaluation set, and store its logits.

    A shifted set has two more records: images whose changes all have a counterpart in the training
    augmentations ("_seen"), and the others ("_unseen").

    Args:
        outcome: an `experiments.Outcome`.
        data: the images it was judged on.
    """
    experiment = outcome.experiment
    digests = {name: digest(data[name]) for name in outcome.logits}
    shared = {
        "seed": experiment.seed,
        "split": data.fingerprint,
        "identity": outcome.weights_path.parent.name,
        "seconds": outcome.seconds,
        "epochs": outcome.epochs,
        "best_epoch": outcome.best_epoch,
        "stopped_by": outcome.stopped_by,
        "train_images": outcome.train_images,
        "peak_memory": outcome.peak_memory,
        **outcome.provenance,
    }
    estimates, details = {}, {}
    for name, estimate in _accuracies(outcome.logits, data).items():
        key = f"{experiment.run_name}/{name}/accuracy"
        images = digests[name.removesuffix("_seen").removesuffix("_unseen")]
        estimates[key], details[key] = estimate, {**shared, "images_sha256": images}
    record_all(estimates, details, data.source)
    # Against their largest: the same probabilities, and float16 hardly makes equals of two classes.
    logits = {
        name: (values - values.max(axis=1, keepdims=True)).astype(np.float16)
        for name, values in outcome.logits.items()
    }
    store_predictions(experiment.run_name, logits, data.source)
    labels = {name: images.labels.astype(np.uint8) for name, images in data.evaluation_sets.items()}
    store_predictions("labels", labels, data.source)


def store_predictions(name: str, arrays: dict[str, np.ndarray], source: Source) -> None:
    """Write arrays by image set to predictions/<name>.npz, from which the report is made."""
    with replaced(folder(source) / "predictions" / f"{name}.npz") as temporary:
        np.savez_compressed(temporary, **arrays)


def stored_predictions(name: str, source: Source) -> dict[str, np.ndarray]:
    """Return the arrays of predictions/<name>.npz by image set.

    Raises:
        CourseError: if there is no such file.
    """
    path = folder(source) / "predictions" / f"{name}.npz"
    if not path.exists():
        raise course.CourseError(
            f"{path.name} is missing in {path.parent.name}/, though results.json has its numbers: "
            "restore it from git, or delete the records to make both anew."
        )
    with np.load(path, allow_pickle=False) as stored:
        return {key: stored[key] for key in stored.files}


def read(source: Source) -> list[dict]:
    """Return all records of this run's folder, sorted by key; none if there are none yet.

    Raises:
        CourseError: if results.json is damaged.
    """
    return _read(folder(source) / "results.json")


def _accuracies(logits: dict[str, np.ndarray], data: CourseData) -> dict[str, metrics.Estimate]:
    estimates = {}
    for name, answers in logits.items():
        labels = data[name].labels
        estimates[name] = metrics.accuracy(labels, answers)
        if name in SHIFT_SEEDS:
            seen = data.seen_only(name)
            for part, rows in (("seen", seen), ("unseen", ~seen)):
                if rows.any():
                    estimates[f"{name}_{part}"] = metrics.accuracy(labels[rows], answers[rows])
    return estimates


def save_table(table: pd.DataFrame, name: str, source: Source) -> None:
    """Write a table as CSV into the run's tables folder, 6 significant digits."""
    with replaced(folder(source) / "tables" / f"{name}.csv") as temporary:
        table.to_csv(temporary, float_format="%.6g")


def _read(path: Path) -> list[dict]:
    if not path.exists():
        return []
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise course.CourseError(
            f"{path.name} in {path.parent.name}/ is not valid JSON ({error}): "
            "restore it from git, or delete it to begin a new one."
        ) from error
