"""What 03 and 04 say of recorded results is what the records say, at the printed rounding."""

import re
from functools import cache

import jupytext
import numpy as np
import pytest

from helpers import course
from helpers.evaluation import metrics, records

SMALL, VGG = "small_cnn", "vgg_like"
LITE0, MOBILE = "efficientnet_lite0_frozen", "mobilenet_v3_small_frozen"


@cache
def recorded():
    return records.published()


@cache
def prose(name):
    notebook = jupytext.read(course.root() / "notebooks" / f"{name}.py")
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    return " ".join(re.sub(r"[*`]", "", " ".join(texts)).split())


def percent(experiment, image_set):
    return [f"{100 * value:.0f}" for value in recorded().values(experiment, image_set)]


def difference(first, second, image_set, seeds=(0, 1, 2)):
    """Return second minus first in points with its interval, as 03 and 04 compute it."""
    both = [recorded().correct(name, image_set)[list(seeds)[:k]] for name, k in (first, second)]
    by_image = both[1].mean(axis=0) - both[0].mean(axis=0)
    variance = by_image.var(ddof=1) / len(by_image)
    variance += sum(of.mean(axis=1).var(ddof=1) / len(of) for of in both if len(of) > 1)
    reach = 1.96 * np.sqrt(variance)
    return [
        100 * value for value in (by_image.mean(), by_image.mean() - reach, by_image.mean() + reach)
    ]


def of_seeds(image_set, seed):
    """Return frozen Lite0 minus the small CNN for one seed of each, in points with interval."""
    return difference((SMALL, 1), (LITE0, 1), image_set, seeds=(seed,))


def sentences_of_03():
    clean = difference((SMALL, 3), (VGG, 1), "validation")
    shifted = difference((SMALL, 3), (VGG, 1), "shifted_validation")
    test, second = (
        100 * np.ptp(recorded().values(SMALL, of)) for of in ("test", "second_acquisition")
    )
    reached = percent(SMALL, "second_acquisition")
    details = recorded().record(VGG, "validation").details
    first = recorded().record(SMALL, "validation")
    return [
        f"CNN 2 is {clean[0]:.1f} points better, on shifted ones {-shifted[0]:.1f} points worse",
        f"they lie within {test:.1f} points",
        f"they reach {reached[0]}, {reached[1]} and {reached[2]} %",
        f"{second:.0f} points between two seeds",
        f"our limit of {details['epochs']} epochs",
        f"all {first.details['train_images']:,} training images",
        f"{first.details['train_images']:,} + {first.estimate.n:,} +",
    ]


def sentences_of_04():
    clean = difference((SMALL, 3), (LITE0, 3), "validation")
    shifted = difference((SMALL, 3), (LITE0, 3), "shifted_validation")
    test = difference((SMALL, 3), (LITE0, 3), "test")
    seeds = [of_seeds("second_acquisition", seed) for seed in range(3)]
    reached = percent(LITE0, "second_acquisition")
    small = percent(SMALL, "second_acquisition")
    gain, low, high = difference((LITE0, 3), (MOBILE, 3), "shifted_test")
    tie = difference((LITE0, 3), (MOBILE, 3), "shifted_validation")
    blind = difference((LITE0, 3), (MOBILE, 3), "validation")
    alone = recorded().compare(LITE0, MOBILE, "shifted_validation")
    return [
        f"{-clean[0]:.1f} points worse than the small CNN on clean validation, "
        f"and {shifted[0]:.1f} points better on shifted validation",
        f"(−{-test[0]:.1f})",
        f"CNN 1 reaches {small[0]}, {small[1]} or {small[2]} %",
        f"announced +{seeds[0][0]:.0f} points ({seeds[0][1]:.0f} to {seeds[0][2]:.0f}), "
        f"with seed 1 +{seeds[1][0]:.0f}, and with seed 2 +{seeds[2][0]:.0f}",
        f"{reached[0]}, {reached[1]} and {reached[2]} %",
        f"{alone.only_first} images that only Lite0 gets right, {alone.only_second} that",
        f"{gain:.1f} points better ({low:.1f} to {high:.1f})",
        f"from −{-tie[1]:.1f} to +{tie[2]:.1f} points",
        f"had −{-blind[0]:.1f} points",
        f"With {len(recorded().labels('shifted_validation')):,} images",
    ]


@pytest.mark.parametrize(
    ("name", "sentences"),
    [("03_custom_cnns", sentences_of_03), ("04_transfer", sentences_of_04)],
    ids=["03", "04"],
)
def test_the_lesson_says_what_the_records_say(name, sentences):
    missing = [sentence for sentence in sentences() if sentence not in prose(name)]
    assert not missing, f"{name} should say: {missing}"


def test_verdicts_in_words_are_the_records():
    """No zero in an interval that is told apart; zero in one that is not."""
    apart = [
        difference((SMALL, 3), (VGG, 1), "validation"),
        difference((SMALL, 3), (VGG, 1), "shifted_validation"),
        difference((SMALL, 3), (LITE0, 3), "validation"),
        difference((SMALL, 3), (LITE0, 3), "shifted_validation"),
        difference((LITE0, 3), (MOBILE, 3), "shifted_test"),
    ]
    assert all(low * high > 0 for _, low, high in apart)
    together = [
        difference((SMALL, 3), (LITE0, 3), "shifted_test"),
        difference((SMALL, 3), (LITE0, 3), "second_acquisition"),
        difference((LITE0, 3), (MOBILE, 3), "shifted_validation"),
        difference((LITE0, 3), (MOBILE, 3), "validation"),
    ]
    assert all(low * high < 0 for _, low, high in together)


def test_the_rule_takes_lite0():
    others = (LITE0, "efficientnet_lite1_frozen", "efficientnet_lite2_frozen")
    values = {of: recorded().values(of, "shifted_validation").mean() for of in (MOBILE, *others)}
    assert max(values, key=values.get) == MOBILE
    gains = {name: difference((MOBILE, 3), (name, 3), "shifted_validation") for name in others}
    assert [name for name, (_, low, high) in gains.items() if low * high < 0] == [LITE0]
    clean = [recorded().estimate(name, "validation").value for name in (LITE0, MOBILE)]
    assert clean[0] > clean[1]


def test_two_seeds_of_one_design_differ_by_more_than_chance_over_images():
    labels = recorded().labels("second_acquisition")
    logits = [recorded().logits(SMALL, "second_acquisition", seed) for seed in range(3)]
    for other, digits in ((1, "1e-05"), (2, "1e-12")):
        assert f"{metrics.compare(labels, logits[0], logits[other]).p_value:.0e}" == digits
