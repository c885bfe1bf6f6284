"""What each network costs: parameters, multiply-adds, and milliseconds an image.

Networks are measured with random weights and random images: neither changes the work. One that
lacks its ImageNet weights here is not measured, since nothing can be compared with its cost.

Command, on an otherwise idle machine (minutes; writes report/costs.json):
    python -m helpers costs
"""

import argparse
import json
import math

import keras
import numpy as np
from keras import layers

from helpers import course
from helpers.data.photographs import IMAGE_SIZE
from helpers.evaluation import timing
from helpers.evaluation.machine import provenance
from helpers.files import replaced
from helpers.models import backbones, weights
from helpers.training import loop, recipes
from helpers.training.run import FROM_SCRATCH, new_network

CLASSES = 8
TRAINING_BATCH = 128
INFERENCE_BATCH = 256

TITLES = {"small_cnn": "Two convolutions", "vgg_like": "VGG-like"} | {
    name: backbone.title for name, backbone in backbones.BACKBONES.items()
}


def multiply_adds(model: keras.Model) -> int:
    """Return how many products one image takes, each added to a sum, at the model's input size.

    A kernel is used once at each place of its layer's output, so a layer counts

        height x width of its output x weights in its kernel

    which is height x width x filters x (kernel height x kernel width x input channels / groups) for
    a convolution, height x width x channels x (kernel height x kernel width) for a depthwise one,
    and inputs x units for a dense layer. Biases, normalisation, activations, pooling and sums of
    layers are left out, as in the tables of the EfficientNet and MobileNetV3 papers; Google's table
    of EfficientNet-Lites counts them too and is about 5 % higher.

    Args:
        model: built for images of one size, nested or not.
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
    """Return a network with random weights, frozen and compiled as the course trains it.

    A backbone is frozen as in `recipes.fine_tuned_on_subset`.

    Args:
        name: "small_cnn", "vgg_like" or a key of `backbones.BACKBONES`.

    Raises:
        CourseError: if no network has that name.
    """
    own = recipes.custom_cnns()
    experiment = own[name] if name in own else recipes.fine_tuned_on_subset(name)
    model = new_network(experiment, CLASSES, pretrained=False)
    loop.compile_model(model, experiment.optimizer, experiment.learning_rate)
    return model


def cost(name: str) -> dict:
    """Return what a network costs on this machine.

    Args:
        name: "small_cnn", "vgg_like" or a key of `backbones.BACKBONES`.

    Returns:
        "title", "parameters" (all weights, normalisation's statistics included), "multiply_adds"
        of one image, and the median "training_ms" and "inference_ms" an image, in batches of
        TRAINING_BATCH and INFERENCE_BATCH images.

    Raises:
        CourseError: if no network has that name.
    """
    model = compiled_network(name)
    rng = np.random.default_rng(0)
    shape = (INFERENCE_BATCH, IMAGE_SIZE, IMAGE_SIZE, 3)
    images = rng.integers(0, 256, shape, dtype=np.uint8)
    labels = rng.integers(0, CLASSES, TRAINING_BATCH)
    training_seconds = timing.seconds_per_call(
        lambda: model.train_on_batch(images[:TRAINING_BATCH], labels)
    )
    inference_seconds = timing.seconds_per_call(lambda: model.predict_on_batch(images))
    return {
        "title": TITLES[name],
        "parameters": model.count_params(),
        "multiply_adds": multiply_adds(model),
        "training_ms": 1000 * training_seconds / TRAINING_BATCH,
        "inference_ms": 1000 * inference_seconds / INFERENCE_BATCH,
    }


def measure_all() -> None:
    """Measure every network that can be had here and write report/costs.json.

    The file holds "networks" (by name, see `cost`), "missing" (by name, why its weights can't be
    had), "batch" ("training" and "inference"), and what `provenance.provenance` returns.
    """
    reasons = {name: weights.why_unavailable(name) for name in backbones.BACKBONES}
    measured = {}
    for name in (*FROM_SCRATCH, *(name for name, reason in reasons.items() if not reason)):
        measured[name] = cost(name)
        print(
            f"{measured[name]['title']:20s}"
            f"{measured[name]['training_ms']:8.2f} ms an image in training,"
            f"{measured[name]['inference_ms']:8.2f} in inference",
            flush=True,
        )
    content = {
        "networks": measured,
        "missing": {name: reason for name, reason in reasons.items() if reason},
        "batch": {"training": TRAINING_BATCH, "inference": INFERENCE_BATCH},
        **provenance(),
    }
    with replaced(course.root() / "report" / "costs.json") as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    argparse.ArgumentParser(description="Measure what each network costs.").parse_args()
    measure_all()
