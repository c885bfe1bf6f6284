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
# - meet the eight kinds of cell, and try to name ten of them yourself,
# - load the homework's images and check their shapes, types and labels,
# - look at *contact sheets* and find pictures that are not cells,
# - find the same pictures by measuring, and compare what you measure with what a student team
#   reported,
# - count the classes, and see how uneven they are,
# - use background colour to find photographs from a second acquisition, and look for independent
#   evidence,
# - and measure how far brightness and colour alone get you.
#
# **You need** nothing: no network is trained here.
# **Time** on two cores: less than a minute of computing, 30 minutes of reading, 30 minutes for the
# exercises before the last one, which is open. The first run also decodes (or draws) the images,
# which takes up to three minutes.

# %% tags=["nbval-ignore-output"]
COURSE = "https://github.com/blood-cells-course/blood-cells-course"

import sys

if "google.colab" in sys.modules:
    get_ipython().system(f"git clone --quiet --depth 1 --branch v0.1.0 {COURSE} course")  # noqa: F821
    get_ipython().run_line_magic("pip", "install --quiet --editable course")  # noqa: F821
    sys.path.append("course")

# %% tags=["nbval-ignore-output"]
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from sklearn.dummy import DummyClassifier
from sklearn.neighbors import NearestCentroid

# %% tags=["nbval-ignore-output"]
from exercises import check, hint  # noqa: F401
from helpers.data import cleaning
from helpers.data.homework import VARIANTS, homework_set
from helpers.data.sources import load_photographs
from helpers.evaluation import metrics
from helpers.figures import charts, plate, style

style.use_course_style()
photographs = load_photographs()
source, class_names = photographs.source, photographs.class_names

# %% [markdown]
# ## Whose homework?
#
# Four things turn up in every notebook of this course.
#
# 1. The **homework report**: in 2024 a team of students sorted 13,759 images of blood cells into
#    eight classes for a university course ([the homework](../docs/glossary.md#homework)), and
#    reported on four pages what they had tried; this course rebuilds their steps and checks what
#    they say ([homework report](../docs/glossary.md#homework-report)).
# 2. The **competition**: 192 teams sent their networks to a platform, which scored them on images
#    that no team was shown; 98.6 % on the team's own validation images became 77 % there
#    ([competition](../docs/glossary.md#competition)).
# 3. A **shifted set**: since those images are not public, the course makes its own hard test by
#    altering photographs at random, with a fixed seed ([shifted
#    set](../docs/glossary.md#shifted-sets)).
# 4. The **second acquisition**: a few hundred of the photographs seem to have been taken on another
#    occasion; you will find them below, and no network of this course is trained on them ([second
#    acquisition](../docs/glossary.md#second-acquisition)).
#
# ## Meet the eight
#
# The photographs show blood cells of people without infection or disease of the blood, from a
# hospital in Barcelona (Acevedo et al. 2020, see the end). The blood was spread on glass and
# stained by the *May-Grünwald-Giemsa* method: it colours nuclei violet, some granules orange and
# others dark. A *CellaVision DM96* analyser found the cells, photographed them, and centred each in
# its picture. Clinical pathologists gave the labels.
#
# Which photograph stands for a class? Take a *typical* one: near to the median of its class, looked
# at coarsely (every eighth pixel). Copies are left out: a *hash*, which is explained below, finds
# them. For the course's photographs we chose, among the eighteen most typical of each class, one
# whose parts are easy to see, and marked them with arrows. For other images the most typical one is
# shown, without arrows.

# %% tags=["nbval-ignore-output"]
is_alone = ~pd.Series(cleaning.image_hashes(photographs.images)).duplicated(keep=False).to_numpy()
coarse = photographs.images[:, ::8, ::8].astype(np.int16)


def most_typical(rows):
    """Return the row that is nearest to the median of them all."""
    distance = np.abs(coarse[rows] - np.median(coarse[rows], axis=0)).mean(axis=(1, 2, 3))
    return rows[distance.argmin()]


# %% [markdown]
# Three words for each class say what to look for first.

# %% tags=["nbval-ignore-output"]
look_for = {
    "basophil": "coarse dark granules",
    "eosinophil": "orange granules, bilobed",
    "erythroblast": "round, dense nucleus",
    "immature granulocytes": "large, granular, unlobed",
    "lymphocyte": "thin blue rim",
    "monocyte": "folded nucleus, vacuoles",
    "neutrophil": "band or lobes",
    "platelet": "tiny, no nucleus",
}
by_class = [np.flatnonzero(is_alone & (photographs.labels == c)) for c in range(len(class_names))]

# %% tags=["nbval-ignore-output"]
chosen = plate.find(photographs) or [(most_typical(members), []) for members in by_class]
rows = [row for row, _ in chosen]
titles = [f"{name}:\n{look_for.get(name, 'a class of yours')}" for name in class_names]
heading = f"One typical image of each of the {len(class_names)} classes"
sheet = style.contact_sheet(photographs.images[rows], titles, 4, heading)
for number, (_, pointers) in enumerate(chosen):
    style.point_at(sheet, number, pointers)
style.save(sheet, "01_meet_the_eight", source)

# %% [markdown]
# A longer look (if you brought your own images, this table is not about them):
#
# | class | nucleus | around it |
# |---|---|---|
# | basophil | lobed, often hidden | coarse granules, violet to black, also over the nucleus |
# | eosinophil | two lobes, as a rule | packed with round, orange granules |
# | erythroblast | round, very dense, central | a narrow ring without granules; a young *red* cell |
# | immature granulocyte | round to kidney-shaped, not yet lobed | a large cell; fine or violet granules |
# | lymphocyte | round, fills most of the cell | a thin, clear blue rim |
# | monocyte | folded, horseshoe or kidney | grey-blue, dusty, often with vacuoles (holes) |
# | neutrophil | a curved band, or 2 to 5 lobes on threads | pale, with fine pinkish granules |
# | platelet | none: a fragment, not a cell | a few violet granules; red cells round it |
#
# ### One cell on its way
#
# *Immature granulocytes* and *neutrophils* are not two kinds of cell but one kind, growing up. In
# the bone marrow a *promyelocyte* becomes a *myelocyte*, a *metamyelocyte*, a *band* and at last a
# *segmented* neutrophil, while its nucleus is bent and then tied into lobes. The published files
# carry these five stages in their names: PMY, MY, MMY, BNE and SNE. (By their names, the immature
# granulocyte and the neutrophil among the course's photographs above are a myelocyte and a
# segmented neutrophil: two stages lie between them.)

# %% tags=["nbval-ignore-output"]
stages = {
    "PMY": "promyelocyte",
    "MY": "myelocyte",
    "MMY": "metamyelocyte",
    "BNE": "band",
    "SNE": "segmented",
}
names = photographs.file_names if photographs.file_names is not None else ["no name"] * len(coarse)
prefix = pd.Series(names).str.split("/").str[-1].str.split("_").str[0]
has_stages = set(stages) <= set(prefix)

# %% tags=["nbval-ignore-output"]
if has_stages:
    of_stage = {stage: np.flatnonzero(is_alone & (prefix == stage)) for stage in stages}
    classes = [photographs.labels[members[0]] for members in of_stage.values()]
    titles = [
        f"{name}:\n{class_names[c]}" for name, c in zip(stages.values(), classes, strict=True)
    ]
    rows = [most_typical(members) for members in of_stage.values()]
    heading = "The label changes once, the cells change all along"
    sheet = style.contact_sheet(photographs.images[rows], titles, 5, heading)
    style.save(sheet, "01_maturation", source)
else:
    print("These images have no file names that tell the stage: the row is left out.")

# %% [markdown]
# **The border between the two classes is a convention, drawn through a continuum.** Expect
# pathologists to disagree there, and a network to err there. No amount of training repairs a label
# that two experts would give differently.
#
# ### Could you do it?
#
# **Exercise 01.1** (5 minutes). Before any network tries: name these ten cells. In the second cell,
# replace the three dots by a list of ten class names in the order of the numbers, each spelled as
# in the first picture: `["monocyte", "platelet", …]`.

# %% tags=["nbval-ignore-output"]
quiz_rows = np.random.default_rng(10).choice(np.flatnonzero(is_alone), 10, replace=False)
quiz_labels = photographs.labels[quiz_rows]
numbers = [f"number {number}" for number in range(1, 11)]
sheet = style.contact_sheet(photographs.images[quiz_rows], numbers, 5, "Which cells are these?")
style.save(sheet, "01_self_test", source)

# %% tags=["nbval-ignore-output"]
my_names = ...
check("01.1", my_names, labels=quiz_labels, class_names=class_names)

# %% [markdown]
# Keep your score in mind when later notebooks argue about one percentage point.
#
# ## The homework's images
#
# The homework handed out one array of images and one of labels. Its file may not be passed on, so
# the course rebuilds it: 11,959 photographs, to which somebody added pictures that do not belong
# there. The two pictures added here are our own. If no photographs are available, the course uses
# [synthetic cells](../docs/glossary.md#synthetic-cells), and every figure says so.
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
print(f"{identical.nbytes / 1e6:.0f} MB as bytes, {4 * identical.nbytes / 1e6:.0f} MB as float32")

# %% tags=["nbval-ignore-output"]
print("darkest and brightest value:", identical.min(), identical.max())
print("the middle pixel of the first image (red, green, blue):", identical[0, 48, 48])

# %% [markdown]
# Labels are numbers; `class_names` says what they mean. Does every number occur, and no other?

# %%
print(dict(enumerate(class_names)))
print("labels that occur:", np.unique(labels).tolist())

# %% [markdown]
# ## Look
#
# No measurement replaces looking. A *contact sheet* shows many small images at once. First rows are
# often all alike, so draw eight rows at random. Do you recognise the words from above? And does
# every picture show what its label says?

# %% tags=["nbval-ignore-output"]
rng = np.random.default_rng(1)
rows = rng.choice(len(labels), 8, replace=False)
titles = [class_names[label] for label in labels[rows]]
sheet = style.contact_sheet(identical[rows], titles, 4, "Eight rows drawn at random")
style.save(sheet, "01_random_rows", source)

# %% [markdown]
# Something may grin at you (if not, draw again with another seed). The report's authors found it in
# the same way, by printing random batches. They name two places: the last 200 rows, and the rows
# from 11,959 to 13,559. Here is the end of the set, in both variants.

# %% tags=["nbval-ignore-output"]
last_rows = np.arange(len(labels) - 2, len(labels))
both = np.concatenate([identical[last_rows], backgrounds[last_rows]])
titles = [f"row {row:,}: label {labels[row]}" for row in last_rows] * 2
heading = "The last rows: identical copies above, altered backgrounds below"
sheet = style.contact_sheet(both, titles, len(last_rows), heading)
style.save(sheet, "01_last_rows", source)

# %% [markdown]
# ## Measure: identical copies
#
# Looking found two pictures. How many copies are there, and where exactly? A *hash* turns all bytes
# of an image into one number, and equal images get equal numbers; `02_clean` shows how. A
# *run* is a stretch of neighbouring rows with one hash: a new run begins wherever the hash differs
# from that of the row before.


# %%
def runs_of_equal(values):
    """Return first and last row and length of each run of more than one row."""
    table = pd.DataFrame({"value": values, "row": np.arange(len(values))})
    run = (table["value"] != table["value"].shift()).cumsum()
    found = table.groupby(run)["row"].agg(first="min", last="max", rows="count")
    return found[found["rows"] > 1].reset_index(drop=True)


runs = runs_of_equal(cleaning.image_hashes(identical))
print(runs.to_string())

# %% [markdown]
# Now look where the first long run begins.

# %% tags=["nbval-ignore-output"]
first_planted = runs.nlargest(2, "rows")["first"].min()
joint_rows = np.arange(first_planted - 2, first_planted + 2)
titles = [f"row {row:,}: label {labels[row]}" for row in joint_rows]
heading = f"The images of cells end before row {first_planted:,}"
sheet = style.contact_sheet(identical[joint_rows], titles, len(joint_rows), heading)
style.save(sheet, "01_joint", source)

# %% [markdown]
# Which labels do the rows of each run carry?

# %%
for run in runs.itertuples():
    counts = np.bincount(labels[run.first : run.last + 1], minlength=len(class_names))
    print(f"rows {run.first} to {run.last}, copies under each label:", counts.tolist())

# %% [markdown]
# **The longer run puts one picture under every label**: whatever a network answers, it is wrong for
# most copies. The shorter one teaches it that this picture belongs to one class.
#
# ## What the report says, and what this set can prove
#
# The report describes what its authors saw. Python counts rows from 0, and ends a range *before*
# its last number.

# %% tags=["nbval-ignore-output"]
by_length = runs.sort_values("rows")
shorter, longer = by_length.iloc[-2], by_length.iloc[-1]
says = {
    "copies of the last picture": (200, shorter["rows"]),
    "their label": (5, labels[shorter["last"]]),
    "first row of the other picture": (11_959, longer["first"]),
    "row where it has ended": (13_559, longer["last"] + 1),
    "labels on it": ("several", len(set(labels[longer["first"] : longer["last"] + 1]))),
}
pd.DataFrame(says, index=["the report says", "measured here"]).T

# %% tags=["nbval-ignore-output"]
is_the_homeworks_own = source.name == "homework"
print("The homework's own file." if is_the_homeworks_own else "A rebuilt set: no evidence.")

# %% [markdown]
# Be careful with agreement. Unless you have the homework's own `training_set.npz`, this set was
# *rebuilt from the report's description* and from what other teams published. **It agrees because
# it was made to agree**, and it cannot confirm a single sentence of the report. Only the real file
# can: put it into `data/` and run this notebook again. Then the table is evidence, and so is the
# number of runs. If the hash finds them, the copies are identical to the last byte, and the
# report's 'altered backgrounds' are wrong; if it finds none, the report may well be right.
#
# ## Measure: altered backgrounds
#
# Suppose the report is right. Does the same measurement still find the copies?

# %%
print("runs by hash:", len(runs_of_equal(cleaning.image_hashes(backgrounds))))

# %% [markdown]
# It finds none: **one changed byte gives another hash.** Use a more tolerant measure. Keep every
# eighth pixel, and ask how much each row differs from the row before it, on average, in *grey
# levels* from 0 to 255. Do this for the whole image, and for its centre, where the background does
# not reach.


# %%
def change_from_row_before(small):
    """Return the mean absolute difference to the row before, one number per row."""
    differences = np.abs(np.diff(small.astype(np.int16), axis=0)).mean(axis=(1, 2, 3))
    return np.append(np.inf, differences)


# %% tags=["nbval-ignore-output"]
small = backgrounds[:, ::8, ::8]
whole = change_from_row_before(small)
centre = change_from_row_before(small[:, 4:8, 4:8])

# %% tags=["nbval-ignore-output"]
figure, axis = plt.subplots(figsize=(7.6, 3.0))
shown = np.arange(first_planted - min(300, first_planted - 1), len(labels))
axis.plot(shown, whole[shown], ".", markersize=3, label="whole image")
axis.plot(shown, centre[shown], ".", markersize=3, alpha=0.6, label="centre only")
axis.set(xlabel="row of the set", ylabel="grey levels")
figure.legend(loc="outside lower left", ncols=2, markerscale=4)
figure.suptitle(f"From row {first_planted:,} on the centre stands still while backgrounds change")
style.save(figure, "01_changes", source)

# %% [markdown]
# From one photograph to the next both parts of the image change. From one altered copy to the next
# the whole image still does, but the centre does not. So number the pictures: a new number begins
# wherever the centre changes by a grey level or more.

# %%
picture_number = np.cumsum(centre >= 1)
by_centre = runs_of_equal(picture_number)
print(by_centre.to_string())

# %% [markdown]
# The same rows as in the other variant. This works because copies stand side by side; `02_clean`
# finds them in any order.
#
# ## How many of each class
#
# From here on we look at photographs only.

# %%
is_photograph = np.ones(len(labels), bool)
for run in runs.itertuples():
    is_photograph[run.first : run.last + 1] = False
images, photo_labels = identical[is_photograph], labels[is_photograph]
print(images.shape)

# %%
class_counts = pd.Series(np.bincount(photo_labels, minlength=len(class_names)), class_names)
print(class_counts.to_string())

# %% [markdown]
# The *imbalance ratio* divides the largest class by the smallest. The report says that some classes
# have 'nearly one-third' of others. **The planted copies, at least 200 under each label, hide a
# part of the imbalance:**

# %%
all_counts = np.bincount(labels)
print(f"with planted pictures:    {all_counts.max() / all_counts.min():.2f}")
print(f"without planted pictures: {class_counts.max() / class_counts.min():.2f}")

# %% tags=["nbval-ignore-output"]
largest, smallest = class_counts.idxmax(), class_counts.idxmin()
ratio = class_counts.max() / class_counts.min()
heading = f"There are {ratio:.1f} times as many images of '{largest}' as of '{smallest}'"
style.save(charts.bars(class_counts, heading, "images"), "01_class_counts", source)

# %% [markdown]
# Does it matter? `07_imbalance` measures it. For now, remember that a network sees cells of the
# largest class that many times as often as cells of the smallest, and that accuracy counts
# *images*, not classes.
#
# ## Another occasion
#
# Were all photographs taken in the same way? The cells differ, so look at what should not: the
# *background*, the light behind the cells. Take the border of the image, keep its brightest tenth,
# and read the middle value of each colour. Red minus blue says how *warm* that colour is: the
# higher, the yellower; the lower, the bluer.

# %% tags=["nbval-ignore-output"]
background = cleaning.background_colour(images)
warmth = background[:, 0] - background[:, 2]
bluish = cleaning.bluish(background)
print(f"warmth from {warmth.min():.0f} to {warmth.max():.0f} grey levels, {bluish.sum()} bluish")

# %% [markdown]
# `bluish` looks for the widest gap between two groups of values, and answers 'none' if they are not
# clearly apart (images of your own may well have none; then the rest of this section is empty). The
# vertical axis counts on a *logarithmic* scale, each step ten times the one below, or the small
# group would be invisible.

# %% tags=["nbval-ignore-output"]
figure, axis = plt.subplots(figsize=(7.6, 3.0))
groups = {"bluish": warmth[bluish], "all others": warmth[~bluish]}
axis.hist(list(groups.values()), 100, stacked=True, log=True, label=list(groups))
axis.set(xlabel="red minus blue of the background, grey levels", ylabel="images")
figure.legend(loc="outside lower left", ncols=2)
figure.suptitle(f"{bluish.sum()} images ({bluish.mean():.1%}) have a background that is bluish")
style.save(figure, "01_background", source)

# %% tags=["nbval-ignore-output"]
shown = [rng.permutation(np.flatnonzero(group))[:3] for group in (~bluish, bluish)]
rows = np.concatenate(shown)
titles = [class_names[label] for label in photo_labels[rows]]
heading = "Usual backgrounds above, bluish ones below"
style.save(style.contact_sheet(images[rows], titles, 3, heading), "01_two_backgrounds", source)

# %% [markdown]
# An *acquisition* is one occasion of taking photographs: a microscope, its lamp, a staining. Colour
# alone does not prove a second one. Look for *independent evidence*, something that the colour
# cannot have caused. The published files give two kinds. One is their size: the bluish ones are
# published in another size than the usual 360 × 363 pixels, according to the notes of our mirror
# (its copies are cut to one size, so we cannot measure it here). The other is their names. Compare
# the first part of each file name with the colour.

# %% tags=["nbval-ignore-output"]
if has_stages:
    photograph_index = given["identical"].photograph_index[is_photograph]
    first_part = prefix[photograph_index].to_numpy()
    colour_of = np.where(bluish, "bluish", "usual")
    print(pd.crosstab(first_part, colour_of, rownames=["file name"], colnames=["background"]))
else:
    print("These images have no published file names: colour is the only evidence.")

# %% [markdown]
# Two prefixes, `IG` and `NEUTROPHIL`, occur among bluish images only, and never among the others:
# somebody named these files by another rule. The other classes kept their usual prefixes. So **a
# second acquisition is the likeliest explanation**, by two independent signs, and nobody has
# published what it was. Which classes does it hold?

# %% tags=["nbval-ignore-output"]
table = pd.DataFrame({"bluish": np.bincount(photo_labels[bluish], minlength=len(class_names))})
table["per cent of the class"] = (100 * table["bluish"] / class_counts.to_numpy()).round(1)
table.index = class_names
table

# %% [markdown]
# On the photographs the numbers are suspiciously even: 33 to 39 of each class in the homework's
# part (45 to 47 in everything that the mirror holds), three times as many immature granulocytes,
# and no platelet at all. No laboratory sees such proportions: somebody made a selection.
#
# A network could use the colour as a shortcut: a bluish image is never a platelet. And a network
# that has only seen warm images may fail on bluish ones. So the course keeps the second acquisition
# out of every training, and uses it as a natural test.
#
# The order matters. Had we searched for bluish backgrounds before removing the planted pictures,
# the altered backgrounds would have filled the gap between the two groups.

# %% tags=["nbval-ignore-output"]
before = cleaning.bluish(cleaning.background_colour(backgrounds))
print("bluish found with planted pictures in the set:", before[is_photograph].sum())
print("bluish found without them:                    ", bluish.sum())

# %% [markdown]
# ## Brightness and colour
#
# Can a class be told by its brightness? The *mean colour* of an image is the mean of its red, green
# and blue; its *brightness* is the mean of those three. In the figure a box holds the middle half
# of a class, and the line in it is the *median*. The whiskers reach to the last image within one
# and a half box lengths, and dots are images beyond.

# %% tags=["nbval-ignore-output"]
colours = cleaning.mean_colours(images)
brightness = colours.mean(axis=1)
names = np.array(class_names)[photo_labels]
median = pd.Series(brightness).groupby(names).median()

# %% tags=["nbval-ignore-output"]
figure, axis = plt.subplots(figsize=(7.6, 3.4))
sns.boxplot(x=brightness, y=names, order=class_names, fliersize=1, color="#9db2d6", ax=axis)
axis.set(xlabel="mean brightness of an image, 0 to 255", ylabel="")
figure.suptitle(f"By the median, {median.idxmin()} is darkest and {median.idxmax()} brightest")
style.save(figure, "01_brightness", source)

# %% [markdown]
# **On the photographs brightness tells a platelet from a monocyte, but not a lymphocyte from a
# neutrophil**: the boxes of most classes overlap.
#
# The mean over all images of a class, pixel by pixel, shows what its cells have in common: size,
# place and colour. Everything that differs from cell to cell is blurred away.

# %% tags=["nbval-ignore-output"]
class_range = range(len(class_names))
mean_images = np.stack([images[photo_labels == label].mean(axis=0) for label in class_range])
spread = np.ptp(mean_images.mean(axis=(1, 2, 3)))
heading = f"The mean images of the classes differ in brightness by up to {spread:.0f} grey levels"
sheet = style.contact_sheet(mean_images.astype(np.uint8), class_names, 8, heading)
style.save(sheet, "01_mean_images", source)

# %% [markdown]
# ## How far does colour get?
#
# Try the simplest rule there is, the *nearest class mean*, which scikit-learn calls
# `NearestCentroid`. Half of the photographs teach the mean colour of each class; every image of the
# other half gets the class whose mean is nearest. The second acquisition stays out of both halves.

# %% tags=["nbval-ignore-output"]
shuffled = rng.permutation(np.flatnonzero(~bluish))
taught, judged = np.array_split(shuffled, 2)
features = {
    "largest class": colours,
    "brightness": brightness[:, np.newaxis],
    "mean colour": colours,
}

# %% [markdown]
# The yardstick is `DummyClassifier`: it ignores the image and always answers with the largest
# class. Every accuracy comes with a *95 % interval*. It says how far the number may be off because
# only so many images were judged: repeat the whole experiment with other images of the same kind,
# and about 95 of 100 such intervals hold the true value. It knows nothing of other errors, such as
# images that are *not* of the same kind.

# %% tags=["nbval-ignore-output"]
answers, accuracies = {}, {}
for name, feature in features.items():
    rule = DummyClassifier() if name == "largest class" else NearestCentroid()
    rule.fit(feature[taught], photo_labels[taught])
    answers[name] = rule.predict(feature[judged])
    accuracies[name] = metrics.fraction(answers[name] == photo_labels[judged])
    print(f"{name:14s}", accuracies[name])

# %% [markdown]
# Three numbers per image, and no idea of shape, beat the largest class by far. Where do they
# succeed? *Recall* is the fraction of a class that the rule finds.

# %% tags=["nbval-ignore-output"]
by_colour = answers["mean colour"]
found = {n: by_colour[photo_labels[judged] == c] == c for c, n in enumerate(class_names)}
recall = pd.Series({name: hits.mean() if len(hits) else 0 for name, hits in found.items()})
heading = f"By colour alone, '{recall.idxmax()}' is found best and '{recall.idxmin()}' worst"
table = {name: {"recall": metrics.fraction(hits)} for name, hits in found.items() if len(hits)}
figure = charts.dots(table, heading, "recall by mean colour in %, with 95 % interval")
style.save(figure, "01_recall_by_colour", source)

# %% [markdown]
# And the second acquisition? The rule has never seen it. Two things differ there: the colours, and
# how many images each class has. To separate them, compute as well what the rule would reach if the
# *class counts* alone were different, and its recall in each class stayed as it was above.

# %% tags=["nbval-ignore-output"]
if bluish.any():
    rule = NearestCentroid().fit(colours[taught], photo_labels[taught])
    mix = np.bincount(photo_labels[bluish], minlength=len(class_names)) / bluish.sum()
    found = metrics.fraction(rule.predict(colours[bluish]) == photo_labels[bluish])
    print("usual backgrounds:                          ", accuracies["mean colour"])
    print("bluish backgrounds:                         ", found)
    print(f"if only the class counts were those of bluish: {mix @ recall:.1%}")

# %% [markdown]
# **On photographs the class counts alone explain most of the drop**: there are no platelets, which
# colour finds best, and many immature granulocytes, which it hardly finds. A *distribution shift*
# has several faces: other pictures (*covariate shift*), other proportions (*label shift*), or other
# meanings of the labels (*concept shift*, as between two pathologists at the border of band cells).
# Before comparing two sets, ask whether they hold the same classes in the same proportions.
#
# ## Recap
#
# **In this notebook you have**
#
# - met the eight classes, one of which shades into another, and tested yourself on ten cells,
# - checked shapes, types and labels,
# - looked at contact sheets, and found two pictures that are not cells,
# - measured where they are, in both variants, and seen why a rebuilt set cannot confirm the report,
# - counted the classes and their imbalance,
# - found a second acquisition by the colour of its background, and evidence for it in file names,
# - and measured how far brightness and colour alone get you: the rest is *shape*.
#
# Five questions to test yourself: [quiz 01](../docs/quiz/01.md). Next, `02_clean` removes what does
# not belong, whatever order the rows are in.
#
# ## Exercises
#
# Replace the three dots by your answer and run the cell. `hint("01.2")` gives a hint; solutions are
# in `solutions/`. Exercise 01.1 stands above, in *Could you do it?*
#
# **Exercise 01.2** (predict before you run, 3 minutes). A *ghost* of the planted pictures is in the
# mean image of a class if they are left in. Which class gets the strongest ghost? Without computing
# it: write the name of the class, and then compare with `class_counts`.

# %% tags=["nbval-ignore-output"]
answer = ...
check("01.2", answer, labels=labels, is_photograph=is_photograph, class_names=class_names)

# %% [markdown]
# **Exercise 01.3** (5 minutes). Now compute it: which fraction of each class's rows is planted?
# Give one number per class, in the order of `class_names`.

# %% tags=["nbval-ignore-output"]
answer = ...
check("01.3", answer, labels=labels, is_photograph=is_photograph)

# %% [markdown]
# **Exercise 01.4** (5 minutes). How much does the number of bluish photographs depend on where the
# border between 'warm' and 'bluish' lies? Count the photographs that change sides when the border
# moves from 10 to 20 grey levels (a photograph is bluish if its `warmth` is at most the border).

# %% tags=["nbval-ignore-output"]
answer = ...
check("01.4", answer, warmth=warmth)

# %% [markdown]
# **Exercise 01.5** (10 minutes). Does the rule gain if it sees *where* the colours are? Shrink each
# image to 4 × 4 pixels with `cleaning.thumbnails(images, 4)`, flatten it to 48 numbers, teach a
# `NearestCentroid` on the rows `taught`, and give its accuracy on the rows `judged`, as a fraction
# with three digits.

# %% tags=["nbval-ignore-output"]
answer = ...
check("01.5", answer, images=images, labels=photo_labels, taught=taught, judged=judged)

# %% [markdown]
# **Exercise 01.6** (open, 30 minutes). Build a rule of your own, without a network, that is at
# least ten percentage points more accurate than the mean colour on the rows `judged`. Any features
# and any model of scikit-learn will do, as long as it learns from the rows `taught` only. Hand over
# your answers: one class number per row of `judged`.

# %% tags=["nbval-ignore-output"]
answer = ...
check("01.6", answer, labels=photo_labels, judged=judged, by_colour=by_colour)

# %% [markdown]
# ## Further reading
#
# - A. Acevedo et al., *A dataset of microscopic peripheral blood cell images for development of
#   automatic recognition systems*, Data in Brief 30 (2020) 105474: stain, instrument and labels, in
#   the section on experimental design, materials and methods.
# - J. Yang et al., *MedMNIST v2*, Scientific Data 10 (2023) 41: how BloodMNIST was made from them.
# - J. Quiñonero-Candela et al. (eds.), *Dataset Shift in Machine Learning*, MIT Press 2009, chapter
#   1: the kinds of shift and their names.
# - E. B. Wilson, *Probable inference, the law of succession, and statistical inference*, JASA 22
#   (1927) 209–212: the interval that this course prints.
