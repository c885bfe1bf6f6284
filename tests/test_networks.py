"""Networks: what is frozen stays as it was, what is penalised is penalised, heads fit backbones."""

import keras
import numpy as np
import pytest

from helpers.course import CourseError
from helpers.models import networks, weights

CLASSES = 8
SIZE = 64


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, 96, 96, 3), dtype=np.uint8)


@pytest.fixture
def backbone() -> keras.Model:
    return weights.load_backbone("efficientnet_lite0", SIZE)


def lite0_classifier(**settings) -> keras.Model:
    keras.utils.set_random_seed(0)
    return networks.classifier("efficientnet_lite0", CLASSES, image_size=SIZE, **settings)


def trainable_names(backbone: keras.Model) -> set[str]:
    return {layer.name for layer in backbone.layers if layer.trainable_weights}


@pytest.mark.parametrize(
    ("build", "filters", "dense_inputs"),
    [
        (networks.small_cnn, [32, 64], 24 * 24 * 64),
        (networks.vgg_like, [64, 128, 256, 512, 512], 512),
    ],
)
def test_custom_cnns_are_the_reports(build, filters, dense_inputs):
    model = build(CLASSES)
    kernels = [x.shape for x in model.trainable_weights if x.name == "kernel"]
    inputs = [3, *filters[:-1]]
    convolutions = [(3, 3, *pair) for pair in zip(inputs, filters, strict=True)]
    assert kernels == [*convolutions, (dense_inputs, CLASSES)]
    images = np.full((2, 96, 96, 3), 255, np.uint8)
    np.testing.assert_allclose(model.layers[0](images), np.ones(images.shape), rtol=1e-6)
    assert model(images).shape == (2, CLASSES)


def test_first_layers_are_frozen_and_the_rest_is_not(backbone):
    backbone.trainable = False
    assert not trainable_names(backbone)
    networks.freeze_first_layers(backbone, 30)
    weighted = {layer.name for layer in backbone.layers[30:] if layer.weights}
    assert trainable_names(backbone) == weighted
    with pytest.raises(CourseError, match=f"has {len(backbone.layers)} layers, not 1000"):
        networks.freeze_first_layers(backbone, 1000)


def test_layer_30_lies_elsewhere_in_another_backbone(backbone):
    b0 = weights.load_backbone("efficientnet_b0", SIZE, pretrained=False)
    blocks = []
    for network in (backbone, b0):
        networks.freeze_first_layers(network, 30)
        last = max(i for i, layer in enumerate(network.layers) if not layer.trainable)
        blocks.append(network.layers[last].name.split("_")[0])
    assert blocks == ["block2b", "block2a"]


def test_blocks_are_frozen_to_their_end(backbone):
    networks.freeze_through_block(backbone, "block2b")
    trainable = trainable_names(backbone)
    assert not any(name.startswith(("stem", "block1", "block2")) for name in trainable)
    names = networks.block_names(backbone)
    assert {name.split("_")[0] for name in trainable} == set(names[names.index("block2b") + 1 :])
    with pytest.raises(CourseError, match=r"no block 'block9z'.*block7a, top"):
        networks.freeze_through_block(backbone, "block9z")


@pytest.mark.parametrize("held", [True, False])
def test_held_batch_norm_keeps_its_statistics_in_training(images, held):
    model = lite0_classifier()
    backbone = model.get_layer("backbone")
    if held:
        networks.freeze_batch_norm(backbone)
    model.compile(
        "sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), run_eagerly=True
    )
    norm, convolution = backbone.get_layer("stem_bn"), backbone.get_layer("stem_conv")
    mean, kernel = norm.moving_mean.numpy(), convolution.kernel.numpy()
    model.train_on_batch(images, np.arange(len(images)))
    assert np.array_equal(mean, norm.moving_mean) == held
    assert not np.array_equal(kernel, convolution.kernel)


def test_held_batch_norm_makes_images_independent_of_their_batch(backbone, images):
    # Up to here there is no stochastic depth, which also makes training mode differ.
    part = keras.Model(backbone.input, backbone.get_layer("block2a_project_bn").output)

    images = images[:, :SIZE, :SIZE]

    def together_and_alone():
        together = part(images, training=True).numpy()[0]
        return together, part(images[:1], training=True).numpy()[0]

    assert not np.allclose(*together_and_alone(), atol=1e-3)
    networks.freeze_batch_norm(backbone)
    np.testing.assert_allclose(*together_and_alone(), atol=1e-5)


def sum_of_squared_kernels(variables) -> float:
    kernels = [x.numpy().astype(np.float64) for x in variables if x.path.endswith("kernel")]
    return sum(np.square(kernel).sum() for kernel in kernels)


def test_l2_of_the_head_is_on_its_kernels_alone():
    model = lite0_classifier(l2=0.1, extra_dense=16)
    expected = 0.1 * sum_of_squared_kernels(model.get_layer("head").weights)
    np.testing.assert_allclose(sum(model.losses), expected, rtol=1e-5)


@pytest.mark.parametrize("extra_dense", [None, 16])
def test_a_head_on_features_predicts_as_in_the_classifier(images, extra_dense):
    model = lite0_classifier(extra_dense=extra_dense)
    features = networks.pooled_features(model.get_layer("backbone"), images)
    head = networks.head(features.shape[1], CLASSES, extra_dense=extra_dense)
    expected = head(features, training=False)
    assert not np.allclose(model(images, training=False), expected, atol=1e-5)
    networks.transfer_head(head, model)
    np.testing.assert_allclose(model(images, training=False), expected, atol=1e-5)


def test_freezing_less_unfreezes_the_rest(backbone):
    networks.freeze_through_block(backbone, "block4a")
    networks.freeze_through_block(backbone, "block1a")
    assert trainable_names(backbone) & {"block2a_expand_conv", "block4a_expand_conv"} == {
        "block2a_expand_conv",
        "block4a_expand_conv",
    }
    assert "block1a_dwconv" not in trainable_names(backbone)


def test_a_head_of_another_shape_is_refused():
    with pytest.raises(CourseError, match="does not fit"):
        networks.transfer_head(networks.head(1280, CLASSES + 1), lite0_classifier())


def test_pooled_features_do_not_depend_on_the_batches(backbone, images):
    images = images[:, :SIZE, :SIZE]
    features = networks.pooled_features(backbone, images, batch_size=4)
    assert features.dtype == np.float32
    expected = backbone(images, training=False).numpy().mean(axis=(1, 2))
    np.testing.assert_allclose(features, expected, atol=1e-5)
    np.testing.assert_allclose(networks.pooled_features(backbone, images), features, atol=1e-5)
