"""Writes submission.zip: a trained network in the competition's format, free of the course's code.

Command:
    python -m helpers.submission EXPERIMENT [--views 1|8] [--to submission.zip]

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
from pathlib import Path

import helpers.quiet_tensorflow  # noqa: F401

import keras
import numpy as np

from helpers import course
from helpers.course import CourseError
from helpers.dataset import CLASS_NAMES, IMAGE_SIZE
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
    members = {
        "model.py": _model_file(views),
        "network.json": _network_file(model),
        "weights.npz": _weights_file(model),
    }
    archive = _zipped(members)
    if len(archive) > LARGEST_BYTES:
        raise CourseError(
            f"{path.name} would have {len(archive) / 1e6:.0f} MB, more than "
            f"{LARGEST_BYTES / 1e6:.0f}: submit a smaller network."
        )
    with replaced(path) as temporary:
        temporary.write_bytes(archive)


def _model_file(views: int) -> bytes:
    if views not in (1, 8):
        raise CourseError(f"{views} views cannot be averaged: ask for 1 or 8.")
    source = TEMPLATE.read_text(encoding="utf-8")
    return source.replace("\nVIEWS = 1\n", f"\nVIEWS = {views}\n").encode()


def _network_file(model: keras.Model) -> bytes:
    shapes = (model.input_shape, model.output_shape)
    expected = ((None, IMAGE_SIZE, IMAGE_SIZE, 3), (None, len(CLASS_NAMES)))
    if shapes != expected:
        raise CourseError(
            f"{model.name} takes {shapes[0]} and returns {shapes[1]}, but a submission takes "
            f"{expected[0]} and returns {expected[1]}: submit a network that does."
        )
    description = _described(model)
    try:
        again = keras.models.model_from_json(json.dumps(description))
    except (KeyError, TypeError, ValueError) as error:
        raise CourseError(
            f"{model.name} cannot be rebuilt from its description ({_first_line(error)}): "
            "use other layers."
        ) from error
    if _described(again) != description:
        raise CourseError(f"{model.name} changes when it is rebuilt: use other layers.")
    return json.dumps(description, indent=1).encode()


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


def _keras_class(node: dict) -> type:
    module, name = node["module"], node["class_name"]
    if module.split(".")[0] != "keras" or name == "Lambda":
        layer = node["config"].get("name", name)
        raise CourseError(
            f"The layer {layer} ({name}) holds code of its own, which does not travel with the "
            "weights: build the network from Keras' own layers, without Lambda."
        )
    return getattr(importlib.import_module(module), name)


def _weights_file(model: keras.Model) -> bytes:
    buffer = io.BytesIO()
    weights = {f"{index:04}": weight for index, weight in enumerate(model.get_weights())}
    np.savez(buffer, **weights)
    return buffer.getvalue()


def _zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            member = zipfile.ZipInfo(name, DATE)
            member.compress_type = zipfile.ZIP_DEFLATED
            # As on Unix, whichever system writes it: a plain file that its owner may write.
            member.create_system, member.external_attr = 3, 0o100644 << 16
            archive.writestr(member, content, compresslevel=9)
    return buffer.getvalue()


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def main(arguments: list[str] | None = None) -> int:
    """Read the command line, train or load the experiment and write the zip; 0 if it is written."""
    from helpers import experiments, recipes
    from helpers.course_data import load_course_data

    parser = argparse.ArgumentParser(description="Write submission.zip from a trained experiment.")
    parser.add_argument("experiment", help="a name that `python -m helpers.recipes list` prints")
    parser.add_argument("--views", type=int, default=1, choices=(1, 8))
    parser.add_argument("--to", type=Path, default=course.root() / "submission.zip")
    options = parser.parse_args(arguments)
    try:
        model = experiments.load_trained(recipes.find(options.experiment), load_course_data())
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
