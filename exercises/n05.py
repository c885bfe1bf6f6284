"""Checks of 05_finetune."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import softmax

from exercises import compare, exercise
from helpers.evaluation import metrics


@exercise(
    "05.1", "A dense layer has one weight for each pair of input and output, and one more each."
)
def head_weights(answer: object, *, class_count: int) -> str | None:
    """Expect the weights of a dense layer from 1,280 features to the classes."""
    return compare.number(
        answer,
        (1280 + 1) * class_count,
        mistakes={
            "The bias is missing: each output has one.": 1280 * class_count,
            "That counts one bias per feature: the bias belongs to the outputs.": 1280 * class_count
            + 1280,
            "Those are the tensors, and each holds many weights.": 2,
        },
    )


@exercise(
    "05.2",
    "Find the index of the last layer whose name begins with the block's name; then loop over all.",
)
def freezing(answer: object, *, backbone: Any, block: str = "block2a") -> str | None:
    """Expect a function that freezes through a block, and every batch normalisation behind it."""
    if not callable(answer):
        return "A function is expected."
    # All frozen at first, as before a fine-tuning: what shall train must be set to.
    for layer in backbone.layers:
        layer.trainable = False
    answer(backbone, block)
    after = [layer.trainable for layer in backbone.layers]
    last = max(i for i, layer in enumerate(backbone.layers) if layer.name.startswith(block))
    norms = [type(layer).__name__ == "BatchNormalization" for layer in backbone.layers]
    expected = [i > last and not norm for i, norm in enumerate(norms)]
    if after == expected:
        return None
    if not any(after):
        return (
            "Everything is frozen, as it was before: is the function still empty? What shall train "
            "needs `trainable = True`."
        )
    if after == [i > last for i in range(len(after))]:
        return "A batch normalisation behind the block still trains."
    if after == [not value for value in expected]:
        return "It is the other way round: what should train is frozen."
    if after[last]:
        return f"The last layer of {block} still trains: freeze through it, it included."
    return "Some layers are frozen that should train, or train that should be frozen."


@exercise(
    "05.3", "Count the steps: an epoch has as many as batches, and its last one may be smaller."
)
def statistics_left(answer: object) -> str | None:
    """Expect the fraction of ImageNet's statistics left after 6 epochs of 2,000 images."""
    steps = 6 * -(-2000 // 32)
    return compare.number(
        answer,
        0.99**steps,
        tolerance=5e-4,
        mistakes={
            "That is what has been replaced, not what is left.": 1 - 0.99**steps,
            "That counts epochs: the statistics move with every step.": 0.99**6,
            "That is one epoch's steps.": 0.99 ** (steps // 6),
            "Each epoch's last batch counts too, although it is not full.": 0.99 ** (6 * 62),
            "An epoch has a whole number of steps.": 0.99**375,
            "That counts images: the statistics move once per batch.": 0.0,
        },
    )


@exercise(
    "05.4", "Divide the logits, apply softmax along the classes, take each row's largest, average."
)
def temperature(answer: object, *, logits: np.ndarray) -> str | None:
    """Expect the mean probability of the predicted class at a temperature of 1, and of 2."""
    expected = [softmax(logits / t, axis=1).max(axis=1).mean() for t in (1, 2)]
    if not isinstance(answer, Sequence | np.ndarray) or len(answer) != 2:
        return "Two numbers are expected: before and after."
    try:
        before, after = (float(np.mean(value)) for value in answer)
    except (TypeError, ValueError):
        return "Two numbers are expected: before and after."
    if np.allclose([before, after], expected, atol=1e-3):
        return None
    if np.allclose([before, after], expected[::-1], atol=1e-3):
        return "The two are the other way round: before is a temperature of 1."
    multiplied = softmax(logits * 2, axis=1).max(axis=1).mean()
    if np.isclose(after, multiplied, atol=1e-3):
        return "The second one multiplies: a temperature of 2 divides the logits by 2."
    if max(before, after) > 1:
        return "Probabilities lie between 0 and 1: is the softmax missing?"
    means = [softmax(logits / t, axis=1).mean() for t in (1, 2)]
    if np.allclose([before, after], means, atol=1e-3):
        return "That averages over all classes: take each image's largest probability first."
    if np.allclose(before, expected[0], atol=1e-3):
        return "The first is right, the second is not."
    return "These are not the mean probabilities of the predicted class."


@exercise(
    "05.5", "metrics.compare(labels, first_logits, second_logits).p_value, in a loop over seeds."
)
def against_each_seed(answer: object, *, recorded: Any) -> str | None:
    """Expect McNemar's p-value of the one's seed 0 against each seed of the other."""
    first, second = "subset_both_at_once", "subset_fine_tuned"
    expected = _p_values(recorded, first, second, "validation")
    if isinstance(answer, Sequence | np.ndarray) and len(answer) != len(expected):
        return f"One p-value for each of {len(expected)} seeds is expected, not {len(answer)}."
    try:
        found = np.asarray(answer, float)
    except (TypeError, ValueError):
        return "Numbers are expected: take each test's p_value."
    if found.shape == expected.shape and np.allclose(found, expected, atol=1e-3):
        return None
    if found.shape == expected.shape and np.allclose(np.sort(found), np.sort(expected), atol=1e-3):
        return "The values are right, their order is not that of the seeds."
    shifted = _p_values(recorded, first, second, "shifted_validation")
    if found.shape == expected.shape and np.allclose(found, shifted, atol=1e-3):
        return "Those are of shifted validation: validation is asked for."
    return "These are not the p-values: compare seed 0 of the one with each seed of the other."


def _p_values(recorded: Any, first: str, second: str, image_set: str) -> np.ndarray:
    labels, logits = recorded.labels(image_set), recorded.logits(first, image_set, 0)
    seeds = recorded.seeds(second, image_set)
    others = (recorded.logits(second, image_set, seed) for seed in seeds)
    return np.array([metrics.compare(labels, logits, other).p_value for other in others])


@exercise(
    "05.6",
    "Set keras.utils.set_random_seed before each training; scipy.stats.ttest_ind compares.",
)
def against_the_lesson(answer: object) -> str | None:
    """Expect two lists of accuracies, yours and the lesson's, and the verdict that they allow."""
    return compare.seeds(answer)
