"""What the report is made from: records, logits and labels, checked to be complete before use.

No TensorFlow, no images: `helpers.recipes` makes the records, this module only reads them. A test
compares the names here with those of `helpers.recipes`.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from helpers.course import CourseError
from helpers.evaluation import Estimate

SEEDS = (0, 1, 2)
FINAL = "fine_tuned_rand_augment"

# The models of Table 1, in the report's order, and how many seeds each was trained with.
MODELS = {
    "small_cnn": "CNN 1",
    "vgg_like": "CNN 2",
    "mobilenet_v3_small_frozen": "MobileNetV3-Small, frozen",
    "efficientnet_lite0_frozen": "Lite0, frozen",
    "fine_tuned": "Lite0, fine-tuned",
    "fine_tuned_mild": "the same, mild augmentation",
    "fine_tuned_rand_augment": "the same, RandAugment, Adam",
    "fine_tuned_rand_augment_lion": "the same, RandAugment, Lion",
}
FINE_TUNED = tuple(name for name in MODELS if name.startswith("fine_tuned"))
THREE_SEEDS = ("small_cnn", "mobilenet_v3_small_frozen", "efficientnet_lite0_frozen")

PAIRED_SETS = {
    "validation": "validation",
    "test": "test",
    "shifted_test": "shifted test",
    "shifted_test_seen": "shifted, seen operations",
    "shifted_test_unseen": "shifted, unseen operations",
    "second_acquisition": "second acquisition",
}
TABLE1_SETS = {**PAIRED_SETS, "medmnist_c": "MedMNIST-C"}
CHOOSING_SETS = {"validation": "validation", "shifted_validation": "shifted validation"}

# The tuning list: title, and the trial that it is compared with.
TRIALS = {
    "tuning_as_reported": ("Adam at 1e-3 (reference)", None),
    "tuning_batch_64": ("batch of 64", "tuning_as_reported"),
    "tuning_batch_32": ("batch of 32", "tuning_as_reported"),
    "tuning_magnitude_0.6": ("magnitude 0.6", "tuning_as_reported"),
    "tuning_deviation_0.2": ("deviation 0.2", "tuning_as_reported"),
    "tuning_2_operations": ("2 operations", "tuning_as_reported"),
    "tuning_3_operations": ("3 operations", "tuning_as_reported"),
    "tuning_rate_0.7": ("rate 0.7", "tuning_as_reported"),
    "tuning_adam_1e-4": ("Adam at 1e-4 (reference)", "tuning_as_reported"),
    "tuning_adam_1e-4_over_3": ("Adam at 1e-4/3", "tuning_adam_1e-4"),
    "tuning_lion_1e-3": ("Lion at 1e-3", "tuning_adam_1e-4"),
    "tuning_lion_1e-4": ("Lion at 1e-4", "tuning_adam_1e-4"),
    "tuning_lion_5e-5": ("Lion at 5e-5", "tuning_adam_1e-4"),
    "tuning_lion_1e-4_over_3": ("Lion at 1e-4/3", "tuning_adam_1e-4"),
    "tuning_extra_dense": ("extra dense layer of 128", "tuning_adam_1e-4"),
}
REMEDIES = {
    "subset_fine_tuned": "none",
    "subset_class_weights": "class weights",
    "subset_generator": "copies by ImageDataGenerator",
    "subset_layers": "copies by Keras layers",
}
FAMILIES = {
    "subset_fine_tuned": "none",
    "subset_mild": "mild",
    "subset_geometry": "geometry",
    "subset_colour": "colour",
    "subset_occlusion": "occlusion",
    "subset_composed": "composed",
    "subset_rand_augment": "RandAugment, each epoch",
    "subset_rand_augment_copies": "RandAugment, once",
    "subset_rand_augment_3_copies": "RandAugment, once, 3 operations",
}
# Backbones whose weights are at hand: one that costs.json gives no reason for must have its record.
SUBSET_OF_NETWORK = {
    "efficientnet_lite0": "subset_fine_tuned",
    "efficientnet_lite1": "subset_efficientnet_lite1",
    "efficientnet_lite2": "subset_efficientnet_lite2",
    "mobilenet_v3_small": "subset_mobilenet_v3_small",
}


def model_seeds(name: str) -> tuple[int, ...]:
    """Return the seeds that a model of Table 1 was trained with."""
    return SEEDS if name in THREE_SEEDS else (0,)


@dataclass(frozen=True)
class Records:
    """All that was measured.

    Attributes:
        entries: the records of results.json by key.
        logits: float32 (N, classes) by run (`<experiment>-seed<k>`), then by image set.
        labels: int (N,) by image set.
        costs: costs.json: "networks" and "missing".
        sets: evaluation_sets.json: how the image sets were made.
    """

    entries: dict[str, dict]
    logits: dict[str, dict[str, np.ndarray]]
    labels: dict[str, np.ndarray]
    costs: dict
    sets: dict

    def estimate(self, experiment: str, images: str, seed: int = 0) -> Estimate:
        """Return a recorded accuracy (0-1) with its interval."""
        entry = self.entries[f"{experiment}-seed{seed}/{images}/accuracy"]
        return Estimate(entry["value"], *entry["interval"], entry["n"])

    def values(self, experiment: str, images: str) -> np.ndarray:
        """Return the recorded accuracies (0-1) of all seeds of an experiment, float (seeds,)."""
        seeds = self.seeds(experiment)
        return np.array([self.estimate(experiment, images, seed).value for seed in seeds])

    def seeds(self, experiment: str) -> list[int]:
        """Return the seeds that an experiment has validation records for."""
        pattern = re.compile(re.escape(experiment) + r"-seed(\d+)/validation/accuracy")
        return sorted(int(match[1]) for match in map(pattern.fullmatch, self.entries) if match)

    def right(self, experiment: str, images: str) -> np.ndarray:
        """Return bool (seeds, N): which images each seed of an experiment gets right."""
        return self.predicted(experiment, images) == self.labels[images]

    def predicted(self, experiment: str, images: str) -> np.ndarray:
        """Return int (seeds, N): the class that each seed of an experiment predicts."""
        runs = [f"{experiment}-seed{seed}" for seed in self.seeds(experiment)]
        return np.array([self.logits[run][images].argmax(axis=1) for run in runs])


def load(folder: Path) -> Records:
    """Read everything the report needs from its folder.

    Raises:
        CourseError: if a file or record is missing: one sentence that names all of them and says
            what makes them.
    """
    entries = {entry["key"]: entry for entry in _json(folder / "results.json")}
    costs = _json(folder / "costs.json")
    runs = _required(costs)
    _check_records(entries, runs)
    labels = _arrays(folder / "predictions" / "labels.npz")
    records = Records(
        entries, _logits(folder, entries), labels, costs, _json(folder / "evaluation_sets.json")
    )
    _check_logits(records, runs)
    return records


def _required(costs: dict) -> dict[str, Iterable[str]]:
    """Return the image sets that each run must have records for."""
    runs: dict[str, Iterable[str]] = {}
    for name in MODELS:
        for seed in model_seeds(name):
            runs[f"{name}-seed{seed}"] = (*TABLE1_SETS, "shifted_validation")
    networks = [name for net, name in SUBSET_OF_NETWORK.items() if net not in costs["missing"]]
    for name in (*TRIALS, *REMEDIES, *networks):
        for seed in SEEDS:
            runs.setdefault(f"{name}-seed{seed}", CHOOSING_SETS)
    for name in FAMILIES:
        runs.setdefault(f"{name}-seed0", CHOOSING_SETS)
    return runs


def _check_records(entries: dict, runs: dict[str, Iterable[str]]) -> None:
    keys = [f"{run}/{images}/accuracy" for run, sets in runs.items() for images in sets]
    missing = [key for key in keys if key not in entries]
    if missing:
        raise CourseError(
            f"report/results.json lacks {len(missing)} of the report's {len(keys)} records "
            f"({', '.join(missing)}): make them with {_commands(missing)}."
        )


def _commands(keys: list[str]) -> str:
    """Return the shell commands that make records: experiments with the same seeds together."""
    seeds = defaultdict(set)
    for key in keys:
        experiment, seed = key.split("/")[0].rsplit("-seed", 1)
        seeds[experiment].add(seed)
    together = defaultdict(list)
    for experiment, wanted in seeds.items():
        together[" ".join(sorted(wanted))].append(experiment)
    return " and ".join(
        f"`COURSE_PROFILE=full python -m helpers.recipes run {' '.join(names)} --seeds {wanted}`"
        for wanted, names in together.items()
    )


def _check_logits(records: Records, runs: dict[str, Iterable[str]]) -> None:
    """Raise unless every run has logits for the labels of every set but the corrupted ones."""
    wrong = [
        f"{run}/{images}"
        for run, sets in runs.items()
        for images in sets
        if images != "medmnist_c"
        and len(records.logits.get(run, {}).get(images, ())) != len(records.labels.get(images, "?"))
    ]
    if wrong:
        raise CourseError(
            f"report/predictions/ lacks the logits of {', '.join(wrong)}, or has others than "
            f"labels.npz has labels for: make them with {_commands(wrong)}."
        )


def _logits(folder: Path, entries: dict) -> dict[str, dict[str, np.ndarray]]:
    runs = {key.split("/")[0] for key in entries if "-seed" in key}
    paths = [folder / "predictions" / f"{run}.npz" for run in sorted(runs)]
    return {path.stem: _arrays(path) for path in paths if path.exists()}


def _arrays(path: Path) -> dict[str, np.ndarray]:
    _check_exists(path)
    with np.load(path, allow_pickle=False) as stored:
        return {
            name: stored[name].astype(np.float32) if stored[name].ndim == 2 else stored[name]
            for name in stored
        }


def _json(path: Path) -> list | dict:
    _check_exists(path)
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise CourseError(
            f"{path.name} in {path.parent.name}/ is not valid JSON ({error}): restore it from git."
        ) from error


def _check_exists(path: Path) -> None:
    if not path.exists():
        raise CourseError(
            f"{path.name} is missing in {path.parent.name}/, and the report is made from it: "
            "restore it from git."
        )
