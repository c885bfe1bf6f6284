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
# # 8 · The final model
#
# In this notebook you will
#
# - look into a network that is correct on nearly every clean photograph and fails under shift: which
#   changes break it, where it looks, and what happens to its features,
# - see what the report's tuning was worth, and climb from there to a network that holds, one measured
#   step at a time,
# - ask which of its probabilities you may believe, and what a *temperature* can and cannot mend,
# - meet the class again that the report found hardest,
# - and let the final model look at photographs: in the notebook, from the command line, and in the
#   competition's own format.
#
# **You need** nothing from the notebooks before. Two trained networks lie in the course's folder
# `models/`: the report's fine-tuning without augmentation, and the final model.
# **Time** on two cores: about 3 minutes in the quick profile, about 4 in the full one. The ladder is
# read from the course's records; on images of your own it is trained, once, in about three hours.

# %% tags=["nbval-ignore-output"]
COURSE = "git+https://github.com/blood-cells-course/blood-cells-course@v0.1.0"

import sys

if "google.colab" in sys.modules:
    get_ipython().run_line_magic("pip", f"install {COURSE}")  # noqa: F821

# %% tags=["nbval-ignore-output"]
import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from helpers.changes import shifts
from helpers.data.sets import load_course_data
from helpers.evaluation import explanation, metrics
from helpers.evaluation.explanation import embeddings, grad_cam
from helpers.figures import charts, style
from helpers.models.networks import predict_logits
from helpers.training.run import load_or_train

style.use_course_style()
data = load_course_data()
print("Profile:", data.profile.name)

# %% [markdown]
# ## Two networks, equal at home
#
# Both networks are EfficientNet-Lite0 and saw the same training photographs. *Before* is the report's
# fine-tuning without augmentation (`05_finetune`), trained once more for its release, so its numbers
# differ from `05`'s by what a repetition may. *After* is where this notebook ends. On synthetic cells
# the released networks would be strangers; there, both are trained now, briefly.

# %% tags=["nbval-ignore-output"]
models = {
    "before": load_or_train("fine_tuned", data),
    "after": load_or_train("final", data),
}
for name, model in models.items():
    print(f"{name}: {model.count_params():,} parameters")

# %% tags=["nbval-ignore-output"]
sets = data.evaluation_sets
logits = {
    name: {judge: predict_logits(model, sets[judge].images) for judge in sets}
    for name, model in models.items()
}

# %% tags=["nbval-ignore-output"]
judged = {
    name: {judge: metrics.accuracy(sets[judge].labels, found[judge]) for judge in sets}
    for name, found in logits.items()
}
gap = {name: 100 * (e["test"].value - e["shifted_test"].value) for name, e in judged.items()}
heading = f"The shift costs {gap['before']:.0f} points before, {gap['after']:.0f} after"
style.save(charts.dots(judged, heading), "08_before_and_after", data.source)

# %% [markdown]
# `validation` and `test` are photographs as the training ones. `shifted_…` are the same kind of
# photographs after random chains of changes, `second_acquisition` is another way of taking pictures,
# which no network of the course was trained on.

# %%
print(len(sets["test"]) == len(sets["shifted_test"]), "train" in sets)

# %% [markdown]
# ## What breaks it
#
# The shifted test mixes 24 kinds of change. To see what each does, apply one at a time to the same
# sample of test photographs.

# %%
operations = pd.Series({name: operation.family for name, operation in shifts.OPERATIONS.items()})
print(operations.groupby(operations).size().to_dict())

# %% tags=["nbval-ignore-output"]
alone = {
    name: explanation.single_operation_accuracy(
        lambda images, model=model: predict_logits(model, images), data["test"]
    )
    for name, model in models.items()
}
hardest = alone["before"].index[0]
now = alone["after"].loc[hardest, "accuracy"]
heading = (
    f"Before, '{hardest}' alone leaves {alone['before'].accuracy.iloc[0]:.0%} right; now {now:.0%}"
)
alone_by_operation = {
    f"{name} ({row['kind']})": {
        model: metrics.Estimate(*found.loc[name, ["accuracy", "low", "high", "images"]])
        for model, found in alone.items()
    }
    for name, row in alone["before"].sort_values("accuracy", kind="stable").iterrows()
}
style.save(charts.dots(alone_by_operation, heading), "08_operations", data.source)

# %% [markdown]
# Some changes hardly matter to either network. The network before was never shown that a cell stays
# the same cell when its colours turn or a part of it is covered, and nothing in the clean photographs
# could tell it so.
#
# Some kinds of change have no counterpart in any training augmentation of the course. They are
# the honest part of the test: a model that only knows its own augmentation would fail on them.

# %% tags=["nbval-ignore-output"]
seen = data.seen_only("shifted_test")
labels = data["shifted_test"].labels
for name, found in logits.items():
    for kind, chosen in {"seen kinds only": seen, "with an unseen kind": ~seen}.items():
        estimate = metrics.accuracy(labels[chosen], found["shifted_test"][chosen])
        print(f"{name:7s} {kind:20s} {estimate}")

# %% [markdown]
# ## Its worst errors
#
# Not every error is equal: here are the shifted test photographs on which the network before was
# wrong and surest of itself. Would you have known the cell?

# %% tags=["nbval-ignore-output"]
shifted, names = data["shifted_test"], data.class_names
rows = explanation.worst_errors(shifted.labels, logits["before"]["shifted_test"], 10)
shares = metrics.softmax(logits["before"]["shifted_test"][rows])
mended = logits["after"]["shifted_test"][rows].argmax(axis=1) == shifted.labels[rows]
heading = f"Of its 10 surest errors, the final model gets {mended.sum()} right"
captions = [
    f"{names[label]}\n→ {names[row.argmax()]} {row.max():.0%}"
    for label, row in zip(shifted.labels[rows], shares, strict=True)
]
style.save(
    style.contact_sheet(shifted.images[rows], captions, 5, heading), "08_worst_errors", data.source
)

# %% [markdown]
# ## Where it looks
#
# [Grad-CAM](https://arxiv.org/abs/1610.02391) asks which places of the last feature map pushed the
# predicted class up. The map is coarse, three by three places on a 96-pixel image, so it says which
# part of the picture counted, not which granule; a map that lies evenly over the picture would give
# its middle ninth 11 %, and then says little. Below are cells that the network before knew clean
# and lost shifted.

# %% tags=["nbval-ignore-output"]
clean_right = logits["before"]["test"].argmax(axis=1) == data["test"].labels
errors = explanation.worst_errors(labels, logits["before"]["shifted_test"], len(labels))
lost = errors[clean_right[errors]][:4]
pairs = [data[name].images[lost] for name in ("test", "shifted_test")]
maps = [grad_cam(models["before"], images) for images in pairs]
taken = [logits["before"][name][lost].argmax(axis=1) for name in ("test", "shifted_test")]


# %% tags=["nbval-ignore-output"]
def overlaid(images, maps):
    """Return the images in grey, in colour where a map (0-1) is high."""
    heat, opacity = 255 * plt.get_cmap("inferno")(maps)[..., :3], 0.65 * maps[..., None]
    return ((1 - opacity) * images.mean(axis=-1, keepdims=True) + opacity * heat).astype(np.uint8)


# %% tags=["nbval-ignore-output"]
seen_as = {"clean": [names[k] for k in taken[0]], "shifted": [f"→ {names[k]}" for k in taken[1]]}
rows, titles = {}, []
for kind, images, map_ in zip(seen_as, pairs, maps, strict=True):
    rows |= {kind: images, f"where it looked, {kind}": overlaid(images, map_)}
    titles += [seen_as[kind], [""] * len(images)]
centre = [each[:, 32:64, 32:64].sum() / max(each.sum(), 1e-9) for each in maps]
heading = f"The middle ninth gets {centre[0]:.0%} of the map clean, {centre[1]:.0%} shifted"
style.save(style.image_rows(rows, heading, titles), "08_grad_cam", data.source)

# %% [markdown]
# ## What happens to its features
#
# The head sees an image as 1,280 numbers. [t-SNE](https://www.jmlr.org/papers/v9/vandermaaten08a.html)
# puts images with similar numbers side by side on a plane; distances between groups mean nothing. To
# have a number too: for each shifted image, is its nearest *clean* neighbour of the same class?

# %% tags=["nbval-ignore-output"]
sample = np.random.default_rng(8).permutation(len(labels))[:400]
features = {
    name: [embeddings(model, data[judge].images[sample]) for judge in ("test", "shifted_test")]
    for name, model in models.items()
}
neighbours = {
    name: explanation.nearest_neighbour_accuracy(clean, moved, labels[sample])
    for name, (clean, moved) in features.items()
}

# %% tags=["nbval-ignore-output"]
places = {name: explanation.tsne(np.concatenate(both)) for name, both in features.items()}
points = {
    f"{name}: {neighbours[name].value:.0%} beside their class": places[name] for name in places
}
both_labels, is_shifted = np.tile(labels[sample], 2), np.repeat([False, True], len(sample))
heading = (
    f"Beside clean cells of their class: {neighbours['before'].value:.0%} of the shifted before, "
    f"{neighbours['after'].value:.0%} after"
)
figure = charts.scatter(points, both_labels, names, heading, crosses=is_shifted)
style.save(figure, "08_embeddings", data.source)

# %% [markdown]
# Before, the shifted cells leave their classes and gather in regions of their own: the network has
# features of the *change*. That is what a training must take away.
#
# ## A chain of changes
#
# Every team that did well in the competition composed its augmentation: several changes an image,
# from different families. Ours turns, zooms and shears the cell at will, changes colours, light and
# tone, blurs, sharpens, adds noise, covers parts, and does each to *some* images only, so that the
# network also meets cells that are nearly untouched. The chain is called *heavy*; a lighter one,
# *strong*, without crooked tone curves, uneven light, sharpening and scattered patches, trained the
# steps before the last.

# %%
from helpers.changes import augment

# %% tags=["nbval-ignore-output"]
cells = data["train"].images[
    [np.flatnonzero(data["train"].labels == k)[0] for k in range(len(names))]
]
rows_of_copies = {"original": cells}
for copy in range(2):
    seeds = np.stack([np.full(len(cells), copy), np.arange(len(cells))], axis=1).astype(np.int32)
    rows_of_copies[f"copy {copy + 1}"] = (
        augment.augmenter("heavy")(cells, seeds).numpy().astype(np.uint8)
    )
moved = np.mean([np.abs(c.astype(float) - cells).mean() for c in list(rows_of_copies.values())[1:]])
heading = f"Changed by {moved:.0f} of 255 grey values on average; still the same classes?"
style.save(style.image_rows(rows_of_copies, heading), "08_heavy", data.source)

# %% [markdown]
# An image's changes come from its own seed: the chain is repeatable, whatever the batch or the number
# of threads.

# %%
first = augment.augmenter("heavy")(cells, seeds).numpy()
last = augment.augmenter("heavy")(cells[::-1], seeds[::-1]).numpy()[::-1]
print("same seeds, same copies:", np.allclose(first, last, atol=1e-3))

# %% [markdown]
# Is it fast enough? A pipeline that makes the network wait would cost more than it brings.

# %%
import tensorflow as tf

from helpers.evaluation.machine import seconds_per_call
from helpers.models import fused_batch_norm
from helpers.training import recipes
from helpers.training.loop import compile_model
from helpers.training.run import new_network

# %% tags=["nbval-ignore-output"]
batch, batch_labels = data["train"].images[:128], data["train"].labels[:128]
seeds = np.stack([np.zeros(128), np.arange(128)], axis=1).astype(np.int32)
heavy = tf.function(augment.augmenter("heavy"))
network = new_network(recipes.final(), len(names), pretrained=False)
fused_batch_norm.fuse(network.get_layer("backbone"))
compile_model(network, "adam", 1e-3)

# %% tags=["nbval-ignore-output"]
augmenting = seconds_per_call(lambda: heavy(batch, seeds), 3) / 128
stepping = seconds_per_call(lambda: network.train_on_batch(batch, batch_labels), 3) / 128
print(f"{1000 * augmenting:.1f} ms an image to augment, {1000 * stepping:.1f} ms to train on it")
print("who waits for whom:", "nobody" if augmenting < stepping else "the network for the pipeline")

# %% [markdown]
# ## What the tuning was worth
#
# After RandAugment the report tuned: the batch, RandAugment's own settings, the optimizer and its
# rate, one more layer. Here is its list, each trial on the same 3,000 photographs with several seeds
# (in the quick profile only a few of the trials), read from the course's records where they are of
# these images. `python -m helpers study` also searches beyond the list; the report says what it found.

# %%
from helpers.evaluation import records
from helpers.training.run import result

# %% tags=["nbval-ignore-output"]
few = ("tuning_adam_1e-4", "tuning_adam_1e-3", "tuning_3_operations")
trials = recipes.tuning()


def over_seeds(experiment):
    """Return by image set the mean of the seeds, the lowest and the highest, and their number."""
    seeds = [result(experiment.variant(experiment.name, seed=k), data) for k in data.profile.seeds]
    values = {s: [found.accuracies[s].value for found in seeds] for s in records.CHOOSE_ON}
    return {s: metrics.Estimate(np.mean(v), min(v), max(v), len(v)) for s, v in values.items()}


kept = trials if data.profile.name == "full" else few
tuned = {recipes.TRIALS[name]: over_seeds(trials[name]) for name in kept}

# %% tags=["nbval-ignore-output"]
means = pd.Series({title: found["shifted_validation"].value for title, found in tuned.items()})
gained = 100 * (means.max() - means[recipes.TRIALS["tuning_adam_1e-4"]])
heading = f"The best setting ({means.idxmax()}) is {gained:.1f} points above the report's last one"
chosen_on = {title: {j: found[j] for j in records.CHOOSE_ON} for title, found in tuned.items()}
label = "accuracy in %: mean of the seeds, lowest to highest"
style.save(charts.dots(chosen_on, heading, label, panels=True), "08_tuning", data.source)

# %% [markdown]
# A dot is the mean of the seeds and its line reaches from the lowest to the highest: where lines
# overlap, another seed could have turned the order. The scales of the two panels differ, and a setting
# that fails altogether lies outside them. `make report` sets each trial beside the reference with a
# paired interval. Compare the width of the right panel with the next picture's.
#
# ## The ladder
#
# Now one step at a time, each on top of the one before. The steps up to trained batch normalisation
# take the same few epochs on all training images, with a learning rate that rises shortly and then
# falls along a cosine. The last two are the final model's training: first for longer, with averaged
# weights and smoothed labels; then on from there with images enlarged to 128 px and with more kinds of
# change (its minutes include the first part's). They alter several things at once, so they say what the
# whole brings and not what each part does. Validation and *shifted validation* choose; the test sets only report. MedMNIST-C stands there
# where `python -m helpers train robustness` has recorded it.

# %% tags=["nbval-ignore-output"]
steps = {recipes.ABLATION[n]: result(e, data) for n, e in recipes.ablation().items()}
columns = ("test", "shifted_test", "medmnist_c", "second_acquisition")
measured = [name for name in columns if any(name in step.accuracies for step in steps.values())]
table = {
    f"{title}, {step.minutes:,.0f} min": {name: step.accuracies.get(name) for name in measured}
    for title, step in steps.items()
}
pd.DataFrame.from_dict(table, orient="index").astype(str)

# %% tags=["nbval-ignore-output"]
values = [step.accuracies["shifted_test"].value for step in steps.values()]
heading = f"From {values[0]:.0%} to {values[-1]:.0%} on the shifted test, step by step"
style.save(charts.dots(table, heading), "08_ladder", data.source)

# %% [markdown]
# Which steps are more than chance? McNemar's test of each step against the one before, on the
# photographs of validation and of shifted validation.

# %% tags=["nbval-ignore-output"]
for before, after in itertools.pairwise(steps):
    for judge in ("validation", "shifted_validation"):
        both = (steps[title].logits[judge] for title in (before, after))
        print(f"{before}, then {after}, {judge}: {metrics.compare(data[judge].labels, *both)}")

# %% [markdown]
# Clean validation would have stopped us at the first step or led us back: strong augmentation is harder
# to learn from, and with few epochs it costs clean accuracy. Time gives it back: the final model's two
# parts are the same step, trained for longer.
#
# ## Eight views of one cell
#
# A turned or mirrored cell is the same cell. *Test-time augmentation* shows the network all eight and
# averages its probabilities. It costs no training, and eight times the time of every prediction.

# %% tags=["nbval-ignore-output"]
judges = [name for name in ("shifted_validation", *records.REPORT_ON) if name in sets]
eight = {name: explanation.mean_logits(models["after"], sets[name].images) for name in judges}
test = metrics.compare(
    sets["shifted_validation"].labels,
    logits["after"]["shifted_validation"],
    eight["shifted_validation"],
)
print("one view (first) against eight (second), shifted validation:", test)

# %% tags=["nbval-ignore-output"]
by_views = {
    count: {name: metrics.accuracy(sets[name].labels, found[name]) for name in judges[1:]}
    for count, found in {"one view": logits["after"], "eight views": eight}.items()
}
gained = 100 * (
    by_views["eight views"]["shifted_test"].value - by_views["one view"]["shifted_test"].value
)
heading = f"Eight views change the shifted test by {gained:+.1f} points"
style.save(charts.dots(by_views, heading), "08_views", data.source)

# %% tags=["nbval-ignore-output"]
for name, estimate in by_views["eight views"].items():
    print(f"{name.replace('_', ' '):20s} {estimate}")
    key = f"08_final/eight_views/{name}"
    records.record(key, estimate, source=data.source, split=data.fingerprint)

# %% [markdown]
# Eight views are the elements of one group: turning the cell first changes nothing but rounding.

# %%
turned = np.rot90(cells, axes=(1, 2))
straight, rotated = (explanation.mean_logits(models["after"], images) for images in (cells, turned))
print("same answer for a turned cell:", np.allclose(straight, rotated, atol=0.01))

# %% [markdown]
# ## May you believe its probabilities?
#
# A network that says '90 %' should be right nine times in ten. A *reliability diagram* compares the
# two; the *expected calibration error* (ECE) is the average distance from the diagonal. *Temperature
# scaling* divides the logits by one number, fitted on images that neither train nor test. It changes
# no prediction, only how sure the network sounds.

# %% tags=["nbval-ignore-output"]
temperatures = {
    name: metrics.fit_temperature(found["validation"], sets["validation"].labels)
    for name, found in logits.items()
}
print({name: round(value, 2) for name, value in temperatures.items()})

# %% tags=["nbval-ignore-output"]
calibration_errors, tables = {}, {}
for name, found in logits.items():
    for judge in ("test", "shifted_test"):
        shares = metrics.softmax(found[judge], temperatures[name])
        error = metrics.expected_calibration_error(shares, sets[judge].labels)
        calibration_errors[name, judge] = error.value
        title = f"{name}, {judge.replace('_', ' ')}\nECE {error.value:.1%}"
        tables[title] = metrics.reliability(shares, sets[judge].labels)

# %% tags=["nbval-ignore-output"]
heading = (
    f"A temperature fitted clean: ECE {calibration_errors['before', 'test']:.0%} clean, "
    f"{calibration_errors['before', 'shifted_test']:.0%} shifted before, {calibration_errors['after', 'shifted_test']:.0%} after"
)
style.save(charts.reliability(tables, heading), "08_reliability", data.source)

# %% [markdown]
# The temperature was fitted on clean validation, and under shift it is the wrong one: nothing in clean
# images says how much surer of itself the network should not be elsewhere. Fitted on *shifted*
# validation it serves the shifted test, and makes the network too modest on clean images. One number
# cannot do both.

# %% tags=["nbval-ignore-output"]
shifted_temperature = {
    name: metrics.fit_temperature(found["shifted_validation"], sets["shifted_validation"].labels)
    for name, found in logits.items()
}
for name, found in logits.items():
    for judge in ("test", "shifted_test"):
        shares = metrics.softmax(found[judge], shifted_temperature[name])
        error = metrics.expected_calibration_error(shares, sets[judge].labels)
        print(f"{name:7s} T = {shifted_temperature[name]:.2f}  {judge:13s} ECE {error}")

# %%
some = logits["before"]["test"][:50]
hot = metrics.softmax(some, 3.0)
print("a temperature changes no prediction:", np.array_equal(some.argmax(1), hot.argmax(1)))
print("3 is more modest than 1:", (hot.max(1) <= metrics.softmax(some).max(1) + 1e-9).all())

# %% [markdown]
# ## The class that the report found hardest
#
# Immature granulocytes are not one kind of cell but stages on the way to the neutrophil, basophil and
# eosinophil, and the earliest look like monocytes. Whom are they taken for?

# %% tags=["nbval-ignore-output"]
hardest_class = {
    name: metrics.per_class(labels, found["shifted_test"], names)["F1"].idxmin()
    for name, found in logits.items()
}
class_f1 = {
    name: metrics.per_class(labels, found["shifted_test"], names)["F1"]
    for name, found in logits.items()
}
print("hardest under shift, by F1:", hardest_class)

# %% tags=["nbval-ignore-output"]
index = min(3, len(names) - 1)
partners = explanation.confusions_of(labels, logits["after"]["shifted_test"], index, names)
print("F1 of", names[index], {name: f"{f1.iloc[index]:.3f}" for name, f1 in class_f1.items()})
partners.head(4).round(3)

# %% tags=["nbval-ignore-output"]
matrix = metrics.confusion(labels, logits["after"]["shifted_test"])
heading = (
    f"Under shift, {names[index]} most often go to {partners.index[0]} ({partners.iloc[0, 0]:.0%})"
)
style.save(charts.confusion({"": matrix}, names, heading), "08_confusion", data.source)

# %% [markdown]
# ## Give it a photograph
#
# The released model loads in one line, `released.load()`. Its card says what it was trained on, how it
# was measured and where it fails. The same from the command line, for one photograph or a folder:
#
# ```sh
# python -m helpers predict cell.jpg
# python -m helpers predict my_cells/ --csv cells.csv --sheet cells.png
# ```
#
# It is for teaching, not for diagnosis: it names one of eight classes for *any* picture, a cat's too.

# %%
from commands import predict, score

# %% tags=["nbval-ignore-output"]
chosen = np.random.default_rng(3).permutation(len(labels))[:10]
shares = predict.classify(models["after"], shifted.images[chosen], shifted_temperature["after"])
right = shares.argmax(axis=1) == labels[chosen]
captions = [f"{names[row.argmax()]}\n{row.max():.0%}" for row in shares]
heading = f"{right.sum()} of {len(right)} photographs that it never saw, shifted, named rightly"
style.save(
    style.contact_sheet(shifted.images[chosen], captions, 5, heading),
    "08_predictions",
    data.source,
)

# %% [markdown]
# ## The competition at home
#
# `make submission` packs the released model into `submission.zip`, and `make score` lets any such zip,
# yours or a friend's, predict clean and shifted photographs in a process of its own. Beside the teams'
# published results on the competition's private test, the shifted test's number is a guess, not a
# place: other photographs, other changes.

# %% tags=["nbval-ignore-output"]
print(score.standing(100 * metrics.accuracy(labels, eight["shifted_test"]).value))

# %% [markdown]
# ## Recap
#
# **In this notebook you have**
#
# - taken two networks that validation can hardly tell apart, and found the changes that break one of
#   them,
# - looked at its surest errors, at where it looks, and at features that had learned the change instead
#   of the cell,
# - climbed a ladder whose steps were chosen on shifted validation, each with a paired test, and
#   reported on test sets that chose nothing,
# - averaged eight views of a cell,
# - seen that a temperature mends the sound of probabilities, not the network, and only for images like
#   those it was fitted on,
# - and used the released model as its users will.

# %% [markdown]
# ## Exercises
#
# **1.** Eight views average probabilities. Averaging logits is another choice. When do they differ?
# Make two views that disagree and compare.

# %% [markdown]
# #### Solution
# A view that is very sure has a large logit and outvotes the others when logits are averaged; among
# probabilities no view counts for more than 1.

# %%
two_views = np.array([[[9.0, 0.0, 0.0]], [[0.0, 0.0, 2.5]], [[0.0, 0.0, 2.5]]])
by_logits = two_views.mean(axis=0).argmax()
by_probabilities = np.mean([metrics.softmax(v) for v in two_views], axis=0).argmax()
print("logits choose", by_logits, "and probabilities", by_probabilities)

# %% [markdown]
# **2.** A temperature of 2 makes every prediction more modest. Does it change the *order* of the
# images by confidence, so that 'the surest hundred' become others?

# %% [markdown]
# #### Solution
# It can. With two classes the order stays, because confidence depends on one difference of logits.
# With more, two images can change places.

# %%
pair = np.array([[4.0, 2.0, -9.0], [4.0, 1.3, 1.3]])
for temperature in (1.0, 4.0):
    print(temperature, "surest image:", metrics.softmax(pair, temperature).max(axis=1).argmax())

# %% [markdown]
# **3.** Which single change would you add to the training augmentation next? Let the final model
# answer: which change *without counterpart* costs it most?

# %% [markdown]
# #### Solution
# The table of single operations knows. Mind the price: what you train on is no longer an honest test.

# %% tags=["nbval-ignore-output"]
unseen = alone["after"].query("kind == @explanation.UNSEEN").sort_values("accuracy")
print(f"{unseen.index[0]}: {unseen.accuracy.iloc[0]:.1%} right, {unseen['drop'].iloc[0]:+.1%}")
