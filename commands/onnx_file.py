"""A released network as an ONNX file, for runtimes that know no Keras.

The file is written from the network's own layers. Weights that float16 can hold stay float16 in it
and are made float32 by the runtime when it loads them.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np

from helpers.course import CourseError

try:
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper
except ImportError:  # a group of their own, which no lesson needs
    onnx = None

# What onnxruntime-web and onnxruntime have long been able to read.
OPSET, IR_VERSION = 17, 8

IMAGES, LOGITS = "images", "logits"


def onnx_file(model: keras.Model) -> bytes:
    """Return a network as the bytes of an ONNX file; the same network gives the same bytes.

    Its input "images" is uint8 (N, height, width, 3), RGB, its output "logits" float32
    (N, classes).

    Raises:
        CourseError: if the network has a layer, or a setting of one, that is not translated; if
            the package onnx is missing.
    """
    check_packages()
    graph = _Graph()
    values = graph.add("Cast", [IMAGES], to=TensorProto.FLOAT)
    values = graph.add("Transpose", [values], perm=[0, 3, 1, 2])
    graph.add("Identity", [_network(graph, model, values)], LOGITS)
    images = helper.make_tensor_value_info(IMAGES, TensorProto.UINT8, ["N", *model.input_shape[1:]])
    logits = helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, ["N", model.output_shape[-1]])
    made = helper.make_graph(graph.nodes, model.name, [images], [logits], graph.constants)
    file = helper.make_model(
        made,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="blood-cells-course",
    )
    onnx.checker.check_model(file, full_check=True)
    return file.SerializeToString(deterministic=True)


def run(file: bytes, images: np.ndarray) -> np.ndarray:
    """Return what ONNX Runtime makes of images, as `onnx_file` wrote the network.

    Args:
        file: as `onnx_file` returns it.
        images: uint8 (N, height, width, 3), RGB.

    Returns:
        float32 (N, classes), logits.
    """
    check_packages()
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return session.run([LOGITS], {IMAGES: images})[0]


def check_packages() -> None:
    """Raise a CourseError if a package of pyproject.toml's group "browser" is missing."""
    if onnx is None:
        raise CourseError(
            "The packages onnx and onnxruntime are missing: in the course's folder, run "
            'python -m pip install -e ".[browser]" first.'
        )


class _Graph:
    """Nodes and constants so far; what they yield is named by numbers."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, kind: str, inputs: list[str], output: str = "", **settings: object) -> str:
        """Add a node and return the name of what it yields."""
        output = output or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **settings))
        return output

    def constant(self, array: np.ndarray) -> str:
        """Add a constant, float ones as float16 where nothing is lost, and return its name."""
        array = np.asarray(array)
        half = None
        if array.dtype == np.float32 and array.size > 1:
            with np.errstate(over="ignore"):
                half = array.astype(np.float16)
            half = half if np.array_equal(half.astype(np.float32), array) else None
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array if half is None else half, name))
        return name if half is None else self.add("Cast", [name], to=TensorProto.FLOAT)


def _network(graph: _Graph, model: keras.Model, source: str) -> str:
    """Add a network's layers in their order and return the name of its output."""
    if not isinstance(model, keras.Model) or not model.get_config().get("input_layers"):
        raise CourseError(
            f"{model.name} is no network of layers with one input and one output, and cannot be "
            "written as ONNX: build it with keras.Model(inputs, outputs)."
        )
    made = {}
    for entry in model.get_config()["layers"]:
        layer = model.get_layer(entry["name"])
        if isinstance(layer, keras.layers.InputLayer):
            made[layer.name] = source
            continue
        if len(entry["inbound_nodes"]) != 1:
            raise CourseError(f"The layer {layer.name} is used twice: build it from two layers.")
        inputs = [made[name] for name in _layers_before(entry["inbound_nodes"])]
        if isinstance(layer, keras.Model):
            made[layer.name] = _network(graph, layer, *inputs)
        else:
            made[layer.name] = _layer(graph, layer, inputs)
    return made[model.output_names[0]]


def _layers_before(node: object) -> list[str]:
    """Return the names of the layers whose outputs a layer takes, from its description."""
    if isinstance(node, dict) and node.get("class_name") == "__keras_tensor__":
        return [node["config"]["keras_history"][0]]
    parts = node.values() if isinstance(node, dict) else node
    parts = parts if not isinstance(node, str | int | float | None) else ()
    return [name for part in parts for name in _layers_before(part)]


def _layer(graph: _Graph, layer: keras.Layer, inputs: list[str]) -> str:
    translate = _TRANSLATIONS.get(type(layer))
    if translate is None or getattr(layer, "data_format", None) == "channels_first":
        raise CourseError(
            f"The layer {layer.name} ({type(layer).__name__}) has no translation to ONNX: "
            "add one to commands/onnx_file.py."
        )
    output = translate(graph, layer, *inputs)
    activation = getattr(layer, "activation", None)
    return _activated(graph, layer, output) if activation is not None else output


def _activated(graph: _Graph, layer: keras.Layer, values: str) -> str:
    name = layer.activation.__name__
    if name == "linear":
        return values
    if name == "relu":
        return graph.add("Relu", [values])
    if name == "relu6":
        limits = [graph.constant(np.float32(limit)) for limit in (0, 6)]
        return graph.add("Clip", [values, *limits])
    raise CourseError(
        f"The activation {name} of the layer {layer.name} has no translation to ONNX: "
        "add one to commands/onnx_file.py."
    )


def _weights(layer: keras.Layer) -> dict[str, np.ndarray]:
    return {weight.name: np.asarray(weight) for weight in layer.weights}


def _resizing(graph: _Graph, layer: keras.layers.Resizing, values: str) -> str:
    other = (layer.crop_to_aspect_ratio, layer.pad_to_aspect_ratio, layer.antialias)
    if layer.interpolation != "bilinear" or any(other):
        raise CourseError(f"The layer {layer.name} resizes otherwise than bilinearly.")
    size = graph.constant(np.array([layer.height, layer.width], np.int64))
    unchanged = graph.add("Shape", [values], start=0, end=2)  # images and channels
    sizes = graph.add("Concat", [unchanged, size], axis=0)
    return graph.add(
        "Resize",
        [values, "", "", sizes],
        mode="linear",
        coordinate_transformation_mode="half_pixel",
    )


def _rescaling(graph: _Graph, layer: keras.layers.Rescaling, values: str) -> str:
    scaled = graph.add("Mul", [values, graph.constant(np.float32(layer.scale))])
    return graph.add("Add", [scaled, graph.constant(np.float32(layer.offset))])


def _normalization(graph: _Graph, layer: keras.layers.Normalization, values: str) -> str:
    if layer.invert:
        raise CourseError(f"The layer {layer.name} normalises backwards.")
    mean, variance = (
        np.asarray(part, np.float32).reshape(1, -1, 1, 1) for part in (layer.mean, layer.variance)
    )
    centred = graph.add("Sub", [values, graph.constant(mean)])
    deviation = np.maximum(np.sqrt(variance), np.float32(keras.config.epsilon()))
    return graph.add("Div", [centred, graph.constant(deviation)])


def _zero_padding(graph: _Graph, layer: keras.layers.ZeroPadding2D, values: str) -> str:
    (top, bottom), (left, right) = layer.padding
    pads = graph.constant(np.array([0, 0, top, left, 0, 0, bottom, right], np.int64))
    return graph.add("Pad", [values, pads])


def _convolution(graph: _Graph, layer: keras.layers.Conv2D, values: str) -> str:
    kernel = np.transpose(_weights(layer)["kernel"], (3, 2, 0, 1))
    return _convolved(graph, layer, values, kernel, layer.groups)


def _depthwise(graph: _Graph, layer: keras.layers.DepthwiseConv2D, values: str) -> str:
    kernel = np.transpose(_weights(layer)["kernel"], (2, 3, 0, 1))
    channels, multiplier, *size = kernel.shape
    kernel = kernel.reshape(channels * multiplier, 1, *size)
    return _convolved(graph, layer, values, kernel, channels)


def _convolved(
    graph: _Graph, layer: keras.Layer, values: str, kernel: np.ndarray, groups: int
) -> str:
    inputs = [values, graph.constant(np.ascontiguousarray(kernel))]
    if layer.use_bias:
        inputs.append(graph.constant(_weights(layer)["bias"]))
    return graph.add(
        "Conv",
        inputs,
        # As TensorFlow pads where an odd number is to be padded: the last side gets more.
        auto_pad={"same": "SAME_UPPER", "valid": "VALID"}[layer.padding],
        strides=list(layer.strides),
        dilations=list(layer.dilation_rate),
        group=groups,
    )


def _batch_normalization(graph: _Graph, layer: keras.layers.BatchNormalization, values: str) -> str:
    found = _weights(layer)
    mean, variance = found["moving_mean"], found["moving_variance"]
    gamma, beta = found.get("gamma", np.ones_like(mean)), found.get("beta", np.zeros_like(mean))
    parts = [graph.constant(part) for part in (gamma, beta, mean, variance)]
    return graph.add("BatchNormalization", [values, *parts], epsilon=layer.epsilon)


def _pooling(graph: _Graph, layer: keras.layers.GlobalAveragePooling2D, values: str) -> str:
    return graph.add("ReduceMean", [values], axes=[2, 3], keepdims=int(layer.keepdims))


def _dense(graph: _Graph, layer: keras.layers.Dense, values: str) -> str:
    values = graph.add("MatMul", [values, graph.constant(_weights(layer)["kernel"])])
    if layer.use_bias:
        values = graph.add("Add", [values, graph.constant(_weights(layer)["bias"])])
    return values


def _sum(graph: _Graph, layer: keras.layers.Add, first: str, *others: str) -> str:
    for other in others:
        first = graph.add("Add", [first, other])
    return first


def _unchanged(graph: _Graph, layer: keras.Layer, values: str) -> str:
    return values


_TRANSLATIONS: dict[type, Callable[..., str]] = {
    keras.layers.Activation: _unchanged,  # what it is called by is applied after every layer
    keras.layers.Add: _sum,
    keras.layers.BatchNormalization: _batch_normalization,
    keras.layers.Conv2D: _convolution,
    keras.layers.Dense: _dense,
    keras.layers.DepthwiseConv2D: _depthwise,
    keras.layers.Dropout: _unchanged,
    keras.layers.GlobalAveragePooling2D: _pooling,
    keras.layers.Normalization: _normalization,
    keras.layers.Rescaling: _rescaling,
    keras.layers.Resizing: _resizing,
    keras.layers.ZeroPadding2D: _zero_padding,
}
