"""Makes a released model of a trained experiment (see `models.released`).

Command:
    COURSE_PROFILE=full python -m helpers release EXPERIMENT --as NAME
    COURSE_PROFILE=full python -m helpers release --familiarity NAME   fits what a released model
        calls unfamiliar anew, without any training
"""

import argparse
import dataclasses
import hashlib
import json
import re
from pathlib import Path

import numpy as np

from commands import familiarity
from commands.card import page
from helpers.changes import shifts
from helpers.course import CourseError
from helpers.data.sets import SHIFT_SEEDS, CourseData, load_course_data
from helpers.evaluation import metrics, records
from helpers.evaluation.records import IMAGE_SETS
from helpers.files import replaced
from helpers.models import backbones, networks, released
from helpers.training import recipes
from helpers.training.experiment import Experiment
from helpers.training.run import Result, load_recorded, result

CARD_PAGE = "CARD.md"
LARGEST_BYTES = 20 * 10**6

FITTED_ON = "shifted_validation"

# Of everything that goes wrong, so many of the worst are named.
WORST = 3


def release(experiment: Experiment, data: CourseData, name: str) -> Path:
    """Write a trained experiment as a released model, trained first if it is not cached.

    Args:
        experiment: what to release.
        data: what it is trained and judged on.
        name: of the released model. One that is there already is replaced only by a model of the
            same profile and source.

    Returns:
        The model's folder.

    Raises:
        CourseError: if the name will not do or belongs to another model; see `write`.
    """
    _check_name(name, data)
    model, trained = load_recorded(experiment, data), result(experiment, data)
    card = describe(trained, data)
    stored = released.assembled(
        released.network_file(model), released.half_weights_file(model), len(data.class_names)
    )
    now = networks.predict_logits(stored, data["validation"].images).argmax(axis=1)
    changed = int((now != trained.logits["validation"].argmax(axis=1)).sum())
    card["half_precision"] = {"set": "validation", "n": len(now), "changed": changed}
    write(model, name, card)
    return familiarise(name, data)


def familiarise(name: str, data: CourseData) -> Path:
    """Fit what a released model calls unfamiliar, and write that beside it, and into its card.

    The limit and the temperature, which grows with the distance, are fitted on the shifted
    validation set; how many images of each other set are unfamiliar, and how honest the
    probabilities are there, is measured.

    Returns:
        The model's folder. A network without pooled features stays as it is.

    Raises:
        CourseError: if there is no such model, or it was trained on other images.
    """
    card, model = released.card(name), familiarity.with_features(released.load(name))
    if model is None:
        return released.folder(name)
    if card["training"]["split"] != data.fingerprint:
        raise CourseError(
            f"The released model {name!r} was trained on other images than {data.source.caption}, "
            f"profile {data.profile.name}: its familiarity is fitted on its own."
        )
    found = {n: released.outputs(model, images.images) for n, images in data.sets.items()}
    reference = familiarity.fit(found["train"][0], data["train"].labels)
    distances = {n: reference.distances(features) for n, (features, _) in found.items()}
    fitted = found[FITTED_ON][1], data[FITTED_ON].labels, distances[FITTED_ON]
    limit = float(np.quantile(distances[FITTED_ON], familiarity.FAMILIAR))
    settings = familiarity.fit_temperature(*fitted)
    card["familiarity"] = {
        "limit": limit,
        "temperature": settings,
        "set": FITTED_ON,
        "measured": {
            n: _honesty(found[n][1], data[n].labels, distances[n], limit, settings)
            for n in data.evaluation_sets
        },
    }
    content = reference.to_bytes()
    card["sha256"][familiarity.FILE] = hashlib.sha256(content).hexdigest()
    files = {familiarity.FILE: content, **_card_files(card)}
    for file, written in files.items():
        with replaced(released.folder(name) / file) as temporary:
            temporary.write_bytes(written)
    return released.folder(name)


def _honesty(logits, labels, distances, limit: float, settings: list[float]) -> dict:
    """Return how many images are unfamiliar, and the calibration error of the others."""
    known = distances <= limit
    scaled = logits / familiarity.temperatures(settings, distances)[:, None]
    probabilities = metrics.softmax(scaled[known])
    error = metrics.expected_calibration_error(probabilities, labels[known])
    return {
        "n": len(labels),
        "unfamiliar": float(1 - known.mean()),
        "ece": error.value,
        "ece_interval": [error.low, error.high],
    }


def describe(trained: Result, data: CourseData) -> dict:
    """Return all that a card says of a training but the files; metrics are its records.

    The temperature is fitted on the shifted validation set, so that a probability is honest on
    photographs that look otherwise than the training's.
    """
    labels = data[FITTED_ON].labels
    measured = _records(trained)
    return {
        "class_names": list(data.class_names),
        "temperature": metrics.fit_temperature(trained.logits[FITTED_ON], labels),
        "temperature_from": {"set": FITTED_ON, "n": len(labels)},
        "experiment": dataclasses.asdict(trained.experiment),
        "training": {
            "profile": data.profile.name,
            "source": data.source.name,
            "source_checksum": data.source.checksum,
            "split": data.fingerprint,
            "train_images": trained.train_images,
            "epochs": trained.epochs,
            "best_epoch": trained.best_epoch,
            "stopped_by": trained.stopped_by,
            "revision": trained.revision,
        },
        "backbone": _backbone(trained.experiment.network),
        "metrics": {name: measured[name] for name in IMAGE_SETS if name in measured},
        "failures": _failures(trained, data, measured),
    }


def write(model, name: str, card: dict) -> Path:
    """Write a model's four files; a model of that name is replaced.

    Args:
        model: takes (N, 96, 96, 3) in 0-255, returns logits; made of Keras' own layers only.
        name: of the folder: small letters, digits and underscores.
        card: as `describe` returns it.

    Returns:
        The folder.

    Raises:
        CourseError: if the network will not do, or the files have more than 20 MB.
    """
    files = {
        released.NETWORK: released.network_file(model),
        released.WEIGHTS: released.half_weights_file(model),
    }
    sha256 = {file: hashlib.sha256(content).hexdigest() for file, content in files.items()}
    card = {"name": name, **card, "sha256": sha256, "bytes": len(files[released.WEIGHTS])}
    # The card comes last: until it is there, its SHA-256 tells that the release is not whole.
    files |= _card_files(card)
    size = sum(map(len, files.values()))
    if size > LARGEST_BYTES:
        raise CourseError(
            f"The released model {name!r} would have {size / 1e6:.0f} MB, more than "
            f"{LARGEST_BYTES / 1e6:.0f}: release a smaller network."
        )
    for file, content in files.items():
        with replaced(released.folder(name) / file) as temporary:
            temporary.write_bytes(content)
    return released.folder(name)


def _card_files(card: dict) -> dict[str, bytes]:
    text = json.dumps(card, indent=1).encode() + b"\n"
    return {CARD_PAGE: page(card).encode(), released.CARD: text}


def _check_name(name: str, data: CourseData) -> None:
    if not re.fullmatch(r"[a-z0-9_]+", name):
        raise CourseError(
            f"{name!r} is no name for a released model: use small letters, digits and underscores."
        )
    if name not in released.names():
        return
    training = released.card(name)["training"]
    if (training["profile"], training["source"]) != (data.profile.name, data.source.name):
        raise CourseError(
            f"models/{name} holds a model of the {training['profile']} profile, trained on the "
            f"source {training['source']}: release this one (profile {data.profile.name}, source "
            f"{data.source.name}) under another name with --as."
        )


def _backbone(network: str) -> dict | None:
    """Return title and origin of a backbone's ImageNet weights; None for a network without any."""
    if network not in backbones.BACKBONES:
        return None
    backbone = backbones.BACKBONES[network]
    # As the packages' LICENSE files say. Of the others this course knows no more than the host.
    licence = "Apache-2.0" if network in backbones.LITES else "as its publisher names it"
    return {"title": backbone.title, "weights_from": backbone.weights_from, "licence": licence}


def _records(trained: Result) -> dict[str, dict]:
    """Return "key", "value", "interval" and "n" of a training's records, by image set."""
    run = trained.experiment.run_name
    return {
        name: records.Record(records.accuracy_key(run, name), estimate, {}).to_json()
        for name, estimate in trained.accuracies.items()
    }


def _failures(trained: Result, data: CourseData, measured: dict[str, dict]) -> dict:
    """Return the worst classes, kinds of change and corruptions, each worst first."""
    logits, shifted = trained.logits, "shifted_test"
    classes = {
        name: _worst_classes(data[name].labels, logits[name], data.class_names)
        for name in ("test", shifted)
        if name in logits
    }
    changes = []
    if shifted in logits:
        correct = logits[shifted].argmax(axis=1) == data[shifted].labels
        changes = _worst_changes(correct, shifts.chains(len(correct), SHIFT_SEEDS[shifted]))
    corruptions = [
        {"name": name.removeprefix("medmnist_c/"), **record}
        for name, record in measured.items()
        if name.startswith("medmnist_c/")
    ]
    return {"classes": classes, "changes": changes, "corruptions": _worst(corruptions)}


def _worst_classes(labels: np.ndarray, logits: np.ndarray, class_names: tuple) -> list[dict]:
    predicted, found = logits.argmax(axis=1), []
    for label in np.unique(labels):
        answers = predicted[labels == label]
        wrong = np.bincount(answers[answers != label], minlength=len(class_names))
        taken_for = class_names[wrong.argmax()] if wrong.any() else None
        found.append({**_named(class_names[label], answers == label), "taken_for": taken_for})
    return _worst(found)


def _worst_changes(correct: np.ndarray, chains: list[tuple[str, ...]]) -> list[dict]:
    kinds = sorted({kind for chain in chains for kind in chain})
    return _worst([_named(kind, correct[[kind in chain for chain in chains]]) for kind in kinds])


def _named(name: str, correct: np.ndarray) -> dict:
    found = metrics.fraction(correct)
    interval = [found.low, found.high]
    return {"name": name, "value": found.value, "interval": interval, "n": found.n}


def _worst(found: list[dict]) -> list[dict]:
    return sorted(found, key=lambda entry: entry["value"])[:WORST]


def main(arguments: list[str] | None = None) -> int:
    """Read the command line and release an experiment; 0 if its files are written."""
    parser = argparse.ArgumentParser(description="Release a trained experiment as a model.")
    parser.add_argument(
        "experiment", nargs="?", help="a name that `python -m helpers train list` prints"
    )
    parser.add_argument("--as", dest="name", help="name of the released model")
    parser.add_argument("--familiarity", metavar="NAME", help="fit that of a released model anew")
    options = parser.parse_args(arguments)
    if options.familiarity:
        print(f"{familiarise(options.familiarity, load_course_data())} has its familiarity fitted.")
        return 0
    if not options.experiment or not options.name:
        parser.error("name an experiment and the released model: EXPERIMENT --as NAME")
    folder = release(recipes.find(options.experiment), load_course_data(), options.name)
    size = sum(path.stat().st_size for path in folder.iterdir())
    recorded = len(released.card(options.name)["metrics"])
    print(f"{folder} written, {size / 1e6:.1f} MB, with {recorded} of {len(IMAGE_SETS)} metrics.")
    return 0
