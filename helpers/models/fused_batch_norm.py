"""Batch normalisation that costs less on a CPU: the same numbers from fewer passes over the maps.

Keras composes it of several operations, each of which reads and writes whole feature maps. `make
bench` says what this saves. It changes the classes of layers and reads what Keras keeps to itself:
BLOODCELLS_FUSED_BATCH_NORM=0 switches it off, and a Keras that is built otherwise trains as it is.
"""

import os
import warnings
import weakref

import keras
import tensorflow as tf
from keras import layers

from helpers.models.networks import leaves

SWITCH = "BLOODCELLS_FUSED_BATCH_NORM"


def fuse(backbone: keras.Model) -> None:
    """Make every batch normalisation of a backbone a cheaper one; call it after freezing layers.

    One that trains becomes one TensorFlow operation. One that is frozen scales and shifts each
    channel by constants; where it follows a convolution, the scale goes into the convolution's
    kernel and the shift becomes its bias. Outputs, gradients and weights stay what they are but
    for rounding (the stored variance of a trained one is the unbiased one), and files of weights
    can be exchanged with the plain network. A description of the network would name this module:
    save no models.
    """
    if os.environ.get(SWITCH, "1") == "0":
        return
    norms = [layer for layer in leaves(backbone) if type(layer) is layers.BatchNormalization]
    try:
        convolutions = [None if norm.trainable else _convolution_before(norm) for norm in norms]
    except AttributeError as error:
        warnings.warn(
            f"Batch normalisation is not fused with Keras {keras.__version__} ({error}): "
            f"trainings take longer; {SWITCH}=0 silences this.",
            stacklevel=2,
        )
        return
    for layer, convolution in zip(norms, convolutions, strict=True):
        if convolution is None:
            layer.__class__ = _Fused
        else:
            # A reference, or Keras would count and save the normalisation as the convolution's.
            convolution.folded = weakref.ref(layer)
            convolution.__class__ = _FOLDED[type(convolution)]
            layer.__class__ = _Folded


def _convolution_before(layer: layers.BatchNormalization) -> layers.Layer | None:
    """Return the plain convolution that feeds this layer and nothing else, or None."""
    before = layer.input._keras_history.operation
    if type(before) not in _FOLDED or len(before._outbound_nodes) != 1:
        return None
    is_plain = not before.use_bias and before.activation is keras.activations.linear
    return before if is_plain and layer.scale and layer.center else None


class _Fused(layers.BatchNormalization):
    def call(self, inputs, training=None, mask=None):
        if not (training and self.trainable):
            return super().call(inputs, training=training, mask=mask)
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=self.gamma,
            offset=self.beta,
            mean=[],
            variance=[],
            epsilon=self.epsilon,
            is_training=True,
        )
        for moving, found in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + found * (1 - self.momentum))
        return outputs


class _Folded(layers.BatchNormalization):
    """Its convolution has done its work already."""

    def call(self, inputs, training=None, mask=None):
        return inputs


class _FoldedConv2D(layers.Conv2D):
    def call(self, inputs):
        scale, shift = _scale_and_shift(self.folded())
        return tf.nn.bias_add(self.convolution_op(inputs, self.kernel * scale), shift)


class _FoldedDepthwiseConv2D(layers.DepthwiseConv2D):
    def call(self, inputs):
        scale, shift = _scale_and_shift(self.folded())
        outputs = keras.ops.depthwise_conv(
            inputs, self.kernel * scale[:, None], self.strides, self.padding, self.data_format
        )
        return tf.nn.bias_add(outputs, shift)


_FOLDED = {layers.Conv2D: _FoldedConv2D, layers.DepthwiseConv2D: _FoldedDepthwiseConv2D}

# Files of weights call a layer by its class: a fused network's are then read by a plain one.
for _fused in (_Fused, _Folded, *_FOLDED.values()):
    _fused.__name__ = _fused.__mro__[1].__name__


def _scale_and_shift(layer: layers.BatchNormalization) -> tuple[tf.Tensor, tf.Tensor]:
    """Return what a frozen batch normalisation multiplies each channel by, and then adds to it."""
    scale = layer.gamma * tf.math.rsqrt(layer.moving_variance + layer.epsilon)
    return scale, layer.beta - layer.moving_mean * scale
