"""The course's trainings from the command line, by name, and what they are evaluated on.

Commands:
    python -m helpers train list
    python -m helpers train run NAME [NAME ...] [--seeds 0 1 2] [--force]
    python -m helpers train freeze      write evaluation_sets.json; once, on purpose
    python -m helpers train robustness NAME [NAME ...]   on MedMNIST-C
    python -m helpers train unseen NAME [NAME ...] [--released]   on the shift's unseen operations
    python -m helpers train families NAME [NAME ...] [--released]   on each of its families alone
    python -m helpers train views NAME [NAME ...]        on all turns and mirrored, averaged

The last four evaluate what is trained already, and know `--seeds` too. Two kinds of sets answer for
changes that nobody trained for: MedMNIST-C (11 corruptions in 5 severities), and test and
validation photographs under some of the shift's operations (`PARTIAL_SHIFTS`). All are made on the
fly, once for all networks that are evaluated together.
"""

import argparse
import json
from pathlib import Path

import keras
import numpy as np
from scipy import special

from helpers.changes import corruptions, shifts
from helpers.course import CourseError
from helpers.data import splits
from helpers.data.photographs import ImageSet
from helpers.data.sets import (
    PARTIAL_SHIFTS,
    SHIFT_SEEDS,
    SHIFT_SEVERITY,
    SHIFT_VERSION,
    CourseData,
    load_course_data,
)
from helpers.evaluation import metrics, records
from helpers.evaluation.metrics import Estimate
from helpers.files import replaced
from helpers.models import networks, released
from helpers.training import recipes
from helpers.training.experiment import Experiment, identity
from helpers.training.run import load_recorded, result

CORRUPTED_IMAGES = 1000
CORRUPTION_SEED = 13


def corrupted_base(data: CourseData) -> ImageSet:
    """Return the test images that are corrupted: 1,000 in the classes' proportions, or all."""
    test = data["test"]
    if len(test) <= CORRUPTED_IMAGES:
        return test
    return test.rows(splits.subset(np.arange(len(test)), test.labels, CORRUPTED_IMAGES))


def corrupted_predictions(
    models: dict[str, keras.Model], images: np.ndarray
) -> dict[str, np.ndarray]:
    """Return what each model predicts, uint8 (corruptions, severities, images)."""
    shape = (len(corruptions.CORRUPTIONS), len(corruptions.SEVERITIES), len(images))
    predictions = {name: np.empty(shape, np.uint8) for name in models}
    for i, corruption in enumerate(corruptions.CORRUPTIONS):
        for j, severity in enumerate(corruptions.SEVERITIES):
            corrupted = corruptions.corrupt(images, corruption, severity, CORRUPTION_SEED)
            for name, model in models.items():
                logits = networks.predict_logits(model, corrupted)
                predictions[name][i, j] = logits.argmax(axis=1)
    return predictions


def corrupted_accuracies(predictions: np.ndarray, labels: np.ndarray) -> dict[str, Estimate]:
    """Return the mean accuracy over all corruptions and severities, and that of each corruption.

    The five or 55 versions of one photograph are no independent images: intervals are bootstrapped
    over photographs.

    Args:
        predictions: uint8 (corruptions, severities, images).
        labels: int (images,).

    Returns:
        By image set, as records name it: "medmnist_c" and "medmnist_c/<corruption>".
    """
    correct = predictions == labels
    each = {
        f"medmnist_c/{name}": metrics.mean_fraction(correct[index].mean(axis=0))
        for index, name in enumerate(corruptions.CORRUPTIONS)
    }
    return {"medmnist_c": metrics.mean_fraction(correct.mean(axis=(0, 1))), **each}


def record_robustness(
    trained: list[Experiment], data: CourseData
) -> dict[str, dict[str, Estimate]]:
    """Evaluate trainings on MedMNIST-C and record that; return the mean accuracy by run."""
    base, means = corrupted_base(data), {}
    labels = base.labels.astype(np.uint8)
    models = {experiment.run_name: load_recorded(experiment, data) for experiment in trained}
    predicted = corrupted_predictions(models, base.images)
    for experiment in trained:
        run, predictions = experiment.run_name, predicted[experiment.run_name]
        found = corrupted_accuracies(predictions, labels)
        arrays = {"predictions": predictions, "labels": labels}
        records.write_predictions(f"{run}-medmnist_c", arrays, data.source)
        _record(experiment, data, found)
        means[run] = {"medmnist_c": found["medmnist_c"]}
    return means


def record_partial(
    trained: list[Experiment], data: CourseData, group: str, from_release: bool = False
) -> dict[str, dict[str, Estimate]]:
    """Evaluate trainings under some operations of the shift and record that; return it by run.

    Args:
        trained: what to evaluate.
        data: images by role.
        group: of PARTIAL_SHIFTS.
        from_release: evaluate the released model that has the training's name instead, and say so
            in the record: it may be a second training of the same settings.

    Raises:
        CourseError: if no released model has that name, or it was trained on other images.
    """
    sets = {name: data[shift.role] for name, shift in PARTIAL_SHIFTS[group].items()}
    changed = {n: shift.of(sets[n].images) for n, shift in PARTIAL_SHIFTS[group].items()}
    means = {}
    for experiment in trained:
        model = _released(experiment, data) if from_release else load_recorded(experiment, data)
        logits = {name: networks.predict_logits(model, images) for name, images in changed.items()}
        found = {name: metrics.accuracy(of.labels, logits[name]) for name, of in sets.items()}
        records.write_partial(experiment.run_name, group, logits, data.source)
        weights = {"weights": f"models/{experiment.name}"} if from_release else {}
        _record(experiment, data, found, **weights)
        means[experiment.run_name] = found
    return means


def _released(experiment: Experiment, data: CourseData) -> keras.Model:
    """Return the released model of a training, if it was trained on the images at hand."""
    if released.card(experiment.name)["training"]["split"] != data.fingerprint:
        raise CourseError(
            f"The released model {experiment.name!r} was trained on other images than "
            f"{data.source.caption}, profile {data.profile.name}: it is judged on its own."
        )
    return released.load(experiment.name)


def record_views(trained: list[Experiment], data: CourseData) -> dict[str, dict[str, Estimate]]:
    """Record the accuracy of eight views averaged, on the sets that report, by run and set.

    The views are all quarter turns of an image and of its mirror image; averaged are probabilities.
    """
    means = {}
    for experiment in trained:
        model, found = load_recorded(experiment, data), {}
        for name in (name for name in records.REPORT_ON if name in data.sets):
            images, labels = data[name].images, data[name].labels
            total = np.zeros((len(labels), len(data.class_names)))
            for side in (images, images[:, :, ::-1]):
                for turns in range(4):
                    logits = networks.predict_logits(model, np.rot90(side, turns, axes=(1, 2)))
                    total += special.softmax(logits, axis=1)
            found[f"eight_views/{name}"] = metrics.accuracy(labels, total)
        _record(experiment, data, found)
        means[experiment.run_name] = found
    return means


def _record(
    experiment: Experiment, data: CourseData, found: dict[str, Estimate], **more: str
) -> None:
    """Record a finished training's accuracies by image set."""
    details = {"seed": experiment.seed, "split": data.fingerprint, "seconds": None, **more}
    details["identity"] = identity(experiment, data)
    keys = {records.accuracy_key(experiment.run_name, name): each for name, each in found.items()}
    written = [records.Record(key, estimate, details) for key, estimate in keys.items()]
    records.write(written, data.source)


def evaluation_sets(data: CourseData) -> dict:
    """Return what evaluation_sets.json holds: how each evaluation set was made, and its hash."""
    operations = shifts.OPERATIONS.values()
    return {
        "fingerprint": data.fingerprint,
        "source": data.source.name,
        "source_checksum": data.source.checksum,
        "shift_recipe": SHIFT_VERSION,
        "shift_seeds": SHIFT_SEEDS,
        "severity": SHIFT_SEVERITY,
        "seen_operations": [operation.name for operation in operations if operation.seen],
        "unseen_operations": [operation.name for operation in operations if not operation.seen],
        "sets": {
            name: {"images": len(images), "sha256": records.digest(images)}
            for name, images in data.evaluation_sets.items()
        },
    }


def freeze(data: CourseData) -> Path:
    """Write evaluation_sets.json, once: one that changes after a model failed measures nothing.

    Raises:
        CourseError: if the file is there already and holds other sets.
    """
    path, sets = records.folder(data.source) / "evaluation_sets.json", evaluation_sets(data)
    content = json.dumps(sets, indent=1) + "\n"
    if path.exists() and path.read_text(encoding="utf-8") != content:
        raise CourseError(
            f"{path} holds other evaluation sets than those of this run, and every record is of "
            "those: delete it first if they are to be given up."
        )
    with replaced(path) as temporary:
        temporary.write_text(content)
    return path


def listing(published: records.Records) -> list[str]:
    """Return a line per training of the catalogue: its name and what is recorded of seed 0."""
    lines = []
    for name in recipes.catalogue():
        record = published.by_key.get(
            records.accuracy_key(records.run_name(name, 0), "shifted_validation")
        )
        if record is None:
            lines.append(f"{name:33s} nothing recorded")
            continue
        details, value = record.details, record.estimate.value
        lines.append(
            f"{name:33s} {details['train_images']:6,} images, {details['epochs']:3d} epochs, "
            f"{details['seconds'] / 60:4.0f} min, shifted validation {value:.1%}"
        )
    return lines


def run(names: list[str], seeds: list[int], force: bool) -> None:
    """Train experiments by name with each seed, or find them finished, and print how they did."""
    experiments = [recipes.find(name) for name in names]
    data = load_course_data()
    for seed in seeds:
        for experiment in experiments:
            found = result(experiment.variant(experiment.name, seed=seed), data, force)
            accuracy, minutes = found.accuracies["validation"], found.minutes
            print(
                f"{experiment.name}, seed {seed}: validation {accuracy}, {minutes:.1f} min",
                flush=True,
            )


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and do what it says under COURSE_PROFILE."""
    parser = argparse.ArgumentParser(description="The course's trainings, by name.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="print all trainings and what is recorded of them")
    commands.add_parser("freeze", help="write down how the evaluation sets were made")
    training = commands.add_parser("run", help="train, evaluate and record")
    robust = commands.add_parser("robustness", help="evaluate on MedMNIST-C")
    unseen = commands.add_parser("unseen", help="evaluate on the shift's unseen operations alone")
    families = commands.add_parser("families", help="evaluate on each of the shift's families")
    views = commands.add_parser("views", help="evaluate with eight views averaged")
    for command in (training, robust, unseen, families, views):
        command.add_argument("names", nargs="+", metavar="NAME")
        command.add_argument("--seeds", type=_seed, nargs="+", default=[0])
    for command in (unseen, families):
        command.add_argument("--released", action="store_true", help="of the released model NAME")
    training.add_argument("--force", action="store_true", help="train again what is finished")
    options = parser.parse_args(arguments)
    if options.command == "list":
        print("\n".join(listing(records.published())))
    elif options.command == "run":
        run(options.names, options.seeds, options.force)
    elif options.command == "freeze":
        print(f"{freeze(load_course_data())} written.")
    else:
        named, data = [recipes.find(name) for name in options.names], load_course_data()
        trained = [each.variant(each.name, seed=seed) for each in named for seed in options.seeds]
        if options.command in records.PARTIAL:
            means = record_partial(
                trained, data, records.PARTIAL[options.command], options.released
            )
        else:
            record = record_views if options.command == "views" else record_robustness
            means = record(trained, data)
        for name, found in means.items():
            for image_set, estimate in found.items():
                print(f"{name}: {records.IMAGE_SETS.get(image_set, image_set)} {estimate}")


def _seed(text: str) -> int:
    if not text.isdigit() or int(text) >= 2**31:
        raise argparse.ArgumentTypeError(f"{text} is no seed: give a whole number from 0")
    return int(text)
