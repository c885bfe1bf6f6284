"""Costs counted as by hand and as published; ways compared that are what they say."""

import json
import math
import re
from types import SimpleNamespace

import keras
import pytest
from keras import layers

from commands import measure
from helpers import course
from helpers.course import CourseError
from helpers.models import backbones, fused_batch_norm, networks, weights
from helpers.training import loop, recipes, run


def test_multiply_adds_of_a_tiny_nested_network_as_by_hand():
    inside = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, strides=2, padding="same"),  # 4x4 places x 3x3x3x4
            layers.BatchNormalization(),
            layers.DepthwiseConv2D(3, padding="valid"),  # 2x2 places x 3x3x4
            layers.Conv2D(6, 1, groups=2),  # 2x2 places x 1x1x2x6
        ]
    )
    images = keras.Input((8, 8, 3))
    outputs = layers.Dense(5)(layers.GlobalAveragePooling2D()(inside(images)))  # 6x5
    model = keras.Model(images, outputs)
    assert measure.multiply_adds(model) == 16 * 108 + 4 * 36 + 4 * 12 + 30


def test_multiply_adds_of_the_first_cnn_as_by_hand():
    first, second, dense = 96 * 96 * 27 * 32, 48 * 48 * 9 * 32 * 64, 24 * 24 * 64 * 8
    assert measure.multiply_adds(networks.small_cnn(8)) == first + second + dense


def elementwise(model: keras.Model) -> int:
    """Count two for each value normalised, one for each activation or sum of layers."""
    counts = {layers.BatchNormalization: 2, layers.Activation: 1, layers.Add: 1}
    return sum(counts.get(type(x), 0) * math.prod(x.output.shape[1:]) for x in model.layers)


# Google's table gives 407, 631 and 899 million (README.md in the `lite` folder of the EfficientNet
# code, tensorflow/tpu). It counts more than products: the rest are batch normalisation, activations
# and sums.
@pytest.mark.parametrize(
    ("name", "published"),
    [("efficientnet_lite0", 407e6), ("efficientnet_lite1", 631e6), ("efficientnet_lite2", 899e6)],
)
def test_multiply_adds_are_near_the_published_ones(name, published):
    backbone = weights.load_backbone(name, backbones.LITES[name].image_size, pretrained=False)
    counted = measure.multiply_adds(backbone) + 1280 * 1000  # and ImageNet's classes
    assert 0.94 * published < counted < published
    assert counted + elementwise(backbone) == pytest.approx(published, rel=0.005)


# Table 2 of the EfficientNet paper (390 million) and table 3 of MobileNetV3's (56 and 219 million).
@pytest.mark.parametrize(
    ("application", "published"),
    [("EfficientNetB0", 390e6), ("MobileNetV3Small", 56e6), ("MobileNetV3Large", 219e6)],
)
def test_multiply_adds_are_those_of_the_papers(application, published):
    model = getattr(keras.applications, application)(weights=None, input_shape=(224, 224, 3))
    assert measure.multiply_adds(model) == pytest.approx(published, rel=0.02)


@pytest.mark.parametrize("name", ["vgg_like", "efficientnet_lite0"])
def test_the_measured_network_is_the_trained_one(name):
    measured = measure.compiled_network(name)
    known = {**recipes.custom_cnns(), "efficientnet_lite0": recipes.fine_tuned_on_subset(name)}
    trained = run.new_network(known[name], measure.CLASSES)
    shapes = [[tuple(w.shape) for w in m.trainable_weights] for m in (measured, trained)]
    assert shapes[0] == shapes[1]
    assert float(measured.optimizer.learning_rate) == pytest.approx(known[name].learning_rate)
    assert measured.jit_compile == loop.JIT_COMPILE


def test_an_unknown_network_is_one_sentence():
    with pytest.raises(CourseError, match="'resnet5O' is no backbone"):
        measure.compiled_network("resnet5O")


def test_cost_is_an_image_s(monkeypatch):
    monkeypatch.setattr(measure, "TRAINING_BATCH", 2)
    monkeypatch.setattr(measure, "INFERENCE_BATCH", 4)
    calls = []

    def seconds_per_call(function):
        calls.append(function())
        return 8.0

    monkeypatch.setattr(measure.machine, "seconds_per_call", seconds_per_call)
    cost = measure.cost("small_cnn")
    assert (cost["title"], cost["parameters"]) == ("Two convolutions", 314_312)
    assert (cost["training_ms"], cost["inference_ms"]) == (4000, 2000)
    assert calls[1].shape == (4, 8)


def test_the_file_holds_every_network_measured_or_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(course, "root", lambda: tmp_path)
    monkeypatch.setattr(measure.machine, "provenance", lambda: {"revision": "abc"})
    monkeypatch.setattr(
        weights, "why_unavailable", lambda name: "No way." if name == "resnet50" else None
    )
    monkeypatch.setattr(
        measure, "cost", lambda name: {"title": name, "training_ms": 2.0, "inference_ms": 1.0}
    )
    measure.measure_costs()
    written = json.loads((tmp_path / "report" / "costs.json").read_text())
    assert [*written["networks"], "resnet50"] == [
        *("small_cnn", "vgg_like"),
        *(name for name in backbones.BACKBONES if name != "resnet50"),
        "resnet50",
    ]
    assert written["missing"] == {"resnet50": "No way."}
    assert written["batch"] == {"training": 128, "inference": 256}
    assert written["revision"] == "abc"


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


def test_a_way_that_fails_is_one_sentence(monkeypatch):
    failed = SimpleNamespace(
        returncode=1, stderr="Traceback\n  …\nMemoryError: \x1b[31mnone left\n"
    )
    monkeypatch.setattr(measure.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(CourseError, match=r"by hash' failed \(MemoryError: \\x1b\[31mnone left\)"):
        measure._in_own_process("duplicates by hash")


def test_each_way_is_timed_once_and_compared(monkeypatch, tmp_path, capsys):
    timed = []

    def in_own_process(way: str) -> dict:
        timed.append(way)
        return {"seconds": 3.0 if way == measure.WITHOUT_ONEDNN else 1.5, "peak_mib": None}

    monkeypatch.setattr(course, "build_folder", lambda: tmp_path)
    monkeypatch.setattr(measure, "_in_own_process", in_own_process)
    monkeypatch.setattr(measure.importlib.util, "find_spec", lambda name: None)
    measure.compare_ways()
    assert timed == [way for way in measure.WAYS if way != measure.IN_PYTORCH]
    told = capsys.readouterr().out
    assert re.search(rf"    {measure.WITHOUT_ONEDNN} +2.0 times faster", told)
    compared = {*measure.COMPARISONS, *sum(measure.COMPARISONS.values(), ())}
    assert compared == set(measure.WAYS)
    assert json.loads((tmp_path / "benchmark.json").read_text()).keys() == set(timed)
