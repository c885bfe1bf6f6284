"""What the networks cost, and two ways of doing the same thing as ratios, measured in one run.

Commands, on an otherwise idle machine (minutes):
    python -m helpers measure ways     compared with memory; writes build/benchmark.json
    python -m helpers measure costs    parameters, multiply-adds, times; writes report/costs.json

Networks have random weights and see random images: neither changes the work. Costs are those of
plain Keras, without the fused batch normalisation that the course trains with. A network that lacks
its ImageNet weights here is not measured, since nothing can be compared with its cost. Each way
runs in a process of its own, so that its peak memory is its own.
"""

import argparse
import importlib.util
import json
import math
import os
import subprocess
import sys

import keras
import numpy as np
from keras import layers

from helpers import course
from helpers.data import cleaning
from helpers.data.photographs import IMAGE_SIZE
from helpers.evaluation import machine
from helpers.files import write_json
from helpers.models import backbones, fused_batch_norm, networks, weights
from helpers.training import loop, recipes
from helpers.training.run import FROM_SCRATCH, new_network

CLASSES = 8
TRAINING_BATCH = 128
INFERENCE_BATCH = 256
STEPS = 3
IMAGES = 8 * TRAINING_BATCH
HEAD_EPOCHS = 30
HOMEWORK_IMAGES = 13_759
PAIRWISE_SAMPLE = 400

TITLES = {"small_cnn": "Two convolutions", "vgg_like": "VGG-like"} | {
    name: backbone.title for name, backbone in backbones.BACKBONES.items()
}


def _random_images(count: int) -> np.ndarray:
    shape = (count, IMAGE_SIZE, IMAGE_SIZE, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def _random_labels(count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, CLASSES, count)


def multiply_adds(model: keras.Model) -> int:
    """Return how many products one image takes, each added to a sum, at the model's input size.

    A kernel is used once at each place of its layer's output: height x width of that output, times
    the weights in the kernel. Biases, normalisation, activations, pooling and sums of layers are
    left out, as in the tables of the EfficientNet and MobileNetV3 papers; Google's table of
    EfficientNet-Lites counts them too and is about 5 % higher.
    """
    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            total += multiply_adds(layer)
        elif isinstance(layer, layers.Conv2D | layers.DepthwiseConv2D | layers.Dense):
            places = math.prod(layer.output.shape[1:-1])
            total += places * math.prod(layer.kernel.shape)
    return total


def compiled_network(name: str) -> keras.Model:
    """Return a network with random weights, frozen and compiled as the course's, in plain Keras.

    The fused batch normalisation that the course trains with (`fused_batch_norm`) is left out.

    Args:
        name: "small_cnn", "vgg_like" or a key of `backbones.BACKBONES`, which is frozen as in
            `recipes.fine_tuned_on_subset`.

    Raises:
        CourseError: if no network has that name.
    """
    own = recipes.custom_cnns()
    experiment = own[name] if name in own else recipes.fine_tuned_on_subset(name)
    model = new_network(experiment, CLASSES, pretrained=False)
    loop.compile_model(model, experiment.optimizer, experiment.learning_rate)
    return model


def cost(name: str) -> dict:
    """Return what a network (see `compiled_network`) costs on this machine.

    Returns:
        "title", "parameters" (all weights, normalisation's statistics included), "multiply_adds"
        of one image, and the median "training_ms" and "inference_ms" per image, in batches of
        TRAINING_BATCH and INFERENCE_BATCH images.
    """
    model = compiled_network(name)
    images, labels = _random_images(INFERENCE_BATCH), _random_labels(TRAINING_BATCH)
    training_seconds = machine.seconds_per_call(
        lambda: model.train_on_batch(images[:TRAINING_BATCH], labels)
    )
    inference_seconds = machine.seconds_per_call(lambda: model.predict_on_batch(images))
    return {
        "title": TITLES[name],
        "parameters": model.count_params(),
        "multiply_adds": multiply_adds(model),
        "training_ms": 1000 * training_seconds / TRAINING_BATCH,
        "inference_ms": 1000 * inference_seconds / INFERENCE_BATCH,
    }


def measure_costs() -> None:
    """Measure every network that can be had here and write report/costs.json.

    The file holds "networks" (by name, see `cost`), "missing" (by name, why its weights can't be
    had), "batch" ("training" and "inference"), and what `machine.provenance` returns.
    """
    reasons = {name: weights.why_unavailable(name) for name in backbones.BACKBONES}
    measured = {}
    for name in (*FROM_SCRATCH, *(name for name, reason in reasons.items() if not reason)):
        measured[name] = cost(name)
        print(
            f"{measured[name]['title']:20s}"
            f"{measured[name]['training_ms']:8.2f} ms per image in training,"
            f"{measured[name]['inference_ms']:8.2f} in inference",
            flush=True,
        )
    content = {
        "networks": measured,
        "missing": {name: reason for name, reason in reasons.items() if reason},
        "batch": {"training": TRAINING_BATCH, "inference": INFERENCE_BATCH},
        **machine.provenance(),
    }
    write_json(course.root() / "report" / "costs.json", content)


def training_step(jit_compile: bool = False, fuse: bool = True, frozen: bool = False) -> float:
    """Return seconds of one fine-tuning step of the default backbone, after a warm-up step.

    Keras 3.15's own "auto" leaves XLA off where TensorFlow sees nothing but a CPU.
    """
    model = networks.classifier(backbones.default_backbone(), CLASSES, pretrained=False)
    if frozen:
        networks.freeze_batch_norm(model.get_layer("backbone"))
    if fuse:
        fused_batch_norm.fuse(model.get_layer("backbone"))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, jit_compile=jit_compile)
    images, labels = _random_images(TRAINING_BATCH), _random_labels(TRAINING_BATCH)
    return machine.seconds_per_call(lambda: model.train_on_batch(images, labels), STEPS)


def training_step_in_pytorch() -> float:
    """Return seconds of the same step in PyTorch, images with their channels last as in TensorFlow.

    Raises:
        ImportError: if PyTorch or the package PYTORCH_NETWORK is not installed.
    """
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0", num_classes=CLASSES)
    network = network.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.Adam(network.parameters())
    images = torch.from_numpy(_random_images(TRAINING_BATCH)).permute(0, 3, 1, 2) / 255
    labels = torch.from_numpy(_random_labels(TRAINING_BATCH))

    def step() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()

    return machine.seconds_per_call(step, STEPS)


def head_on_cached_features() -> float:
    """Return seconds to compute pooled features once and train a head on them for HEAD_EPOCHS."""
    backbone = weights.load_backbone(backbones.default_backbone(), pretrained=False)
    head = networks.head(backbone.output_shape[-1], CLASSES, dropout=0.3)
    loop.compile_model(head, "adam", 1e-3)
    images, labels = _random_images(IMAGES), _random_labels(IMAGES)

    def train() -> None:
        features = networks.pooled_features(backbone, images)
        head.fit(features, labels, batch_size=TRAINING_BATCH, epochs=HEAD_EPOCHS, verbose=0)

    return machine.seconds_per_call(train, 1)


def frozen_backbone_every_epoch() -> float:
    """Return seconds of HEAD_EPOCHS epochs through the frozen backbone (from two, after one)."""
    model = networks.classifier(backbones.default_backbone(), CLASSES, pretrained=False)
    model.get_layer("backbone").trainable = False
    loop.compile_model(model, "adam", 1e-3)
    images, labels = _random_images(IMAGES), _random_labels(IMAGES)
    epoch = machine.seconds_per_call(
        lambda: model.fit(images, labels, batch_size=TRAINING_BATCH, verbose=0), 2
    )
    return HEAD_EPOCHS * epoch


def duplicates_by_hash() -> float:
    """Return seconds to find exact duplicates among the homework's number of images by hash."""
    images = _random_images(HOMEWORK_IMAGES)
    return machine.seconds_per_call(
        lambda: cleaning.duplicate_groups(cleaning.image_hashes(images)), 1
    )


def duplicates_by_pairs() -> float:
    """Return seconds to compare all pairs, projected by their number from a sample's pairs."""
    images = _random_images(PAIRWISE_SAMPLE)

    def work() -> None:
        for first in range(PAIRWISE_SAMPLE):
            for second in range(first + 1, PAIRWISE_SAMPLE):
                np.array_equal(images[first], images[second])

    pairs = PAIRWISE_SAMPLE * (PAIRWISE_SAMPLE - 1)
    return machine.seconds_per_call(work, 1) * HOMEWORK_IMAGES * (HOMEWORK_IMAGES - 1) / pairs


# No part of the course; compared where it is installed beside torch.
PYTORCH_NETWORK = "efficientnet_lite_pytorch"

OUR_STEP = "training step in the course"
WITHOUT_ONEDNN = "training step without oneDNN"
IN_PYTORCH = "training step in PyTorch"
AS_IN_KERAS = "training step as in Keras"
WAYS = {
    OUR_STEP: training_step,
    WITHOUT_ONEDNN: training_step,
    IN_PYTORCH: training_step_in_pytorch,
    AS_IN_KERAS: lambda: training_step(fuse=False),
    "training step as in Keras, with XLA": lambda: training_step(jit_compile=True, fuse=False),
    "frozen batch normalisation folded": lambda: training_step(frozen=True),
    "frozen, as in Keras": lambda: training_step(fuse=False, frozen=True),
    "head on cached features": head_on_cached_features,
    "frozen backbone in every epoch": frozen_backbone_every_epoch,
    "duplicates by hash": duplicates_by_hash,
    "duplicates by comparing pairs": duplicates_by_pairs,
}
# Which ways are compared: ours, and the others.
COMPARISONS = {
    OUR_STEP: (WITHOUT_ONEDNN, IN_PYTORCH, AS_IN_KERAS),
    AS_IN_KERAS: ("training step as in Keras, with XLA",),
    "frozen batch normalisation folded": ("frozen, as in Keras",),
    "head on cached features": ("frozen backbone in every epoch",),
    "duplicates by hash": ("duplicates by comparing pairs",),
}
# What a way's process has in its environment beside that of this one.
ENVIRONMENT = {WITHOUT_ONEDNN: {"TF_ENABLE_ONEDNN_OPTS": "0"}}


def compare_ways() -> None:
    """Time each way once, print how often ours is faster, and write build/benchmark.json."""
    measured = {}
    for way in WAYS:
        if way == IN_PYTORCH and not importlib.util.find_spec(PYTORCH_NETWORK):
            print(f"{way:40s} not measured: torch and {PYTORCH_NETWORK} are not installed.")
            continue
        measured[way] = _in_own_process(way)
        memory = measured[way]["peak_mib"]
        memory = "" if memory is None else f"{memory:8,.0f} MiB at most"
        print(f"{way:40s}{measured[way]['seconds']:12,.3f} s {memory}", flush=True)
    for ours, others in COMPARISONS.items():
        print(f"\n{ours}, against")
        for other in [way for way in others if way in measured]:
            ratio = measured[other]["seconds"] / measured[ours]["seconds"]
            print(f"    {other:36s}{ratio:12,.1f} times faster")
    write_json(course.build_folder() / "benchmark.json", measured)


def _in_own_process(way: str) -> dict:
    command = [sys.executable, "-m", "helpers", "measure", "ways", "--one", way]
    environment = os.environ | ENVIRONMENT.get(way, {})
    answer = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if answer.returncode:
        last = course.printable((answer.stderr.splitlines() or ["it said nothing"])[-1])
        raise course.CourseError(
            f"The way '{way}' failed ({last}): `python -m helpers measure ways --one '{way}'` says "
            "all."
        )
    return json.loads(answer.stdout.splitlines()[-1])


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["ways", "costs"])
    parser.add_argument("--one", choices=WAYS, metavar="WAY", help="time this way, print JSON")
    options = parser.parse_args(arguments)
    if options.one:
        print(json.dumps({"seconds": WAYS[options.one](), "peak_mib": machine.peak_memory()}))
    elif options.what == "ways":
        compare_ways()
    else:
        measure_costs()
