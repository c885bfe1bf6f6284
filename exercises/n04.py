"""Checks of 04_transfer."""

import hashlib
from collections.abc import Callable

import numpy as np

from exercises import compare, exercise

_DENSE = 128
_COUNTS = (50, 100, 200, 400)
_FROZEN, _OTHER = "efficientnet_lite0_frozen", "mobilenet_v3_small_frozen"
# What the open task asks for.
_GAIN = 0.05

# What was computed before in this session, by what it was computed from.
_computed: dict[tuple, object] = {}


def _once(compute: Callable, model: object, *arrays: np.ndarray) -> object:
    """Return compute(model, *arrays), computed once for each model (or function) and content."""
    weights = model.get_weights() if hasattr(model, "get_weights") else []
    contents = (
        hashlib.sha1(np.ascontiguousarray(array), usedforsecurity=False).digest()
        for array in (*arrays, *weights)
    )
    key = (compute, model, *contents)
    if key not in _computed:
        _computed[key] = compute(model, *arrays)
    return _computed[key]


def _fitted(probe: Callable, features: np.ndarray, labels: np.ndarray) -> list:
    return [probe(features[:count], labels[:count]) for count in _COUNTS]


def _maps(network: object, images: np.ndarray) -> np.ndarray:
    return network.predict(images, batch_size=64, verbose=0)


@exercise(
    "04.1",
    "A dense layer of n units on m inputs has m weights and one bias per unit. The second layer's "
    "inputs are the first one's units.",
)
def dense_head(answer: object, width: int, class_count: int) -> str | None:
    """Expect the weights of a head with a dense layer of 128 units and an output layer."""
    hidden, output = (width + 1) * _DENSE, (_DENSE + 1) * class_count
    mistakes = {
        "The biases are missing: one per unit, in both layers.": width * _DENSE
        + _DENSE * class_count,
        "That is the head without the dense layer.": (width + 1) * class_count,
        "That is the dense layer alone: the output layer has weights too.": hidden,
        "The output layer reads the 128 units, not the features.": hidden
        + (width + 1) * class_count,
    }
    return compare.number(answer, hidden + output, 0.5, mistakes)


@exercise(
    "04.2",
    "In a loop over the counts: fit a probe on the first `count` images in the order `order`, "
    "features and labels alike, and take its accuracy on `judge_features`.",
)
def probe_sizes(
    answer: object,
    probe: object,
    features: np.ndarray,
    labels: np.ndarray,
    judge_features: np.ndarray,
    judge: object,
) -> str | None:
    """Expect the accuracies of probes on the first 50, 100, 200 and 400 shuffled images.

    Args:
        answer: four fractions.
        probe: the lesson's function, from features and labels to a fitted classifier.
        features, labels: of the training images, in the lesson's order.
        judge_features: of the validation images.
        judge: the validation images, an `ImageSet`.
    """
    models = _once(_fitted, probe, features, labels)
    expected = np.array([(m.predict(judge_features) == judge.labels).mean() for m in models])
    tolerance = 1.5 / len(judge)
    found = np.asarray(answer, dtype=object)
    if found.shape != expected.shape:
        return compare.array(answer, expected, tolerance)
    try:
        found = found.astype(float)
    except (TypeError, ValueError):
        return compare.array(answer, expected, tolerance)
    if np.allclose(found, 100 * expected, atol=100 * tolerance):
        return "Those are percentages: give fractions, between 0 and 1."
    if np.allclose(found, 1 - expected, atol=tolerance):
        return "Those are the fractions of *wrong* answers."
    if np.allclose(found, expected[::-1], atol=tolerance):
        return "They are in the reverse order: begin with 50 images."
    on_training = [
        (m.predict(features[:count]) == labels[:count]).mean()
        for m, count in zip(models, _COUNTS, strict=True)
    ]
    if np.allclose(found, on_training, atol=tolerance):
        return "Those are measured on the training images themselves: judge on `judge_features`."
    return compare.array(found, expected, tolerance)


@exercise("04.3", "`pooled_features` takes any network that ends in maps: which one ends early?")
def middle_features(answer: object, early: object, judge: object) -> str | None:
    """Expect the pooled maps of the cut backbone for the validation images."""
    maps = _once(_maps, early, judge.images)
    expected = maps.mean(axis=(1, 2))
    found = np.asarray(answer, dtype=object if isinstance(answer, str) else None)
    if found.shape == maps.shape:
        return "Those are the maps: average each over its places (height and width)."
    if found.ndim == 2 and found.shape[0] == len(judge) and found.shape[1] != expected.shape[1]:
        return (
            f"There are {found.shape[1]:,} features per image, and `early` has "
            f"{expected.shape[1]}: were they taken from another layer?"
        )
    if found.ndim == 2 and found.shape[0] != len(judge):
        return f"Those are features of {found.shape[0]:,} images; `judge` has {len(judge):,}."
    if found.shape == expected.shape and found.dtype != object:
        scale = np.abs(expected).max()
        if np.allclose(found, maps.sum(axis=(1, 2)), rtol=1e-3):
            return "Those are sums over the places: take the mean."
        if np.allclose(found, maps.max(axis=(1, 2)), rtol=1e-3):
            return "That is max pooling: take the mean."
        small = early.predict(judge.images / np.float32(255), verbose=0).mean(axis=(1, 2))
        if np.allclose(found, small, atol=1e-3 * scale):
            return "The input range trap: `early` wants pixels from 0 to 255."
        return compare.array(found, expected, 1e-3 * scale)
    return compare.array(answer, expected)


@exercise(
    "04.4",
    "Two arrays of True and False: correct before, correct after. Among the rows where `before` is "
    "True, what is the mean of ~after?",
)
def reversed_channels(answer: object, backbone: object, probe: object, judge: object) -> str | None:
    """Expect which fraction of the correct answers is lost when channels are reversed."""

    def correct(images: np.ndarray) -> np.ndarray:
        features = _once(_maps, backbone, images).mean(axis=(1, 2))
        return probe.predict(features) == judge.labels

    before, after = correct(judge.images), correct(judge.images[..., ::-1])
    expected = (before & ~after).sum() / before.sum()
    mistakes = {
        "That is the accuracy on reversed channels: which part of the correct answers is lost?": (
            after.mean()
        ),
        "That is the fall in accuracy. Count the correct answers that are lost, and divide by the "
        "correct answers.": before.mean() - after.mean(),
        "That is a fraction of all images: divide by those that were correct before.": (
            before & ~after
        ).mean(),
        "That is the fraction that *stays* correct.": 1 - expected,
    }
    tolerance = 0.6 / before.sum()
    others = {text: v for text, v in mistakes.items() if abs(v - expected) > tolerance}
    return compare.number(answer, expected, tolerance, others)


@exercise(
    "04.5",
    'recorded.values(name, "shifted_test_unseen") holds the accuracies of all seeds; so does '
    "`recorded.correct`, image by image, for `difference`.",
)
def unseen_operations(answer: object, recorded: object) -> str | None:
    """Expect MobileNetV3-Small minus Lite0 on the unseen part of the shifted test, in points."""

    def points(image_set: str, name: str = _OTHER) -> float:
        means = [recorded.values(of, image_set).mean() for of in (name, _FROZEN)]
        return 100 * float(means[0] - means[1])

    unseen = "shifted_test_unseen"
    first = recorded.values(_OTHER, unseen)[0] - recorded.values(_FROZEN, unseen)[0]
    mistakes = {
        "That is a fraction: give points.": points(unseen) / 100,
        "That is seed 0 alone: take the mean of the three seeds.": 100 * float(first),
        "That is `shifted_test_seen`, where every operation was practised: the other part is asked "
        "for.": points("shifted_test_seen"),
        "That is the whole shifted test.": points("shifted_test"),
        "That is shifted validation: the part of the *test* is asked for.": points(
            "shifted_validation"
        ),
    }
    expected = points(unseen)
    others = {text: v for text, v in mistakes.items() if abs(v - expected) > 0.06}
    return compare.number(answer, expected, 0.06, others)


@exercise(
    "04.6",
    "What does a shifted image look like beside its original? Let the probe see such changes: add "
    "copies of `few` with other colours, brightness or sharpness to its training images.",
)
def surviving_features(answer: object, plain: np.ndarray, altered: object) -> str | None:
    """Expect classes of the altered images, at least five points more often correct than `plain`.

    Args:
        answer: int (N,).
        plain: int (N,), the plain probe's predictions.
        altered: N images of shifted validation, an `ImageSet`.
    """
    if isinstance(answer, str) or callable(answer):
        return "Hand over the predicted classes, an array of whole numbers, one per image."
    found = np.asarray(answer)
    if found.ndim == 2 and found.shape[0] == len(altered) and found.shape[1] > 1:
        return f"The shape is {found.shape}: those are scores; take argmax(axis=1)."
    if found.shape != plain.shape:
        return compare.array(answer, plain)
    if found.dtype == bool:
        return "Those are True and False: hand over the classes themselves."
    if not np.array_equal(found, found.astype(int)):
        return "Classes are whole numbers; those look like probabilities or scores."
    goal = (plain == altered.labels).mean() + _GAIN
    reached = (found == altered.labels).mean()
    if goal >= 1:
        return compare.TOO_EASY.format(goal - _GAIN)
    if reached == 1:
        return "Every image is correct: those are the labels, or the probe was trained on them."
    if reached < goal:
        return f"It reaches {reached:.1%}, and {goal:.1%} is asked for."
    return None
