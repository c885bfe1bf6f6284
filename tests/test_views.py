"""Test-time augmentation: eight different views, one answer for a turned cell."""

import numpy as np
import pytest

from helpers.commands import submission_model
from helpers.evaluation import metrics, views

CELLS = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)


class Corner:
    """A network whose logits are the first corner's colours: no view looks like another."""

    def predict(self, images, **_):
        return images[:, 0, 0].astype(np.float32) / 64


def test_the_eight_views_differ_and_the_first_is_the_image():
    pictures = {views.view(CELLS, number).tobytes() for number in range(views.VIEWS)}
    assert len(pictures) == 8
    assert np.array_equal(views.view(CELLS, 0), CELLS)


@pytest.mark.parametrize("turn", [lambda x: np.rot90(x, axes=(1, 2)), lambda x: x[:, :, ::-1]])
def test_a_turned_cell_gets_the_same_answer(turn):
    straight, turned = (views.mean_logits(Corner(), x) for x in (CELLS, turn(CELLS)))
    assert np.allclose(straight, turned, atol=1e-6)
    assert not np.allclose(straight, Corner().predict(CELLS), atol=0.1)


def test_probabilities_are_averaged():
    expected = np.mean(
        [metrics.softmax(Corner().predict(views.view(CELLS, k))) for k in range(8)], axis=0
    )
    assert np.allclose(metrics.softmax(views.mean_logits(Corner(), CELLS)), expected, atol=1e-6)


def test_a_submission_has_the_same_views(monkeypatch):
    monkeypatch.setattr(submission_model, "VIEWS", 8)
    theirs = submission_model._views(CELLS)
    ours = np.concatenate([views.view(CELLS, number) for number in range(8)])
    assert np.array_equal(theirs, ours)
