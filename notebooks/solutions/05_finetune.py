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

from exercises import check
from helpers.data.sets import load_course_data
from helpers.evaluation import metrics, records
from helpers.models import weights

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
# **Exercise 05.6.** This one is open, and its answer takes half an hour of training. What the check
# asks of the two lists, with invented numbers: a mean gain that is larger than what seeds alone make.

# %%
yours, baseline = [0.95, 0.96, 0.955], [0.90, 0.91, 0.905]
check("05.6", (yours, baseline))
