"""Synthetic cells: repeatable, shaped like the photographs, and neither too easy nor hopeless."""

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import RidgeClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from helpers.data import synthetic
from helpers.data.photographs import CLASS_NAMES

EVERY_CLASS = np.arange(len(CLASS_NAMES))


def natural_labels(count: int, seed: int) -> np.ndarray:
    shares = np.array(synthetic.CLASS_COUNTS) / sum(synthetic.CLASS_COUNTS)
    return np.random.default_rng(seed).choice(len(shares), count, p=shares)


@pytest.fixture(scope="module")
def lesson() -> tuple[np.ndarray, np.ndarray]:
    labels = natural_labels(2000, seed=1)
    return synthetic.draw_cells(labels, seed=1), labels


@pytest.fixture
def undrawn(monkeypatch) -> None:
    """Replace drawing, which takes a minute, by images that hold the number of their row."""

    def numbered(seed, labels, second_acquisition):
        rows = np.arange(len(labels), dtype=np.uint16)
        images = np.stack([rows // 256, rows % 256, labels], axis=1).astype(np.uint8)
        return images.reshape(-1, 1, 1, 3)

    monkeypatch.setattr(synthetic, "_draw_in_parallel", numbered)


def test_images_are_what_the_contract_says():
    images = synthetic.draw_cells(EVERY_CLASS, seed=0)
    assert images.shape == (8, 96, 96, 3)
    assert images.dtype == np.uint8
    assert images.std(axis=(1, 2)).min() > 1


def test_same_seed_draws_the_same_and_another_seed_does_not():
    first = synthetic.draw_cells(EVERY_CLASS, seed=4)
    assert np.array_equal(first, synthetic.draw_cells(EVERY_CLASS, seed=4))
    other = synthetic.draw_cells(EVERY_CLASS, seed=5)
    assert all(not np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_an_image_depends_on_its_own_row_only():
    labels = natural_labels(12, seed=2)
    images = synthetic.draw_cells(labels, seed=6)
    assert len(np.unique(images.reshape(12, -1), axis=0)) == 12
    changed = np.where(np.arange(12) == 3, 7 - labels, labels)
    differs = (synthetic.draw_cells(changed, seed=6) != images).any(axis=(1, 2, 3))
    assert differs.tolist() == [row == 3 for row in range(12)]
    assert np.array_equal(synthetic.draw_cells(labels[:5], seed=6), images[:5])


def test_drawing_in_processes_equals_drawing_in_one():
    labels = natural_labels(synthetic._CHUNK + 9, seed=3)
    second = np.arange(len(labels)) % 5 == 0
    parallel = synthetic._draw_in_parallel(8, labels, second)
    assert np.array_equal(parallel, synthetic._draw_rows(8, np.arange(len(labels)), labels, second))
    assert np.array_equal(parallel[~second], synthetic.draw_cells(labels, 8)[~second])


def test_backgrounds_are_warm_but_bluish_in_the_second_acquisition():
    labels = np.tile(EVERY_CLASS, 12)
    second = np.arange(len(labels)) >= 48
    images = synthetic._draw_rows(9, np.arange(len(labels)), labels, second).astype(float)
    background = images.sum(axis=3) >= np.percentile(
        images.sum(axis=3), 90, axis=(1, 2), keepdims=True
    )
    blue_over_red = np.array(
        [
            (image[..., 2] - image[..., 0])[mask].mean()
            for image, mask in zip(images, background, strict=True)
        ]
    )
    assert blue_over_red[second].min() > 3
    assert blue_over_red[~second].max() < -3


def test_the_drawn_set_repeats_the_counts_of_the_photographs(undrawn):
    photographs = synthetic.draw_photographs(seed=1)
    assert len(photographs) == 15383
    assert photographs.labels.dtype == np.int64
    assert np.bincount(photographs.labels).tolist() == list(synthetic.CLASS_COUNTS)
    assert len(set(photographs.labels[:100].tolist())) == len(CLASS_NAMES)
    assert photographs.class_names == CLASS_NAMES
    assert photographs.source.name == "synthetic"
    assert not photographs.source.are_photographs
    assert photographs.source.caption == "synthetic cells"
    assert np.array_equal(photographs.labels, synthetic.draw_photographs(seed=1).labels)
    other = synthetic.draw_photographs(seed=2)
    assert photographs.source.checksum != other.source.checksum
    assert not np.array_equal(photographs.labels, other.labels)


def test_the_drawn_set_has_17_duplicate_pairs_one_of_them_with_two_labels(undrawn):
    photographs = synthetic.draw_photographs(seed=1)
    _, group, counts = np.unique(
        photographs.images.reshape(-1, 3), axis=0, return_inverse=True, return_counts=True
    )
    assert np.bincount(counts).tolist() == [0, 15383 - 34, 17]
    pairs = [photographs.labels[group == g].tolist() for g in np.flatnonzero(counts == 2)]
    conflicts = [sorted(pair) for pair in pairs if pair[0] != pair[1]]
    assert conflicts == [[CLASS_NAMES.index("eosinophil"), CLASS_NAMES.index("neutrophil")]]


def test_the_second_acquisition_is_408_images_apart_from_platelets_and_duplicates():
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(EVERY_CLASS, synthetic.CLASS_COUNTS))
    second, originals, copies = synthetic._special_rows(labels, rng)
    assert second.sum() == 408
    assert np.bincount(labels[second], minlength=8).tolist() == [46, 46, 45, 136, 45, 45, 45, 0]
    assert not second[originals].any()
    assert not second[copies].any()


def test_a_linear_model_on_pixels_stays_under_60_percent(lesson):
    images, labels = lesson
    pixels = images.reshape(-1, 12, 8, 12, 8, 3).mean(axis=(2, 4)).reshape(len(images), -1)
    model = make_pipeline(StandardScaler(), RidgeClassifierCV(alphas=[100, 1000, 10000]))
    accuracy = model.fit(pixels[:1400], labels[:1400]).score(pixels[1400:], labels[1400:])
    assert 0.25 < accuracy < 0.6


def test_colours_and_local_contrast_tell_classes_apart(lesson):
    images, labels = lesson
    contrast = np.abs(np.diff(images.astype(np.int16), axis=1))
    features = np.hstack([_percentiles(images), _percentiles(contrast)])
    model = ExtraTreesClassifier(100, random_state=0)
    accuracy = model.fit(features[:1400], labels[:1400]).score(features[1400:], labels[1400:])
    share_of_largest_class = np.bincount(labels[1400:]).max() / 600
    assert accuracy > share_of_largest_class + 0.25


def _percentiles(images: np.ndarray) -> np.ndarray:
    """Return percentiles of each colour over a third of the pixels: float (N, 30)."""
    pixels = images.reshape(len(images), -1, 3)[:, ::3]
    shares = [1, 3, 5, 10, 15, 20, 30, 40, 70, 95]
    return np.percentile(pixels, shares, axis=1).transpose(1, 0, 2).reshape(len(images), -1)
