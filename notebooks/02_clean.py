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
# # 2 · Clean before you split
#
# In this notebook you will
#
# - find exact copies by a *hash*, and see where the report's 11,943 images come from,
# - find copies whose background was altered, by a *perceptual hash* and by nearest neighbours,
# - score both searches against the known answer,
# - look at labels that contradict each other, and at cells that were photographed twice,
# - measure what copies do to a validation accuracy,
# - and write the cleaned set to `data/data_processed.npz`.
#
# **You need** nothing from `01_inspect`, and no network. **Time** on two cores: about a minute in
# either profile; the first run up to three minutes.

# %% tags=["nbval-ignore-output"]
COURSE = "git+https://github.com/blood-cells-course/blood-cells-course@v0.1.0"

import sys

if "google.colab" in sys.modules:
    get_ipython().run_line_magic("pip", f"install {COURSE}")  # noqa: F821

# %% tags=["nbval-ignore-output"]
import hashlib

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import scipy.fft
from sklearn.neighbors import KNeighborsClassifier

from helpers import course
from helpers.data import cleaning
from helpers.data.homework import CLASS_COUNTS, VARIANTS, homework_set
from helpers.data.sources import load_photographs
from helpers.data.splits import write_processed
from helpers.evaluation import metrics, records
from helpers.figures import charts, style

style.use_course_style()
photographs = load_photographs()
source, class_names = photographs.source, photographs.class_names
print("Profile:", course.profile().name)

# %% [markdown]
# ## The contaminated set
#
# As in `01_inspect`, we rebuild the homework's set in two variants. To photographs (or synthetic cells)
# somebody appended two pictures many times: as *identical* copies, or with another *background*
# behind each copy.

# %% tags=["nbval-ignore-output"]
given = {variant: homework_set(photographs, variant) for variant in VARIANTS}
images, labels = given["identical"].images, given["identical"].labels

# %%
print(images.shape, images.dtype, len(np.unique(labels)), "classes")

# %% [markdown]
# Because the set was rebuilt, we know which rows were appended. This *known answer* is used for one
# thing only: to score what the searches find. The homework's own file comes without it; there, the
# rows are those that several teams agreed upon.

# %%
known = given["identical"].planted
if known is None:
    known = np.arange(len(labels)) >= CLASS_COUNTS.sum()
print("photographs:", int((~known).sum()), " planted:", int(known.sum()))

# %% [markdown]
# ## A hash is a fingerprint
#
# Comparing every image with every other takes almost a hundred million comparisons. A *hash
# function* avoids them: it turns any bytes into one short number. Equal bytes always give equal
# numbers. Different bytes give unrelated numbers, however small the difference.

# %%
for text in (b"blood cell", b"blood cells", b"blood cell"):
    print(f"{text.decode():12s}", hashlib.sha1(text).hexdigest()[:16])

# %% [markdown]
# The same for an image: change one of its values by one.

# %%
toy = np.full((2, 96, 96, 3), 200, np.uint8)
toy[1, 40, 40, 0] += 1
first, second = cleaning.image_hashes(toy)
print("bytes that differ:", int((toy[0] != toy[1]).sum()), " equal hashes:", bool(first == second))

# %% [markdown]
# Now equal images can be found by sorting numbers. `duplicate_group_ids` numbers the groups of
# equal images, and compares the bytes wherever two hashes agree, in case two images share one by
# accident.

# %%
hashes = cleaning.image_hashes(images)
group_ids = cleaning.duplicate_group_ids(images, hashes)
sizes = pd.Series(np.bincount(np.unique(group_ids, return_inverse=True)[1]))
print(
    sizes.value_counts().sort_index().rename_axis("copies").rename("different images").to_string()
)

# %% [markdown]
# Most images are alone, some come in pairs, and two pictures come in large numbers.
#
# ## Keep one, or drop all?
#
# There are two ways to remove copies. *Keep the first* of each group, or *drop every copy*, so that
# only images remain that occur once.

# %%
keep_first = cleaning.keep_first(group_ids)
drop_all = cleaning.drop_every_copy(group_ids)
print("keep the first of each group:", int(keep_first.sum()))
print("drop every copy:             ", int(drop_all.sum()))

# %% [markdown]
# The second number is the report's: its authors dropped every copy. Keeping the first gives ten
# images more. Which ten?

# %%
extra = keep_first & ~drop_all
print("photographs that have a twin:", int((extra & ~known).sum()))
print("planted pictures:            ", int((extra & known).sum()))
print("photographs only, each once: ", int((keep_first & ~known).sum()))

# %% [markdown]
# Keeping the first would leave one copy of each planted picture in the set, and *one* image is no
# duplicate any more: no hash finds it afterwards. Dropping every copy costs eight photographs of
# twelve thousand, and removes the planted pictures altogether.

# %% tags=["nbval-ignore-output"]
counts = pd.Series(
    {
        "as handed out": len(labels),
        "first copy kept": keep_first.sum(),
        "photographs, each once": (keep_first & ~known).sum(),
        "every copy dropped": drop_all.sum(),
    }
)
heading = f"Dropping every copy leaves {drop_all.sum():,} images"
style.save(charts.bars(counts, heading, "images"), "02_counts", source)

# %% [markdown]
# ## Labels that contradict each other
#
# Here are the pairs of equal photographs, with their labels.

# %% tags=["nbval-ignore-output"]
pairs = [rows for rows in cleaning.duplicate_groups(group_ids) if not known[rows].any()]
above, below = np.array([rows[:2] for rows in pairs]).T
names = np.array([name.replace(" ", "\n") for name in class_names])
titles = [*names[labels[above]], *names[labels[below]]]
two_labels = (labels[above] != labels[below]).sum()
heading = f"{len(pairs)} photographs occur twice, {two_labels} of them under two labels"
sheet = style.contact_sheet(images[[*above, *below]], titles, len(above), heading)
style.save(sheet, "02_pairs", source)

# %% [markdown]
# One cell cannot be two things. Which label is right we cannot know from the data, so neither copy
# is used. How many rows have an equal image under another label?

# %%
conflicting = cleaning.conflicting_labels(group_ids, labels)
print(
    "planted:", int((conflicting & known).sum()), " photographs:", int((conflicting & ~known).sum())
)

# %% [markdown]
# ## Altered backgrounds defeat a hash
#
# The same code on the other variant: what is left if every exact copy is dropped?

# %%
altered = given["backgrounds"].images
altered_ids = cleaning.duplicate_group_ids(altered)
print("left:", int(cleaning.drop_every_copy(altered_ids).sum()))
print("planted pictures among them:", int((cleaning.drop_every_copy(altered_ids) & known).sum()))

# %% [markdown]
# Only the pairs of photographs were found. All planted pictures are still there.
#
# ## A hash for what an image looks like
#
# A *perceptual hash* gives similar images similar numbers. It keeps the centre of the image (the
# cell, not the background), makes it grey, and describes it by waves: a *cosine transform* says how
# much of each wave, from slow to fast, is in the picture. Of the 64 slowest waves it stores one bit
# each: is there more of this wave than of the median wave?

# %% tags=["nbval-ignore-output"]
shown = altered[[*np.flatnonzero(known)[:2], 0]]
bits = cleaning.perceptual_hashes(shown, crop=32)
distance = np.bitwise_count(bits[0] ^ bits)
heading = f"Of 64 bits, two copies differ in {distance[1]}, a copy and a cell in {distance[2]}"
rows = {}
for name, image in zip(("a copy", "another copy", "a cell"), shown, strict=True):
    grey = cleaning.thumbnails(image[None, 32:64, 32:64], 32)[0] @ cleaning.LUMA
    waves = scipy.fft.dctn(grey, norm="ortho")[:8, :8]
    # Brightness, the first wave, is far larger than all others.
    limit = np.abs(waves.ravel()[1:]).max() / 2
    rows[name] = [image, grey, waves.clip(-limit, limit), waves > np.median(waves.ravel()[1:])]
steps = ["the image", "its centre in grey", "64 waves", "64 bits"]
figure = style.image_rows(rows, heading, [steps, [""] * 4, [""] * 4])
style.save(figure, "02_hash_steps", source)

# %% [markdown]
# The number of bits in which two hashes differ is their *Hamming distance*. The computer counts it
# with two instructions: *exclusive or* leaves a 1 wherever two bits differ, then the ones are
# counted.

# %%
print(f"{0b1100 ^ 0b1010:04b} has {np.bitwise_count(0b1100 ^ 0b1010)} ones")

# %% [markdown]
# Does it matter that we hash the centre and not the whole image? Draw many pairs of copies and many
# pairs of photographs, and compare the distances. A good hash keeps the two kinds apart.

# %% tags=["nbval-ignore-output"]
rng = np.random.default_rng(2)
copies = np.flatnonzero(known)[:1600]
kinds = {
    "two copies": rng.choice(copies, (2, 400)),
    "two photographs": rng.choice(np.flatnonzero(~known), (2, 4000), replace=False),
}
distances = {
    f"hash of the {part}": {
        kind: np.bitwise_count(
            np.bitwise_xor(*(cleaning.perceptual_hashes(altered[side], crop) for side in rows))
        )
        for kind, rows in kinds.items()
    }
    for part, crop in {"whole image": 96, "centre": 32}.items()
}

# %% tags=["nbval-ignore-output"]
of_centre = distances["hash of the centre"]
furthest, nearest = of_centre["two copies"].max(), of_centre["two photographs"].min()
heading = (
    f"By their centres, copies differ in at most {furthest} bits, photographs in at least {nearest}"
)
figure, axes = plt.subplots(1, 2, figsize=(7.6, 2.9), sharey=True)
for axis, (name, pairs) in zip(axes, distances.items(), strict=True):
    for kind, bits in pairs.items():
        # Two bits wide: nearly all distances are even, because half of the bits are set.
        weights = np.full(len(bits), 100 / len(bits))
        axis.hist(bits, np.arange(-1, 60, 2), weights=weights, alpha=0.6, label=kind)
    axis.set(title=name, xlabel="bits that differ, of 64")
axes[0].set_ylabel("% of the pairs")
figure.legend(*axis.get_legend_handles_labels(), loc="outside lower left", ncols=2)
figure.suptitle(heading)
style.save(figure, "02_hash_distances", source)

# %% [markdown]
# ## Hash first, then look at pixels
#
# Nothing guarantees that two different cells never come close: among twelve thousand hashes there
# are seventy million pairs. How many pairs of *photographs* lie within four bits, although no byte
# of evidence says they are copies?

# %% tags=["nbval-ignore-output"]
clean_rows = np.flatnonzero(drop_all & ~known)
centre_hashes = cleaning.perceptual_hashes(altered, crop=32)
close = clean_rows[cleaning.near_duplicates(centre_hashes[clean_rows], max_distance=4)]
print(f"{len(close)} of {len(clean_rows) * (len(clean_rows) - 1) // 2:,} pairs")

# %% [markdown]
# So a hash may only *propose*. What it proposes is then compared pixel by pixel: the *difference*
# of two centres is the root of the mean squared difference of their colours, in grey levels. For
# every image, how different is the most similar other one, its *nearest neighbour*?

# %% tags=["nbval-ignore-output"]
difference, neighbour = (found[:, 0] for found in cleaning.nearest_neighbours(altered))
unique = difference[drop_all & ~known]
kinds = {"planted": difference[known], "photographs without a twin": unique}
limits = f"{difference[known].max():.1f} grey levels, a photograph at {unique.min():.1f}"
heading = f"A planted picture has a neighbour within {limits}"
figure, axis = plt.subplots(figsize=(6.8, 3.0))
for kind, values in kinds.items():
    axis.hist(values, np.arange(-0.5, difference.max() + 1), alpha=0.7, log=True, label=kind)
axis.set(title=heading, ylabel="images (log scale)")
axis.set_xlabel("difference from the most similar other centre, grey levels")
figure.legend(loc="outside lower left", ncols=2)
style.save(figure, "02_nearest", source)

# %% [markdown]
# `planted_groups` puts this together. Hashes within four bits make candidates. A candidate counts
# as planted if at least twenty images show the same centre, up to five grey levels: nature does not
# repeat a cell twenty times. It knows neither rows nor labels. Both variants:

# %% tags=["nbval-ignore-output"]
found = {name: cleaning.planted_groups(set_.images) for name, set_ in given.items()}

# %%
for name, groups in found.items():
    print(name, "- copies of each picture found:", np.bincount(groups[groups >= 0]).tolist())

# %% [markdown]
# How good is that? *Recall* is the share of the planted rows that were found. *Precision* is the
# share of the found rows that were planted. A search that marks everything has perfect recall, one
# that marks a single sure row has perfect precision: both are needed.

# %% tags=["nbval-ignore-output"]
scores = {}
for name, groups in found.items():
    marked = groups >= 0
    scores[name] = {
        "recall": metrics.share(marked[known]),
        "precision": metrics.share(known[marked]),
    }
    for measure, estimate in scores[name].items():
        records.record(f"02_clean/planted/{name}/{measure}", estimate, source=source)
        print(f"{name:12s}{measure:10s}", estimate)

# %%
for name, measures in scores.items():
    print(name, {measure: estimate.value >= 0.99 for measure, estimate in measures.items()})

# %% [markdown]
# ## Cells that look alike by nature
#
# Below that limit of twenty, near-copies may be something else: one cell photographed twice, or two
# cells that happen to look alike. Here are the most similar pairs among the photographs that
# remain. Which of them show the same cell?

# %% tags=["nbval-ignore-output"]
order = clean_rows[np.argsort(unique, kind="stable")]
pairs = list(dict.fromkeys(tuple(sorted((row, neighbour[row]))) for row in order))[:8]
above, below = np.array(pairs).T
titles = [*names[labels[above]], *names[labels[below]]]
heading = f"The most similar pairs differ by {unique.min():.1f} grey levels and more"
sheet = style.contact_sheet(altered[[*above, *below]], titles, len(above), heading)
style.save(sheet, "02_natural_pairs", source)

# %% [markdown]
# These stay in the set: no measurement proves that they are copies, and dropping what *looks* alike
# would drop the very cells a network must learn to tell apart. A careful study would keep each such
# pair on one side of the split.
#
# ## The cleaned set
#
# Planted pictures go, and so does every copy of a photograph that occurs twice. Do both variants
# lead to the same rows?

# %%
keep = {
    name: (found[name] < 0) & cleaning.drop_every_copy(ids)
    for name, ids in {"identical": group_ids, "backgrounds": altered_ids}.items()
}
for name, rows in keep.items():
    print(name, int(rows.sum()))
print("the same rows:", np.array_equal(*keep.values()))

# %% [markdown]
# ## What copies do to a validation accuracy
#
# A *validation set* holds images that the model has not seen. The report, like everyone, splits at
# random: 90 % to learn from, 10 % to judge. If copies are still in the set, some of them land on
# both sides. That is *leakage*: the model is asked what it was told.


# %%
def random_split(rows, seed=0):
    """Return 90 % and 10 % of the rows, at random."""
    shuffled = np.random.default_rng(seed).permutation(rows)
    return np.split(shuffled, [round(0.9 * len(shuffled))])


# %% tags=["nbval-ignore-output"]
every_row, kept_rows = np.arange(len(labels)), np.flatnonzero(keep["identical"])
for name, rows in {"as handed out": every_row, "cleaned": kept_rows}.items():
    train, validation = random_split(rows)
    leaked = cleaning.leakage(hashes[train], hashes[validation])
    records.record(f"02_clean/leaked/{name}", metrics.share(leaked), source=source, seed=0)
    print(f"{name}: exact copy in training:", metrics.share(leaked))

# %%
train, validation = random_split(kept_rows)
print(
    "copies across the cleaned split:",
    int(cleaning.leakage(hashes[train], hashes[validation]).sum()),
)

# %% [markdown]
# What does a model make of it? The purest one is the *nearest neighbour*: it stores all training
# images, shrunk to 8 × 8 pixels, and answers with the label of the most similar one. It learns
# nothing, so whatever it gains from copies is leakage.
#
# Judge it twice on the *same* validation images of the uncleaned set: once with their copies in the
# training set, once with those copies taken out of it.

# %% tags=["nbval-ignore-output"]
pixels = cleaning.thumbnails(images, 8).reshape(len(images), -1)


def answers(train, judged):
    """Return the label of the most similar training image, for each judged row."""
    model = KNeighborsClassifier(n_neighbors=1, algorithm="brute")
    return model.fit(pixels[train], labels[train]).predict(pixels[judged])


# %% tags=["nbval-ignore-output"]
train, validation = random_split(every_row)
without = train[~cleaning.leakage(hashes[validation], hashes[train])]
right = {
    "copies in training": answers(train, validation) == labels[validation],
    "copies taken out": answers(without, validation) == labels[validation],
}

# %% [markdown]
# The validation set is a mixture: photographs, copies of the picture under eight labels, and copies
# of the picture that is always a 'monocyte'. Look at each part by itself.

# %% tags=["nbval-ignore-output"]
picture = found["identical"][validation]
parts = {"photographs": picture < 0, "eight labels": picture == 0, "one label": picture == 1}
judged = {
    training: {part: metrics.share(hits[rows]) for part, rows in parts.items()}
    for training, hits in right.items()
}
gain = (
    judged["copies in training"]["one label"].value - judged["copies taken out"]["one label"].value
)
heading = (
    f"Copies under one label are worth {100 * gain:+.0f} points there, for no knowledge of cells"
)
style.save(charts.dots(judged, heading), "02_leakage", source)

# %%
one_label = judged["copies in training"]["one label"]
print("copies under one label, all answered right:", one_label.value == 1)
print(
    "copies under eight labels, at most a third right:",
    judged["copies in training"]["eight labels"].high < 1 / 3,
)

# %% [markdown]
# Two opposite lies. A copy under its own label is a gift: it is always right. A copy under eight
# labels is a lottery: nothing can be right more often than chance, and the accuracy of the whole
# set sinks. Either way the number says little about cells.
#
# ## Leakage among photographs
#
# Eight pairs among twelve thousand photographs hardly move an accuracy. But copies also come from
# good intentions: to *balance* the classes, many copy the images of small classes until all are
# equally large. Do that before the split, and watch.

# %% tags=["nbval-ignore-output"]
largest = np.bincount(labels[kept_rows]).max()
of_class = [kept_rows[labels[kept_rows] == label] for label in range(len(class_names))]
balanced = np.concatenate([np.resize(rows, largest) for rows in of_class])
train, validation = random_split(balanced)
leaked = np.isin(validation, train)
print("validation images with a copy in training:", metrics.share(leaked))

# %% tags=["nbval-ignore-output"]
with_copies = answers(train, validation) == labels[validation]
honest = answers(train[~np.isin(train, validation)], validation) == labels[validation]
flattered, true = metrics.share(with_copies), metrics.share(honest)
for name, estimate in {
    "balanced before the split": flattered,
    "its copies taken out": true,
}.items():
    records.record(f"02_clean/balance/{name}", estimate, source=source, seed=0)
    print(f"{name:26s}", estimate)

# %% [markdown]
# Same model, same validation images: the only difference is that their copies are in the training
# set, or not. Are the two intervals apart?

# %%
print("the leak flatters the model beyond chance:", bool(flattered.low > true.high))

# %% [markdown]
# So: clean first, split second, and copy or augment only what is in the training part. The helpers
# of the later notebooks do it in this order.
#
# ## Write the cleaned set
#
# One mark is missing: which photographs belong to the second acquisition that `01_inspect` found by
# its bluish background? It is measured among photographs, since planted backgrounds come in all
# colours.

# %% tags=["nbval-ignore-output"]
kept = keep["identical"]
acquisition = np.zeros(len(labels), bool)
acquisition[kept] = cleaning.bluish(cleaning.background_colour(images)[kept])
print("second acquisition:", metrics.share(acquisition[kept]))

# %% [markdown]
# The file gets three arrays: `images`, `labels`, and `acquisition` (True for the second one). It is
# written under a temporary name and renamed at the end, so an interrupted run leaves no half file.
# A set that is not the complete homework is not written, and synthetic cells go to the build folder, where
# they cannot take the place of photographs.

# %%
folder = course.data_folder() if source.are_photographs else records.folder(source)
path = folder / "data_processed.npz"
complete = len(labels) == 13_759
if complete:
    write_processed(path, given["identical"], kept, acquisition)
print("data_processed.npz written:", complete)

# %% [markdown]
# Never trust a file you have not read back. Hashes spare us comparing every byte once more.

# %%
if complete:
    with np.load(path, allow_pickle=False) as stored:
        for key in stored.files:
            print(f"{key:12s}", stored[key].shape, stored[key].dtype)
        stored_hashes = cleaning.image_hashes(stored["images"])
        print("images as kept:", np.array_equal(stored_hashes, hashes[kept]))
        print("labels as kept:", np.array_equal(stored["labels"], labels[kept]))

# %% [markdown]
# ## Recap
#
# **In this notebook you have**
#
# - found exact copies by hash: dropping every copy leaves the report's 11,943 images, keeping the
#   first leaves 11,951 photographs and two planted pictures,
# - found copies with altered backgrounds by a perceptual hash of the centre and by nearest
#   neighbours,
# - scored the search in both variants, by recall and precision,
# - seen labels that contradict each other, and pairs that only look alike,
# - measured what copies across a split do to a validation accuracy,
# - and written `data/data_processed.npz`, and read it back.
#
# Next, `03_custom_cnns` trains the first two networks.
#
# ## Exercises
#
# **1.** Why 64 bits? Shorten the hash of each cleaned image to 16 bits and count how many images
# share a hash with another, although no two of them are equal.
#
# #### Solution

# %% tags=["nbval-ignore-output"]
for bit_count in (16, 24, 32, 64):
    short = hashes[kept] >> np.uint64(64 - bit_count)
    print(f"{bit_count} bits: images that share a hash: {(~cleaning.drop_every_copy(short)).sum()}")

# %% [markdown]
# **2.** What does a perceptual hash survive? Change a hundred photographs in four ways, and measure
# by how many bits the hash of the centre moves.
#
# #### Solution

# %% tags=["nbval-ignore-output"]
sample = images[clean_rows[:100]]
variants = {
    "20 % darker": (sample * 0.8).astype(np.uint8),
    "noise": (sample + rng.normal(0, 5, sample.shape)).clip(0, 255).astype(np.uint8),
    "moved by 2 pixels": np.roll(sample, 2, axis=2),
    "quarter turn": np.rot90(sample, axes=(1, 2)),
}
original = cleaning.perceptual_hashes(sample, 32)
for name, changed in variants.items():
    moved = np.bitwise_count(original ^ cleaning.perceptual_hashes(changed, 32))
    print(f"{name:18s} median {np.median(moved):4.0f} bits, within four: {(moved <= 4).mean():.0%}")

# %% [markdown]
# **3.** Is the hash enough without comparing pixels? Mark every image that lies within a given
# distance of at least one other, and compute recall and precision for several distances.
#
# #### Solution
# At 0 bits what looks like false alarms are pairs of equal photographs, which are copies indeed. With
# every further bit more different cells are marked: the hash alone is not enough.

# %% tags=["nbval-ignore-output"]
for most_bits in (0, 4, 6, 8):
    marked = np.zeros(len(labels), bool)
    marked[cleaning.near_duplicates(centre_hashes, most_bits).ravel()] = True
    print(
        f"{most_bits} bits: recall {marked[known].mean():.1%}, precision {known[marked].mean():.1%}"
    )
