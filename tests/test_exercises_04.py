"""Wrong answers to the exercises of 04_transfer, each refused with its mistake."""

from types import SimpleNamespace

import numpy as np
import pytest
from answers import refused, verdict

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (120, 8, 8, 3), dtype=np.uint8)
LABELS = IMAGES[:, :4].astype(int).sum(axis=(1, 2, 3)) % 4


class Images(SimpleNamespace):
    def __len__(self):
        return len(self.labels)


JUDGE = Images(images=IMAGES, labels=LABELS)


class Backbone:
    """Maps of 2 × 2 places: means of quarters of the image, one map per channel and one more."""

    def predict(self, images, batch_size=None, verbose=0):
        maps = images.reshape(len(images), 2, 4, 2, 4, 3).astype(float).mean(axis=(2, 4))
        return np.concatenate([maps, maps[..., :1] ** 2], axis=-1)


class Nearest:
    """A probe: the class of the nearest of the images it was fitted to."""

    def __init__(self, features, labels):
        self.features, self.labels = features, labels

    def predict(self, features):
        distances = ((features[:, None] - self.features[None]) ** 2).sum(axis=2)
        return self.labels[distances.argmin(axis=1)]


def test_the_head_with_a_dense_layer():
    given = {"width": 1280, "class_count": 8}
    assert verdict("04.1", 1281 * 128 + 129 * 8, **given) is None
    for answer, words in (
        (1280 * 128 + 128 * 8, "biases"),
        (1281 * 8, "without the dense layer"),
        (1281 * 128, "alone"),
        (1281 * 128 + 1281 * 8, "128 units"),
        ("many", "One number"),
    ):
        refused("04.1", answer, words, **given)


def test_probes_on_more_and_more_images():
    features = RNG.normal(size=(400, 3))
    labels = (features[:, 0] > 0).astype(int) + (features[:, 1] > 0)
    judge = Images(labels=labels[:200])
    given = {"probe": Nearest, "features": features, "labels": labels, "judge": judge}
    given["judge_features"] = features[:200] + 0.9 * RNG.normal(size=(200, 3))
    counts = (50, 100, 200, 400)
    models = [Nearest(features[:n], labels[:n]) for n in counts]
    right = [(m.predict(given["judge_features"]) == judge.labels).mean() for m in models]
    assert verdict("04.2", right, **given) is None
    assert verdict("04.2", np.array(right), **given) is None
    for answer, words in (
        (100 * np.array(right), "percentages"),
        (1 - np.array(right), "wrong"),
        ([1.0, 1.0, 1.0, 1.0], "training images"),
        (right[:3], "shape"),
        (np.array(right)[:, None], "broadcast"),
        (["a", "b", "c", "d"], "numbers"),
        (np.array(right) + 0.1, "values are wrong"),
    ):
        refused("04.2", answer, words, **given)


def test_what_is_right_is_computed_once_for_the_same_data():
    features = RNG.normal(size=(400, 3))
    labels = (features[:, 0] > 0).astype(int)
    fits = []

    def probe(some, labels):
        fits.append(len(some))
        return Nearest(some, labels)

    given = {"probe": probe, "features": features, "labels": labels}
    given |= {"judge_features": features[:200], "judge": Images(labels=labels[:200])}
    for _ in range(2):
        assert verdict("04.2", [0.0] * 4, **given)
    assert fits == [50, 100, 200, 400]
    assert verdict("04.2", [0.0] * 4, **(given | {"features": features + 1}))
    assert len(fits) == 8


def test_features_of_the_middle():
    maps = Backbone().predict(IMAGES)
    given = {"early": Backbone(), "judge": JUDGE}
    assert verdict("04.3", maps.mean(axis=(1, 2)), **given) is None
    for answer, words in (
        (maps, "maps"),
        (maps.sum(axis=(1, 2)), "sums"),
        (maps.max(axis=(1, 2)), "max pooling"),
        (maps.mean(axis=(1, 2))[:50], "50 images"),
        (maps.mean(axis=(1, 2))[:, :2], "another layer"),
        (Backbone().predict(IMAGES / 255).mean(axis=(1, 2)), "range trap"),
        ("features", "array"),
    ):
        refused("04.3", answer, words, **given)


def test_reversed_channels():
    features = Backbone().predict(IMAGES).mean(axis=(1, 2))
    probe = Nearest(features[::2], LABELS[::2])
    before = probe.predict(features) == LABELS
    turned = Backbone().predict(IMAGES[..., ::-1]).mean(axis=(1, 2))
    after = probe.predict(turned) == LABELS
    lost = (before & ~after).sum() / before.sum()
    given = {"backbone": Backbone(), "probe": probe, "judge": JUDGE}
    assert verdict("04.4", lost, **given) is None
    for answer, words in (
        (after.mean(), "accuracy on reversed"),
        (before.mean() - after.mean(), "fall in accuracy"),
        ((before & ~after).mean(), "all images"),
        (1 - lost, "stays"),
        (before & ~after, "One number"),
    ):
        refused("04.4", answer, words, **given)


def test_operations_that_nothing_practised():
    scores = {
        ("mobilenet_v3_small_frozen", "shifted_test_unseen"): [0.55, 0.53, 0.54],
        ("efficientnet_lite0_frozen", "shifted_test_unseen"): [0.48, 0.50, 0.49],
        ("mobilenet_v3_small_frozen", "shifted_test_seen"): [0.56] * 3,
        ("efficientnet_lite0_frozen", "shifted_test_seen"): [0.58] * 3,
        ("mobilenet_v3_small_frozen", "shifted_test"): [0.53] * 3,
        ("efficientnet_lite0_frozen", "shifted_test"): [0.49] * 3,
        ("mobilenet_v3_small_frozen", "shifted_validation"): [0.51] * 3,
        ("efficientnet_lite0_frozen", "shifted_validation"): [0.50] * 3,
    }
    recorded = SimpleNamespace(values=lambda name, images: np.array(scores[name, images]))
    assert verdict("04.5", 5.0, recorded=recorded) is None
    for answer, words in (
        (-2.0, "every operation was practised"),
        (4.0, "whole"),
        (1.0, "shifted validation"),
        (7.0, "seed 0"),
        (0.05, "fraction"),
        (-5.0, "sign"),
    ):
        refused("04.5", answer, words, recorded=recorded)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (np.zeros((120, 1)), "broadcast"),
        (np.zeros((120, 4)), "argmax"),
        (np.full(120, 0.5), "whole numbers"),
        (np.zeros(119), "expected"),
        (LABELS, "Every image"),
        (np.zeros(120, int), "is asked for"),
        ("classes", "array of whole numbers"),
        (LABELS > 0, "True and False"),
        (np.where(np.arange(120) < 63, LABELS, 9), "is asked for"),
    ],
)
def test_predictions_that_fall_short(answer, words):
    plain = np.where(np.arange(120) < 60, LABELS, 9)
    refused("04.6", answer, words, plain=plain, altered=JUDGE)


def test_images_that_leave_nothing_to_gain():
    plain = np.where(np.arange(120) < 118, LABELS, 9)
    refused("04.6", LABELS, "nothing to gain (98.3% already)", plain=plain, altered=JUDGE)


def test_predictions_that_are_better():
    plain = np.where(np.arange(120) < 60, LABELS, 9)
    better = np.where(np.arange(120) < 66, LABELS, 9)
    assert verdict("04.6", better, plain=plain, altered=JUDGE) is None
