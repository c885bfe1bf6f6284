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
# # 3 · Two networks of our own
#
# In this notebook you will
#
# - build the report's two convolutional networks and count what they have to learn,
# - train them with *early stopping* and read the two curves that every training draws,
# - judge them on photographs that were changed as a careless user would change them,
# - and see why an accuracy of 100 % on the training images says nothing.
#
# **You need** nothing from the notebooks before: the images are cleaned and split by the helpers, as
# `01_inspect` and `02_clean` show step by step.
# **Time** on two cores: about 2 minutes in the quick profile; in the full profile up to 90 minutes,
# of which the VGG-like network may use at most 60.

# %% tags=["nbval-ignore-output"]
COURSE = "git+https://github.com/blood-cells-course/blood-cells-course@v0.1.0"

import sys

if "google.colab" in sys.modules:
    get_ipython().run_line_magic("pip", f"install {COURSE}")  # noqa: F821

# %% tags=["nbval-ignore-output"]
import numpy as np
import pandas as pd

from helpers import evaluation, figures, networks, results
from helpers.course_data import load_course_data
from helpers.experiments import Experiment, run

figures.use_course_style()
data = load_course_data()

# %% [markdown]
# ## The images, by role
#
# A network may learn from *train*. *Validation* chooses between networks and decides when to stop.
# *Test* is looked at once a model is finished. Two of the sets are *shifted*: the same kind of
# photographs after rotations, colour changes, blur, noise and patches, several at once, as in the
# competition's private test. The *second acquisition* is a natural shift: photographs taken on
# another occasion, on which no network of this course is trained.

# %% tags=["nbval-ignore-output"]
pd.Series({name: len(images) for name, images in data.sets.items()}, name="images").to_frame()

# %%
print(data["train"].images.dtype, data["train"].images.shape[1:])

# %% [markdown]
# ## The first network: two convolutions
#
# The report's first model has two convolutions with 32 and 64 filters, each followed by ReLU and
# 2 × 2 max pooling, and then a dense layer. A convolution slides small filters over the image; a
# pooling layer keeps the strongest answer of each 2 × 2 square, which halves width and height.

# %%
small = networks.small_cnn(class_count=8)
print("\n".join(f"{layer.name:16s} {layer.output.shape[1:]}" for layer in small.layers[1:]))

# %% [markdown]
# Where are its weights? Almost all of them sit in the one dense layer behind the flattening: each of
# its units looks at every remaining pixel of every filter. The second network avoids exactly that.

# %%
vgg = networks.vgg_like(class_count=8)
parameters = pd.Series({"two convolutions": small.count_params(), "VGG-like": vgg.count_params()})
parameters.to_frame("weights to learn")

# %% [markdown]
# The VGG-like network stacks five 3 × 3 convolutions with 64, 128, 256, 512 and 512 filters. Instead
# of flattening it averages each of the last 512 maps to one number (*global average pooling*), so
# its dense layer needs a few thousand weights instead of millions.

# %% [markdown]
# ## Training, and when to stop
#
# Settings are the report's: batches of 128, Adam with a learning rate of 0.001, at most 1000 epochs.
# *Early stopping* ends a training when the validation loss has not improved for five epochs, and
# puts back the weights of the best one. The profile caps the epochs as well: the table says what
# ended each training.

# %% tags=["nbval-ignore-output"]
outcomes = {
    "two convolutions": run(Experiment("small_cnn", "small_cnn", budget="scratch"), data),
    "VGG-like": run(Experiment("vgg_like", "vgg_like", budget="deep_scratch"), data),
}
for outcome in outcomes.values():
    results.record_outcome(outcome, data)

# %% tags=["nbval-ignore-output"]
pd.DataFrame(
    {
        name: {
            "training images": outcome.train_images,
            "epochs": outcome.epochs,
            "best epoch": outcome.best_epoch,
            "stopped by": outcome.stopped_by,
            "minutes": round(outcome.seconds / 60, 1),
        }
        for name, outcome in outcomes.items()
    }
)

# %% tags=["nbval-ignore-output"]
histories = {name: outcome.history for name, outcome in outcomes.items()}
last = outcomes["two convolutions"].history
gap = last["accuracy"][-1] - last["val_accuracy"][-1]
heading = f"In the last epoch the small CNN is {gap:+.1%} better on images it has seen"
figures.save(figures.learning_curves(histories, heading), "03_learning_curves", data.source)

# %% [markdown]
# ## The test that matters
#
# So far every image came from the same microscope, the same stain, the same crop. Here are test
# photographs next to their shifted versions.

# %% tags=["nbval-ignore-output"]
rows = np.random.default_rng(3).choice(len(data["test"]), 8, replace=False)
pairs = np.concatenate([data["test"].images[rows], data["shifted_test"].images[rows]])
sheet = figures.contact_sheet(pairs, None, 8, "A person still sees the cell; will the network?")
figures.save(sheet, "03_shifted_examples", data.source)

# %% tags=["nbval-ignore-output"]
judged = {
    name: {
        split: evaluation.accuracy(data[split].labels, outcome.logits[split])
        for split in ("validation", "test", "shifted_test")
    }
    for name, outcome in outcomes.items()
}
lost = {n: s["test"].value - s["shifted_test"].value for n, s in judged.items()}
heading = f"The shift costs {min(lost.values()):.0%} and {max(lost.values()):.0%} of all images"
figures.save(figures.accuracies(judged, heading), "03_clean_and_shifted", data.source)

# %%
for name in lost:
    print(name, "loses under the shift:", lost[name] > 0)
