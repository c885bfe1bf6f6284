"""Released models: trained networks that travel with the course, each with a card that explains it.

    from helpers.models import released
    model = released.load()

A released model is a folder models/<name>/: network.json (Keras' description), weights.npz,
card.json and CARD.md (the same for readers). A network travels as its description and its weights
and not as a .keras file, which holds the date: equal weights give equal bytes. Neither file can
hold code.
"""

import hashlib
import importlib
import inspect
import io
import json
import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import keras
import numpy as np
from scipy import special

from helpers import course
from helpers.course import CourseError
from helpers.data.photographs import IMAGE_SIZE
from helpers.models import networks

DEFAULT = "final"
NETWORK, WEIGHTS, CARD = "network.json", "weights.npz", "card.json"

# A zip's earliest date: the same in every build.
DATE = (1980, 1, 1, 0, 0, 0)

# Images that `classify` shows the network at a time, the last batch filled up with black ones: the
# same arithmetic for each image, however many are asked for.
BATCH = 64

# Settings that layers and initializers have got between Keras 3.5 and 3.15; the later version
# writes them even at their defaults, and the earlier refuses what it does not know.
LATER_SETTINGS = {
    *("renorm", "renorm_clipping", "renorm_momentum"),
    *("quantization_config", "antialias", "input_axes", "output_axes"),
}

# Layers of Keras that run code from elsewhere.
OWN_CODE = {"Lambda", "TFSMLayer", "TorchModuleWrapper"}


def names() -> list[str]:
    """Return the names of the released models."""
    return sorted(path.name for path in folder("").glob("*") if path.is_dir())


def folder(name: str) -> Path:
    """Return where a released model's files are, or would be."""
    return course.root() / "models" / name


def load(name: str = DEFAULT) -> keras.Model:
    """Return a released network, checked to be the one that its card describes.

    Returns:
        A model that takes uint8 or float (N, 96, 96, 3), RGB, 0-255, and returns logits
        (N, classes); uncompiled.

    Raises:
        CourseError: if there is no such model; if one of its files is missing, damaged, or holds
            other weights than those of its card or layers that are not Keras' own.
    """
    found = card(name)
    files = {file: checked_file(name, file, found) for file in (NETWORK, WEIGHTS)}
    try:
        return assembled(*files.values(), len(found["class_names"]))
    except CourseError as error:
        raise CourseError(
            f"The released model {name!r} cannot be loaded: {error} Restore it from git."
        ) from error


def checked_file(name: str, file: str, card: dict) -> bytes:
    """Return the content of a released model's file, if it is the one that the card names.

    Raises:
        CourseError: if it is missing or another.
    """
    content = _read(folder(name) / file)
    if hashlib.sha256(content).hexdigest() != card["sha256"][file]:
        raise CourseError(
            f"{file} of the released model {name!r} is not the file that its {CARD} names "
            "(another SHA-256): restore both from git."
        )
    return content


def card(name: str = DEFAULT) -> dict:
    """Return what card.json says of a released model, among it "class_names" and "temperature".

    Raises:
        CourseError: if there is no such model, or its card is missing or damaged.
    """
    if name not in names():
        present = ", ".join(names())
        raise CourseError(
            f"There is no released model {name!r} in {folder('')}: "
            + (f"ask for one of {present}." if present else "it holds none yet.")
        )
    try:
        found = json.loads(_read(folder(name) / CARD))
        _check(found)
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise CourseError(
            f"{CARD} of the released model {name!r} is no model's card ({reason}): "
            "restore it from git."
        ) from error
    return found


def summary(card: dict) -> str:
    """Return in a few words what a released model is and how it was trained."""
    settings = card["experiment"]
    network = card["backbone"]["title"] if card["backbone"] else settings["network"]
    changes = [settings["augmentation"], settings["offline"], settings["mix"]]
    changes = [str(change) for change in changes if change not in (None, "none")]
    return (
        f"{network} on {settings['image_size']} px, "
        f"augmentation: {' and '.join(changes) or 'none'}, "
        f"{settings['optimizer']} at {settings['learning_rate']:g} "
        f"(experiment {settings['name']}, seed {settings['seed']})"
    )


def classify(model: keras.Model, images: np.ndarray, temperature: float) -> np.ndarray:
    """Return the calibrated probability of each class for each image.

    An image's probabilities do not depend on the images beside it.

    Args:
        model: takes images in 0-255, returns logits, as `load` returns it.
        images: uint8 (N, 96, 96, 3), RGB.
        temperature: by which logits are divided: `card(name)["temperature"]`.

    Returns:
        float32 (N, classes), each row of sum 1.
    """
    (logits,) = outputs(model, images)
    return special.softmax(logits / temperature, axis=1).astype(np.float32)


def outputs(model: keras.Model, images: np.ndarray) -> list[np.ndarray]:
    """Return each output of a model, float32 (N, ...); an image's do not depend on its batch."""
    found = [np.empty((len(images), *tensor.shape[1:]), np.float32) for tensor in model.outputs]
    for start in range(0, len(images), BATCH):
        part = images[start : start + BATCH]
        batch = np.zeros((BATCH, *images.shape[1:]), np.float32)
        batch[: len(part)] = part
        answers = model.predict_on_batch(batch)
        answers = answers if isinstance(answers, list) else [answers]
        for array, answer in zip(found, answers, strict=True):
            array[start : start + BATCH] = answer[: len(part)]
    return found


def _check(card: dict) -> None:
    """Raise what `card` catches, if the card lacks what `load`, `summary` or `predict` read."""
    if not 0 < card["temperature"] < math.inf:
        raise ValueError(f"the temperature is {card['temperature']}")
    classes = card["class_names"]
    if not classes or not all(isinstance(name, str) for name in [*classes, *card["sha256"]]):
        raise ValueError("the class names are none")
    _ = card["sha256"][NETWORK], card["sha256"][WEIGHTS], summary(card)
    _ = card["training"]["profile"], card["training"]["source"]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CourseError(
            f"{path.name} of the released model {path.parent.name!r} cannot be read "
            f"({error.strerror}): restore it from git."
        ) from error


# --- a network as files ---------------------------------------------------------------------------


def network_file(model: keras.Model) -> bytes:
    """Return a network's description as JSON, without its weights: `build_network` reads it.

    Raises:
        CourseError: if a part is not Keras' own, or it is not the same network when rebuilt.
    """
    description = _described(model)
    if _described(build_network(description)) != description:
        raise CourseError(f"{model.name} changes when it is rebuilt: use other layers.")
    return json.dumps(description, indent=1).encode()


def build_network(description: dict) -> keras.Model:
    """Return the network that was described, its weights random.

    Raises:
        CourseError: if a part is not Keras' own, or Keras cannot build it.
    """
    try:
        _refuse_own_code(description)
        built = keras.models.model_from_json(json.dumps(description))
        if not isinstance(built, keras.Model):
            raise TypeError("it describes no network")
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise CourseError(
            f"The network cannot be rebuilt from its description ({_first_line(error)}): "
            "use other layers."
        ) from error
    return built


def weights_file(weights: Iterable[np.ndarray]) -> bytes:
    """Return arrays as an .npz, named by their place; equal arrays give equal bytes."""
    members = {f"{index:04}.npy": _npy(weight) for index, weight in enumerate(weights)}
    # Not packed: weights hardly get smaller, and packed bytes depend on the version of zlib.
    return zipped(members, zipfile.ZIP_STORED)


def half_weights_file(model: keras.Model) -> bytes:
    """Return a model's weights as an .npz of half the size: float16, where that can hold them."""
    return weights_file(map(_half, model.get_weights()))


def assembled(description: bytes, weights: bytes, classes: int) -> keras.Model:
    """Return a network from the bytes of network.json and weights.npz.

    Raises:
        CourseError: if either is damaged or holds code, they do not fit each other, or the network
            does not take images of 96 px and return so many logits.
    """
    try:
        model = build_network(json.loads(description))
        with np.load(io.BytesIO(weights), allow_pickle=False) as stored:
            arrays = [stored[name] for name in sorted(stored.files)]
        model.set_weights([a.astype(np.float32) if a.dtype == np.float16 else a for a in arrays])
    except (ValueError, RecursionError, *_DAMAGED) as error:
        raise CourseError(
            f"{WEIGHTS} and {NETWORK} do not fit each other ({_first_line(error)})."
        ) from error
    check_shapes(model, classes)
    for layer in networks.leaves(model):
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()
    # Keras' "auto" compiles with XLA, which makes predicting on a CPU slower.
    model.jit_compile = False
    return model


def check_shapes(model: keras.Model, classes: int) -> None:
    """Raise a CourseError unless the model takes (N, 96, 96, 3) and returns (N, classes)."""
    shapes = (model.input_shape, model.output_shape)
    expected = ((None, IMAGE_SIZE, IMAGE_SIZE, 3), (None, classes))
    if shapes != expected:
        raise CourseError(
            f"The network {model.name} takes {shapes[0]} and returns {shapes[1]} instead of "
            f"{expected[0]} and {expected[1]}."
        )


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip of files by name, without the date and the system it was made on."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            member = zipfile.ZipInfo(name, DATE)
            member.compress_type = compression
            # As on Unix, whichever system writes it: a plain file that its owner may write.
            member.create_system, member.external_attr = 3, 0o100644 << 16
            archive.writestr(member, content, compresslevel=9)
    return buffer.getvalue()


# What an .npz raises whose bytes are not those that were written.
_DAMAGED = (EOFError, MemoryError, OSError, zipfile.BadZipFile, zlib.error, tokenize.TokenError)


def _half(weight: np.ndarray) -> np.ndarray:
    """Return floats as float16, unless one is too large for it; counters stay as they are."""
    if weight.dtype != np.float32 or np.abs(weight).max(initial=0) > np.finfo(np.float16).max:
        return weight
    return weight.astype(np.float16)


def _described(model: keras.Model) -> dict:
    description = json.loads(model.to_json())
    # How it was trained is of no use for predicting.
    description.pop("compile_config", None)
    return _without_later_settings(description)


def _without_later_settings(node: object) -> object:
    """Return a description without those LATER_SETTINGS that have their class' default value.

    Raises:
        CourseError: if a part is not Keras' own: it would need code that does not travel along.
    """
    if isinstance(node, list):
        return [_without_later_settings(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: _without_later_settings(value) for key, value in node.items()}
    if node.get("module") is None or "config" not in node:
        return node
    defaults = inspect.signature(_keras_class(node)).parameters
    node["config"] = {
        key: value
        for key, value in node["config"].items()
        if key not in LATER_SETTINGS or value != defaults[key].default
    }
    return node


def _refuse_own_code(node: object) -> None:
    if isinstance(node, list):
        for item in node:
            _refuse_own_code(item)
    elif isinstance(node, dict):
        # So Keras marks tensors and tuples; they are data.
        if node.get("class_name", "__keras_tensor__") not in ("__keras_tensor__", "__tuple__"):
            _keras_class(node)
        for item in node.values():
            _refuse_own_code(item)


def _keras_class(node: dict) -> type:
    module, name = str(node.get("module")), str(node["class_name"])
    found = None
    if module.split(".")[0] == "keras" and name not in OWN_CODE:
        with suppress(ImportError):
            found = getattr(importlib.import_module(module), name, None)
    if not isinstance(found, type):
        config = node.get("config")
        layer = config.get("name", name) if isinstance(config, dict) else name
        raise CourseError(
            f"The layer {layer} ({name}) holds code of its own, which does not travel with the "
            "weights: build the network from Keras' own layers, without Lambda."
        )
    return found


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
