"""Experiments: a frozen description in, an outcome out; finished ones are never run again.

An outcome (curves, logits on every evaluation set, best weights) is cached under a hash of the
description, the images, the profile's caps and CACHE_VERSION.
"""

import functools
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from helpers import course
from helpers.changes import augment
from helpers.data.photographs import IMAGE_SIZE, ImageSet
from helpers.data.sets import CourseData
from helpers.evaluation.machine import provenance
from helpers.files import replaced, short_hash
from helpers.models import fused_batch_norm, networks, released, weights
from helpers.training import loop, recipes
from helpers.training.experiment import CACHE_VERSION, Experiment, budget, identity

FROM_SCRATCH = {"small_cnn": networks.small_cnn, "vgg_like": networks.vgg_like}

OFFLINE = {
    "rand_augment": augment.rand_augment_copies,
    "balance_with_generator": augment.balance_with_generator,
    "balance_with_layers": augment.balance_with_layers,
}

# The copies made last: trainings that differ in the optimizer alone share them.
_offline_copies: dict[tuple, ImageSet] = {}


@dataclass(frozen=True)
class Outcome:
    """What a finished experiment left.

    Attributes:
        experiment: the description.
        history: "loss", "accuracy", "val_loss", "val_accuracy": one float an epoch.
        best_epoch: epoch (from 1) of the lowest validation loss; its weights were kept.
        stopped_by: "patience", "epochs" (the budget) or "time" (the profile's cap).
        seconds: wall-clock seconds of training, without evaluation.
        train_images: number of training images an epoch.
        peak_memory: most memory of the training process, MiB; None on Windows.
        provenance: of the code and machine that trained it, see `provenance.provenance`.
        logits: float32 (N, classes) for each evaluation set.
        weights_path: the best weights, a Keras .weights.h5 file in a folder named by `identity`.
    """

    experiment: Experiment
    history: dict[str, list[float]]
    best_epoch: int
    stopped_by: str
    seconds: float
    train_images: int
    peak_memory: float | None
    provenance: dict
    logits: dict[str, np.ndarray]
    weights_path: Path

    @property
    def epochs(self) -> int:
        """How many epochs were trained."""
        return len(self.history["loss"])


def run(experiment: Experiment, data: CourseData, force: bool = False) -> Outcome:
    """Train an experiment, or return its cached outcome.

    Args:
        experiment: what to train.
        data: images by role.
        force: train again even if a finished outcome is cached.

    Raises:
        CourseError: if the network's ImageNet weights cannot be had.
    """
    folder = _folder(experiment, data)
    if force:
        shutil.rmtree(folder, ignore_errors=True)
    if not (folder / "outcome.json").exists():
        _train(experiment, data, folder)
    return _read_outcome(experiment, folder)


def load_trained(experiment: Experiment, data: CourseData) -> keras.Model:
    """Return the experiment's network with its best weights, trained now if it is not cached.

    The model takes uint8 or float (N, 96, 96, 3) in 0-255 and returns logits (N, classes).
    """
    weights_path = run(experiment, data).weights_path
    classes = len(data.class_names)
    if not experiment.head_only:
        model = new_network(experiment, classes)
        model.load_weights(weights_path)
        return model
    head = _new_head(experiment, classes)
    head.load_weights(weights_path)
    model = _classifier(experiment, classes)
    networks.transfer_head(head, model)
    return model


def load_or_train(name: str, data: CourseData) -> keras.Model:
    """Return the released model of that name, or on other images the experiment of that name.

    To synthetic cells, and to classes of your own, the released network is a stranger: there the
    experiment is trained on `data`, or loaded from the cache. Which of the two, is printed.

    Args:
        name: of a released model and of an experiment (`recipes.find`).
        data: the images the network is to judge.
    """
    # In Colab the package comes without the released models.
    card = released.card(name) if name in released.names() else None
    is_ours = card and list(data.class_names) == card["class_names"]
    if is_ours and data.source.are_photographs:
        print(f"{name}: released model, trained on photographs ({card['training']['source']})")
        return released.load(name)
    print(f"{name}: trained here on {data.source.caption}, profile {data.profile.name}")
    return load_trained(recipes.find(name), data)


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
    file = f"{network}-{image_size}-{name}-{key}.npy"
    path = course.build_folder() / "cache" / "features" / file
    if not path.exists():
        computed = networks.pooled_features(_backbone(network, image_size), data[name].images)
        with replaced(path) as temporary:
            np.save(temporary, computed, allow_pickle=False)
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _train(experiment: Experiment, data: CourseData, folder: Path) -> None:
    """Train and write the outcome; until then the folder holds a state to resume from."""
    # Before the training: the code may change under a long one.
    made_by = provenance()
    if experiment.head_only:
        model, augmenter = _fresh_head(experiment, data), None
        train, validation = _head_inputs(experiment, data)
    else:
        model, augmenter = _fresh_network(experiment, data), _augmenter(experiment)
        train, validation = _training_images(experiment, data), data["validation"]
    size, caps = experiment.batch_size, budget(experiment, data.profile)
    classes = len(data.class_names) if experiment.soft_labels else None
    mixer = augment.mixer(experiment.mix) if experiment.mix else None
    state = loop.fit(
        model,
        loop.Batches(train.images, train.labels, size, experiment.seed, augmenter, classes, mixer),
        loop.Batches(validation.images, validation.labels, size, classes=classes),
        folder,
        name=experiment.name,
        max_epochs=caps.max_epochs,
        max_minutes=caps.minutes,
        patience=experiment.patience,
        class_weights=_class_weights(experiment, train.labels),
    )
    names = _sets_to_judge(experiment, data)
    logits = {name: _logits(experiment, model, data, name) for name in names}
    with replaced(folder / "logits.npz") as temporary:
        np.savez(temporary, **logits)
    outcome = {**state, "train_images": len(train), "provenance": made_by}
    loop.write_json(folder / "outcome.json", outcome)
    (folder / "last.weights.h5").unlink(missing_ok=True)


def _sets_to_judge(experiment: Experiment, data: CourseData) -> list[str]:
    """Return every evaluation set; for a comparison on the subset those that choose, no test."""
    names = list(data.evaluation_sets)
    return [n for n in names if "validation" in n] if experiment.budget == "subset" else names


def _augmenter(experiment: Experiment) -> loop.Augmenter | None:
    if experiment.augmentation == "none":
        return None
    return augment.augmenter(experiment.augmentation)


def _class_weights(experiment: Experiment, labels: np.ndarray) -> dict[int, float] | None:
    return loop.balanced_class_weights(labels) if experiment.class_weights else None


def _training_images(experiment: Experiment, data: CourseData) -> ImageSet:
    train = data.train_subset(budget(experiment, data.profile).train_images)
    if experiment.offline is None:
        return train
    key = (experiment.offline, str(experiment.offline_options), experiment.seed)
    key = (*key, len(train), data.fingerprint)
    if key not in _offline_copies:
        _offline_copies.clear()
        _offline_copies[key] = _made_offline(experiment, train)
    return _offline_copies[key]


def _made_offline(experiment: Experiment, train: ImageSet) -> ImageSet:
    make = OFFLINE[experiment.offline]
    if experiment.offline == "rand_augment":
        images = make(train.images, seed=experiment.seed, **experiment.offline_options)
        return ImageSet(images, train.labels)
    return ImageSet(*make(train.images, train.labels, seed=experiment.seed))


def _head_inputs(experiment: Experiment, data: CourseData) -> tuple[ImageSet, ImageSet]:
    """Return features in the place of images: a head's training and validation inputs."""
    rows = data.train_rows(budget(experiment, data.profile).train_images)
    train = features(experiment.network, data, "train", experiment.image_size)[rows]
    validation = features(experiment.network, data, "validation", experiment.image_size)
    return (
        ImageSet(train, data["train"].labels[rows]),
        ImageSet(validation, data["validation"].labels),
    )


def _logits(experiment: Experiment, model: keras.Model, data: CourseData, name: str) -> np.ndarray:
    if experiment.head_only:
        inputs = features(experiment.network, data, name, experiment.image_size)
        return networks.predict_logits(model, inputs)
    return networks.predict_logits(model, data[name].images)


def _fresh_network(experiment: Experiment, data: CourseData) -> keras.Model:
    """Return the compiled network before its first step, the head trained if `head_first`.

    Tracing a backbone takes longer than an epoch on few images: the last one is kept and reset.
    """
    classes = len(data.class_names)
    if experiment.network in FROM_SCRATCH:
        keras.utils.set_random_seed(experiment.seed)
        model = FROM_SCRATCH[experiment.network](classes)
        _compile(model, experiment, None)
        return model
    before = experiment.starts_from and load_trained(experiment.starts_from, data)
    first = _trained_head(experiment, data) if experiment.head_first and not before else None
    head = first or _new_head(experiment, classes)
    model, initial = _compiled_backbone(_structure(experiment), classes, _steps(experiment, data))
    for variable, value in zip(_state_of(model), initial, strict=True):
        variable.assign(value)
    if before:
        model.set_weights(before.get_weights())
    else:
        networks.transfer_head(head, model)
    return model


def _structure(experiment: Experiment) -> str:
    """Return what of an experiment its compiled network depends on, as JSON."""
    names = [
        *("network", "freeze", "freeze_batch_norm", "optimizer", "learning_rate"),
        *("dropout", "l2", "extra_dense", "image_size"),
        *("schedule", "mix", "label_smoothing", "ema"),
    ]
    return json.dumps({name: getattr(experiment, name) for name in names})


@functools.lru_cache(maxsize=1)
def _compiled_backbone(
    structure: str, classes: int, steps: int | None
) -> tuple[keras.Model, list[np.ndarray]]:
    experiment = Experiment(name="", budget="", **json.loads(structure))
    keras.utils.set_random_seed(0)
    model = new_network(experiment, classes)
    fused_batch_norm.fuse(model.get_layer("backbone"))
    _compile(model, experiment, steps)
    model.optimizer.build(model.trainable_variables)
    return model, [keras.ops.convert_to_numpy(variable) for variable in _state_of(model)]


def _compile(model: keras.Model, experiment: Experiment, cosine_steps: int | None) -> None:
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


def _state_of(model: keras.Model) -> list:
    return [*model.variables, *model.optimizer.variables]


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


def _fresh_head(experiment: Experiment, data: CourseData) -> keras.Model:
    model = _new_head(experiment, len(data.class_names))
    _compile(model, experiment, None)
    return model


def _trained_head(experiment: Experiment, data: CourseData) -> keras.Model:
    """Return the head of head-first training: a frozen experiment of its own, run or cached."""
    frozen = experiment.first_head()
    head = _new_head(frozen, len(data.class_names))
    head.load_weights(run(frozen, data).weights_path)
    return head


@functools.lru_cache(maxsize=1)
def _backbone(network: str, image_size: int) -> keras.Model:
    return weights.load_backbone(network, image_size)


def _folder(experiment: Experiment, data: CourseData) -> Path:
    return course.build_folder() / "cache" / "experiments" / identity(experiment, data)


def _read_outcome(experiment: Experiment, folder: Path) -> Outcome:
    state = json.loads((folder / "outcome.json").read_text())
    with np.load(folder / "logits.npz", allow_pickle=False) as stored:
        logits = {name: stored[name] for name in stored.files}
    return Outcome(
        experiment=experiment,
        history={curve: state[curve] for curve in loop.CURVES},
        best_epoch=state["best_epoch"],
        stopped_by=state["stopped_by"],
        seconds=state["seconds"],
        train_images=state["train_images"],
        peak_memory=state["peak_memory"],
        provenance=state["provenance"],
        logits=logits,
        weights_path=folder / "best.weights.h5",
    )
