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
# # Solutions to 2 · Clean before you split
#
# Try first: the exercises stand at the end of [02_clean](../02_clean.ipynb). The cells below do
# again what the exercises need of the lesson.

# %% tags=["nbval-ignore-output"]
import hashlib
import io

import numpy as np
import pandas as pd
import scipy.fft
from PIL import Image
from sklearn.model_selection import train_test_split

from exercises import check
from helpers.data import cleaning
from helpers.data.homework import CLASS_COUNTS, VARIANTS, homework_set
from helpers.data.sources import load_photographs

# %% tags=["nbval-ignore-output"]
photographs = load_photographs()
given = {variant: homework_set(photographs, variant) for variant in VARIANTS}
images, labels = given["identical"].images, given["identical"].labels
altered, known = given["backgrounds"].images, given["identical"].planted
if known is None:
    known = np.arange(len(labels)) >= CLASS_COUNTS.sum()

# %% tags=["nbval-ignore-output"]
hashes = pd.Series([hashlib.sha1(image.tobytes()).hexdigest()[:16] for image in images])
kept = ~hashes.duplicated(keep=False).to_numpy() & ~known
kept_rows, planted_rows = np.flatnonzero(kept), np.flatnonzero(known)


# %% tags=["nbval-ignore-output"]
def perceptual_hash(piece):
    grey = piece @ [0.299, 0.587, 0.114]
    waves = scipy.fft.dctn(grey, norm="ortho")[:8, :8].ravel()
    return waves > np.median(waves[1:])


def recompressed(image, quality):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def grey_centre(image):
    return image[24:72, 24:72] @ [0.299, 0.587, 0.114]


def best_similarity(first, second):
    quarters = [np.rot90(second, number) for number in range(4)]
    both_sides = [side for quarter in quarters for side in (quarter, quarter[:, ::-1])]
    return max(cleaning.similarity(first, side) for side in both_sides)


# %% [markdown]
# **Exercise 02.1** · Six images have the hashes a, a, b, c, c, c. How many stay?
#
# With `keep="first"` one of each kind stays: a, b, c. With `keep=False` only b stays, which has no
# double.

# %% tags=["nbval-ignore-output"]
letters = pd.Series(list("aabccc"))
answer = tuple(int((~letters.duplicated(keep=keep)).sum()) for keep in ("first", False))
print(answer)
check("02.1", answer)

# %% [markdown]
# **Exercise 02.2** · How many images share a hash of 16 bits?
#
# Some two thousand of twelve thousand, although there are 65,536 different hashes: this is the
# birthday paradox. n images form n(n−1)/2 pairs, each of which agrees by accident in one of 65,536
# cases. With 64 bits the same computation gives 4 · 10⁻¹² pairs.

# %% tags=["nbval-ignore-output"]
answer = hashes[kept].str[:4].duplicated(keep=False).sum()
print(answer, "; expected about", round(kept.sum() * (1 - np.exp(-kept.sum() / 2**16))))
check("02.2", answer, hashes=hashes[kept])

# %% [markdown]
# **Exercise 02.3** · Mark every row that has an equal image under another label.
#
# `transform` gives each row what was computed for its group.

# %% tags=["nbval-ignore-output"]
answer = pd.Series(labels).groupby(hashes).transform("nunique") > 1
print(answer.sum())
check("02.3", answer, hashes=hashes, labels=labels)

# %% [markdown]
# **Exercise 02.4** · For which fraction does the hash survive a move by 1 pixel?
#
# For few. The waves that are kept are as short as eight pixels, and one pixel puts those out of
# step by an eighth. (The hash of the whole image survives it far better: there, each of the 32
# pixels stands for three.)

# %% tags=["nbval-ignore-output"]
hundred = images[kept_rows[:100]]
survives = []
for image in hundred:
    before = perceptual_hash(image[32:64, 32:64])
    after = perceptual_hash(np.roll(image, 1, axis=1)[32:64, 32:64])
    survives.append((before != after).sum() <= 4)
answer = np.mean(survives)
print(answer)
check("02.4", answer, images=hundred)

# %% [markdown]
# **Exercise 02.5** · Mark the validation images whose patient is in the training set.
#
# Seven of ten, although no image is on both sides: with two images of each patient on average, the
# second one is mostly in the larger part.

# %% tags=["nbval-ignore-output"]
patient_of = np.random.default_rng(5).integers(0, 20, 40)
study_train, study_validation = train_test_split(np.arange(40), test_size=10, random_state=0)
answer = np.isin(patient_of[study_validation], patient_of[study_train])
print(answer.sum(), "of", len(answer))
check("02.5", answer, groups=patient_of, train=study_train, validation=study_validation)

# %% [markdown]
# **Exercise 02.6** · Find the copies that were moved, turned and recompressed.
#
# Similarity to the nearer of the two wanted pictures, in the best of eight orientations, with the
# border of 0.9 from the lesson.

# %% tags=["nbval-ignore-output"]
rng = np.random.default_rng(6)
photograph_rows = np.flatnonzero(~known & kept)
mixed_rows = rng.permutation([*rng.choice(planted_rows, 100), *rng.choice(photograph_rows, 300)])
mixed = []
for row in mixed_rows:
    moved = np.roll(altered[row], rng.integers(-4, 5, 2), axis=(0, 1))
    mixed.append(recompressed(np.rot90(moved, rng.integers(4)), 60))

# %% tags=["nbval-ignore-output"]
wanted = [grey_centre(altered[row]) for row in planted_rows[[0, -1]]]
best = np.array([max(best_similarity(w, grey_centre(image)) for w in wanted) for image in mixed])
planted = known[mixed_rows]
print(
    f"planted: {best[planted].min():.2f} and more, photographs: {best[~planted].max():.2f} at most"
)
answer = best >= 0.9
check("02.6", answer, planted=planted)
