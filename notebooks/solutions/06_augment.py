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
# # Solutions to 6 · Augmentation
#
# One way to solve each exercise of [`06_augment`](../06_augment.ipynb); every check says *correct*.

# %% tags=["nbval-ignore-output"]
import numpy as np
from scipy.stats import binomtest

from exercises import check
from helpers.data.sets import load_course_data

data = load_course_data()
cell = data["train"].images[0]

# %% [markdown]
# **Exercise 06.1.** Four rotations, each with or without a mirror image. Flipping both ways is a
# rotation by 180°, so nothing new comes after eight.

# %%
turned = [np.rot90(cell, quarter) for quarter in range(4)]
mirrored = [picture[:, ::-1] for picture in turned] + [picture[::-1] for picture in turned]
answer = len({picture.tobytes() for picture in turned + mirrored})
check("06.1", answer)

# %% [markdown]
# **Exercise 06.2.** Copy, draw a size, then a corner where the rectangle fits.


# %%
def erase(image, rng):
    copy = image.copy()
    height, width = rng.integers(8, 48, 2)
    top = rng.integers(0, image.shape[0] - height)
    left = rng.integers(0, image.shape[1] - width)
    copy[top : top + height, left : left + width] = rng.integers(0, 256, 3)
    return copy


check("06.2", erase, image=cell)

# %% [markdown]
# **Exercise 06.3.** Twice the images, and the last batch is not full. At equally many epochs the
# network also takes twice as many steps, so a comparison with the originals alone would not say which
# of the two made the difference.

# %%
answer = int(np.ceil(2 * 11943 / 128))
check("06.3", answer)

# %% [markdown]
# **Exercise 06.4.** If both networks were equally good, each image on which they disagree would be a
# coin toss. Good networks disagree on few clean images, which is why a small validation set cannot
# rank them.

# %%
answer = next(count for count in range(1, 50) if binomtest(count, count).pvalue < 0.05)
check("06.4", answer)

# %% [markdown]
# **Exercise 06.5.** One minus the chance that all nine stay silent: more than one in three.

# %%
answer = 1 - 0.95**9
check("06.5", answer)

# %% [markdown]
# **Exercise 06.6.** This one is open. What the check asks of the two lists, with invented numbers: a
# mean gain that is larger than what seeds alone make.

# %%
yours, ours = [0.61, 0.63, 0.62], [0.50, 0.51, 0.52]
check("06.6", (yours, ours))
