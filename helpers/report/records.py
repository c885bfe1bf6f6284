"""What the report is made from: records, logits and labels, checked to be complete before use.

No TensorFlow, no images: the trainings of `training.recipes` made the records, this module only
reads them. OPTIONAL alone says without which records there is a report all the same.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from helpers.changes import corruptions
from helpers.course import CourseError
from helpers.evaluation import records
from helpers.evaluation.records import (
    CHOOSE_ON,
    IMAGE_SETS,
    NotMeasuredError,
    accuracy_key,
    experiment_of,
)
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
    name: IMAGE_SETS[name]
    for name in (
        *("validation", "test", "shifted_test", "shifted_test_seen", "shifted_test_unseen"),
        "second_acquisition",
    )
}
PARTS = ("shifted_test_seen", "shifted_test_unseen")
# MedMNIST-C as a whole, and each corruption.
CORRUPTED = ("medmnist_c", *(f"medmnist_c/{name}" for name in corruptions.CORRUPTIONS))
TABLE1_SETS = {**PAIRED_SETS, "medmnist_c": IMAGE_SETS["medmnist_c"]}
CHOOSING_SETS = {name: IMAGE_SETS[name] for name in CHOOSE_ON}

ABLATION_SETS = ("test", "shifted_test", "second_acquisition", "medmnist_c")
# The report is made without these where they are not trained yet, and says so; without any other
# experiment it is not made.
OPTIONAL = ("vgg_like", *TRIALS)

# Files that a command of their own writes.
MADE_BY = {
    "costs.json": "helpers measure costs",
    "evaluation_sets.json": "helpers train freeze",
}


class Records(records.Records):
    """All that was measured.

    Attributes:
        costs: costs.json: "networks" and "missing".
        sets: evaluation_sets.json: how the image sets were made.
        missing: keys of the records that are not there yet, all of OPTIONAL.
    """

    costs: dict
    sets: dict
    missing: list[str]

    def trained(self, titles: dict[str, str]) -> dict[str, str]:
        """Return those of {experiment: title} that are trained."""
        return {name: title for name, title in titles.items() if self.seeds(name, "validation")}

    def searched(self) -> list[str]:
        """Return the trials of the search that are recorded, the best on shifted validation first.

        Raises:
            NotMeasuredError: if there is none.
        """
        found = {
            experiment_of(record.run): record.estimate.value
            for record in self.by_key.values()
            if record.run.startswith(SEARCH) and record.image_set == "shifted_validation"
        }
        if not found:
            raise NotMeasuredError(SEARCH, "shifted_validation")
        return sorted(found, key=found.get, reverse=True)


def load(folder: Path) -> Records:
    """Read everything the report needs from its folder.

    Raises:
        CourseError: if a file or a record outside OPTIONAL is missing: one sentence that names all
            of them and says what makes them; if a file is damaged.
    """
    check_exists(folder / "results.json")
    found = Records(folder)
    found.costs, found.sets = _json(folder / "costs.json"), _json(folder / "evaluation_sets.json")
    runs = _required(found.costs)
    found.missing = _missing(found.by_key, runs)
    # Seeds are pooled: an experiment that lacks one on an image set counts as not measured there.
    incomplete = {_without_seed(key) for key in found.missing}
    found.by_key = {k: r for k, r in found.by_key.items() if _without_seed(k) not in incomplete}
    _check_logits(found, runs)
    return found


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
    keys = [accuracy_key(run, images) for run, sets in runs.items() for images in sets]
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
        found.append(f"helpers train robustness {' '.join(corrupted)}")
    return [f"COURSE_PROFILE=full python -m {command}" for command in found]


def _named(names: list[str], most: int | None) -> str:
    return "NAME" if most is not None and len(names) > most else " ".join(names)


def quoted(lines: list[str]) -> str:
    """Return commands as part of a sentence."""
    return " and ".join(f"`{line}`" for line in lines)


def _check_logits(records: Records, runs: dict[str, Iterable[str]]) -> None:
    """Raise unless every run has logits for the labels of every stored set it has a record for."""
    labels = records.arrays("labels")
    wrong = [
        f"{run}/{images}"
        for run, sets in runs.items()
        for images in sets
        if images not in (*PARTS, *CORRUPTED)
        and accuracy_key(run, images) in records.by_key
        and len(records.arrays(run).get(images, ())) != len(labels.get(images, "?"))
    ]
    if wrong:
        raise CourseError(
            f"report/predictions/ lacks the logits of {', '.join(wrong)}, or has others than "
            f"labels.npz has labels for: make them with {quoted(commands(wrong))}."
        )


def _json(path: Path) -> dict:
    check_exists(path)
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
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
