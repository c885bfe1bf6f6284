"""What the report is made from: records, logits and labels, checked to be complete before use.

No TensorFlow, no images: the trainings of `training.recipes` made the records, this module only
reads them. OPTIONAL alone says without which records there is a report all the same.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from helpers.changes import corruptions, shifts
from helpers.course import CourseError
from helpers.evaluation.metrics import Estimate
from helpers.training.recipes import (
    ABLATION,
    FAMILIES,
    HOMEWORK_FINAL,
    MODELS,
    REMEDIES,
    SEARCH,
    SEEDS,
    SUBSET_OF_NETWORK,
    TRIALS,
    model_seeds,
)

PAIRED_SETS = {
    "validation": "validation",
    "test": "test",
    "shifted_test": "shifted test",
    "shifted_test_seen": "shifted: seen only",
    "shifted_test_unseen": "shifted: with unseen",
    "second_acquisition": "second acquisition",
}
# The shifted test parted: images whose operations all have a counterpart in a training
# augmentation, and images with at least one operation that has none.
PARTS = ("shifted_test_seen", "shifted_test_unseen")
# MedMNIST-C as a whole, and each corruption.
CORRUPTED = ("medmnist_c", *(f"medmnist_c/{name}" for name in corruptions.CORRUPTIONS))
TABLE1_SETS = {**PAIRED_SETS, "medmnist_c": "MedMNIST-C"}
CHOOSING_SETS = {"validation": "validation", "shifted_validation": "shifted validation"}

ABLATION_SETS = ("test", "shifted_test", "second_acquisition", "medmnist_c")
# The report is made without these where they are not trained yet, and says so; without any other
# experiment it is not made.
OPTIONAL = ("vgg_like", *TRIALS)

# Files that a command of their own writes.
MADE_BY = {
    "costs.json": "helpers measure costs",
    "evaluation_sets.json": "helpers freeze",
}


class NotMeasuredError(Exception):
    """An outcome of an experiment in OPTIONAL is needed and not there yet; holds its title."""


@dataclass(frozen=True)
class Records:
    """All that was measured.

    Attributes:
        entries: the records of results.json by key.
        logits: float32 (N, classes) by run (`<experiment>-seed<k>`), then by image set.
        labels: int (N,) by image set.
        costs: costs.json: "networks" and "missing".
        sets: evaluation_sets.json: how the image sets were made.
        missing: keys of the records that are not there yet, all of OPTIONAL.
    """

    entries: dict[str, dict]
    logits: dict[str, dict[str, np.ndarray]]
    labels: dict[str, np.ndarray]
    costs: dict
    sets: dict
    missing: list[str]

    def entry(self, experiment: str, images: str, seed: int = 0) -> dict:
        """Return one record.

        Raises:
            NotMeasuredError: if it is not there yet; so do all methods that need a record.
        """
        key = f"{experiment}-seed{seed}/{images}/accuracy"
        if key not in self.entries:
            raise NotMeasuredError({**MODELS, **TRIALS}.get(experiment, experiment))
        return self.entries[key]

    def estimate(self, experiment: str, images: str, seed: int = 0) -> Estimate:
        """Return a recorded accuracy (0-1) with its interval."""
        entry = self.entry(experiment, images, seed)
        return Estimate(entry["value"], *entry["interval"], entry["n"])

    def scores(self, experiment: str, images: str, seed: int = 0) -> np.ndarray:
        """Return the stored logits of one run, float32 (N, classes)."""
        self.entry(experiment, images, seed)
        return self.logits[f"{experiment}-seed{seed}"][images]

    def trained(self, titles: dict[str, str]) -> dict[str, str]:
        """Return those of {experiment: title} that are trained."""
        return {name: title for name, title in titles.items() if self.seeds(name, "validation")}

    def values(self, experiment: str, images: str) -> np.ndarray:
        """Return the recorded accuracies (0-1) of all seeds, float (seeds,), perhaps of none."""
        seeds = self.seeds(experiment, images)
        return np.array([self.estimate(experiment, images, seed).value for seed in seeds])

    def searched(self) -> list[str]:
        """Return the trials of the search that are recorded, the best on shifted validation first.

        Raises:
            NotMeasuredError: if there is none.
        """
        ending = "-seed0/shifted_validation/accuracy"
        found = {
            key.removesuffix(ending): entry["value"]
            for key, entry in self.entries.items()
            if key.startswith(SEARCH) and key.endswith(ending)
        }
        if not found:
            raise NotMeasuredError("The search")
        return sorted(found, key=found.get, reverse=True)

    def seeds(self, experiment: str, images: str) -> list[int]:
        """Return the seeds that an experiment has records for on an image set."""
        pattern = re.compile(rf"{re.escape(experiment)}-seed(\d+)/{images}/accuracy")
        return sorted(int(match[1]) for match in map(pattern.fullmatch, self.entries) if match)

    def right(self, experiment: str, images: str) -> np.ndarray:
        """Return bool (seeds, N): which images each seed of an experiment gets right."""
        return self.predicted(experiment, images) == self.labels[images]

    def predicted(self, experiment: str, images: str) -> np.ndarray:
        """Return int (seeds, N): the class that each seed of an experiment predicts."""
        seeds = self.seeds(experiment, images) or [0]
        return np.array([self.scores(experiment, images, k).argmax(axis=1) for k in seeds])


def load(folder: Path) -> Records:
    """Read everything the report needs from its folder.

    Raises:
        CourseError: if a file or a record outside OPTIONAL is missing: one sentence that names all
            of them and says what makes them.
    """
    entries = {entry["key"]: entry for entry in _json(folder / "results.json")}
    costs = _json(folder / "costs.json")
    runs = _required(costs)
    missing = _missing(entries, runs)
    # Seeds are pooled: an experiment that lacks one on an image set counts as not measured there.
    incomplete = {_without_seed(key) for key in missing}
    entries = {key: e for key, e in entries.items() if _without_seed(key) not in incomplete}
    labels = _arrays(folder / "predictions" / "labels.npz")
    sets = _json(folder / "evaluation_sets.json")
    records = Records(entries, _logits(folder, runs), labels, costs, sets, missing)
    _check_logits(records, runs)
    return _with_parts(records)


def _required(costs: dict) -> dict[str, Iterable[str]]:
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
            runs[f"{name}-seed{seed}"] = CHOOSING_SETS
    networks = [name for net, name in SUBSET_OF_NETWORK.items() if net not in costs["missing"]]
    for name in (*networks, *FAMILIES):
        runs.setdefault(f"{name}-seed0", CHOOSING_SETS)
    return runs


def _missing(entries: dict, runs: dict[str, Iterable[str]]) -> list[str]:
    """Return the keys that have no record; raise CourseError if one of them is not OPTIONAL."""
    keys = [f"{run}/{images}/accuracy" for run, sets in runs.items() for images in sets]
    missing = [key for key in keys if key not in entries]
    needed = [key for key in missing if experiment_of(key) not in OPTIONAL]
    if needed:
        raise CourseError(
            f"report/results.json lacks {len(needed)} of the report's {len(keys)} records "
            f"({', '.join(needed)}): make them with {quoted(commands(needed))}."
        )
    return missing


def experiment_of(key: str) -> str:
    """Return the experiment that a record or a run is of."""
    return key.split("/")[0].rsplit("-seed", 1)[0]


def _without_seed(key: str) -> str:
    return re.sub(r"-seed\d+/", "/", key)


def commands(keys: Iterable[str], most_names: int | None = None) -> list[str]:
    """Return the shell commands that make records: experiments with the same seeds together.

    Args:
        keys: of records, or without "/accuracy".
        most_names: where a command has more, NAME stands for them; None to name all.
    """
    seeds, corrupted = defaultdict(set), {}
    for key in keys:
        experiment, seed = key.split("/")[0].rsplit("-seed", 1)
        if key.split("/")[1] == "medmnist_c":
            corrupted[experiment] = True
        else:
            seeds[experiment].add(seed)
    together = defaultdict(list)
    for experiment, wanted in seeds.items():
        together[" ".join(sorted(wanted))].append(experiment)
    found = [
        f"helpers train run {_named(names, most_names)} --seeds {wanted}"
        for wanted, names in together.items()
    ]
    if corrupted:
        found.append(f"helpers robustness {' '.join(corrupted)}")
    return [f"COURSE_PROFILE=full python -m {command}" for command in found]


def _named(names: list[str], most: int | None) -> str:
    return "NAME" if most is not None and len(names) > most else " ".join(names)


def quoted(lines: list[str]) -> str:
    """Return commands as part of a sentence."""
    return " and ".join(f"`{line}`" for line in lines)


def _check_logits(records: Records, runs: dict[str, Iterable[str]]) -> None:
    """Raise unless every run has logits for the labels of every stored set it has a record for."""
    wrong = [
        f"{run}/{images}"
        for run, sets in runs.items()
        for images in sets
        if images not in (*PARTS, *CORRUPTED)
        and f"{run}/{images}/accuracy" in records.entries
        and len(records.logits.get(run, {}).get(images, ())) != len(records.labels.get(images, "?"))
    ]
    if wrong:
        raise CourseError(
            f"report/predictions/ lacks the logits of {', '.join(wrong)}, or has others than "
            f"labels.npz has labels for: make them with {quoted(commands(wrong))}."
        )


def _with_parts(records: Records) -> Records:
    """Add labels and logits of the two parts of the shifted test: see `PARTS`.

    The chains of operations depend on the seed alone, so no image is needed to tell the parts.
    """
    count = len(records.labels["shifted_test"])
    seen = shifts.seen_images(count, records.sets["shift_seeds"]["shifted_test"])
    for arrays in (records.labels, *records.logits.values()):
        if "shifted_test" in arrays:
            for name, rows in zip(PARTS, (seen, ~seen), strict=True):
                arrays[name] = arrays["shifted_test"][rows]
    return records


def _logits(folder: Path, runs: Iterable[str]) -> dict[str, dict[str, np.ndarray]]:
    """Return the stored logits of the required runs, of their other seeds, and of the search."""
    experiments = {experiment_of(run) for run in runs}
    paths = sorted((folder / "predictions").glob("*-seed?.npz"))
    return {
        p.stem: _arrays(p)
        for p in paths
        if experiment_of(p.stem) in experiments or p.stem.startswith(SEARCH)
    }


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """Return logits as float32 (N, classes) and labels as int64 (N,), by image set."""
    check_exists(path)
    with np.load(path, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored}
    return {
        name: values.astype(np.float32 if values.ndim == 2 else np.int64)
        for name, values in arrays.items()
    }


def _json(path: Path) -> list | dict:
    check_exists(path)
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise CourseError(
            f"{path.name} in {path.parent.name}/ is not valid JSON ({error}): restore it from git."
        ) from error


def check_exists(path: Path) -> None:
    """Raise CourseError if a file that the report is made from is not there."""
    if not path.exists():
        maker = MADE_BY.get(path.name)
        command = f", or make it with `python -m {maker}`" if maker else ""
        raise CourseError(
            f"{path.name} is missing in {path.parent.name}/, and the report is made from it: "
            f"restore it from git{command}."
        )
