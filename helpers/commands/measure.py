"""`make bench`: two ways of doing the same thing, timed in one run, as ratios, with memory.

Each way runs in a process of its own, so that its peak memory is its own. Images are random: their
content does not change the work. Numbers go to build/benchmark.json.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

from helpers import course
from helpers.evaluation.machine import peak_memory
from helpers.files import replaced

BATCH_SIZE = 128
STEPS = 3
IMAGES = 8 * BATCH_SIZE
HEAD_EPOCHS = 30
HOMEWORK_IMAGES = 13_759
PAIRWISE_SAMPLE = 400


def _random_images(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 96, 96, 3), dtype=np.uint8)


def _random_labels(count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 8, count)


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def training_step(jit_compile: bool = False, fuse: bool = True, frozen: bool = False) -> float:
    """Return seconds of one fine-tuning step of the default backbone, after a warm-up step.

    Keras 3.15's own "auto" leaves XLA off where TensorFlow sees nothing but a CPU.
    """
    import keras

    from helpers.models import fused_batch_norm, networks
    from helpers.models.backbones import default_backbone

    model = networks.classifier(default_backbone(), 8, pretrained=False)
    if frozen:
        networks.freeze_batch_norm(model.get_layer("backbone"))
    if fuse:
        fused_batch_norm.fuse(model.get_layer("backbone"))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, jit_compile=jit_compile)
    images, labels = _random_images(BATCH_SIZE), _random_labels(BATCH_SIZE)
    model.train_on_batch(images, labels)
    return _seconds(lambda: [model.train_on_batch(images, labels) for _ in range(STEPS)]) / STEPS


def head_on_cached_features() -> float:
    """Return seconds to compute pooled features once and train a head on them for HEAD_EPOCHS."""
    from helpers.models import networks
    from helpers.models.backbones import default_backbone
    from helpers.models.weights import load_backbone
    from helpers.training import loop

    backbone = load_backbone(default_backbone(), pretrained=False)
    head = networks.head(backbone.output_shape[-1], 8, dropout=0.3)
    loop.compile_model(head, "adam", 1e-3)
    images, labels = _random_images(IMAGES), _random_labels(IMAGES)

    def train(count: int, epochs: int) -> None:
        features = networks.pooled_features(backbone, images[:count])
        head.fit(features, labels[:count], batch_size=BATCH_SIZE, epochs=epochs, verbose=0)

    train(BATCH_SIZE, 1)
    return _seconds(lambda: train(IMAGES, HEAD_EPOCHS))


def frozen_backbone_every_epoch() -> float:
    """Return seconds of HEAD_EPOCHS epochs through the frozen backbone (from two, after one)."""
    from helpers.models import networks
    from helpers.models.backbones import default_backbone
    from helpers.training import loop

    model = networks.classifier(default_backbone(), 8, pretrained=False)
    model.get_layer("backbone").trainable = False
    loop.compile_model(model, "adam", 1e-3)
    images, labels = _random_images(IMAGES), _random_labels(IMAGES)

    def epochs(count: int) -> None:
        model.fit(images, labels, batch_size=BATCH_SIZE, epochs=count, verbose=0)

    epochs(1)
    return _seconds(lambda: epochs(2)) / 2 * HEAD_EPOCHS


def duplicates_by_hash() -> float:
    """Return seconds to find exact duplicates among the homework's number of images by hash."""
    from helpers.data import cleaning

    images = _random_images(HOMEWORK_IMAGES)
    return _seconds(lambda: cleaning.duplicate_groups(cleaning.image_hashes(images)))


def duplicates_by_pairs() -> float:
    """Return seconds to compare all pairs, projected by their number from a sample's pairs."""
    images = _random_images(PAIRWISE_SAMPLE)

    def work() -> None:
        for first in range(PAIRWISE_SAMPLE):
            for second in range(first + 1, PAIRWISE_SAMPLE):
                np.array_equal(images[first], images[second])

    pairs = PAIRWISE_SAMPLE * (PAIRWISE_SAMPLE - 1)
    return _seconds(work) * HOMEWORK_IMAGES * (HOMEWORK_IMAGES - 1) / pairs


WAYS = {
    "training step, XLA off": lambda: training_step(fuse=False),
    "training step, XLA on": lambda: training_step(jit_compile=True, fuse=False),
    "batch normalisation fused": training_step,
    "batch normalisation as in Keras": lambda: training_step(fuse=False),
    "frozen batch normalisation folded": lambda: training_step(frozen=True),
    "frozen, as in Keras": lambda: training_step(fuse=False, frozen=True),
    "head on cached features": head_on_cached_features,
    "frozen backbone in every epoch": frozen_backbone_every_epoch,
    "duplicates by hash": duplicates_by_hash,
    "duplicates by comparing pairs": duplicates_by_pairs,
}
# Each comparison: ours, then the other way.
COMPARISONS = [tuple(list(WAYS)[start : start + 2]) for start in range(0, len(WAYS), 2)]


def _measured(way: str) -> dict:
    command = [sys.executable, "-m", "helpers.commands.measure", way]
    answer = subprocess.run(command, capture_output=True, text=True)
    if answer.returncode:
        raise course.CourseError(f"The benchmark '{way}' failed: {answer.stderr.strip()[-300:]}")
    return json.loads(answer.stdout.splitlines()[-1])


def main() -> int:
    """Run one way and print its JSON, or all of them as a table of ratios."""
    if len(sys.argv) == 2:
        seconds = WAYS[sys.argv[1]]()
        print(json.dumps({"seconds": seconds, "peak_mib": peak_memory()}))
        return 0
    measured = {}
    for ours, other in COMPARISONS:
        for way in (ours, other):
            measured[way] = _measured(way)
            memory = measured[way]["peak_mib"]
            memory = "" if memory is None else f"{memory:8,.0f} MiB at most"
            print(f"{way:34s}{measured[way]['seconds']:12,.3f} s {memory}", flush=True)
        ratio = measured[other]["seconds"] / measured[ours]["seconds"]
        print(f"{'':34s}{ratio:12,.1f} times faster\n", flush=True)
    with replaced(course.build_folder() / "benchmark.json") as temporary:
        temporary.write_text(json.dumps(measured, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
