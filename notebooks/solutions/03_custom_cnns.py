# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Solutions to 3 · Build and train a network
#
# Try first: the exercises stand at the end of [03_custom_cnns](../03_custom_cnns.ipynb). The two
# cells below do again what the exercises need of the lesson; the networks are the lesson's, as the
# helpers keep them.

# %% tags=["nbval-ignore-output"]
import keras
import numpy as np
from keras import layers

from exercises import check
from helpers.data.sets import load_course_data
from helpers.models.networks import small_cnn, vgg_like

data = load_course_data()
class_count, few, judge = len(data.class_names), data.train_subset(300), data["validation"]


# %% tags=["nbval-ignore-output"]
def train(network):
    """Train a network as the lesson does; return its history."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(keras.optimizers.Adam(0.001), loss, metrics=["accuracy"], jit_compile=False)
    stop = keras.callbacks.EarlyStopping(patience=5, restore_best_weights=True)
    validation = (judge.images, judge.labels)
    settings = {"batch_size": 8, "epochs": 25, "validation_data": validation, "verbose": 0}
    return network.fit(few.images, few.labels, callbacks=[stop], **settings).history


keras.utils.set_random_seed(0)
network = small_cnn(class_count)
history = train(network)

# %% [markdown]
# **Exercise 03.1** · How many weights, biases included, would CNN 2's dense layer have if `Flatten`
# stood in the place of global average pooling?
#
# Five poolings halve 96 to 48, 24, 12, 6, 3: the last maps are 3 × 3 × 512.

# %% tags=["nbval-ignore-output"]
height, width, maps = vgg_like(class_count).layers[-3].output.shape[1:]
answer = (height * width * maps + 1) * class_count
print("flattened:", answer, "- averaged:", (maps + 1) * class_count)
check("03.1", answer, class_count=class_count)

# %% [markdown]
# **Exercise 03.2** · Write `convolve(image, kernel)` for any grey image (H, W) and any kernel (h,
# w), without padding. Hand over the function itself.


# %% tags=["nbval-ignore-output"]
def convolve(image, kernel):
    """Return float (H - h + 1, W - w + 1): the kernel's answer at every place where it fits."""
    height, width = kernel.shape
    answers = np.zeros((image.shape[0] - height + 1, image.shape[1] - width + 1))
    for row in range(answers.shape[0]):
        for column in range(answers.shape[1]):
            patch = image[row : row + height, column : column + width]
            answers[row, column] = (patch * kernel).sum()
    return answers


answer = convolve
check("03.2", answer)

# %% [markdown]
# **Exercise 03.3** · Early stopping watched `history["val_loss"]`. After which epoch, counted from
# 1, would it have stopped with a patience of 1?
#
# After the first epoch that is not better than the best before it. A noisy curve stops such an
# impatient training far too early: that is why five is a common choice.

# %% tags=["nbval-ignore-output"]
answer, best = len(history["val_loss"]), np.inf
for epoch, loss in enumerate(history["val_loss"], start=1):
    if loss >= best:
        answer = epoch
        break
    best = loss
check("03.3", answer, history=history)

# %% [markdown]
# **Exercise 03.4** · A rotated cell is the same cell. For which fraction of the validation images
# does `network` predict the same class after a quarter turn?
#
# Not for all: nothing tells a convolution that turned cells are alike. Its filters and, above all,
# the dense layer know places. `06_augment` teaches it by showing turned images.

# %% tags=["nbval-ignore-output"]
before = network.predict(judge.images, verbose=0).argmax(axis=1)
turned = np.rot90(judge.images, axes=(1, 2))
answer = (network.predict(turned, verbose=0).argmax(axis=1) == before).mean()
print(f"unchanged by a quarter turn: {answer:.1%}")
check("03.4", answer, network=network, images=judge.images)

# %% [markdown]
# **Exercise 03.5** · A network reaches 94 %. How many test images does it take for the 95 %
# interval to reach 1 percentage point to either side?
#
# Half the reach takes four times the images.

# %% tags=["nbval-ignore-output"]
answer = 1.96**2 * 0.94 * 0.06 / 0.01**2
print(f"{answer:,.0f} images; for half a point {4 * answer:,.0f}")
check("03.5", answer)

# %% [markdown]
# **Exercise 03.6** · Build and train a network with *at most half* of CNN 1's weights that is at
# most 2 points less accurate on the validation images than `network`.
#
# The weights sit in the dense layer, so that is where to save: the last pooling takes the largest of
# 4 x 4 places in the place of 2 x 2, which leaves the dense layer a quarter of its inputs.
# (Chosen and judged on the same validation images, its accuracy is a little too good: a fair
# comparison would need a test.)

# %% tags=["nbval-ignore-output"]
keras.utils.set_random_seed(0)
smaller = keras.Sequential([keras.Input((96, 96, 3)), layers.Rescaling(1 / 255)])
for filters, pool in ((32, 2), (64, 4)):
    smaller.add(layers.Conv2D(filters, 3, padding="same", activation="relu"))
    smaller.add(layers.MaxPooling2D(pool))
smaller.add(layers.Flatten())
smaller.add(layers.Dense(class_count))
epochs = len(train(smaller)["loss"])

# %% tags=["nbval-ignore-output"]
for name, of in {"CNN 1": network, "smaller": smaller}.items():
    reached = (of.predict(judge.images, verbose=0).argmax(axis=1) == judge.labels).mean()
    print(f"{name:8s}{of.count_params():8,} weights, {reached:.1%} on validation")
answer = smaller
check("03.6", answer, reference=network, judge=judge)
