"""What an experiment reached: read from the course's records, or trained now."""

from dataclasses import dataclass

import numpy as np

from helpers.data.sets import CourseData
from helpers.evaluation import judging, metrics, records
from helpers.training.experiment import Experiment, identity
from helpers.training.run import run


@dataclass(frozen=True)
class Judged:
    """What a finished training reached.

    Attributes:
        logits: float (N, classes) for each evaluation set.
        minutes: of training, with those of the experiment that it starts from.
        epochs: how many were trained.
        best_epoch: the one (from 1) whose weights were kept.
        train_images: training images an epoch.
        accuracies: as recorded, for each evaluation set and "medmnist_c", where measured.
    """

    logits: dict[str, np.ndarray]
    minutes: float
    epochs: int
    best_epoch: int
    train_images: int
    accuracies: dict[str, metrics.Estimate]


def look_up(experiment: Experiment, data: CourseData) -> Judged:
    """Return what an experiment reached, from its records if they are of these images, else anew.

    A record counts if it is of the same settings, caps and images (`experiments.identity`): the
    logits stored beside it then say all that the network would, and nothing is trained.
    """
    found = _records(experiment, data)
    if "validation" not in found:
        records.record_outcome(run(experiment, data), data)
        found = _records(experiment, data)
    training = found["validation"]
    before = look_up(experiment.starts_from, data).minutes if experiment.starts_from else 0
    return Judged(
        records.stored_predictions(experiment.run_name, data.source),
        before + training["seconds"] / 60,
        *(training[name] for name in ("epochs", "best_epoch", "train_images")),
        {name: _estimate(entry) for name, entry in found.items()},
    )


def over_seeds(experiment: Experiment, data: CourseData) -> dict[str, metrics.Estimate]:
    """Return how right an experiment is on the sets that choose, over the profile's seeds.

    Returns:
        {image set: estimate}: the mean accuracy (0-1), the lowest and the highest seed in the place
        of the interval, and the number of seeds in that of n.
    """
    seeds = [
        look_up(experiment.variant(experiment.name, seed=seed), data).accuracies
        for seed in data.profile.seeds
    ]
    found = {name: [accuracies[name].value for accuracies in seeds] for name in judging.CHOOSE_ON}
    return {
        name: metrics.Estimate(float(np.mean(values)), min(values), max(values), len(values))
        for name, values in found.items()
    }


def _records(experiment: Experiment, data: CourseData) -> dict[str, dict]:
    """Return the experiment's records by image set, those of other settings or images left out."""
    wanted = identity(experiment, data)
    keys = {
        f"{experiment.run_name}/{name}/accuracy": name
        for name in (*data.evaluation_sets, "medmnist_c")
    }
    return {
        keys[entry["key"]]: entry
        for entry in records.read(data.source)
        if entry["key"] in keys and entry.get("identity") == wanted
    }


def _estimate(record: dict) -> metrics.Estimate:
    return metrics.Estimate(record["value"], *record["interval"], record["n"])
