"""How trained networks fare on MedMNIST-C: 11 corruptions, 5 severities, 1,000 fixed test images.

Command:
    python -m helpers robustness NAME [NAME ...]     score and record experiments by name

The corrupted images are made on the fly, once for all networks that are scored together.
"""

import argparse

import keras
import numpy as np

from helpers import course
from helpers.changes import corruptions
from helpers.data import splits
from helpers.data.photographs import ImageSet
from helpers.data.sets import CourseData
from helpers.evaluation import metrics, records
from helpers.files import replaced
from helpers.models import networks
from helpers.training import recipes
from helpers.training.experiment import Experiment, identity
from helpers.training.run import load_trained, run

IMAGES = 1000
SEED = 13


def fixed_images(data: CourseData) -> ImageSet:
    """Return the test images that are corrupted: 1,000, class shares kept, or all if fewer."""
    test = data["test"]
    if len(test) <= IMAGES:
        return test
    return test.rows(splits.subset(np.arange(len(test)), test.labels, IMAGES, seed=0))


def corrupted_predictions(trained: list[Experiment], data: CourseData) -> dict[str, np.ndarray]:
    """Return predicted classes by run name, computed once and cached.

    Returns:
        For each experiment uint8 (corruptions, severities, images).
    """
    paths = {e.run_name: run(e, data).weights_path.with_name("medmnist_c.npy") for e in trained}
    missing = [e for e in trained if not paths[e.run_name].exists()]
    if missing:
        models = {e.run_name: load_trained(e, data) for e in missing}
        for name, predictions in _predict(models, fixed_images(data).images).items():
            with replaced(paths[name]) as temporary:
                np.save(temporary, predictions, allow_pickle=False)
    return {name: np.load(path, allow_pickle=False) for name, path in paths.items()}


def estimates(predictions: np.ndarray, labels: np.ndarray) -> dict[str, metrics.Estimate]:
    """Return the mean accuracy over all corruptions and severities, and that of each corruption.

    The five or 55 versions of one photograph are no independent images: intervals are bootstrapped
    over photographs.

    Args:
        predictions: uint8 (corruptions, severities, images).
        labels: int (images,).
    """
    right = predictions == labels
    each = {
        f"medmnist_c/{name}": metrics.mean_share(right[index].mean(axis=0))
        for index, name in enumerate(corruptions.CORRUPTIONS)
    }
    return {"medmnist_c": metrics.mean_share(right.mean(axis=(0, 1))), **each}


def record(trained: list[Experiment], data: CourseData) -> dict[str, dict]:
    """Score experiments, write their records and predictions; return `estimates` by run name."""
    labels, scores = fixed_images(data).labels, {}
    predicted = corrupted_predictions(trained, data)
    for experiment in trained:
        predictions = predicted[experiment.run_name]
        scores[experiment.run_name] = estimates(predictions, labels)
        found = {
            f"{experiment.run_name}/{name}/accuracy": estimate
            for name, estimate in scores[experiment.run_name].items()
        }
        shared = {
            "seed": experiment.seed,
            "split": data.fingerprint,
            "identity": identity(experiment, data),
            "seconds": None,
            **run(experiment, data).provenance,
        }
        records.record_all(found, dict.fromkeys(found, shared), data.source)
        arrays = {"predictions": predictions, "labels": labels.astype(np.uint8)}
        records.store_predictions(f"{experiment.run_name}-medmnist_c", arrays, data.source)
    return scores


def _predict(models: dict[str, keras.Model], images: np.ndarray) -> dict[str, np.ndarray]:
    shape = (len(corruptions.CORRUPTIONS), len(corruptions.SEVERITIES), len(images))
    predictions = {name: np.empty(shape, np.uint8) for name in models}
    for i, corruption in enumerate(corruptions.CORRUPTIONS):
        for j, severity in enumerate(corruptions.SEVERITIES):
            corrupted = corruptions.corrupt(images, corruption, severity, SEED)
            for name, model in models.items():
                predictions[name][i, j] = networks.predict_logits(model, corrupted).argmax(axis=1)
    return predictions


def main() -> None:
    """Read the command line; score and record under COURSE_PROFILE."""
    from helpers.data.sets import load_course_data

    parser = argparse.ArgumentParser(description="Score experiments on MedMNIST-C's corruptions.")
    parser.add_argument("names", nargs="+", metavar="NAME")
    trained = [recipes.find(name) for name in parser.parse_args().names]
    scores = record(trained, load_course_data())
    for name, estimate in scores.items():
        print(f"{name}: MedMNIST-C {estimate['medmnist_c']}")


if __name__ == "__main__":
    course.run_command(main)
