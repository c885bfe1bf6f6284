"""What breaks a model is found where it was put."""

import numpy as np
import pytest

from helpers.changes import shifts
from helpers.data.photographs import ImageSet
from helpers.evaluation import explanation


def logits_for(predictions: np.ndarray, classes: int = 3) -> np.ndarray:
    return np.eye(classes, dtype=np.float32)[predictions]


def test_single_operations_are_judged_on_one_fixed_sample():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [90, 30])
    clean = ImageSet(rng.integers(60, 200, (120, 96, 96, 3), dtype=np.uint8), labels)
    seen = []

    def predict(images: np.ndarray) -> np.ndarray:
        """Be right about the first 30 of 40, unless anything is covered in white."""
        seen.append(images)
        covered = (images == 255).all(axis=-1).mean(axis=(1, 2)) > 0.02
        return logits_for(np.where(covered | (np.arange(40) >= 30), 2, np.repeat([0, 1], [30, 10])))

    table = explanation.single_operation_accuracy(predict, clean, count=40)
    assert len(seen) == len(table) == len(shifts.OPERATIONS) + 1
    assert table.index[-1] == explanation.UNALTERED
    assert (table["images"] == 40).all()
    assert table.loc["unaltered", ["kind", "accuracy", "drop"]].tolist() == ["unaltered", 0.75, 0]
    # The sample keeps the classes' shares and is handed over as it is at last.
    assert any(np.array_equal(images[0], clean.images[row]) for images in seen for row in range(90))
    assert table["accuracy"].iloc[:-1].is_monotonic_increasing
    assert table.loc["cutout", "drop"] < -0.05
    assert table.loc["flip", "drop"] == 0


def test_a_stronger_operation_is_asked_for_by_its_strength():
    images = np.full((2, 96, 96, 3), 120, np.uint8)
    brightest = {}
    for strength in (0.2, 1.0):
        seen = []

        def predict(images: np.ndarray, seen=seen) -> np.ndarray:
            seen.append(int(images.max()))
            return logits_for(np.zeros(2, int))

        clean = ImageSet(images, np.zeros(2, int))
        explanation.single_operation_accuracy(predict, clean, strength=strength)
        brightest[strength] = seen[list(shifts.OPERATIONS).index("brightness")]
    assert brightest[1.0] != brightest[0.2]


def test_worst_errors_are_wrong_and_begin_with_the_surest():
    logits = np.array([[9, 0, 0], [0, 9, 0], [0, 0, 3], [0, 1, 0], [0, 60_000, 0]], np.float16)
    labels = np.array([0, 0, 0, 0, 0])
    assert explanation.worst_errors(labels, logits, 3).tolist() == [4, 1, 2]
    assert explanation.worst_errors(labels[:1], logits[:1], 3).tolist() == []


def test_confusions_go_both_ways():
    labels = np.array([0] * 10 + [1] * 4 + [2] * 5)
    predictions = np.array([0] * 7 + [1] * 1 + [2] * 2 + [1] * 2 + [0] * 2 + [2] * 5)
    table = explanation.confusions_of(labels, logits_for(predictions), 0, ("a", "b", "c"))
    assert list(table.index) == ["c", "b"]
    assert table.loc["b"].tolist() == pytest.approx([0.1, 0.5])
    assert table.loc["c"].tolist() == pytest.approx([0.2, 0.0])


def test_tsne_of_both_keeps_groups_and_repeats():
    rng = np.random.default_rng(0)
    centres = 20 * np.eye(2, 60)
    clean, shifted = (centres[np.arange(n) % 2] + rng.normal(size=(n, 60)) for n in (40, 20))
    places, is_shifted = explanation.tsne_together(clean, shifted)
    assert places.shape == (60, 2)
    assert is_shifted.tolist() == [False] * 40 + [True] * 20
    group = np.r_[np.arange(40), np.arange(20)] % 2
    means = np.array([places[group == g].mean(axis=0) for g in (0, 1)])
    nearest = np.linalg.norm(places[:, None] - means, axis=2).argmin(axis=1)
    assert (nearest == group).all()
    np.testing.assert_array_equal(places, explanation.tsne_together(clean, shifted)[0])


def test_the_nearest_clean_neighbour_is_another_image():
    clean = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
    labels = np.array([0, 0, 1, 1])
    near = explanation.nearest_neighbour_accuracy(clean, 5 * clean, labels)
    assert (near.value, near.n) == (1.0, 4)
    astray = explanation.nearest_neighbour_accuracy(clean, clean[::-1], labels)
    assert astray.value == 0.0
    alone = explanation.nearest_neighbour_accuracy(clean[[0, 2]], clean[[0, 2]], labels[[0, 2]])
    assert alone.value == 0.0
