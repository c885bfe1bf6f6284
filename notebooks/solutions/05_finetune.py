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
# # Solutions to 5 · Fine-tuning
#
# One way to solve each exercise of [`05_finetune`](../05_finetune.ipynb); every check says *correct*.

# %% tags=["nbval-ignore-output"]
import keras
import numpy as np
from keras import layers
from scipy.stats import ttest_ind

from exercises import check
from helpers.data.sets import load_course_data
from helpers.evaluation import metrics, records
from helpers.models import networks, weights

data = load_course_data()
recorded = records.published()
class_count = len(data.class_names)

# %% [markdown]
# **Exercise 05.1.** How many weights of the head train? One for each pair of feature and class, and a
# bias for each class.

# %% tags=["nbval-ignore-output"]
answer = (1280 + 1) * class_count
check("05.1", answer, class_count=class_count)

# %% [markdown]
# **Exercise 05.2.** Freeze through a named block, and every batch normalisation behind it.


# %%
def freeze_through(backbone, block):
    names = [layer.name for layer in backbone.layers]
    last = max(index for index, name in enumerate(names) if name.startswith(block))
    for index, layer in enumerate(backbone.layers):
        is_batch_norm = isinstance(layer, layers.BatchNormalization)
        layer.trainable = index > last and not is_batch_norm


backbone = weights.load_backbone("efficientnet_lite0", pretrained=False)
check("05.2", freeze_through, backbone=backbone)

# %% [markdown]
# **Exercise 05.3.** 2,000 images in batches of 32 make 63 steps per epoch, the last one on 16 images.

# %%
answer = 0.99 ** (6 * 63)
check("05.3", answer)

# %% [markdown]
# **Exercise 05.4.** A temperature changes how sure a network sounds, and never which class it names:
# dividing all logits of an image by one number keeps their order. Here the logits of the recorded
# fine-tuning stand in for the live model's.

# %%
live_logits = recorded.logits("fine_tuned", "validation")


def mean_probability(temperature):
    probabilities = np.array(keras.ops.softmax(live_logits / temperature))
    return probabilities.max(axis=1).mean()


answer = mean_probability(1), mean_probability(2)
check("05.4", answer, logits=live_logits)

# %% [markdown]
# **Exercise 05.5.** One network against each seed of the other recipe. With a single seed, chance
# decides which of these p-values ends up in a report.

# %%
labels = recorded.labels("validation")
at_once = recorded.logits("subset_both_at_once", "validation", 0)
answer = [
    metrics.compare(
        labels, at_once, recorded.logits("subset_fine_tuned", "validation", seed)
    ).p_value
    for seed in recorded.seeds("subset_fine_tuned", "validation")
]
check("05.5", answer, recorded=recorded)

# %% [markdown]
# **Exercise 05.6.** Does it take fine-tuning at all, on 256 images? Our recipe trains nothing but the
# head, for all ten epochs and at ten times the lesson's rate. On stored features that costs next to
# nothing.

# %% tags=["nbval-ignore-output"]
few, validation = data.sample("train", 256), data.sample("validation", 160)
backbone = weights.load_backbone("efficientnet_lite0")
from_imagenet = backbone.get_weights()
features = networks.pooled_features(backbone, few.images)

# %% tags=["nbval-ignore-output"]
images = keras.Input((96, 96, 3))
pooled = layers.GlobalAveragePooling2D()(backbone(images, training=False))
head = keras.Sequential([keras.Input((1280,)), layers.Dropout(0.3), layers.Dense(class_count)])
model = keras.Model(images, head(pooled))
freeze_through(backbone, "block2a")

# %% [markdown]
# Most of the time of a training as short as this one goes into preparing it, so we compile once for
# all seeds. Each begins again from the first weights, and from an optimizer that remembers nothing.

# %% tags=["nbval-ignore-output"]
for network in (head, model):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(keras.optimizers.Adam(), loss=loss, jit_compile=False)
    network.optimizer.build(network.trainable_variables)


# %% tags=["nbval-ignore-output"]
def fit(network, inputs, rate, epochs):
    for variable in network.optimizer.variables:
        variable.assign(keras.ops.zeros_like(variable))
    network.optimizer.learning_rate = rate
    network.fit(inputs, few.labels, batch_size=24, epochs=epochs, verbose=0)


# %% tags=["nbval-ignore-output"]
def begin(seed):
    keras.utils.set_random_seed(seed)
    backbone.set_weights(from_imagenet)
    kernel, bias = head.layers[-1].weights
    kernel.assign(keras.initializers.GlorotUniform()(kernel.shape))
    bias.assign(keras.ops.zeros_like(bias))


def accuracy():
    answers = model.predict(validation.images, verbose=0).argmax(axis=1)
    return (answers == validation.labels).mean()


# %% tags=["nbval-ignore-output"]
def of_the_lesson(seed):
    begin(seed)
    fit(head, features, 1e-3, epochs=3)
    fit(model, few.images, 1e-4, epochs=3)
    return accuracy()


def head_alone(seed):
    begin(seed)
    fit(head, features, 1e-2, epochs=10)
    return accuracy()


# %% tags=["nbval-ignore-output"]
yours, baseline = ([recipe(seed) for seed in range(3)] for recipe in (head_alone, of_the_lesson))
print("head alone:", np.round(yours, 3), "lesson:", np.round(baseline, 3))

# %% [markdown]
# The verdict follows from the lists; whatever it is, it speaks of these 256 images to train on and of
# these 160 to judge by.


# %%
def verdict(yours, baseline):
    if ttest_ind(yours, baseline).pvalue >= 0.05:
        return "not told apart"
    return "better" if np.mean(yours) > np.mean(baseline) else "worse"


check("05.6", (yours, baseline, verdict(yours, baseline)))

# %% tags=["nbval-ignore-output"]
gain = 100 * (np.mean(yours) - np.mean(baseline))
print(f"head alone: {gain:+.1f} points, {verdict(yours, baseline)}")
