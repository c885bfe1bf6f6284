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
# # Solutions to 1 · Look before you train
#
# Try first: the exercises stand at the end of [01_inspect](../01_inspect.ipynb), the first one in
# its middle. The cells below do again what the exercises need of the lesson.

# %% tags=["nbval-ignore-output"]
import numpy as np
import pandas as pd
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.neighbors import NearestCentroid

from exercises import check
from helpers.data import cleaning
from helpers.data.homework import homework_set
from helpers.data.sources import load_photographs

photographs = load_photographs()
class_names = photographs.class_names
given = homework_set(photographs)
labels = given.labels

# %% tags=["nbval-ignore-output"]
hashes = pd.Series(cleaning.image_hashes(given.images))
run = (hashes != hashes.shift()).cumsum()
is_photograph = (run.map(run.value_counts()) == 1).to_numpy()
images, photo_labels = given.images[is_photograph], labels[is_photograph]
class_counts = pd.Series(np.bincount(photo_labels, minlength=len(class_names)), class_names)

# %% tags=["nbval-ignore-output"]
background = cleaning.background_colour(images)
warmth = background[:, 0] - background[:, 2]
shuffled = np.random.default_rng(1).permutation(np.flatnonzero(~cleaning.bluish(background)))
taught, judged = np.array_split(shuffled, 2)
colours = cleaning.mean_colours(images)
rule = NearestCentroid().fit(colours[taught], photo_labels[taught])
by_colour = rule.predict(colours[judged])

# %% [markdown]
# **Exercise 01.1** · Name the ten cells.
#
# The labels themselves are the only key there is; a haematologist might disagree with one or two.
# Most people confuse immature granulocytes with monocytes (both large, with a nucleus that is not
# lobed; look for vacuoles and a folded nucleus) and lymphocytes with erythroblasts (both small and
# round; the erythroblast's nucleus is denser and its rim is not blue but greyish).

# %% tags=["nbval-ignore-output"]
is_alone = ~pd.Series(cleaning.image_hashes(photographs.images)).duplicated(keep=False).to_numpy()
quiz_rows = np.random.default_rng(10).choice(np.flatnonzero(is_alone), 10, replace=False)
quiz_labels = photographs.labels[quiz_rows]
my_names = [class_names[label] for label in quiz_labels]
print(my_names)
check("01.1", my_names, labels=quiz_labels, class_names=class_names)

# %% [markdown]
# **Exercise 01.2** · Which class gets the strongest ghost?
#
# Every class got equally many copies of the first picture, so one might name the smallest class.
# But all copies of the second picture went to one class more (in the homework, number 5, the
# monocytes), which has twice as many planted rows as the others. Exercise 01.3 computes it.

# %% tags=["nbval-ignore-output"]
all_counts = np.bincount(labels)
planted = np.bincount(labels[~is_photograph], minlength=len(class_names))
answer = class_names[(planted / all_counts).argmax()]
print(answer)
check("01.2", answer, labels=labels, is_photograph=is_photograph, class_names=class_names)

# %% [markdown]
# **Exercise 01.3** · Which fraction of each class's rows is planted?
#
# Divide by *all* rows of a class: that is what a mean over the class is taken over.

# %% tags=["nbval-ignore-output"]
answer = planted / all_counts
print(pd.Series(answer, class_names).round(3).to_string())
check("01.3", answer, labels=labels, is_photograph=is_photograph)

# %% [markdown]
# **Exercise 01.4** · How many photographs change sides when the border moves from 10 to 20?
#
# On the photographs none does: the gap between the two groups is real, and the exact border does
# not matter.

# %% tags=["nbval-ignore-output"]
answer = ((warmth > 10) & (warmth <= 20)).sum()
print(answer)
check("01.4", answer, warmth=warmth)

# %% [markdown]
# **Exercise 01.5** · Does the rule gain if it sees where the colours are?
#
# It does, and by much: 4 × 4 places say how large the cell is and whether its middle is dark.

# %% tags=["nbval-ignore-output"]
places = cleaning.thumbnails(images, 4).reshape(len(images), -1)
rule = NearestCentroid().fit(places[taught], photo_labels[taught])
answer = (rule.predict(places[judged]) == photo_labels[judged]).mean()
print(f"{answer:.1%}, by mean colour {(by_colour == photo_labels[judged]).mean():.1%}")
check("01.5", answer, images=images, labels=photo_labels, taught=taught, judged=judged)

# %% [markdown]
# **Exercise 01.6** · A rule of your own that is ten points better than the mean colour.
#
# One of many: linear discriminant analysis weighs the 48 numbers instead of treating all alike. It
# learns from `taught` only. Thumbnails of 8 × 8 or nearest neighbours get further still.

# %% tags=["nbval-ignore-output"]
model = LinearDiscriminantAnalysis().fit(places[taught], photo_labels[taught])
answer = model.predict(places[judged])
print(f"{(answer == photo_labels[judged]).mean():.1%}")
check("01.6", answer, labels=photo_labels, judged=judged, by_colour=by_colour)
