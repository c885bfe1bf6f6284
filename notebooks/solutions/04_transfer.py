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
# # Solutions to 4 · What ImageNet already knows
#
# Try first: the exercises stand at the end of [04_transfer](../04_transfer.ipynb). The cells below
# do again what the exercises need of the lesson.

# %% tags=["nbval-ignore-output"]
import keras
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from exercises import check
from helpers.data.sets import load_course_data
from helpers.evaluation import records
from helpers.models import weights
from helpers.models.backbones import default_backbone

data = load_course_data()
few, class_count = data.train_subset(500), len(data.class_names)
chosen = np.random.default_rng(0).permutation(len(data["validation"]))[:400]
judge = data["validation"].rows(chosen)


# %% tags=["nbval-ignore-output"]
def pooled_features(network, images):
    """Return float (N, maps): the mean of each of a network's last maps over its places."""
    return network.predict(images, batch_size=64, verbose=0).mean(axis=(1, 2))


def probe(features, labels, C=0.01):
    """Return a linear classifier fitted to features (N, D) and labels (N,)."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=1000))
    return model.fit(features, labels)


# %% tags=["nbval-ignore-output"]
backbone = weights.load_backbone(default_backbone())
train_features = pooled_features(backbone, few.images)
judge_features = pooled_features(backbone, judge.images)
width = train_features.shape[1]
plain_probe = probe(train_features, few.labels)
is_middle = [
    layer
    for layer in backbone.layers
    if len(layer.output.shape) == 4 and layer.output.shape[1] == 12
]
early = keras.Model(backbone.input, is_middle[-1].output)

# %% [markdown]
# **Exercise 04.1** · *Predict before you run.* The report also tried a dense layer of 128 units
# between features and output. How many weights, biases included, has such a head?

# %% tags=["nbval-ignore-output"]
answer = (width + 1) * 128 + (128 + 1) * class_count
print(
    f"{answer:,} weights, sixteen times as many as the plain head's {(width + 1) * class_count:,}"
)
check("04.1", answer, width=width, class_count=class_count)

# %% [markdown]
# **Exercise 04.2** · How many training images does a probe need? Train it on the first 50, 100, 200
# and 400 rows of `order`, and give its four accuracies on `judge`.
#
# It is still rising at the end: a probe with so many features can use more images than these. Each
# doubling costs twice the labels, and what it adds varies, since one draw of 50 images differs from
# another.

# %% tags=["nbval-ignore-output"]
order = np.random.default_rng(0).permutation(len(few))
answer = []
for count in (50, 100, 200, 400):
    rows = order[:count]
    model = probe(train_features[rows], few.labels[rows])
    answer.append((model.predict(judge_features) == judge.labels).mean())
print(np.round(answer, 3))
check(
    "04.2",
    answer,
    probe=probe,
    features=train_features[order],
    labels=few.labels[order],
    judge_features=judge_features,
    judge=judge,
)

# %% [markdown]
# **Exercise 04.3** · Pool the maps of the cut backbone `early` for the images of `judge`. Then
# probe them: are the late layers needed?
#
# Compare the two numbers below. If early features do as well as the last ones, with a fraction of
# the network and of the features, then the late layers, made for ImageNet's things, are not needed
# for cells.

# %% tags=["nbval-ignore-output"]
answer = pooled_features(early, judge.images)
half = probe(pooled_features(early, few.images), few.labels)
print(f"{answer.shape[1]} early features: {(half.predict(answer) == judge.labels).mean():.1%}")
print(f"{width} last features: {(plain_probe.predict(judge_features) == judge.labels).mean():.1%}")
check("04.3", answer, early=early, judge=judge)

# %% [markdown]
# **Exercise 04.4** · Of the `judge` images that the ImageNet probe gets right, which fraction does
# it get wrong when their channels are reversed? Does anything warn you?
#
# Nothing does: the images have the correct shape, type and range.

# %% tags=["nbval-ignore-output"]
reversed_features = pooled_features(backbone, judge.images[..., ::-1])
before = plain_probe.predict(judge_features) == judge.labels
after = plain_probe.predict(reversed_features) == judge.labels
answer = (~after[before]).mean()
print(
    f"accuracy {before.mean():.1%} → {after.mean():.1%}; {answer:.1%} of what was correct is lost"
)
check("04.4", answer, backbone=backbone, probe=plain_probe, judge=judge)

# %% [markdown]
# **Exercise 04.5** · Is MobileNetV3-Small better at the operations that no augmentation imitates?
# Give the mean difference to Lite0 over the three seeds, in points, on `"shifted_test_unseen"`.
#
# Yes, but on average it is ahead on the others too, where the interval holds zero. So these operations
# alone do not explain what the rule missed, and shifted validation holds them as well: chance in the choice
# of images and chains, on either set, is the rest.

# %%
recorded = records.published()
for part in ("shifted_test_seen", "shifted_test_unseen"):
    mobile = recorded.values("mobilenet_v3_small_frozen", part).mean()
    lite0 = recorded.values("efficientnet_lite0_frozen", part).mean()
    answer = 100 * (mobile - lite0)
    print(f"{part}: {answer:+.1f} points")
check("04.5", answer, recorded=recorded)

# %% [markdown]
# **Exercise 04.6** · Features that survive: make predictions for `altered` that are at least 5
# points more accurate than the plain probe's.
#
# The probe has only seen clean features, so it leans on some that an altered image does not keep.
# We add copies of `few` with random brightness, colour, noise and blur, and let it find out which
# ones last. The backbone learns nothing.


# %% tags=["nbval-ignore-output"]
def alter(images, rng):
    """Return copies, float32: each turned, with a colour of its own, noisy or blurred."""
    copies = np.rot90(images, int(rng.integers(4)), axes=(1, 2)).astype(np.float32)
    colour = rng.uniform(0.5, 1.3, (len(copies), 1, 1, 3)) + rng.normal(
        0, 0.15, (len(copies), 1, 1, 1)
    )
    shift = rng.uniform(-60, 60, (len(copies), 1, 1, 3))
    copies = copies * colour + shift
    for k in range(0, len(copies), 2):
        copies[k] += rng.normal(0, rng.uniform(0, 40), copies[k].shape)
    for k in range(1, len(copies), 2):
        for step in range(int(rng.integers(4))):
            copies[k] = (copies[k] + np.roll(copies[k], step + 1, axis=step % 2)) / 2
    return np.clip(copies, 0, 255).astype(np.float32)


# %% tags=["nbval-ignore-output"]
rows = np.random.default_rng(0).permutation(len(data["shifted_validation"]))[:400]
altered = data["shifted_validation"].rows(rows)
altered_features = pooled_features(backbone, altered.images)
plain = plain_probe.predict(altered_features)

# %% tags=["nbval-ignore-output"]
rng = np.random.default_rng(0)
more = [train_features] + [pooled_features(backbone, alter(few.images, rng)) for _ in range(4)]
robust = probe(np.concatenate(more), np.tile(few.labels, 5), C=0.001)
answer = robust.predict(altered_features)
for title, predicted in {"plain probe": plain, "with altered copies": answer}.items():
    print(f"{title:20s} {(predicted == altered.labels).mean():.1%}")
check("04.6", answer, plain=plain, altered=altered)
