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
# # 1 · Look before you train
#
# In this notebook you will
#
# - load the homework's images and check their shapes, types and labels,
# - look at *contact sheets* and find pictures that are no cells,
# - find the same pictures by measuring, and check what the report says about them,
# - count the classes, and see how uneven they are,
# - discover photographs that were taken on another occasion, by the colour of their background,
# - and measure how far brightness and colour alone get you.
#
# **You need** nothing: no network is trained here. The first run decodes (or draws) the images.
# **Time** on two cores: less than a minute in either profile; the first run up to three minutes.

# %% tags=["nbval-ignore-output"]
COURSE = "git+https://github.com/blood-cells-course/blood-cells-course@v0.1.0"

import sys

if "google.colab" in sys.modules:
    get_ipython().run_line_magic("pip", f"install {COURSE}")  # noqa: F821

# %% tags=["nbval-ignore-output"]
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

from helpers import course
from helpers.data import cleaning
from helpers.data.homework import VARIANTS, homework_set
from helpers.data.sources import load_photographs
from helpers.evaluation import metrics, records
from helpers.figures import charts, style

style.use_course_style()
photographs = load_photographs()
source, class_names = photographs.source, photographs.class_names
print("Profile:", course.profile().name)

# %% [markdown]
# ## The homework's images
#
# The homework handed out one array of images and one of labels. Its file may not be passed on, so
# the course rebuilds it: photographs of blood cells, to which somebody added pictures that do not
# belong there. The two pictures added here are our own. Where no photographs can be had, the course
# draws cells instead, and every figure says so.
#
# The report says that the added pictures had *altered backgrounds*. Other teams with the same
# homework found identical copies. We rebuild both variants and look at them side by side.

# %% tags=["nbval-ignore-output"]
given = {variant: homework_set(photographs, variant) for variant in VARIANTS}
identical, backgrounds = (given[variant].images for variant in VARIANTS)
labels = given["identical"].labels

# %% [markdown]
# Always check the shape first. Images are counted along the first axis; then come height, width and
# the three colours red, green and blue.

# %%
print(identical.shape, identical.dtype)
print(labels.shape, labels.dtype)

# %% [markdown]
# `uint8` means whole numbers from 0 to 255, one byte each. The same array as 32-bit floats would
# need four times the memory, so the course keeps bytes until a network needs floats.

# %%
print("bytes:", identical.nbytes, " as float32:", identical.nbytes * 4)

# %% tags=["nbval-ignore-output"]
print("darkest and brightest value:", identical.min(), identical.max())
print("the middle pixel of the first image (red, green, blue):", identical[0, 48, 48])

# %% [markdown]
# Labels are numbers; `class_names` says what they mean. Are all eight there, and nothing else?

# %%
print(dict(enumerate(class_names)))
print("labels that occur:", np.unique(labels).tolist())

# %% [markdown]
# ## Look
#
# No measurement replaces looking. A *contact sheet* shows many small images at once. Here are the
# first rows of the set.

# %% tags=["nbval-ignore-output"]
first_names = [class_names[label] for label in labels[:7]]
heading = f"The first rows: {len(set(first_names))} of {len(class_names)} classes, in no order"
sheet = style.contact_sheet(identical[:7], first_names, 7, heading)
style.save(sheet, "01_first_rows", source)

# %% [markdown]
# Random rows show more than first rows do. The next sheet draws three from each class. Read it
# column by column: what do the cells of a class share? And does every picture show a cell?

# %% tags=["nbval-ignore-output"]
rng = np.random.default_rng(1)
by_class = [rng.permutation(np.flatnonzero(labels == label)) for label in range(len(class_names))]
rows = np.stack([np.resize(rows, 3) for rows in by_class], axis=1).ravel()
titles = [name.replace(" ", "\n") for name in class_names] + [""] * 2 * len(class_names)
heading = "Three random rows of each class: do they all show a cell?"
sheet = style.contact_sheet(identical[rows], titles, len(class_names), heading)
style.save(sheet, "01_random_rows", source)

# %% [markdown]
# Something grins at us. The report's authors found it in the same way, by printing casual batches.
# They name two places: the last 200 rows, and the rows from 11,959 to 13,559. First the end of the
# set, in both variants.

# %% tags=["nbval-ignore-output"]
last_rows = np.arange(len(labels) - 6, len(labels))
both = np.concatenate([identical[last_rows], backgrounds[last_rows]])
titles = [f"row {row:,}: {labels[row]}" for row in last_rows] * 2
heading = "The last rows: identical copies above, altered backgrounds below"
sheet = style.contact_sheet(both, titles, len(last_rows), heading)
style.save(sheet, "01_last_rows", source)

# %% [markdown]
# Then the place where the photographs end.

# %% tags=["nbval-ignore-output"]
joint_rows = np.arange(11956, 11962)
both = np.concatenate([identical[joint_rows], backgrounds[joint_rows]])
titles = [f"row {row:,}: {labels[row]}" for row in joint_rows] * 2
heading = "Around row 11,959: identical copies above, altered backgrounds below"
sheet = style.contact_sheet(both, titles, len(joint_rows), heading)
style.save(sheet, "01_joint", source)

# %% [markdown]
# ## Measure: identical copies
#
# Looking found two pictures. How many copies are there, and where exactly? A *hash* turns all bytes
# of an image into one number. Equal images get equal numbers; `02_clean` explains the rest. A
# *stretch* of rows with the same number is a run of copies.

# %%
hashes = cleaning.image_hashes(identical)
stretches = cleaning.stretches(hashes, shortest=20)
print(stretches.to_string())

# %% [markdown]
# Two stretches. Which labels do their rows carry?

# %%
for stretch in stretches.itertuples():
    counts = np.bincount(labels[stretch.first : stretch.last + 1], minlength=len(class_names))
    print(f"rows {stretch.first} to {stretch.last}, copies under each label:", counts.tolist())

# %% [markdown]
# The longer stretch puts the same picture under every label: whatever a network answers, it is
# wrong for most copies. The shorter one teaches it that this picture is a monocyte.
#
# ## Check the report
#
# The report describes what it saw. Each sentence can be checked. Python counts rows from 0, so a
# range 'from 11,959 to 13,559' that follows Python's habit ends *before* 13,559.

# %%
longer, shorter = stretches.itertuples()
claims = {
    "the last 200 images are one picture": shorter.rows == 200 and shorter.last == len(labels) - 1,
    "they are all labelled 5": bool((labels[-200:] == 5).all()),
    "another picture begins at row 11,959": longer.first == 11_959,
    "row 13,559 still shows it": longer.first <= 13_559 <= longer.last,
    "its copies carry different labels": len(set(labels[longer.first : longer.last + 1])) > 1,
}
print(pd.Series(claims).to_string())

# %% [markdown]
# So the report's range is right if its end is not counted. Were the backgrounds altered? A rebuilt
# set cannot say, but a hash can, for any file: equal hashes mean that not one byte differs.
#
# ## Measure: altered backgrounds
#
# Now take the set as the report describes it, with another background behind each copy. Does the
# same measurement still find the copies?

# %%
print("stretches:", len(cleaning.stretches(cleaning.image_hashes(backgrounds), shortest=20)))

# %% [markdown]
# It finds none: one changed byte gives another hash. Measure something softer. Shrink each image to
# 12 × 12 pixels (*thumbnails*), and ask how much each row differs from the row before it, on
# average over pixels, in *grey levels* from 0 to 255. Do this for the whole image, and for its
# centre, where the background does not reach.

# %% tags=["nbval-ignore-output"]
thumbnails = {name: cleaning.thumbnails(set_.images, 12) for name, set_ in given.items()}
changes = {
    name: {
        "whole image": cleaning.changes(small),
        "centre only": cleaning.changes(small[:, 4:8, 4:8]),
    }
    for name, small in thumbnails.items()
}

# %% tags=["nbval-ignore-output"]
still = {name: parts["centre only"] < 1 for name, parts in changes.items()}
in_both = still["identical"] & still["backgrounds"]
heading = f"The centre stays as it was in {in_both.sum():,} rows, in both variants"
figure, axes = plt.subplots(2, 1, figsize=(7.2, 4.4), sharex=True)
for axis, (name, parts) in zip(axes, changes.items(), strict=True):
    for part, values in parts.items():
        axis.plot(np.arange(11_700, len(values)), values[11_700:], ".", ms=2, label=part)
    axis.set(title=name, ylabel="grey levels")
axes[1].set_xlabel("row of the set")
figure.legend(*axis.get_legend_handles_labels(), loc="outside lower left", markerscale=5)
figure.suptitle(heading)
style.save(figure, "01_changes", source)

# %% [markdown]
# In photographs nothing repeats: both parts of the image change from row to row. With identical
# copies both fall to nothing. With altered backgrounds the whole image keeps changing, but the
# centre does not. Number the pictures: a new number begins wherever the centre changes. Stretches
# of one number are the planted pictures.

# %%
picture_number = np.cumsum(~still["backgrounds"])
by_centre = cleaning.stretches(picture_number, shortest=20)
print("the same rows as before:", by_centre.equals(stretches))

# %% [markdown]
# This works because copies stand side by side. `02_clean` finds them in any order.
#
# ## How many of each class
#
# From here on we look at photographs only.

# %%
is_photograph = np.ones(len(labels), bool)
for stretch in stretches.itertuples():
    is_photograph[stretch.first : stretch.last + 1] = False
images, photo_labels = identical[is_photograph], labels[is_photograph]
print(images.shape)

# %%
class_counts = pd.Series(np.bincount(photo_labels), index=class_names)
print(class_counts.to_string())

# %% [markdown]
# The *imbalance ratio* divides the largest class by the smallest. The report says that some classes
# have 'nearly one-third' of others. The planted copies, 200 under each label, hide a part of it.

# %%
all_counts = np.bincount(labels)
print(f"with planted pictures:    {all_counts.max() / all_counts.min():.2f}")
print(f"without planted pictures: {class_counts.max() / class_counts.min():.2f}")

# %% tags=["nbval-ignore-output"]
ratio = class_counts.max() / class_counts.min()
heading = f"{class_counts.idxmax()} has {ratio:.1f} times the images of {class_counts.idxmin()}"
heading = heading.capitalize()
style.save(charts.bars(class_counts, heading, "photographs"), "01_class_counts", source)

# %% [markdown]
# ## Another occasion
#
# Were all photographs taken in the same way? The cells differ, so look at what should not: the
# *background*, the light behind the cells. Take the border of the image, keep its brightest tenth,
# and read the middle value of each colour.
#
# Red minus blue says how *warm* that colour is: the higher, the yellower; the lower, the bluer.

# %% tags=["nbval-ignore-output"]
background = cleaning.background_colour(images)
warmth = background[:, 0] - background[:, 2]
bluish = cleaning.bluish(background)
print(f"warmth from {warmth.min():.0f} to {warmth.max():.0f} grey levels, {bluish.sum()} bluish")

# %% [markdown]
# `bluish` looks for the widest gap between two groups of values, and answers 'none' if they are not
# clearly apart. The vertical axis counts on a *logarithmic* scale (each step is ten times the one
# below), or the small group would be invisible.

# %% tags=["nbval-ignore-output"]
figure, axis = plt.subplots(figsize=(6.8, 2.9))
groups = {"bluish": warmth[bluish], "all others": warmth[~bluish]}
axis.hist(list(groups.values()), 100, stacked=True, log=True, label=list(groups))
heading = f"{bluish.sum()} photographs ({bluish.mean():.1%}) lie apart: their background is bluish"
axis.set(title=heading, xlabel="red minus blue of the background, grey levels", ylabel="images")
axis.legend()
style.save(figure, "01_background", source)

# %% tags=["nbval-ignore-output"]
chosen = [rng.permutation(np.flatnonzero(group))[:6] for group in (~bluish, bluish)]
rows = np.concatenate(chosen)
titles = [class_names[label].replace(" ", "\n") for label in photo_labels[rows]]
heading = "Two acquisitions: warm backgrounds above, bluish below"
sheet = style.contact_sheet(images[rows], titles, len(chosen[0]), heading)
style.save(sheet, "01_second_acquisition", source)

# %% [markdown]
# An *acquisition* is one occasion of taking photographs: a microscope, its lamp, a staining. Which
# classes does the second one hold?

# %% tags=["nbval-ignore-output"]
table = pd.DataFrame({"bluish": np.bincount(photo_labels[bluish], minlength=len(class_names))})
table["share of the class"] = table["bluish"] / class_counts.to_numpy()
records.save_table(table.set_index(pd.Index(class_names, name="class")), "01_bluish", source)
table.set_index(class_counts.index).style.format({"share of the class": "{:.1%}"})

# %%
print("platelets among them:", int((photo_labels[bluish] == class_names.index("platelet")).sum()))

# %% [markdown]
# A network could use such a colour as a shortcut: a bluish image is never a platelet. And a network
# that has only seen warm images may fail on bluish ones. So the course keeps the second acquisition
# out of every training, and uses it as a test that nature made.
#
# **Order matters.** Had we searched for bluish backgrounds before removing the planted pictures,
# the altered backgrounds would have filled the gap.

# %%
with_planted = cleaning.second_acquisition(backgrounds)[is_photograph]
print("found with planted pictures in the set:", bool(with_planted.any()))
print("found without them:", bool(bluish.any()))

# %% [markdown]
# ## Brightness and colour
#
# Can a class be told by its brightness? The *mean colour* of an image is the mean of its red, green
# and blue; its *brightness* is the mean of those three. A box holds the middle half of a class, the
# line in it is the *median*.

# %% tags=["nbval-ignore-output"]
colours = cleaning.mean_colours(images)
brightness = colours.mean(axis=1)
names = np.array(class_names)[photo_labels]
typical = pd.Series(brightness).groupby(names).median()

# %% tags=["nbval-ignore-output"]
figure, axis = plt.subplots(figsize=(6.8, 3.2))
sns.boxplot(x=brightness, y=names, order=class_names, fliersize=1, color="#9db2d6", ax=axis)
heading = f"Darkest: {typical.idxmin()}. Brightest: {typical.idxmax()}"
axis.set(title=heading, xlabel="mean brightness of an image, 0 to 255", ylabel="")
style.save(figure, "01_brightness", source)

# %% [markdown]
# The mean over all images of a class, pixel by pixel, shows what its cells have in common: size,
# place and colour.

# %% tags=["nbval-ignore-output"]
class_range = range(len(class_names))
mean_images = [images[photo_labels == label].mean(axis=0).astype(np.uint8) for label in class_range]
spread = np.ptp([image.mean() for image in mean_images])
heading = f"The mean image of each class: their brightness differs by {spread:.0f} grey levels"
sheet = style.contact_sheet(np.stack(mean_images), [*class_names], 8, heading)
style.save(sheet, "01_mean_images", source)

# %% [markdown]
# ## How far does colour get?
#
# Try the simplest rule there is, the *nearest class mean*. Half of the photographs teach the mean
# colour of each class; every image of the other half gets the class whose mean is nearest. The
# second acquisition stays out of both halves.

# %% tags=["nbval-ignore-output"]
shuffled = rng.permutation(np.flatnonzero(~bluish))
taught, judged = np.array_split(shuffled, 2)
judged_labels = photo_labels[judged]
class_means = np.stack([colours[taught][photo_labels[taught] == c].mean(0) for c in class_range])

# %% [markdown]
# The course's metrics take *scores*, the larger the better, as a network's last layer gives them.
# Here the score of a class is minus the distance to its mean. The yardstick is the rule that always
# answers with the largest class. Every accuracy comes with a *95 % interval*: how far it may be off
# because only so many images were judged.


# %% tags=["nbval-ignore-output"]
def scores(means, rows):
    return -np.linalg.norm(colours[rows, None] - means, axis=2)


by_colour = scores(class_means, judged)
by_brightness = -np.abs(brightness[judged, None] - class_means.mean(axis=1))
always_largest = np.eye(len(class_names))[np.full(len(judged), class_counts.argmax())]

# %% tags=["nbval-ignore-output"]
rules = {"mean colour": by_colour, "brightness": by_brightness, "largest class": always_largest}
accuracies = {rule: metrics.accuracy(judged_labels, s) for rule, s in rules.items()}
for rule, estimate in accuracies.items():
    records.record(f"01_inspect/{rule}/accuracy", estimate, source=source, seed=1)
    print(f"{rule:14s} {estimate}")

# %% [markdown]
# Intervals tell how sure each number is. Whether two rules differ on the *same* images is asked
# more sharply by McNemar's test: among the images that only one of two rules gets right, does one
# rule win more often than chance allows?

# %% tags=["nbval-ignore-output"]
for rule in ("brightness", "largest class"):
    test = metrics.compare(judged_labels, by_colour, rules[rule])
    print(f"mean colour (first) against {rule} (second): {test}")

# %% [markdown]
# Some classes may be easy even so. *Recall* is the share of a class that the rule finds.

# %% tags=["nbval-ignore-output"]
recalls = metrics.per_class(judged_labels, by_colour, class_names)["recall"]
heading = f"By mean colour alone, {recalls.idxmax()} is found best, {recalls.idxmin()} worst"
figure = charts.bars((100 * recalls).round(), heading, "recall by mean colour, %")
style.save(figure, "01_recall_by_colour", source)

# %% [markdown]
# And the second acquisition? The rule has never seen it. Two things differ there: the colours, and how
# many images each class has. So compute as well what the rule would reach with the recalls from above
# if the class counts alone were different.

# %% tags=["nbval-ignore-output"]
shifted = metrics.accuracy(photo_labels[bluish], scores(class_means, np.flatnonzero(bluish)))
records.record("01_inspect/mean colour/second_acquisition", shifted, source=source, seed=1)
usual = accuracies["mean colour"]
print("warm backgrounds:  ", usual)
print("bluish backgrounds:", shifted)
print("the intervals are apart:", bool(shifted.high < usual.low or usual.high < shifted.low))

# %% tags=["nbval-ignore-output"]
mix = np.bincount(photo_labels[bluish], minlength=len(class_names)) / bluish.sum()
expected = float((mix * recalls.to_numpy()).sum())
print(f"from the class counts alone: {expected:.1%}")
print("inside the bluish interval: ", bool(shifted.low <= expected <= shifted.high))

# %% [markdown]
# On photographs the class counts alone explain most of the drop: there are no platelets, the class that
# colour finds best, and many immature granulocytes, which it hardly finds. A *distribution shift* has
# two faces, other pictures and other proportions. Before comparing two sets, ask whether they hold the
# same classes.
#
# ## Recap
#
# **In this notebook you have**
#
# - checked shapes, types and labels,
# - looked at contact sheets, and found two pictures that are no cells,
# - measured where they are, in both variants, and checked the report's row ranges,
# - counted the classes and their imbalance,
# - discovered a second acquisition by the colour of its background,
# - and measured how far brightness and colour alone get you: the rest is *shape*.
#
# Next, `02_clean` removes what does not belong, whatever order the rows are in.
#
# ## Exercises
#
# **1.** The mean image of a class can betray planted copies as well. Compute the mean images with
# the planted pictures left in. In which classes do you see a ghost, and why there most?
#
# #### Solution

# %% tags=["nbval-ignore-output"]
ghosts = [identical[labels == label].mean(axis=0).astype(np.uint8) for label in class_range]
planted_share = 1 - class_counts / all_counts
titles = [f"{name}\n{share:.0%} planted" for name, share in planted_share.items()]
heading = f"{planted_share.max():.0%} of {planted_share.idxmax()} is planted, the largest share"
sheet = style.contact_sheet(np.stack(ghosts), titles, 8, heading)
style.save(sheet, "01_exercise_ghosts", source)

# %% [markdown]
# **2.** How much does the number of bluish photographs depend on the border between 'warm' and
# 'bluish'? Move it from 0 to 55 grey levels.
#
# #### Solution

# %% tags=["nbval-ignore-output"]
for border in range(0, 60, 5):
    print(f"border {border:2d}: {(warmth <= border).sum():6,d} bluish")

# %% [markdown]
# On photographs the count hardly moves over a wide range of borders: the gap between the two groups is
# real, and the exact border does not matter.
#
# **3.** Does the rule gain if it sees *where* the colours are? Use thumbnails of 4 × 4 pixels,
# flattened to 48 numbers, instead of one mean colour.
#
# #### Solution

# %% tags=["nbval-ignore-output"]
places = cleaning.thumbnails(images, 4).reshape(len(images), -1)
means = np.stack([places[taught][photo_labels[taught] == c].mean(axis=0) for c in class_range])
by_place = -np.linalg.norm(places[judged, None] - means, axis=2)
print("4 × 4 colours:", metrics.accuracy(judged_labels, by_place))
print("against mean colour (second):", metrics.compare(judged_labels, by_place, by_colour))
