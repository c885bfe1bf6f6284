"""Wrong answers to the exercises of 03_custom_cnns, each refused with its mistake."""

from types import SimpleNamespace

import numpy as np
import pytest
from answers import refused, verdict
from scipy import signal

CLASSES = 8
HISTORY = {
    "loss": [2.0, 1.6, 1.3, 1.2, 1.1, 1.15, 0.9],
    "val_loss": [1.9, 1.5, 1.6, 1.4, 1.2, 1.3, 1.4],
    "val_accuracy": [0.2, 0.3, 0.4, 0.35, 0.5, 0.5, 0.5],
}
IMAGES = np.random.default_rng(0).integers(0, 256, (200, 8, 8, 3), dtype=np.uint8)


class Network:
    """Answers like a network of `weights` weights: by `rule`, from images to classes."""

    def __init__(self, weights, rule):
        self.weights, self.rule = weights, rule

    def count_params(self):
        return self.weights

    def predict(self, images, verbose):
        return np.eye(CLASSES)[self.rule(images)]


def by_first_row(images):
    return images[:, 0].astype(int).sum(axis=(1, 2)) % CLASSES


def test_the_flattened_weights():
    assert verdict("03.1", (3 * 3 * 512 + 1) * 8, class_count=CLASSES) is None
    for answer, words in (
        (3 * 3 * 512 * 8, "biases"),
        (513 * 8, "as it is"),
        ((6 * 6 * 512 + 1) * 8, "before its last pooling"),
        (3 * 3 * 512 + 1, "one class's"),
        ((3, 3, 512), "One number"),
    ):
        refused("03.1", answer, words, class_count=CLASSES)


def by_loops(image, kernel):
    height, width = (a - b + 1 for a, b in zip(image.shape, kernel.shape, strict=True))
    answers = np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            window = image[row : row + kernel.shape[0], column : column + kernel.shape[1]]
            answers[row, column] = (window * kernel).sum()
    return answers


def test_the_convolution():
    assert verdict("03.2", by_loops) is None
    refused("03.2", by_loops(np.ones((5, 5)), np.ones((3, 3))), "the function itself")
    refused("03.2", lambda i, k: signal.convolve2d(i, k, "valid"), "turned around")
    refused("03.2", lambda i, k: signal.correlate2d(i, k, "same"), "padding")
    refused("03.2", lambda i, k: by_loops(i, k)[:-1], "shape")
    refused("03.2", lambda i, k: by_loops(i, k[:, :1] @ np.ones((1, 3))), "shape")
    refused("03.2", lambda i, k: by_loops(i, k) / k.size, "values are wrong")
    refused("03.2", lambda i: i, "fails")


def test_a_patience_of_one():
    assert verdict("03.3", 3, history=HISTORY) is None
    for answer, words in ((2, "put back"), (5, "best epoch"), (6, "training"), (4, "accuracy")):
        refused("03.3", answer, words, history=HISTORY)
    refused("03.3", 7, "patience of two", history=HISTORY)


def test_a_patience_of_one_that_never_runs_out():
    history = dict.fromkeys(("loss", "val_loss", "val_accuracy"), HISTORY["loss"][:5])
    assert verdict("03.3", 5, history=history) is None


def test_the_quarter_turn():
    images = IMAGES[:150]

    def same(*shown):
        return (by_first_row(images) == by_first_row(np.rot90(images, *shown, axes=(1, 2)))).mean()

    given = {"network": Network(1, by_first_row), "images": images}
    assert verdict("03.4", same(), **given) is None
    wrong = {
        1 - same(): "changes",
        1.0: "mirrored",
        same(2): "half turn",
        same(-1): "clockwise",
        100 * same(): "percentage",
    }
    assert len({same(), *wrong}) == 6
    for answer, words in wrong.items():
        refused("03.4", answer, words, **given)
    refused("03.4", by_first_row(images) == 0, "One number", **given)


def test_the_images_needed():
    assert verdict("03.5", 2167) is None
    for answer, words in (
        (8667, "either side"),
        (564, "standard error"),
        (9604, "50 %"),
        (2256, "2 for 1.96"),
        (46.5, "root"),
        (21.7, "fraction"),
    ):
        refused("03.5", answer, words)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Network(60, by_first_row), "at most 50"),
        (Network(40, lambda images: np.zeros(len(images), int)), "one class"),
        (Network(40, lambda images: 7 - by_first_row(images)), "2 points below"),
        (0.95, "network itself"),
    ],
)
def test_a_smaller_network_that_falls_short(answer, words):
    judge = SimpleNamespace(images=IMAGES, labels=by_first_row(IMAGES))
    refused("03.6", answer, words, reference=Network(100, by_first_row), judge=judge)


def test_a_smaller_network_that_is_as_good():
    judge = SimpleNamespace(images=IMAGES, labels=by_first_row(IMAGES))
    given = {"reference": Network(100, by_first_row), "judge": judge}
    assert verdict("03.6", Network(50, by_first_row), **given) is None


def test_a_smaller_network_that_the_images_do_not_tell_apart():
    labels = by_first_row(IMAGES)
    judge = SimpleNamespace(images=IMAGES, labels=labels)

    def wrong_in(count):
        return lambda images: np.where(np.arange(len(images)) < count, 7 - labels, labels)

    given = {"reference": Network(100, by_first_row), "judge": judge}
    assert verdict("03.6", Network(50, wrong_in(6)), **given) is None
    refused("03.6", Network(50, wrong_in(20)), "2 points below", **given)
