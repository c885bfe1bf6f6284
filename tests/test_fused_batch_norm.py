"""Cheaper batch normalisation: the same numbers, gradients and files as Keras' own."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from helpers.models import fused_batch_norm, networks, weights


def small_with_batch_norm() -> keras.Model:
    keras.utils.set_random_seed(0)
    pixels = keras.Input((12, 12, 4))
    normalised = keras.layers.BatchNormalization()(keras.layers.Conv2D(6, 3)(pixels))
    return keras.Model(pixels, keras.layers.Conv2D(2, 3)(normalised))


def test_fused_batch_norm_trains_as_keras_own():
    own, fused = small_with_batch_norm(), small_with_batch_norm()
    fused_batch_norm.fuse(fused)
    pixels = np.random.default_rng(0).normal(3, 2, (64, 12, 12, 4)).astype(np.float32)
    found = []
    for model in (own, fused):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(model(pixels, training=True) ** 2)
        gradients = tape.gradient(loss, model.trainable_variables)
        found.append([float(loss), *gradients, *model.get_weights()])
    for expected, actual in zip(*found, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-5)
    moved = fused.layers[2].moving_mean - small_with_batch_norm().layers[2].moving_mean
    assert np.abs(moved).max() > 1e-3


def test_weights_of_a_fused_network_are_read_by_a_plain_one(tmp_path):
    fused, plain = (weights.load_backbone("efficientnet_lite0", 64, pretrained=False) for _ in "ab")
    for layer in fused.layers[:40]:
        layer.trainable = False
    fused_batch_norm.fuse(fused)
    classes = {type(layer) for layer in fused.layers}
    assert {fused_batch_norm._Fused, fused_batch_norm._FoldedConv2D} < classes
    fused.save_weights(tmp_path / "fused.weights.h5")
    plain.load_weights(tmp_path / "fused.weights.h5")
    for expected, actual in zip(fused.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(actual, expected)


def test_frozen_batch_norm_folded_into_convolutions_trains_as_keras_own():
    pixels = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3)).astype(np.float32)
    found, variables = [], []
    for fused in (False, True):
        backbone = weights.load_backbone("efficientnet_lite0", 64)
        networks.freeze_through_block(backbone, "block2a")
        networks.freeze_batch_norm(backbone)
        if fused:
            fused_batch_norm.fuse(backbone)
        with tf.GradientTape() as tape:
            # Stochastic depth off: what is left in training mode is batch normalisation.
            features = backbone(pixels, training=False)
            loss = tf.reduce_mean(features**2)
        gradients = tape.gradient(loss, backbone.trainable_variables)
        found.append([features, *gradients])
        variables.append([variable.path.split("/", 1)[1] for variable in backbone.variables])
    assert variables[0] == variables[1]
    for expected, actual in zip(*found, strict=True):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(actual / scale, expected / scale, atol=1e-3)
    skipped = [layer for layer in backbone.layers if hasattr(layer, "folded")]
    assert len(skipped) == sum("bn" in layer.name for layer in backbone.layers)


def test_a_frozen_batch_norm_that_follows_no_lone_convolution_stays_as_it_is():
    pixels = keras.Input((12, 12, 4))
    maps = keras.layers.Conv2D(6, 3, use_bias=False)(pixels)
    normalised = keras.layers.BatchNormalization()(maps)
    model = keras.Model(pixels, keras.layers.Add()([maps, normalised]))
    model.layers[2].set_weights([np.full(6, value) for value in (2.0, 1.0, 0.5, 4.0)])
    values = np.random.default_rng(0).normal(3, 2, (8, 12, 12, 4)).astype(np.float32)
    expected = model(values).numpy()
    networks.freeze_batch_norm(model)
    fused_batch_norm.fuse(model)
    np.testing.assert_allclose(model(values, training=True), expected, rtol=1e-5)


def test_it_can_be_switched_off(monkeypatch):
    monkeypatch.setenv("BLOODCELLS_FUSED_BATCH_NORM", "0")
    model = small_with_batch_norm()
    fused_batch_norm.fuse(model)
    assert type(model.layers[2]) is keras.layers.BatchNormalization


def test_a_keras_that_is_built_otherwise_trains_as_it_is(monkeypatch):
    def renamed(layer):
        raise AttributeError("'KerasTensor' object has no attribute '_keras_history'")

    monkeypatch.setattr(fused_batch_norm, "_convolution_before", renamed)
    model = small_with_batch_norm()
    networks.freeze_batch_norm(model)
    with pytest.warns(UserWarning, match=r"not fused with Keras .*_keras_history.*take longer"):
        fused_batch_norm.fuse(model)
    assert type(model.layers[2]) is keras.layers.BatchNormalization
