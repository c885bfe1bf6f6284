"""Writes submission.zip: a trained network in the competition's format, free of the course's code.

Command:
    python -m helpers submission [EXPERIMENT] [--views 1|8] [--to submission.zip]

Without EXPERIMENT it is the released model `final` (`models.released`), which needs no training
and no photographs.

The network travels as its description (JSON) and its weights (.npz) and not as a .keras file, which
holds the date and so differs in every build: equal weights give equal bytes.
"""

import argparse
import importlib
import inspect
import io
import json
import sys
import zipfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import keras
import numpy as np

from helpers import course
from helpers.course import CourseError
from helpers.data.photographs import CLASS_NAMES, IMAGE_SIZE
from helpers.files import replaced

TEMPLATE = Path(__file__).with_name("submission_model.py")
LARGEST_BYTES = 25 * 10**6
# A zip's earliest date: the same in every build.
DATE = (1980, 1, 1, 0, 0, 0)

# Settings that layers and initializers have got between Keras 3.5 and 3.15; the later version
# writes them even at their defaults, and the earlier refuses what it does not know.
LATER_SETTINGS = {
    *("renorm", "renorm_clipping", "renorm_momentum"),
    *("quantization_config", "antialias", "input_axes", "output_axes"),
}

# Layers of Keras that run code from elsewhere.
OWN_CODE = {"Lambda", "TFSMLayer", "TorchModuleWrapper"}


def write_submission(model: keras.Model, path: Path, views: int = 1) -> None:
    """Write a trained network as submission.zip: model.py, network.json, weights.npz.

    Args:
        model: takes images (N, 96, 96, 3) in 0-255 and returns logits (N, 8); made of Keras' own
            layers only, any upsampling among them. It need not be compiled.
        path: of the zip.
        views: 1, or 8 to average the probabilities of the 8 flips and quarter turns.

    Raises:
        CourseError: if the network has other inputs or outputs, layers that are not Keras' own, or
            makes a zip of more than 25 MB.
    """
    _check_shapes(model)
    members = {
        "model.py": _model_file(views),
        "network.json": network_file(model),
        "weights.npz": weights_file(model.get_weights()),
    }
    archive = zipped(members)
    if len(archive) > LARGEST_BYTES:
        raise CourseError(
            f"{path.name} would have {len(archive) / 1e6:.0f} MB, more than "
            f"{LARGEST_BYTES / 1e6:.0f}: submit a smaller network."
        )
    with replaced(path) as temporary:
        temporary.write_bytes(archive)


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
    _refuse_own_code(description)
    try:
        built = keras.models.model_from_json(json.dumps(description))
        if not isinstance(built, keras.Model):
            raise TypeError("it describes no network")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
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


def _check_shapes(model: keras.Model) -> None:
    shapes = (model.input_shape, model.output_shape)
    expected = ((None, IMAGE_SIZE, IMAGE_SIZE, 3), (None, len(CLASS_NAMES)))
    if shapes != expected:
        raise CourseError(
            f"{model.name} takes {shapes[0]} and returns {shapes[1]}, but a submission takes "
            f"{expected[0]} and returns {expected[1]}: submit a network that does."
        )


def _model_file(views: int) -> bytes:
    if views not in (1, 8):
        raise CourseError(f"{views} views cannot be averaged: ask for 1 or 8.")
    source = TEMPLATE.read_text(encoding="utf-8")
    return source.replace("\nVIEWS = 1\n", f"\nVIEWS = {views}\n").encode()


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


def _trained(experiment: str) -> keras.Model:
    """Return a named experiment's network, trained first if need be."""
    from helpers.data.sets import load_course_data
    from helpers.training import recipes, run

    return run.load_trained(recipes.find(experiment), load_course_data())


def main(arguments: list[str] | None = None) -> int:
    """Read the command line, load or train the network and write the zip; 0 if it is written."""
    from helpers.models import released

    parser = argparse.ArgumentParser(description="Write submission.zip from a trained network.")
    parser.add_argument(
        "experiment",
        nargs="?",
        help="a name that `python -m helpers train list` prints, trained first if need be; "
        f"without it the released model {released.DEFAULT}",
    )
    parser.add_argument("--views", type=int, default=1, choices=(1, 8))
    parser.add_argument("--to", type=Path, default=course.root() / "submission.zip")
    options = parser.parse_args(arguments)
    try:
        model = _trained(options.experiment) if options.experiment else released.load()
        write_submission(model, options.to, options.views)
    except CourseError as error:
        print(error, file=sys.stderr)
        return 1
    print(
        f"{options.to} written, {options.to.stat().st_size / 1e6:.1f} MB: `make score` scores it."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
