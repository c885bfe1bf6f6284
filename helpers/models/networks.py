"""The course's networks: the homework report's two custom CNNs, and a backbone with a head."""

import re
from collections.abc import Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from helpers.course import CourseError
from helpers.data.photographs import IMAGE_SIZE
from helpers.models.weights import load_backbone

# The name of a layer begins with the name of its block, in `backbones.BACKBONES`.
_BLOCK = re.compile(
    r"stem|top|block\d[a-z]"  # EfficientNet
    r"|expanded_conv(_\d+)?|conv_1|conv(?=_|$)"  # MobileNetV3
    r"|conv\d_block\d+|conv1|pool\d|bn$"  # ResNet, DenseNet
)


def small_cnn(class_count: int) -> keras.Model:
    """Return the homework report's first CNN: two convolutions (32, 64 filters) and a dense layer.

    The homework report (section 3) names ReLU, 2x2 max pooling and a dense layer. It leaves open,
    and this is what we chose: 3x3 filters with "same" padding, pooling after each convolution, and
    that the dense layer is the output, on the flattened feature maps.

    Args:
        class_count: number of classes.

    Returns:
        A model that takes images (N, 96, 96, 3) in 0-255 and returns logits (N, class_count).
    """
    return _cnn("small_cnn", (32, 64), layers.Flatten(name="flatten"), class_count)


def vgg_like(class_count: int) -> keras.Model:
    """Return the homework report's second CNN: 3x3 convolutions, 64, 128, 256, 512 and 512 filters.

    Global average pooling takes the place of flattening (section 3). The homework report leaves
    open, and this is what we chose: ReLU and 2x2 max pooling after each convolution, and no dense
    layer but the output.

    Args:
        class_count: number of classes.

    Returns:
        A model that takes images (N, 96, 96, 3) in 0-255 and returns logits (N, class_count).
    """
    pooling = layers.GlobalAveragePooling2D(name="pooling")
    return _cnn("vgg_like", (64, 128, 256, 512, 512), pooling, class_count)


def head(
    channels: int,
    class_count: int,
    *,
    dropout: float = 0.3,
    l2: float = 0.0,
    extra_dense: int | None = None,
) -> keras.Model:
    """Return what follows a backbone's pooled features.

    Args:
        channels: number of pooled features.
        class_count: number of classes.
        dropout: fraction of features dropped in training (the homework report's 0.3).
        l2: strength of the penalty on the dense kernels (lambda in equation 2 of the homework
            report).
        extra_dense: units of a dense layer with batch normalisation and ReLU before the dropout
            (the homework report tried 128), or None.

    Returns:
        A model named "head" that takes float32 (N, channels) and returns logits (N, class_count).
    """
    penalty = keras.regularizers.L2(l2) if l2 else None
    features = outputs = keras.Input((channels,), name="pooled_features")
    if extra_dense is not None:
        outputs = layers.Dense(extra_dense, kernel_regularizer=penalty, name="dense")(outputs)
        outputs = layers.BatchNormalization(name="batch_norm")(outputs)
        outputs = layers.ReLU(name="relu")(outputs)
    outputs = layers.Dropout(dropout, name="dropout")(outputs)
    outputs = layers.Dense(class_count, kernel_regularizer=penalty, name="logits")(outputs)
    return keras.Model(features, outputs, name="head")


def classifier(
    backbone_name: str,
    class_count: int,
    *,
    dropout: float = 0.3,
    l2: float = 0.0,
    extra_dense: int | None = None,
    pretrained: bool = True,
    image_size: int = IMAGE_SIZE,
) -> keras.Model:
    """Return a backbone, global average pooling and a head; nothing is frozen yet.

    Args:
        backbone_name: a key of `backbones.BACKBONES`.
        class_count: number of classes.
        dropout, l2, extra_dense: see `head`; this penalty is on the head alone.
        pretrained: load ImageNet weights; else leave them random.
        image_size: height and width to which the images are resized before the backbone.

    Returns:
        A model that takes images (N, 96, 96, 3) in 0-255 and returns logits (N, class_count). Its
        layers "backbone" and "head" are models themselves.

    Raises:
        CourseError: if no backbone has that name, or its weights can't be had.
    """
    backbone = load_backbone(backbone_name, image_size, pretrained)
    images = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3), name="image")
    resized = images
    if image_size != IMAGE_SIZE:
        resized = layers.Resizing(image_size, image_size, name="resizing")(images)
    features = layers.GlobalAveragePooling2D(name="pooling")(backbone(resized))
    top = head(
        backbone.output_shape[-1],
        class_count,
        dropout=dropout,
        l2=l2,
        extra_dense=extra_dense,
    )
    return keras.Model(images, top(features), name=f"{backbone_name}_classifier")


def transfer_head(trained: keras.Model, model: keras.Model) -> None:
    """Copy the weights of a head trained on pooled features into a classifier's head.

    Args:
        trained: from `head`.
        model: from `classifier`; changed.

    Raises:
        CourseError: if the two heads differ in shape.
    """
    target = model.get_layer("head")
    if [w.shape for w in trained.weights] != [w.shape for w in target.weights]:
        raise CourseError(
            f"The trained head does not fit {model.name}: build both with the same number of "
            "classes, the same backbone and the same extra_dense."
        )
    target.set_weights(trained.get_weights())


def pooled_features(backbone: keras.Model, images: np.ndarray, batch_size: int = 64) -> np.ndarray:
    """Return the backbone's features of each image, averaged over its feature map.

    The backbone runs in inference mode, and images become float only batch by batch.

    Args:
        backbone: from `load_backbone`.
        images: uint8 (N, height, width, 3), RGB; resized if the backbone's size is another; may be
            memory-mapped.
        batch_size: images at a time.

    Returns:
        float32 (N, channels).
    """
    signature = tf.TensorSpec((None, *images.shape[1:]), tf.uint8)
    size = backbone.input_shape[1:3]

    @tf.function(input_signature=[signature], jit_compile=False)
    def pooled(batch):
        if images.shape[1:3] != size:
            batch = tf.image.resize(batch, size)
        return tf.reduce_mean(backbone(batch, training=False), axis=(1, 2))

    features = np.empty((len(images), backbone.output_shape[-1]), np.float32)
    for start in range(0, len(images), batch_size):
        rows = slice(start, start + batch_size)
        features[rows] = pooled(np.ascontiguousarray(images[rows]))
    return features


def predict_logits(model: keras.Model, inputs: np.ndarray) -> np.ndarray:
    """Return float32 logits (N, classes) of uint8 images or float32 features, 256 at a time."""
    return model.predict(inputs, batch_size=256, verbose=0)


def freeze_first_layers(backbone: keras.Model, count: int) -> None:
    """Freeze the first `count` layers of a backbone and unfreeze all others.

    The same count reaches another depth in another backbone. Layers without weights
    (input, activations, additions) count too, as in the homework report's 'first 30 layers'.
    Keras' own EfficientNetB0 has one more of those before its stem when it loads
    weights="imagenet".

    Raises:
        CourseError: if the backbone has fewer layers than `count`, or `count` is negative.
    """
    if not 0 <= count <= len(backbone.layers):
        raise CourseError(
            f"The backbone has {len(backbone.layers)} layers, not {count}: "
            f"give a number from 0 to {len(backbone.layers)}."
        )
    backbone.trainable = True
    # Layer by layer: Keras ignores `trainable = True` on a backbone that has it already.
    for index, layer in enumerate(backbone.layers):
        layer.trainable = index >= count


def freeze_through_block(backbone: keras.Model, block: str) -> None:
    """Freeze a backbone's layers from the input to the end of a block, and unfreeze all others.

    Args:
        backbone: from `load_backbone`.
        block: a name from `block_names`, such as "block2b".

    Raises:
        CourseError: if the backbone has no such block.
    """
    blocks = _block_of_each_layer(backbone)
    if block not in blocks:
        raise CourseError(
            f"The backbone has no block {block!r}: use one of {', '.join(block_names(backbone))}."
        )
    freeze_first_layers(backbone, len(blocks) - blocks[::-1].index(block))


def freeze_batch_norm(backbone: keras.Model) -> None:
    """Keep every batch normalisation of a backbone in inference mode while other layers train.

    In Keras a frozen BatchNormalization uses its stored mean and variance in training too, and no
    longer updates them. Call it after the other freezing functions, which unfreeze layers.
    """
    for layer in leaves(backbone):
        if isinstance(layer, layers.BatchNormalization):
            layer.trainable = False


def block_names(backbone: keras.Model) -> list[str]:
    """Return the names of a backbone's blocks, from the input to the output."""
    return list(dict.fromkeys(_block_of_each_layer(backbone)))


def _cnn(name: str, filters: Sequence[int], reduce: layers.Layer, class_count: int) -> keras.Model:
    model = keras.Sequential(name=name)
    model.add(keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3), name="image"))
    model.add(layers.Rescaling(1 / 255, name="rescaling"))
    for number, count in enumerate(filters, start=1):
        kind = {"padding": "same", "activation": "relu", "name": f"conv_{number}"}
        model.add(layers.Conv2D(count, 3, **kind))
        model.add(layers.MaxPooling2D(2, name=f"pool_{number}"))
    model.add(reduce)
    model.add(layers.Dense(class_count, name="logits"))
    return model


def _block_of_each_layer(backbone: keras.Model) -> list[str]:
    """Name the block of every layer; a layer whose name tells none is in the block before it."""
    blocks, current = [], "input"
    for layer in backbone.layers:
        if found := _BLOCK.match(layer.name):
            current = found.group()
        blocks.append(current)
    return blocks


def leaves(model: keras.Model) -> Iterator[layers.Layer]:
    """Yield the layers of a model, those of nested models in their place."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from leaves(layer)
        else:
            yield layer
