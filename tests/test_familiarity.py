"""Familiarity: distances that tell strangers, temperatures that grow with them, checked files."""

import hashlib

import numpy as np
import pytest
from scipy import special

from commands import familiarity
from helpers import course
from helpers.course import CourseError

RNG = np.random.default_rng(0)
LABELS = np.arange(3000) % 3
# Three classes in 40 dimensions, of which the first four vary far more than the others.
SCALES = np.r_[np.full(4, 5.0), np.full(36, 0.5)]
MEANS = RNG.normal(0, 8, (3, 40))


def features(labels: np.ndarray) -> np.ndarray:
    return (MEANS[labels] + RNG.normal(size=(len(labels), 40)) * SCALES).astype(np.float32)


REFERENCE = familiarity.fit(features(LABELS), LABELS)


def test_images_of_the_training_are_about_1_away():
    distances = REFERENCE.distances(features(LABELS[:300]))
    assert distances.shape == (300,)
    assert np.median(distances) == pytest.approx(1, abs=0.1)


def test_the_distance_counts_in_units_of_what_varies():
    base = MEANS[:1].astype(np.float32)
    along, across = base.copy(), base.copy()
    along[0, 0] += 5
    across[0, 20] += 5
    assert REFERENCE.distances(across)[0] > 20 * REFERENCE.distances(along)[0]


def test_between_the_classes_is_far_from_all():
    middle = MEANS.mean(axis=0, keepdims=True)
    assert REFERENCE.distances(middle)[0] > 10


def test_the_temperature_grows_with_the_distance_where_errors_do():
    labels = RNG.integers(0, 3, 4000)
    distances = np.exp(RNG.uniform(0, 3, 4000))
    # Logits as sure near as far, though far ones are worth less.
    honest = RNG.normal(size=(4000, 3)) + 4 * np.eye(3)[labels] / distances[:, None] ** 0.7
    logits = honest * 3
    a, b = familiarity.fit_temperature(logits, labels, distances)
    assert b > 0.1
    scaled = logits / familiarity.temperatures([a, b], distances)[:, None]
    rows = np.arange(4000)
    losses = [-special.log_softmax(x, axis=1)[rows, labels].mean() for x in (scaled, logits)]
    assert losses[0] < losses[1]


def test_a_reference_is_read_as_it_was_written_and_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr(course, "root", lambda: tmp_path)
    folder = tmp_path / "models" / "toy"
    folder.mkdir(parents=True)
    content = REFERENCE.to_bytes()
    (folder / familiarity.FILE).write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    card = {"sha256": {familiarity.FILE: digest}}
    again = familiarity.load("toy", card)
    found = features(LABELS[:9])
    np.testing.assert_array_equal(again.distances(found), REFERENCE.distances(found))
    assert familiarity.load("toy", {"sha256": {}}) is None
    (folder / familiarity.FILE).write_bytes(content + b"x")
    with pytest.raises(CourseError, match="another SHA-256"):
        familiarity.load("toy", card)
    (folder / familiarity.FILE).unlink()
    with pytest.raises(CourseError, match="cannot be read"):
        familiarity.load("toy", card)
