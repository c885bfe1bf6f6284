"""The benchmark compares what it says it compares."""

import keras
import pytest

from helpers.commands import measure
from helpers.models import fused_batch_norm, networks


@pytest.mark.parametrize("fuse", [True, False])
def test_batch_norm_is_fused_only_where_it_should_be(fuse, monkeypatch):
    backbone = keras.Sequential(
        [keras.Input((96, 96, 3)), keras.layers.AveragePooling2D(32)], name="backbone"
    )
    layers = [keras.Input((96, 96, 3)), backbone, keras.layers.Flatten(), keras.layers.Dense(8)]
    monkeypatch.setattr(networks, "classifier", lambda *_, **__: keras.Sequential(layers))
    fused = []
    monkeypatch.setattr(fused_batch_norm, "fuse", fused.append)
    assert measure.training_step(fuse=fuse) > 0
    assert fused == ([backbone] if fuse else [])


def test_every_comparison_has_two_ways():
    assert [len(pair) for pair in measure.COMPARISONS] == [2] * (len(measure.WAYS) // 2)
    assert len(measure.WAYS) % 2 == 0
