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
# # 7 · Is it the imbalance?
#
# In this notebook you will
#
# - read a confusion matrix, and compute precision, recall and F1 of each class from it,
# - put the report's explanation to the test: are immature granulocytes hard *because* they are rare?
# - try four remedies for imbalance: class weights, balancing by offline copies in the report's way and
#   in today's, and logit adjustment,
# - and ask of each whether the difference is larger than chance.
#
# **You need** nothing from the notebooks before: what was trained there is loaded, or trained now.
# **Time** on two cores: about 2 minutes in the quick profile; about 15 minutes in the full one, and 20
# more for the fine-tuning of `05_finetune` if it has not been run yet.

# %% tags=["nbval-ignore-output"]
COURSE = "git+https://github.com/blood-cells-course/blood-cells-course@v0.1.0"

import sys

if "google.colab" in sys.modules:
    get_ipython().run_line_magic("pip", f"install {COURSE}")  # noqa: F821

# %% tags=["nbval-ignore-output"]
import numpy as np
import pandas as pd
from scipy import stats

from helpers.changes import augment
from helpers.data.sets import load_course_data
from helpers.evaluation import metrics, records
from helpers.figures import charts, style
from helpers.training import recipes
from helpers.training.run import accuracies, result

style.use_course_style()
data = load_course_data()
print("Profile:", data.profile.name)

# %% [markdown]
# ## Who is confused with whom
#
# The model is the report's final one: fine-tuned with RandAugment, Adam at 1e-4. A *confusion matrix* counts, for each true
# class (row), what was predicted (column). Right answers lie on the diagonal. The colour shows the
# share of the row, so that a small class is as visible as a large one.

# %% tags=["nbval-ignore-output"]
model = result(recipes.fine_tunings()["fine_tuned_rand_augment"], data)
labels, logits = data["validation"].labels, model.logits["validation"]
print("validation accuracy:", metrics.accuracy(labels, logits))

# %% tags=["nbval-ignore-output"]
matrix = metrics.confusion(labels, logits)
wrong = matrix - np.diag(np.diag(matrix))
true, predicted = np.unravel_index(wrong.argmax(), wrong.shape)
heading = f"Most often, {data.class_names[true]} is taken for {data.class_names[predicted]}"
style.save(charts.confusion({"": matrix}, data.class_names, heading), "07_confusion", data.source)

# %% [markdown]
# Every image is counted once, so the matrix sums to the number of images, and its rows sum to the
# sizes of the classes.

# %%
print(matrix.sum() == len(labels), np.array_equal(matrix.sum(axis=1), np.bincount(labels)))

# %% [markdown]
# ## Precision, recall, F1
#
# *Recall* of a class: of its images, the share that was found (diagonal over row). *Precision*: of
# the images given that name, the share that deserved it (diagonal over column). *F1* is their
# harmonic mean, which is low as soon as one of them is. *Macro F1* is the plain mean over classes:
# each class counts the same, however small.

# %% tags=["nbval-ignore-output"]
report = metrics.per_class(labels, logits, data.class_names)
report["training images"] = np.bincount(data["train"].labels)
records.save_table(report, "07_per_class", data.source)
report.sort_values("F1").round(3)

# %%
diagonal = np.diag(matrix)
recall = diagonal / np.maximum(matrix.sum(axis=1), 1)
precision = diagonal / np.maximum(matrix.sum(axis=0), 1)
print("recall by hand equals the table:", np.allclose(recall, report["recall"]))
print("precision by hand equals the table:", np.allclose(precision, report["precision"]))

# %% [markdown]
# ## The report's hypothesis
#
# The report saw immature granulocytes misclassified most and blamed the class imbalance. That
# explanation makes two predictions: immature granulocytes are rare, and rare classes are harder than
# frequent ones. Both can be checked.

# %%
by_size = report["training images"].rank(ascending=False).astype(int)
print(
    "immature granulocytes: place", by_size["immature granulocytes"], "of", len(by_size), "by size"
)

# %% [markdown]
# The first prediction fails: only two classes have more images. For the second we rank the classes
# by size and by recall. Spearman's correlation of the two rankings would be clearly positive if
# size mattered most. Eight classes are few, so the p-value, from all 40,320 orderings, matters.

# %% tags=["nbval-ignore-output"]
sizes, recalls = report["training images"].to_numpy(), report["recall"].to_numpy()
test = stats.permutation_test(
    (sizes,), lambda x: stats.spearmanr(x, recalls).statistic,
    permutation_type="pairings", n_resamples=np.inf,
)  # fmt: skip
said = "speaks for" if test.statistic > 0 and test.pvalue < 0.05 else "does not speak for"
print(f"rank correlation {test.statistic:+.2f} (p = {test.pvalue:.2f}): {said} the hypothesis")

# %% tags=["nbval-ignore-output"]
follows = "follows" if said == "speaks for" else "does not follow"
heading = f"Recall {follows} class size: rank correlation {test.statistic:+.2f}"
points = {name: (row["training images"], row["recall"]) for name, row in report.iterrows()}
shown = charts.labelled_points(points, heading, "training images of the class", "recall")
style.save(shown, "07_size_and_recall", data.source)

# %% [markdown]
# A simpler explanation is biology: an immature granulocyte *becomes* a neutrophil, an eosinophil or a
# basophil, and the border is drawn by a person through something continuous. Then the confusions of
# this class should be with its neighbours in development rather than with the largest classes.

# %% tags=["nbval-ignore-output"]
immature = data.class_names.index("immature granulocytes")
partners = wrong[immature] + wrong[:, immature]
confused = pd.Series(partners, index=data.class_names).drop("immature granulocytes")
heading = f"Immature granulocytes are confused most with: {confused.idxmax()}"
shown = charts.bars(confused.sort_values(ascending=False), heading, "validation images")
style.save(shown, "07_immature_partners", data.source)

# %% [markdown]
# The neutrophil cannot decide it: it is a neighbour in development *and* the largest class. Look at
# the others. The eosinophil is a neighbour too and the second-largest class; the monocyte is small and
# no descendant. In the stored run the monocyte comes second and the eosinophil last, so neither size
# nor development explains the bars alone. Monocytes share the looks of immature granulocytes: a large
# cell with one large, often indented nucleus. A network sees looks.
#
# ## Remedy 1: class weights
#
# *Class weights* multiply each image's loss by the inverse share of its class, so that every class
# pulls with the same total force.

# %%
from helpers.training.loop import balanced_class_weights

toy = balanced_class_weights(np.array([0] * 6 + [1] * 2))
print(toy, "total pull:", [6 * toy[0], 2 * toy[1]])

# %% [markdown]
# ## Remedy 2: offline copies
#
# The report balanced the classes by adding augmented copies of the smaller ones, made with
# `ImageDataGenerator` and minimal transformations, before training. That class left
# `keras.preprocessing` and survives under `tf.keras`; today one uses augmentation layers. Here is
# what both do to a toy set with six images of one class and two of another.

# %%
toy_images, toy_labels = data["train"].images[:8], np.array([0] * 6 + [1] * 2)
for balance in (augment.balance_with_generator, augment.balance_with_layers):
    balanced_images, balanced_labels = balance(toy_images, toy_labels, seed=0)
    print(balance.__name__, np.bincount(balanced_labels), balanced_images.dtype)

# %% [markdown]
# ## Training with each remedy
#
# Four networks on the same fixed subset, alike in everything but the remedy. The plain one comes
# first: every other is compared with it.

# %% tags=["nbval-ignore-output"]
titles = ("plain", "class weights", "ImageDataGenerator", "Keras layers")
remedies = dict(zip(titles, recipes.remedies().values(), strict=True))
by_seed = {
    seed: {n: result(e.variant(e.name, seed=seed), data) for n, e in remedies.items()}
    for seed in data.profile.seeds
}
outcomes = by_seed[0]

# %% [markdown]
# ## Remedy 3: logit adjustment
#
# *Logit adjustment* needs no training: subtract the logarithm of each class's share of the training
# images from its logit. A network that learned that a class is rare is told to forget it. With equal
# shares nothing changes.

# %%
equal = np.full(8, 100)
same = metrics.adjust_logits(logits, equal).argmax(axis=1) == logits.argmax(axis=1)
print("equal shares change no prediction:", bool(same.all()))

# %% tags=["nbval-ignore-output"]
answers = {name: outcome.logits["validation"] for name, outcome in outcomes.items()}
subset_labels = data.train_subset(data.profile.subset.train_images).labels
counts = np.bincount(subset_labels, minlength=8)
answers["logit adjustment"] = metrics.adjust_logits(answers["plain"], counts)

# %% tags=["nbval-ignore-output"]
rows = {
    name: {
        "accuracy": str(metrics.accuracy(labels, answer)),
        "macro F1": f"{metrics.macro_f1(labels, answer).value:.3f}",
        "against plain": str(metrics.compare(labels, answers["plain"], answer)),
    }
    for name, answer in answers.items()
}
table = pd.DataFrame(rows).T
records.save_table(table, "07_remedies", data.source)
pd.set_option("display.max_colwidth", None)
table

# %% [markdown]
# Four independent tests at 5 % raise a false alarm in almost one case of five, so each p-value is
# multiplied by four (*Bonferroni's* correction) before the title below calls anything better.

# %% tags=["nbval-ignore-output"]
tests = {n: metrics.compare(labels, answers["plain"], a) for n, a in answers.items()}
better = [n for n, t in tests.items() if 4 * t.p_value < 0.05 and t.only_second > t.only_first]
judged = {name: {"macro F1": metrics.macro_f1(labels, a)} for name, a in answers.items()}
heading = f"Seed 0: more right answers (corrected test): {', '.join(better) or 'no remedy'}"
shown = charts.dots(judged, heading, "macro F1 in %, with 95 % interval")
style.save(shown, "07_remedies", data.source)

# %% [markdown]
# Before you credit balance with a gain, look for what else changed. A balanced set has more images, so
# an epoch has more steps: they are counted at the end of this section. And the test compares two *trained networks* on
# these images; another seed trains another pair. So here are the same trainings with other seeds (in
# the full profile), each remedy against the plain network of its own seed.

# %% tags=["nbval-ignore-output"]
values = {s: accuracies(trained) for s, trained in by_seed.items()}
gains = pd.DataFrame(
    {
        (judge.replace("_", " "), f"seed {s}"): {
            name: 100 * (values[s][name][judge].value - values[s]["plain"][judge].value)
            for name in titles[1:]
        }
        for judge in records.CHOOSE_ON
        for s in by_seed
    }
)
gains.round(1)

# %% tags=["nbval-ignore-output"]
for name in titles[1:]:
    gain = gains.loc[name, "validation"]
    print(
        f"{name}: {gain.mean():+.1f} points on validation, {gain.min():+.1f} to {gain.max():+.1f}"
    )

# %% [markdown]
# The report found no significant improvement. If the gains of a remedy change their sign from seed to
# seed, so do we; if they don't, mind the number of steps before you thank the balance:

# %% tags=["nbval-ignore-output"]
images_an_epoch = {name: outcome.train_images for name, outcome in outcomes.items()}
pd.Series(images_an_epoch, name="training images an epoch").to_frame()

# %% [markdown]
# ## What imbalance would look like
#
# Did we look in the right place? Let us *make* a class rare and see. We take the frozen features of
# `04_transfer`, keep a handful of images of one class, and train a linear model on them.

# %% tags=["nbval-ignore-output"]
from helpers.evaluation.explanation import linear_logits
from helpers.models.backbones import default_backbone
from helpers.training.run import features

backbone, rare, kept = default_backbone(), data.class_names.index("lymphocyte"), 5
rows = data.train_rows(data.profile.subset.train_images * 2)
train_labels = data["train"].labels[rows]
train_features = features(backbone, data, "train")[rows]
validation_features = features(backbone, data, "validation")


# %%
def rows_with_rare_class(labels, rare, keep, seed):
    """Return the rows that remain, sorted, when only `keep` images of one class are kept."""
    of_class = np.flatnonzero(labels == rare)
    kept = np.random.default_rng(seed).choice(of_class, keep, replace=False)
    return np.sort(np.concatenate([np.flatnonzero(labels != rare), kept]))


fewer = rows_with_rare_class(train_labels, rare, kept, seed=0)
print("lymphocytes left:", (train_labels[fewer] == rare).sum())

# %% tags=["nbval-ignore-output"]
few_features, few_labels = train_features[fewer], train_labels[fewer]
probes = {
    "as many as there are": linear_logits(train_features, train_labels, validation_features),
    "made rare": linear_logits(few_features, few_labels, validation_features),
    "rare, weighted": linear_logits(few_features, few_labels, validation_features, "balanced"),
}
probes["rare, logits adjusted"] = metrics.adjust_logits(
    probes["made rare"], np.bincount(few_labels)
)

# %% tags=["nbval-ignore-output"]
of_rare = labels == rare
found = {
    name: {"recall of lymphocytes": metrics.accuracy(labels[of_rare], answer[of_rare])}
    for name, answer in probes.items()
}
lost = found["as many as there are"]["recall of lymphocytes"].value
left = found["made rare"]["recall of lymphocytes"].value
heading = f"Made rare, lymphocytes fall from {lost:.0%} to {left:.0%} recall"
shown = charts.dots(found, heading, "recall in %, with 95 % interval")
style.save(shown, "07_made_rare", data.source)

# %%
recall_of = {name: sets["recall of lymphocytes"].value for name, sets in found.items()}
print(
    "a class made rare is found less often:",
    recall_of["made rare"] < recall_of["as many as there are"],
)
print(
    "logit adjustment brings some back:",
    recall_of["rare, logits adjusted"] > recall_of["made rare"],
)

# %% [markdown]
# Recall alone can be bought with false alarms: who always answers 'lymphocyte' finds them all. What
# did it cost in precision, the share of right answers among those called lymphocytes?

# %% tags=["nbval-ignore-output"]
of_lymphocytes = {
    name: metrics.per_class(labels, answer, data.class_names).loc["lymphocyte"]
    for name, answer in probes.items()
}
pd.DataFrame(of_lymphocytes).loc[["precision", "recall"]].T.round(2)

# %% [markdown]
# So imbalance does harm where it is extreme. In the stored run logit adjustment brings most of the
# recall back, class weights little of it. The homework's largest
# class has less than three times the images of its smallest, hundreds of each. Whether a remedy mends
# anything there is what the table of remedies says; the report's explanation of its *hardest class*
# fails either way, because that class is not rare.
#
# ## Recap
#
# **In this notebook you have**
#
# - read a confusion matrix, and computed precision, recall, F1 and macro F1 by hand,
# - tested the report's explanation: immature granulocytes are one of the largest classes; whether class
#   size orders the classes by recall is a rank correlation and its p-value,
# - compared class weights, two ways of offline balancing and logit adjustment with the plain network,
#   each with an interval and a paired test,
# - and made a class rare on purpose, to see what imbalance looks like when it is the cause.
#
# ## Exercises
#
# **1.** A model answers 'neutrophil' for every image. Compute its accuracy and its macro F1 on the
# validation images. Which of the two gives it away?
#
# #### Solution

# %% tags=["nbval-ignore-output"]
lazy = np.zeros((len(labels), len(data.class_names)))
lazy[:, data.class_names.index("neutrophil")] = 1
print("accuracy:", metrics.accuracy(labels, lazy))
print("macro F1:", metrics.macro_f1(labels, lazy))

# %%
lazy_accuracy, lazy_f1 = metrics.accuracy(labels, lazy), metrics.macro_f1(labels, lazy)
print("macro F1 gives it away:", lazy_f1.value < 0.5 * lazy_accuracy.value)

# %% [markdown]
# **2.** How few lymphocytes can the linear model do with? Draw recall against the number kept.
#
# #### Solution

# %% tags=["nbval-ignore-output"]
numbers = [n for n in (5, 20, 80, 320) if n < (train_labels == rare).sum()]
curve = {}
for number in numbers:
    fewer = rows_with_rare_class(train_labels, rare, number, seed=0)
    answer = linear_logits(train_features[fewer], train_labels[fewer], validation_features[of_rare])
    curve[f"{number} kept"] = {"recall": metrics.accuracy(labels[of_rare], answer)}
reached = curve[f"{numbers[-1]} kept"]["recall"].value
heading = (
    f"With {numbers[-1]} lymphocytes recall reaches {reached:.0%}, with all of them {lost:.0%}"
)
shown = charts.dots(curve, heading, "recall of lymphocytes in %, with 95 % interval")
style.save(shown, "07_how_few", data.source)

# %% [markdown]
# **3.** The strength `tau` of logit adjustment trades the classes against each other. Show that a
# large `tau` makes the model predict the rare class more often, never less.
#
# #### Solution

# %%
predicted_rare = [
    (
        metrics.adjust_logits(probes["made rare"], np.bincount(few_labels), tau).argmax(1) == rare
    ).sum()
    for tau in (0, 0.5, 1, 2)
]
print("more and more often:", bool((np.diff(predicted_rare) >= 0).all()))
