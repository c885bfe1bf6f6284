"""The checks of 07_imbalance refuse plausible wrong answers and name the mistake."""

import numpy as np
import pytest

from exercises import find

RNG = np.random.default_rng(7)
LABELS = np.repeat(np.arange(3), [70, 20, 10])
MATRIX = np.array([[8, 2, 0], [1, 5, 4], [1, 1, 8]])
SHARE = 0.7
F1 = 2 * SHARE / (1 + SHARE)
LOGITS = np.eye(3)[LABELS] + RNG.normal(size=(100, 3))
BETTER = np.eye(3)[LABELS] + 0.1 * RNG.normal(size=(100, 3))


def separated(count: int, classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(count) % classes
    features = RNG.normal(size=(count, 20)) + 1.2 * labels[:, None]
    return features, labels


TRAIN, VALIDATION = separated(400), separated(200)
PROBE = {"train": TRAIN, "validation": VALIDATION, "rare": 1}


def needed() -> int:
    verdict = find("07.4").verdict
    return next(count for count in (5, 10, 20, 40, 80) if verdict(count, **PROBE) is None)


def adjust(logits, counts, tau):
    return logits - tau * np.log(counts / counts.sum())


CASES = [
    (
        "07.1",
        {"labels": LABELS},
        F1 / 3,
        [(SHARE, "accuracy"), (F1, "one class"), (1 / 3, "recall"), (100 * F1 / 3, "percentage")],
    ),
    (
        "07.2",
        {"matrix": MATRIX},
        MATRIX / MATRIX.sum(axis=0),
        [
            (MATRIX / MATRIX.sum(axis=1, keepdims=True), "recall"),
            (MATRIX / MATRIX.sum(axis=0)[:, None], "axis"),
            (MATRIX / MATRIX.sum(), "all images"),
            (MATRIX / MATRIX.sum(axis=1), "row sums"),
            (100 * MATRIX / MATRIX.sum(axis=0), "percentages"),
            (np.diag(MATRIX) / MATRIX.sum(axis=0), "shape"),
        ],
    ),
    (
        "07.3",
        {},
        adjust,
        [
            (lambda logits, counts, tau: adjust(logits, counts, -tau), "subtract"),
            (lambda logits, counts, tau: adjust(logits, counts, 1), "tau = 0"),
            (lambda logits, counts, tau: logits - tau * counts / counts.sum(), "tau = 1"),
            (lambda logits, counts, tau: None, "nothing"),
            (2, "function"),
        ],
    ),
    ("07.4", PROBE, needed(), [(3, "one of the numbers"), (0.5, "one of the numbers")]),
    (
        "07.5",
        {"baseline": LOGITS, "labels": LABELS},
        BETTER,
        [
            (LABELS, "classes"),
            (BETTER[:50], "shape"),
            (LOGITS, "macro F1"),
            (-BETTER, "macro F1"),
        ],
    ),
]


def test_a_perfect_baseline_leaves_nothing_to_gain():
    perfect = np.eye(LOGITS.shape[1])[LABELS]
    found = find("07.5").verdict(BETTER, baseline=perfect, labels=LABELS)
    assert "nothing to gain (100.0% already)" in found


@pytest.mark.parametrize(("name", "given", "right", "wrong"), CASES, ids=lambda v: str(v)[:8])
def test_the_right_answer_is_accepted(name, given, right, wrong):
    assert find(name).verdict(right, **given) is None


@pytest.mark.parametrize(
    ("name", "given", "answer", "words"),
    [(name, given, answer, words) for name, given, _, wrong in CASES for answer, words in wrong],
)
def test_a_wrong_answer_is_refused_with_its_mistake(name, given, answer, words):
    assert words in find(name).verdict(answer, **given)


def test_neighbours_of_the_number_needed_are_told_what_they_are():
    counts = (5, 10, 20, 40, 80)
    place = counts.index(needed())
    verdict = find("07.4").verdict
    if place:
        assert "at most one half" in verdict(counts[place - 1], **PROBE)
    if place < len(counts) - 1:
        assert "smaller number" in verdict(counts[place + 1], **PROBE)
