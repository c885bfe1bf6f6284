"""Trainings: an experiment in, its result out; what is recorded or cached is not trained again.

A finished training is one file, cached under its `identity`: weights, curves and logits.
"""

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from helpers import course
from helpers.changes import augment
from helpers.course import CourseError
from helpers.data.photographs import IMAGE_SIZE, ImageSet
from helpers.data.sets import CourseData
from helpers.evaluation import records
from helpers.evaluation.machine import provenance
from helpers.evaluation.metrics import Estimate
from helpers.files import cached_array, locked, read_arrays, replaced, short_hash
from helpers.models import fused_batch_norm, networks, weights
from helpers.training import loop
from helpers.training.experiment import CACHE_VERSION, Experiment, budget, identity

FROM_SCRATCH = {"small_cnn": networks.small_cnn, "vgg_like": networks.vgg_like}


def _rand_augmented(
    images: np.ndarray, labels: np.ndarray, seed: int, **options: float
) -> tuple[np.ndarray, np.ndarray]:
    return augment.rand_augment_copies(images, seed=seed, **options), labels


# What changes images uint8 (N, H, W, 3) and their labels before training, by the experiment's seed.
OFFLINE = {
    "rand_augment": _rand_augmented,
    "balance_with_generator": augment.balance_with_generator,
    "balance_with_layers": augment.balance_with_layers,
}

# What of an experiment its compiled network depends on.
STRUCTURE = (
    *("freeze", "freeze_batch_norm", "optimizer", "learning_rate", "dropout", "l2", "extra_dense"),
    *("image_size", "schedule", "mix", "label_smoothing", "ema"),
)


@dataclass(frozen=True)
class Result:
    """What a finished training reached.

    Attributes:
        experiment: what was trained.
        logits: float32 (N, classes) for each evaluation set, rounded as they are recorded.
        history: "loss", "accuracy", "val_loss", "val_accuracy": one float per epoch; None where
            only the final numbers are recorded.
        minutes: of training, with those of the experiment that it starts from.
        epochs: how many were trained.
        best_epoch: the one (from 1) whose weights were kept.
        stopped_by: "patience", "epochs" (the budget) or "time" (the profile's cap).
        train_images: training images per epoch.
        revision: of the code that trained it; None outside a checkout.
        accuracies: as recorded, by evaluation set; of a shifted set also its parts, and
            "medmnist_c" where that was measured.
    """

    experiment: Experiment
    logits: dict[str, np.ndarray]
    history: dict[str, list[float]] | None
    minutes: float
    epochs: int
    best_epoch: int
    stopped_by: str
    train_images: int
    revision: str | None
    accuracies: dict[str, Estimate]


def result(experiment: Experiment, data: CourseData, force: bool = False) -> Result:
    """Return what a training reached: recorded, else cached, else trained now and then recorded.

    A record counts if it is of the same settings, caps and images (`identity`).

    Args:
        experiment: what to train.
        data: images by role.
        force: train again, whatever is recorded or cached.

    Raises:
        CourseError: if ImageNet weights cannot be had, files cannot be written, or the records are
            damaged.
    """
    found = None if force else _recorded(experiment, data)
    # Records without curves are completed where the training is still cached.
    if found and (found.history or not _path(experiment, data).exists()):
        return found
    trained = _trained(experiment, data, force)
    own = {"seed": experiment.seed, "identity": identity(experiment, data)}
    run, details = experiment.run_name, own | trained.details
    records.write_run(run, trained.logits, trained.history, data, **details)
    return _recorded(experiment, data)


def load_trained(experiment: Experiment, data: CourseData) -> keras.Model:
    """Return the experiment's network with its best weights, trained now if it is not cached.

    The model takes uint8 or float (N, 96, 96, 3) in 0-255 and returns logits (N, classes).
    """
    trained, classes = _trained(experiment, data), len(data.class_names)
    if not experiment.head_only:
        model = new_network(experiment, classes)
        model.set_weights(trained.weights)
        return model
    head = _new_head(experiment, classes)
    head.set_weights(trained.weights)
    model = _classifier(experiment, classes)
    networks.transfer_head(head, model)
    return model


def load_recorded(experiment: Experiment, data: CourseData) -> keras.Model:
    """Return the very network whose numbers are recorded, or the first one if there are none.

    Training again would give another network under the same name.

    Raises:
        CourseError: if the numbers are recorded, and its weights are not cached here.
    """
    found, path = _recorded(experiment, data), _path(experiment, data)
    if found and not (path.exists() and _gave(_read(path), found.logits["validation"])):
        raise CourseError(
            f"{experiment.run_name} is recorded, but its weights are not in this checkout's "
            f"build/cache: `python -m helpers train run {experiment.name} --seeds "
            f"{experiment.seed} --force` trains it again and replaces its records."
        )
    return load_trained(experiment, data)


def features(network: str, data: CourseData, name: str, image_size: int = IMAGE_SIZE) -> np.ndarray:
    """Return the frozen backbone's pooled features of one image set, computed once and cached.

    Args:
        network: name in `backbones.BACKBONES`.
        data: images by role.
        name: "train" or the name of an evaluation set.
        image_size: height and width to which images are resized before the backbone.

    Returns:
        float32 (N, channels of the backbone), read-only and memory-mapped.
    """
    key = short_hash(CACHE_VERSION, data.fingerprint)
    path = _cache("features") / f"{network}-{image_size}-{name}-{key}.npy"
    return cached_array(
        path, lambda: networks.pooled_features(_backbone(network, image_size), data[name].images)
    )


def new_network(experiment: Experiment, classes: int, pretrained: bool = True) -> keras.Model:
    """Return the experiment's network, uncompiled, its layers frozen as the experiment says.

    Args:
        experiment: one that trains more than a head.
        classes: number of classes.
        pretrained: load a backbone's ImageNet weights; else leave them random.
    """
    if experiment.network in FROM_SCRATCH:
        return FROM_SCRATCH[experiment.network](classes)
    model = _classifier(experiment, classes, pretrained)
    backbone = model.get_layer("backbone")
    if isinstance(experiment.freeze, int):
        networks.freeze_first_layers(backbone, experiment.freeze)
    elif experiment.freeze is not None:
        networks.freeze_through_block(backbone, experiment.freeze)
    if experiment.freeze_batch_norm:
        networks.freeze_batch_norm(backbone)
    return model


# --- what is recorded, and what is cached ---------------------------------------------------------


class _Trained(NamedTuple):
    """What a finished training's file holds: curves, what is recorded beside, logits, weights."""

    history: dict[str, list[float]]
    details: dict
    logits: dict[str, np.ndarray]
    weights: list[np.ndarray]


def _recorded(experiment: Experiment, data: CourseData) -> Result | None:
    """Return the recorded result, None where there is none of these settings and images."""
    wanted, run = identity(experiment, data), experiment.run_name
    stored = records.Records(records.folder(data.source))
    found = {
        name: record
        for name, record in stored.of_run(run).items()
        if record.details.get("identity") == wanted
    }
    if "validation" not in found:
        return None
    training = found["validation"].details
    before = experiment.starts_from and result(experiment.starts_from, data)
    return Result(
        experiment=experiment,
        logits=stored.arrays(run),
        history=stored.history(run, wanted),
        minutes=training["seconds"] / 60 + (before.minutes if before else 0),
        **{n: training[n] for n in ("epochs", "best_epoch", "stopped_by", "train_images")},
        revision=training["revision"],
        accuracies={name: record.estimate for name, record in found.items()},
    )


def _trained(experiment: Experiment, data: CourseData, force: bool = False) -> _Trained:
    """Return a finished training from its file, trained now if that is missing or damaged.

    Two runs never train the same experiment at once: the later one waits for the file.
    """
    path, name = _path(experiment, data), experiment.run_name
    unfinished = path.with_name(f"unfinished-{path.name}")
    with locked(path.with_suffix(".lock"), f"{name}: another run trains it, this one waits."):
        if force:
            unfinished.unlink(missing_ok=True)
        elif path.exists():
            try:
                return _read(path)
            except (KeyError, ValueError) as error:
                print(f"{name}: {path.name} is damaged ({error}): trained again.")
        _train(experiment, data, unfinished, path)
        unfinished.unlink(missing_ok=True)
        return _read(path)


def _read(path: Path) -> _Trained:
    """Return what a finished training's file holds.

    Raises:
        ValueError, KeyError: if it is damaged.
    """
    stored = read_arrays(path)
    history, details = json.loads(str(stored.pop("state")))
    logits = {n.removeprefix("logits_"): a for n, a in stored.items() if n.startswith("logits_")}
    count = len(stored) - len(logits)
    return _Trained(history, details, logits, [stored[f"weights_{i}"] for i in range(count)])


def _gave(trained: _Trained, recorded: np.ndarray) -> bool:
    return np.array_equal(records.half_logits(trained.logits["validation"]), recorded)


def _path(experiment: Experiment, data: CourseData) -> Path:
    return _cache("trained") / f"{identity(experiment, data)}.npz"


def _cache(name: str) -> Path:
    return course.build_folder() / "cache" / name


# --- a training -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Plan:
    """Everything a training needs, resolved once.

    Attributes:
        model: compiled, with its first weights.
        train, validation: images, or their features in the images' place.
        inputs: returns what the model takes of an evaluation set.
        augmenter, mixer: change each batch; or None.
    """

    model: keras.Model
    train: ImageSet
    validation: ImageSet
    inputs: Callable[[str], np.ndarray]
    augmenter: augment.Augmenter | None = None
    mixer: augment.Mixer | None = None


def _train(experiment: Experiment, data: CourseData, unfinished: Path, path: Path) -> None:
    """Train, evaluate, and write the file of the finished training."""
    # Before the training: the code may change under a long one.
    made_by = provenance()
    plan = (_head_plan if experiment.head_only else _plan)(experiment, data)
    size, caps = experiment.batch_size, budget(experiment, data.profile)
    classes = len(data.class_names) if experiment.soft_labels else None
    state = loop.fit(
        plan.model,
        loop.Batches(
            plan.train.images,
            plan.train.labels,
            size,
            experiment.seed,
            plan.augmenter,
            classes,
            plan.mixer,
        ),
        loop.Batches(plan.validation.images, plan.validation.labels, size, classes=classes),
        unfinished,
        name=experiment.name,
        max_epochs=caps.max_epochs,
        max_minutes=caps.minutes,
        patience=experiment.patience,
        class_weights=(
            loop.balanced_class_weights(plan.train.labels) if experiment.class_weights else None
        ),
    )
    history = {curve: state.pop(curve) for curve in records.CURVES}
    details = {"epochs": len(history["loss"]), **state, "train_images": len(plan.train), **made_by}
    logits = {
        f"logits_{name}": networks.predict_logits(plan.model, plan.inputs(name))
        for name in _evaluated(experiment, data)
    }
    best = {f"weights_{i}": value for i, value in enumerate(plan.model.get_weights())}
    with replaced(path) as temporary:
        np.savez(temporary, state=json.dumps([history, details]), **logits, **best)


def _evaluated(experiment: Experiment, data: CourseData) -> list[str]:
    """Return every evaluation set; for a comparison on the subset those that choose, no test."""
    names = list(data.evaluation_sets)
    return (
        [n for n in names if "validation" in n] if experiment.budget.startswith("subset") else names
    )


def _plan(experiment: Experiment, data: CourseData) -> _Plan:
    """Resolve a training of a whole network, on images."""
    train = data.train_subset(budget(experiment, data.profile).train_images)
    if experiment.offline:
        change, options = OFFLINE[experiment.offline], experiment.offline_options
        train = ImageSet(*change(train.images, train.labels, experiment.seed, **options))
    is_augmented = experiment.augmentation != "none"
    return _Plan(
        model=_first_network(experiment, data),
        train=train,
        validation=data["validation"],
        inputs=lambda name: data[name].images,
        augmenter=augment.augmenter(experiment.augmentation) if is_augmented else None,
        mixer=augment.mixer(experiment.mix) if experiment.mix else None,
    )


def _head_plan(experiment: Experiment, data: CourseData) -> _Plan:
    """Resolve a training of a head alone, on the frozen backbone's features."""
    rows = data.train_rows(budget(experiment, data.profile).train_images)
    of = functools.partial(features, experiment.network, data, image_size=experiment.image_size)
    model = _new_head(experiment, len(data.class_names))
    _compile(model, experiment)
    return _Plan(
        model=model,
        train=ImageSet(of("train")[rows], data["train"].labels[rows]),
        validation=ImageSet(of("validation"), data["validation"].labels),
        inputs=of,
    )


def _first_network(experiment: Experiment, data: CourseData) -> keras.Model:
    """Return the compiled network before its first step, the head trained if `head_first`."""
    classes = len(data.class_names)
    if experiment.network in FROM_SCRATCH:
        keras.utils.set_random_seed(experiment.seed)
        model = FROM_SCRATCH[experiment.network](classes)
        _compile(model, experiment)
        return model
    before = experiment.starts_from and load_trained(experiment.starts_from, data)
    head = None if before else _first_head(experiment, data)
    model, initial = _compiled_backbone(_structure(experiment), classes, _steps(experiment, data))
    for variable, value in zip(loop.variables(model), initial, strict=True):
        variable.assign(value)
    if before:
        model.set_weights(before.get_weights())
    else:
        networks.transfer_head(head, model)
    return model


def _first_head(experiment: Experiment, data: CourseData) -> keras.Model:
    if not experiment.head_first:
        return _new_head(experiment, len(data.class_names))
    alone = experiment.first_head()
    head = _new_head(alone, len(data.class_names))
    head.set_weights(_trained(alone, data).weights)
    return head


def _structure(experiment: Experiment) -> Experiment:
    """Return an experiment that is the same for all with the same compiled network."""
    settings = {name: getattr(experiment, name) for name in STRUCTURE}
    return Experiment(name="", network=experiment.network, budget="", **settings)


@functools.lru_cache(maxsize=1)
def _compiled_backbone(
    structure: Experiment, classes: int, steps: int | None
) -> tuple[keras.Model, list[np.ndarray]]:
    """Return a compiled network and its variables' values, from which it can be begun again.

    Tracing a backbone takes longer than an epoch on few images, so the last one is kept.
    """
    keras.utils.set_random_seed(0)
    model = new_network(structure, classes)
    fused_batch_norm.fuse(model.get_layer("backbone"))
    _compile(model, structure, steps)
    model.optimizer.build(model.trainable_variables)
    return model, [keras.ops.convert_to_numpy(variable) for variable in loop.variables(model)]


def _compile(model: keras.Model, experiment: Experiment, cosine_steps: int | None = None) -> None:
    loop.compile_model(
        model,
        experiment.optimizer,
        experiment.learning_rate,
        cosine_steps=cosine_steps,
        soft_labels=experiment.soft_labels,
        label_smoothing=experiment.label_smoothing,
        ema=experiment.ema,
    )


def _steps(experiment: Experiment, data: CourseData) -> int | None:
    """Return the training steps of the whole budget for a cosine schedule, else None."""
    if experiment.schedule == "constant":
        return None
    caps = budget(experiment, data.profile)
    images = len(data.train_rows(caps.train_images))
    return caps.max_epochs * -(-images // experiment.batch_size)


def _classifier(experiment: Experiment, classes: int, pretrained: bool = True) -> keras.Model:
    return networks.classifier(
        experiment.network,
        classes,
        pretrained=pretrained,
        image_size=experiment.image_size,
        **experiment.head_settings,
    )


def _new_head(experiment: Experiment, classes: int) -> keras.Model:
    channels = _backbone(experiment.network, experiment.image_size).output_shape[-1]
    # After the backbone, whose construction draws random numbers too.
    keras.utils.set_random_seed(experiment.seed)
    return networks.head(channels, classes, **experiment.head_settings)


@functools.lru_cache(maxsize=1)
def _backbone(network: str, image_size: int) -> keras.Model:
    return weights.load_backbone(network, image_size)
