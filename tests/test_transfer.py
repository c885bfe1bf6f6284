import keras
import numpy as np

from helpers.models import transfer


def two_blocks() -> keras.Model:
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, name="stem_conv")(image)
    x = keras.layers.DepthwiseConv2D(3, name="block1a_dwconv")(x)
    return keras.Model(image, keras.layers.Conv2D(2, 1, name="block1a_project_conv")(x))


def test_kernel_changes_are_relative_and_by_block():
    start, trained = two_blocks(), two_blocks()
    depthwise = trained.get_layer("block1a_dwconv")
    depthwise.kernel.assign(depthwise.kernel.numpy() * 1.2)
    changes = transfer.kernel_changes(trained, start)
    assert list(changes.index) == ["stem", "block1a"]
    assert changes["stem"] == 0
    assert np.isclose(changes["block1a"], 0.1, atol=1e-5)


def test_backbone_costs_counts_and_times_each_backbone():
    images = np.zeros((2, 96, 96, 3), np.uint8)
    costs = transfer.backbone_costs(["mobilenet_v3_small"], images)
    assert costs.loc["MobileNetV3-Small", "parameters"] == 939_120
    assert costs.loc["MobileNetV3-Small", "ms an image"] > 0
