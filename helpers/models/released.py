"""Released models: trained networks that travel with the course, each with a card that explains it.

    from helpers.models import released
    model = release.load()

Command:
    COURSE_PROFILE=full python -m helpers release EXPERIMENT --as NAME

A released model is a folder models/<name>/: network.json (Keras' description), weights.npz,
card.json and CARD.md (the same for readers). Weights are stored in float16, which halves their
size; equal weights give equal bytes.
"""

import argparse
import dataclasses
import hashlib
import io
import json
import re
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np

from helpers import course
from helpers.commands import submission, submission_model
from helpers.course import CourseError
from helpers.data.photographs import IMAGE_SIZE
from helpers.files import replaced

DEFAULT = "final"
LARGEST_BYTES = 20 * 10**6

NETWORK, WEIGHTS, CARD, CARD_PAGE = "network.json", "weights.npz", "card.json", "CARD.md"

# Image sets by the names of their records, in the order of the card.
TITLES = {
    "validation": "validation",
    "shifted_validation": "shifted validation",
    "test": "test",
    "shifted_test": "shifted test",
    "shifted_test_seen": "shifted test: only changes like those of training",
    "shifted_test_unseen": "shifted test: with changes never trained on",
    "second_acquisition": "second acquisition",
    "medmnist_c": "MedMNIST-C",
}
CHOSEN_ON = ("validation", "shifted_validation")

# Of everything that goes wrong, so many of the worst are named.
WORST = 3

PBC = """\
Photographs of the Barcelona peripheral-blood-cell set (PBC), as BloodMNIST uses them: the central
200 x 200 pixels of each. Both are published under CC BY 4.0.

- A. Acevedo et al. 2020, *A dataset of microscopic peripheral blood cell images for development of
  automatic recognition systems*, Data in Brief 30:105474.
- J. Yang et al. 2023, *MedMNIST v2: a large-scale lightweight benchmark for 2D and 3D biomedical
  image classification*, Scientific Data 10:41."""
DATA = {
    "synthetic": "**Synthetic cells**, made by this course (`H@/data/synthetic.py`, MIT).",
    "folder": "Images of a folder of the trainer's own; their licence is the trainer's to name.",
}


def names() -> list[str]:
    """Return the names of the released models."""
    return sorted(path.name for path in _top().glob("*") if path.is_dir())


def load(name: str = DEFAULT) -> keras.Model:
    """Return a released network, checked to be the one that its card describes.

    Returns:
        A model that takes uint8 or float (N, 96, 96, 3), RGB, 0-255, and returns logits
        (N, classes); uncompiled.

    Raises:
        CourseError: if there is no such model; if one of its files is missing, damaged, or holds
            other weights than those of its card or layers that are not Keras' own.
    """
    found, folder = card(name), _top() / name
    files = {file: _read(folder / file) for file in (NETWORK, WEIGHTS)}
    for file, content in files.items():
        if hashlib.sha256(content).hexdigest() != found["sha256"].get(file):
            raise CourseError(
                f"{file} of the released model {name!r} is not the file that its {CARD} names "
                "(another SHA-256): restore both from git."
            )
    try:
        return _assembled(*files.values(), len(found["class_names"]))
    except CourseError as error:
        raise CourseError(
            f"The released model {name!r} cannot be loaded: {error} Restore it from git."
        ) from error


def load_or_train(name: str, data) -> keras.Model:
    """Return the released model of that name, or on other images the experiment of that name.

    To synthetic cells, and to classes of your own, the released network is a stranger: there the
    experiment is trained on `data`, or its cached outcome loaded. Which of the two, is printed.

    Args:
        name: of a released model and of an experiment (`recipes.find`).
        data: the `CourseData` the network is to judge.
    """
    # In Colab the package comes without the released models.
    found = card(name) if name in names() else None
    is_ours = found and list(data.class_names) == found["class_names"]
    if is_ours and data.source.are_photographs:
        print(f"{name}: released model, trained on photographs ({found['training']['source']})")
        return load(name)
    from helpers.training import recipes, run

    print(f"{name}: trained here on {data.source.caption}, profile {data.profile.name}")
    return run.load_trained(recipes.find(name), data)


def card(name: str = DEFAULT) -> dict:
    """Return what card.json says of a released model, among it "class_names" and "temperature".

    Raises:
        CourseError: if there is no such model, or its card is missing or damaged.
    """
    if name not in names():
        present = ", ".join(names())
        raise CourseError(
            f"There is no released model {name!r} in {_top()}: "
            + (f"ask for one of {present}." if present else "it holds none yet.")
        )
    path = _top() / name / CARD
    try:
        found = json.loads(_read(path))
        if not found["temperature"] > 0 or not found["class_names"] or not found["experiment"]:
            raise ValueError("an empty entry")
        _ = found["sha256"][NETWORK], found["sha256"][WEIGHTS]
    except (KeyError, TypeError, ValueError) as error:
        raise CourseError(
            f"{CARD} of the released model {name!r} is no model's card ({error}): "
            "restore it from git."
        ) from error
    return found


def recipe(card: dict) -> str:
    """Return in a few words what a released model is and how it was trained."""
    settings = card["experiment"]
    network = card["backbone"]["title"] if card["backbone"] else settings["network"]
    changes = [settings["augmentation"], settings["offline"], settings["mix"]]
    changes = [str(change) for change in changes if change not in (None, "none")]
    return (
        f"{network} on {settings['image_size']} px, "
        f"augmentation: {' and '.join(changes) or 'none'}, "
        f"{settings['optimizer']} at {settings['learning_rate']:g} "
        f"(experiment {settings['name']}, seed {settings['seed']})"
    )


def write(model: keras.Model, name: str, card: dict) -> Path:
    """Write a model's four files; a model of that name is replaced.

    Args:
        model: takes (N, 96, 96, 3) in 0-255, returns logits; made of Keras' own layers only.
        name: of the folder: small letters, digits and underscores.
        card: as `describe` returns it.

    Returns:
        The folder.

    Raises:
        CourseError: if the name or the network will not do, or the files have more than 20 MB.
    """
    if not re.fullmatch(r"[a-z0-9_]+", name):
        raise CourseError(
            f"{name!r} is no name for a released model: use small letters, digits and underscores."
        )
    files = {NETWORK: submission.network_file(model), WEIGHTS: _half_weights(model)}
    sha256 = {file: hashlib.sha256(content).hexdigest() for file, content in files.items()}
    card = {"name": name, **card, "sha256": sha256, "bytes": len(files[WEIGHTS])}
    # The card comes last: until it is there, its SHA-256 tells that the release is not whole.
    files |= {
        CARD_PAGE: _page(card).encode(),
        CARD: json.dumps(card, indent=1).encode() + b"\n",
    }
    size = sum(map(len, files.values()))
    if size > LARGEST_BYTES:
        raise CourseError(
            f"The released model {name!r} would have {size / 1e6:.0f} MB, more than "
            f"{LARGEST_BYTES / 1e6:.0f}: release a smaller network."
        )
    for file, content in files.items():
        with replaced(_top() / name / file) as temporary:
            temporary.write_bytes(content)
    return _top() / name


def release(experiment, data, name: str) -> Path:
    """Write a trained experiment as a released model, trained first if it is not cached.

    Args:
        experiment: an `experiment.Experiment`.
        data: the `CourseData` it is trained and judged on.
        name: of the released model.

    Raises:
        CourseError: see `describe` and `write`.
    """
    from helpers.models import networks
    from helpers.training import run

    model = run.load_trained(experiment, data)
    outcome = run.run(experiment, data)
    described = describe(outcome, data)
    stored = _assembled(submission.network_file(model), _half_weights(model), len(data.class_names))
    now = networks.predict_logits(stored, data["validation"].images).argmax(axis=1)
    changed = int((now != outcome.logits["validation"].argmax(axis=1)).sum())
    described["half_precision"] = {"set": "validation", "n": len(now), "changed": changed}
    return write(model, name, described)


def describe(outcome, data) -> dict:
    """Return all that a card says of an outcome but the files; metrics are copied from its records.

    The temperature is fitted on the shifted validation set, so that a probability is honest on
    photographs that look otherwise than the training's.

    Args:
        outcome: an `experiments.Outcome`.
        data: the `CourseData` it was judged on.
    """
    from helpers.evaluation import calibration

    experiment, fitted_on = outcome.experiment, "shifted_validation"
    labels = data[fitted_on].labels
    records = _records(outcome, data)
    return {
        "class_names": list(data.class_names),
        "temperature": calibration.fit_temperature(outcome.logits[fitted_on], labels),
        "temperature_from": {"set": fitted_on, "n": len(labels)},
        "experiment": dataclasses.asdict(experiment),
        "training": {
            "profile": data.profile.name,
            "source": data.source.name,
            "source_checksum": data.source.checksum,
            "split": data.fingerprint,
            "train_images": outcome.train_images,
            "epochs": outcome.epochs,
            "best_epoch": outcome.best_epoch,
            "stopped_by": outcome.stopped_by,
            "revision": outcome.provenance["revision"],
        },
        "backbone": _backbone(experiment.network),
        "metrics": {name: records[name] for name in TITLES if name in records},
        "failures": _failures(outcome, data, records),
    }


def _top() -> Path:
    return course.root() / "models"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CourseError(
            f"{path.name} of the released model {path.parent.name!r} cannot be read "
            f"({error.strerror}): restore it from git."
        ) from error


def _assembled(description: bytes, weights: bytes, classes: int) -> keras.Model:
    """Return a network from the bytes of network.json and weights.npz."""
    try:
        model = submission.build_network(json.loads(description))
        with np.load(io.BytesIO(weights), allow_pickle=False) as stored:
            arrays = [stored[name] for name in sorted(stored.files)]
        model.set_weights([a.astype(np.float32) if a.dtype == np.float16 else a for a in arrays])
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        reason = str(error).strip().partition("\n")[0]
        raise CourseError(f"{WEIGHTS} and {NETWORK} do not fit each other ({reason}).") from error
    _check_shapes(model, classes)
    submission_model._finalize_normalization(model)
    # Keras' "auto" compiles with XLA, which makes predicting on a CPU slower.
    model.jit_compile = False
    return model


def _check_shapes(model: keras.Model, classes: int) -> None:
    shapes = (model.input_shape, model.output_shape)
    expected = ((None, IMAGE_SIZE, IMAGE_SIZE, 3), (None, classes))
    if shapes != expected:
        raise CourseError(
            f"The network takes {shapes[0]} and returns {shapes[1]} instead of "
            f"{expected[0]} and {expected[1]}."
        )


def _half_weights(model: keras.Model) -> bytes:
    return submission.weights_file(map(_half, model.get_weights()))


def _half(weight: np.ndarray) -> np.ndarray:
    """Return floats as float16, unless one is too large for it; counters stay as they are."""
    if weight.dtype != np.float32 or np.abs(weight).max(initial=0) > np.finfo(np.float16).max:
        return weight
    return weight.astype(np.float16)


# --- what the card says ---------------------------------------------------------------------------


def _backbone(network: str) -> dict | None:
    """Return title and origin of a backbone's ImageNet weights; None for a network without any."""
    from helpers.models import backbones

    if network not in backbones.BACKBONES:
        return None
    backbone = backbones.BACKBONES[network]
    # As the packages' LICENSE files say. Of the others this course knows no more than the host.
    licence = "Apache-2.0" if network in backbones.LITES else "as its publisher names it"
    return {"title": backbone.title, "weights_from": backbone.weights_from, "licence": licence}


def _records(outcome, data) -> dict[str, dict]:
    """Return "key", "value", "interval" and "n" of an outcome's records, by what they are of.

    Where the records are of another training of the same experiment, the outcome's own accuracies,
    without keys.
    """
    from helpers.evaluation import metrics, records

    run = outcome.experiment.run_name
    kept = ("key", "value", "interval", "n")
    records = {
        entry["key"].removeprefix(f"{run}/").removesuffix("/accuracy"): {k: entry[k] for k in kept}
        for entry in records.read(data.source)
        if entry["key"].startswith(f"{run}/") and entry["key"].endswith("/accuracy")
    }
    own = {
        name: metrics.accuracy(data[name].labels, logits) for name, logits in outcome.logits.items()
    }
    if any(
        name in records and abs(records[name]["value"] - own[name].value) > 1e-9 for name in own
    ):
        return {
            name: {"value": e.value, "interval": [e.low, e.high], "n": e.n}
            for name, e in own.items()
        }
    return records


def _failures(outcome, data, records: dict[str, dict]) -> dict:
    """Return the worst classes, kinds of change and corruptions, each worst first."""
    from helpers.changes import shifts
    from helpers.data.sets import SHIFT_SEEDS

    logits, shifted = outcome.logits, "shifted_test"
    classes = {
        name: _worst_classes(data[name].labels, logits[name], data.class_names)
        for name in ("test", shifted)
        if name in logits
    }
    changes = []
    if shifted in logits:
        right = logits[shifted].argmax(axis=1) == data[shifted].labels
        changes = _worst_changes(right, shifts.chains(len(right), SHIFT_SEEDS[shifted]))
    corruptions = [
        {"name": name.removeprefix("medmnist_c/"), **record}
        for name, record in records.items()
        if name.startswith("medmnist_c/")
    ]
    return {"classes": classes, "changes": changes, "corruptions": _worst(corruptions)}


def _worst_classes(labels: np.ndarray, logits: np.ndarray, class_names: tuple) -> list[dict]:
    predicted, found = logits.argmax(axis=1), []
    for label in np.unique(labels):
        answers = predicted[labels == label]
        wrong = np.bincount(answers[answers != label], minlength=len(class_names))
        taken_for = class_names[wrong.argmax()] if wrong.any() else None
        found.append({**_share(class_names[label], answers == label), "taken_for": taken_for})
    return _worst(found)


def _worst_changes(right: np.ndarray, chains: list[tuple[str, ...]]) -> list[dict]:
    kinds = sorted({kind for chain in chains for kind in chain})
    found = [_share(kind, right[[kind in chain for chain in chains]]) for kind in kinds]
    return _worst(found)


def _worst(found: list[dict]) -> list[dict]:
    return sorted(found, key=lambda entry: entry["value"])[:WORST]


def _share(name: str, right: np.ndarray) -> dict:
    from helpers.evaluation import metrics

    estimate = metrics.share(right)
    interval = [estimate.low, estimate.high]
    return {"name": name, "value": estimate.value, "interval": interval, "n": estimate.n}


# --- the card as a page ---------------------------------------------------------------------------


def _page(card: dict) -> str:
    """Return CARD.md: all of it comes from the card."""
    sections = {
        "Use": _use_text(card),
        "How good it is": _metrics_text(card),
        "Where it fails": _failures_text(card["failures"]),
        "Data": DATA.get(card["training"]["source"], PBC),
        "Training": _training_text(card),
        "Files": _files_text(card),
    }
    text = "\n\n".join(f"## {title}\n\n{section}" for title, section in sections.items())
    return f"# The released model `{card['name']}`\n\n{recipe(card)}.\n\n{text}\n"


def _use_text(card: dict) -> str:
    fitted = card["temperature_from"]
    return f"""\
For teaching, **not for diagnosis**. It knows {len(card["class_names"])} classes
({", ".join(card["class_names"])}) and calls whatever it is shown one of them.

```python
from helpers.models import released

model = release.load("{card["name"]}")  # images (N, 96, 96, 3) in 0-255 in, logits out
```

`python -m helpers predict PHOTOGRAPH --model {card["name"]}` names the cell on a photograph. Its
probabilities are those of logits divided by a temperature of {card["temperature"]:.3f}, fitted on
the {fitted["n"]:,} images of the {TITLES[fitted["set"]]} set: they are meant to be honest on other
people's photographs, and may be too modest on photographs like the training's."""


def _metrics_text(card: dict) -> str:
    if not card["metrics"]:
        return "Nothing was recorded of it."
    rows = [
        f"| {TITLES[name]}{' (chose the model)' if name in CHOSEN_ON else ''} | {_cells(found)} |"
        for name, found in card["metrics"].items()
    ]
    head = ["| images | right | 95 % interval | n |", "|---|---|---|---|"]
    recorded = all("key" in found for found in card["metrics"].values())
    notes = (
        "Each number is a record of this course, named in `card.json`."
        if recorded
        else "The network was trained anew for this release: the numbers are its own, and the "
        "records of the first training differ from them by what a repetition may."
    )
    if half := card.get("half_precision"):
        notes += (
            f" They were measured before the weights were rounded to float16, which gives "
            f"{half['changed']:,} of {half['n']:,} {TITLES[half['set']]} images another class."
        )
    return "\n".join([*head, *rows, "", notes])


def _failures_text(failures: dict) -> str:
    parts = [
        f"Classes it misses most on the {TITLES[name]}: "
        + ", ".join(_missed_class(found) for found in classes)
        for name, classes in failures["classes"].items()
    ]
    listed = {
        "Changes of the shifted test it stands worst, each among others on an image": "changes",
        "Corruptions of MedMNIST-C it stands worst": "corruptions",
    }
    for title, kind in listed.items():
        if failures[kind]:
            parts.append(f"{title}: " + ", ".join(map(_right_of, failures[kind])))
    return "\n".join(f"- {part}." for part in parts) or "It was not looked into."


def _missed_class(found: dict) -> str:
    taken_for = f", most often taken for {found['taken_for']}" if found["taken_for"] else ""
    return f"{_right_of(found)[:-1]}{taken_for})"


def _right_of(found: dict) -> str:
    value, interval, n = _cells(found).split(" | ")
    return f"{found['name'].replace('_', ' ')} ({value} right, {interval}, n = {n})"


def _cells(found: dict) -> str:
    low, high = found["interval"]
    return f"{100 * found['value']:.1f} % | {100 * low:.1f} to {100 * high:.1f} % | {found['n']:,}"


def _training_text(card: dict) -> str:
    training, backbone = card["training"], card["backbone"]
    begin = "It began from random weights."
    if backbone:
        begin = (
            f"It began from {backbone['title']}'s ImageNet weights ({backbone['weights_from']}; "
            f"licence: {backbone['licence']}) and changed them."
        )
    before = card["experiment"]["starts_from"]
    if before:
        begin += f" This is the last part of its training, after that of `{before['name']}`."
    settings = card["experiment"] | {"starts_from": before and before["name"]}
    settings = "\n".join(f"| {key} | {value} |" for key, value in settings.items())
    return f"""\
{begin} Trained on {training["train_images"]:,} images an epoch for {training["epochs"]} epochs
(stopped by: {training["stopped_by"]}), the weights of epoch {training["best_epoch"]} kept; profile
{training["profile"]}, source {training["source"]}, revision {training["revision"]}. What each
setting means: `H@/training/run.py`.

| setting | value |
|---|---|
{settings}"""


def _files_text(card: dict) -> str:
    listed = "\n".join(f"- `{file}`: `{value}`" for file, value in card["sha256"].items())
    return f"SHA-256 (the weights are float16, {card['bytes'] / 1e6:.1f} MB):\n\n{listed}"


def main(arguments: list[str] | None = None) -> int:
    """Read the command line and release an experiment; 0 if its files are written."""
    from helpers.data.sets import load_course_data
    from helpers.training import recipes

    parser = argparse.ArgumentParser(description="Release a trained experiment as a model.")
    parser.add_argument("experiment", help="a name that `python -m helpers train list` prints")
    parser.add_argument("--as", dest="name", default=DEFAULT, help="name of the released model")
    options = parser.parse_args(arguments)
    try:
        experiment = recipes.find(options.experiment)
        folder = release(experiment, load_course_data(), options.name)
    except CourseError as error:
        print(error, file=sys.stderr)
        return 1
    size = sum(path.stat().st_size for path in folder.iterdir())
    recorded = len(card(options.name)["metrics"])
    print(f"{folder} written, {size / 1e6:.1f} MB, with {recorded} of {len(TITLES)} metrics.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
