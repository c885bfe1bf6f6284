"""What 03 to 09 say of recorded results is what the records say, at the printed rounding."""

import json
import re
from functools import cache, partial

import jupytext
import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.metrics import f1_score

from commands.report import tables
from helpers import course
from helpers.changes import shifts
from helpers.data.sets import SHIFT_SEEDS
from helpers.evaluation import metrics, records
from helpers.training import recipes

SMALL, VGG = "small_cnn", "vgg_like"
LITE0, MOBILE = "efficientnet_lite0_frozen", "mobilenet_v3_small_frozen"
TUNED, FINAL, LARGER = "fine_tuned", "final", "ladder_lite2_larger"
WAYS = ("alone", "with")
SUBSET = "subset_fine_tuned"


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
    train, validation, blue = first.details["train_images"], first.estimate.n, 320
    of_others = ("test", "shifted_validation", "second_acquisition")
    others = sum(len(recorded().labels(of)) for of in of_others) - blue
    return [
        f"CNN 2 is {clean[0]:.1f} points better, on shifted ones {-shifted[0]:.1f} points worse",
        f"they lie within {test:.1f} points",
        f"they reach {reached[0]}, {reached[1]} and {reached[2]} %",
        f"{second:.0f} points between two seeds",
        f"our limit of {details['epochs']} epochs",
        f"all {first.details['train_images']:,} training images",
        f"the {train + validation + blue:,} cleaned images of the homework "
        f"({train:,} train, {validation:,} validation, {blue} second acquisition) "
        f"and {others:,} others to judge by",
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
    assert gain > 0 > tables.difference(recorded(), LITE0, MOBILE, "shifted_test").high
    against_small = difference((SMALL, 3), (LITE0, 3), "shifted_test")
    assert against_small[1] < 0 < against_small[2]
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


def value(experiment, image_set):
    return 100 * recorded().estimate(experiment, image_set).value


def gain(image_set, first=TUNED, second=FINAL):
    """Return how many points the second of two trainings is better."""
    return value(second, image_set) - value(first, image_set)


def by_chain(image_set):
    """Return each image's number of operations, and the fraction of them that was practised."""
    chains = shifts.chains(len(recorded().labels(image_set)), SHIFT_SEEDS[image_set])
    practised = [np.mean([shifts.OPERATIONS[name].seen for name in chain]) for chain in chains]
    return np.array([len(chain) for chain in chains]), np.array(practised)


def correct(experiment, image_set):
    return recorded().correct(experiment, image_set)[0]


def sentences_of_05():
    networks = json.loads((recorded().folder / "costs.json").read_text())["networks"]
    slow, quick, many, few = (
        networks[name]
        for name in ("vgg_like", "efficientnet_lite1", "mobilenet_v3_small", "small_cnn")
    )
    assert slow["parameters"] < quick["parameters"]
    assert 1.75 < slow["inference_ms"] / quick["inference_ms"] < 2
    assert 6 < slow["multiply_adds"] / quick["multiply_adds"] < 7
    assert many["inference_ms"] / few["inference_ms"] == pytest.approx(1, abs=0.15)
    assert round(many["parameters"] / few["parameters"]) == 3
    images = recorded().record(TUNED, "validation").details["train_images"]
    gaps = [value(name, "test") - value(name, "shifted_test") for name in (TUNED, LITE0)]
    clean, shifted = (
        -100 * recorded().difference("subset_batch_norm_trained", SUBSET, of).value
        for of in records.CHOOSE_ON
    )
    return [
        f"costs {clean:.1f} points on clean photographs and {shifted:.1f} on shifted ones",
        "takes nearly twice as long, with more than six times the products",
        "three times the parameters of the two convolutions and takes as long",
        f"all {images:,} training photographs",
        f"stays: {gaps[0]:.0f} of {gaps[1]:.0f} points",
        f"192 steps leave {100 * 0.99**192:.0f} % of ImageNet's statistics",
    ]


def left_out():
    """Return what the other families teach about each, and what practice adds to three of them."""
    composed, families = "subset_composed", ("geometry", "colour", "occlusion")
    without = {f"{family}_only": f"subset_without_{family}" for family in families}
    taught, adds = (
        [
            recorded().difference(*pair, image_set, comparisons=7)
            for image_set, pair in pairs.items()
        ]
        for pairs in (
            {of: (n, SUBSET) for of, n in {**without, "degradation_only": composed}.items()},
            {of: (composed, n) for of, n in without.items()},
        )
    )
    return taught, adds


def sentences_of_06():
    _, practised = by_chain("shifted_test")
    before, after = (correct(name, "shifted_test") for name in (TUNED, FINAL))
    unseen, elsewhere = (
        after[of].mean() - before[of].mean() for of in (practised == 0, practised > 0)
    )
    assert unseen / elsewhere == pytest.approx(1 / 3, abs=0.05)
    assert gain("unseen_only") > 0.75 * gain("shifted_test")
    assert 2 * (len(recipes.FAMILIES) - 1) == 16
    chains = by_family("shifted_validation")
    inside, outside = (
        [
            practice(family, chains[family] == occurs)
            for family in ("colour", "occlusion", "geometry")
        ]
        for occurs in (True, False)
    )
    assert [gain.sign for gain in inside] == [1, 1, 0]
    assert [gain.sign for gain in outside] == [0, 0, 0]
    assert max(abs(gain.value) for gain in outside[:2]) < 0.01
    assert 370 < min((~found).sum() for found in chains.values()) < 430
    taught, adds = left_out()
    assert [gain.sign for gain in taught] == [0, 0, 1, 0]
    assert [gain.sign for gain in adds] == [0, 1, 0]
    assert 0 < taught[3].high < 0.01
    clean_cost = recorded().difference("subset_composed", SUBSET, "validation")
    assert clean_cost.sign < 0
    assert [len(recorded().seeds(name, "colour_only")) for name in (SUBSET, "subset_composed")] == [
        *(3, 2)
    ]
    assert min(recorded().seeds(SUBSET, "colour_only")) == 3
    found = [
        100 * recorded().difference(name, SUBSET, "shifted_validation").value
        for name in recipes.FAMILIES
        if name in ("subset_composed", "subset_colour", "subset_occlusion")
        or "rand_augment" in name
    ]
    composed = -100 * recorded().difference("subset_composed", SUBSET, "validation").value
    copies = ("subset_rand_augment_3_copies", "subset_rand_augment_copies")
    operations = -100 * recorded().difference(*copies, "validation").value
    trainings = 100 * recorded().values(recipes.HOMEWORK_FINAL, "second_acquisition")
    assert round(trainings[1], 1) == round(trainings[2], 1)
    gains = [
        100 * recorded().difference(name, TUNED, "shifted_test").value
        for name in (recipes.HOMEWORK_FINAL, "fine_tuned_rand_augment_lion")
    ]
    means = {
        of: {n: recorded().mean(n, of).value for n in recipes.FAMILIES} for of in records.CHOOSE_ON
    }
    highest = [max(of_set, key=of_set.get) for of_set in means.values()]
    assert highest == ["subset_mild", "subset_composed"]
    return [
        f"RandAugment brings {min(gains):.0f} to {max(gains):.0f} points under our shift",
        f"the first of RandAugment reached {trainings[0]:.1f} % there, the next two "
        f"{trainings[1]:.1f}",
        "the final model's gain is about a third of its gain elsewhere",
        "There most of the gain is left",
        "whoever asks sixteen questions",
        f"recolouring brings {100 * inside[0].value:.0f} points and covering "
        f"{100 * inside[1].value:.0f}",
        f"bring {min(found):.0f} to {max(found):.0f} points under shift",
        f"which costs {composed:.0f} points there",
        f"the other families help, by {100 * taught[2].value:.1f} points",
        f"which adds {100 * adds[1].value:.0f}",
        f"Three operations cost {operations:.0f} points on clean photographs",
    ]


def mean(experiment, image_set):
    """Return an experiment's mean accuracy over its seeds, in per cent."""
    return 100 * recorded().mean(experiment, image_set).value


def by_family(image_set):
    """Return bool (N,) for each family of operations: which images' chains hold one of it."""
    chains = shifts.chains(len(recorded().labels(image_set)), SHIFT_SEEDS[image_set])
    families = [{shifts.OPERATIONS[name].family for name in chain} for chain in chains]
    return {f: np.array([f in found for found in families]) for f in set().union(*families)}


def practice(family, images):
    """Return what practising one family brings on some images of shifted validation, as in 06."""
    of = "shifted_validation"
    variance = recorded().seed_variance(SUBSET, of)
    both = (recorded().correct(name, of)[:, images] for name in (f"subset_{family}", SUBSET))
    return metrics.accuracy_difference(*both, variance, comparisons=6)


def sentences_of_07():
    counts = [852, 2181, 1085, 2026, 849, 993, 2330, 1643]
    recall = correct("fine_tuned_rand_augment", "validation")
    labels = recorded().labels("validation")
    hardest = min(range(8), key=lambda label: recall[labels == label].mean())
    assert sorted(counts, reverse=True).index(counts[hardest]) == 2
    assert 2.5 < max(counts) / min(counts) < 3
    found = [remedies_of_07(image_set) for image_set in records.CHOOSE_ON]
    assert all(difference.sign == 0 for remedies in found for difference in remedies.values())
    reach = {
        name: [100 * (remedies[name].high - remedies[name].value) for remedies in found]
        for name in found[0]
    }
    assert reach.pop("logit adjustment") == pytest.approx([1, 1], abs=0.25)
    low, high = min(map(min, reach.values())), max(map(max, reach.values()))
    assert (low, high) == pytest.approx((2, 3.5), abs=0.25)
    subset = recorded().record(SUBSET, "validation").details["train_images"]
    return [
        f"one fixed subset of {subset:,} training images for at most eight epochs",
        "third-largest of eight",
        "less than three times the images of the smallest",
        "reach two to three and a half points",
        "That of logit adjustment reaches about one",
    ]


def remedies_of_07(image_set):
    """Return the differences of 07's table, each from the stored logits anew."""
    labels = recorded().labels(image_set)
    frequencies = np.log([852, 2181, 1085, 2026, 849, 993, 2330, 1643])

    def answers(name, shift=0):
        seeds = recorded().seeds(name, image_set)
        return np.array(
            [(recorded().logits(name, image_set, k) - shift).argmax(axis=1) for k in seeds]
        )

    def scores(predicted):
        return np.array([f1_score(labels, each, average="macro") for each in predicted])

    spread = metrics.seed_variance(scores(answers(name)) for name in recipes.REMEDIES)
    difference = partial(metrics.macro_f1_difference, labels)
    found = {
        title: difference(answers(name), answers(SUBSET), 8, spread, 8)
        for name, title in recipes.REMEDIES.items()
        if name != SUBSET
    }
    gains = [
        scores(answers(name, frequencies)) - scores(answers(name)) for name in recipes.FAMILIES
    ]
    both = answers(SUBSET, frequencies), answers(SUBSET)
    spread = metrics.seed_variance(gains)
    return {**found, "logit adjustment": difference(*both, 8, spread, 8, paired=True)}


def sentences_of_08():
    alone = recorded().compare(TUNED, FINAL, "shifted_validation")
    length, _ = by_chain("shifted_validation")
    lost = [
        50
        * (
            correct(n, "shifted_validation")[length == 2].mean()
            - correct(n, "shifted_validation")[length == 4].mean()
        )
        for n in (TUNED, FINAL)
    ]
    assert 2 < lost[1] < 3
    digits = {9: "nine", 2: "two", 3: "three"}
    length, practised = by_chain("shifted_test")
    unseen = practised == 0
    before, after = (correct(name, "shifted_test")[unseen].mean() for name in (TUNED, FINAL))
    assert (after - before) / gain("shifted_test") * 100 == pytest.approx(1 / 3, abs=0.05)
    assert 100 * (after - before) == pytest.approx(10, abs=0.5)
    steps = list(recipes.ABLATION)
    ladder = {
        image_set: dict(zip(steps[1:], np.diff([mean(n, image_set) for n in steps]), strict=True))
        for image_set in ("validation", "shifted_validation", "second_acquisition")
    }
    second = [f"{mean(name, 'second_acquisition'):.0f}" for name in steps[3:5]]
    lowest = 100 * recorded().mean("ladder_batch_norm", "second_acquisition").low
    assert lowest > 86
    jumps = sorted(ladder["second_acquisition"].values())
    assert ladder["second_acquisition"]["ladder_batch_norm"] == jumps[-2]
    leads = [
        recorded().difference("subset_strong", name, "shifted_validation", comparisons=18)
        for name in recipes.TRIALS
    ]
    assert len(leads) == 15
    assert min(lead.low for lead in leads) > 0
    start, *changed = recipes.ALONE
    asked = 2 * len(changed)
    alone_is = {n: recorded().difference(n, start, "shifted_validation", asked) for n in changed}
    chain = alone_is.pop("subset_strong")
    assert chain.sign > 0
    assert len(alone_is) == 5
    assert not any(each.sign for each in alone_is.values())
    assert signs([(n, start) for n in changed], "validation", asked) == [0] * len(changed)
    assert round(100 * max(each.high for each in alone_is.values())) == 5
    assert round(100 * min(each.low for each in alone_is.values())) == -6
    unchanged = {
        "subset_longer": SUBSET,
        "subset_rand_augment_longer": "subset_rand_augment",
        "subset_rand_augment_schedule": "subset_rand_augment",
        "subset_composed_batch_norm": "subset_composed_schedule",
    }
    assert list(unchanged) == list(recipes.CONTROLS)
    assert signs(list(unchanged.items()), "shifted_validation", 8) == [0] * 4
    control_leads = {
        n: recorded().difference("subset_strong", n, "shifted_validation", 8) for n in unchanged
    }
    assert all(lead.sign > 0 for lead in control_leads.values())
    nearest = min(control_leads, key=lambda name: control_leads[name].value)
    assert nearest == "subset_rand_augment_schedule"
    lion = "tuning_lion_5e-5"
    clean = [100 * recorded().mean(n, "validation").value for n in (lion, "subset_strong")]
    recall = {label: [f"{100 * of:.0f}" for of in pair] for label, pair in recalls().items()}
    matrix = metrics.confusion(
        recorded().labels("shifted_validation"), recorded().logits(FINAL, "shifted_validation")
    )
    shifted = ladder["shifted_validation"]
    told = {asked for asked, p_value in second_opinions().items() if p_value < 0.05 / 12}
    third = "unseen_only_validation"
    assert len(second_opinions()) == 12
    assert told == {("ladder_wide", "with", third), *((LARGER, way, third) for way in WAYS)}
    assert recorded().compare(FINAL, LARGER, "unseen_only").p_value < 0.001
    assert 0.4 < -gain("validation", FINAL, LARGER) < 0.7
    ahead = [
        (logits.argmax(axis=1) == recorded().labels(third)).sum() - correct(FINAL, third).sum()
        for logits in (
            recorded().logits(LARGER, third),
            recorded().logits(LARGER, third) + recorded().logits(FINAL, third),
        )
    ]
    minutes = sum(
        recorded().record(name, "test").details["seconds"] for name in ("ladder_lite2", LARGER)
    )
    rates = {name: recorded().values(name, "validation") for name in recipes.RATES}
    assert [len(values) for values in rates.values()] == [3] * 4
    failed = rates.pop("subset_1e-3")
    assert failed.max() < min(values.min() for values in rates.values())
    assert rates["subset_batch_norm_1e-3"].min() > rates["subset_batch_norm_trained"].max()
    adam = sorted(100 * recorded().values("tuning_adam_1e-3", "validation"))
    assert recorded().values("tuning_lion_1e-3", "validation").max() < 0.2
    return [
        f"{gain('test'):.0f} point apart at home, {gain('shifted_test'):.0f} under shift",
        f"a network with {value(TUNED, 'test'):.0f} % at home loses a third",
        f"the same {recorded().record(FINAL, 'test').details['train_images']:,} photographs",
        f"the network before some {digits[round(lost[0])]} points, the final model two or three",
        f"the final model alone names {alone.only_second}, "
        f"the first network alone {alone.only_first}.",
        f"RandAugment brings {shifted['fine_tuned_rand_augment']:.0f} points, the strong chain "
        f"with its new schedule {shifted['ladder_strong']:.0f}",
        f"with averaged weights and smoothed labels, another {shifted['ladder_longer']:.0f}",
        f"the strong chain costs {-ladder['validation']['ladder_strong']:.0f} points, and the long "
        f"training brings {ladder['validation']['ladder_longer']:.0f}",
        f"the {shifted['final']:.0f} points of the larger images",
        f"largest but one, {second[0]} to {second[1]} %, and none of its three trainings lies "
        f"below {lowest:.0f}",
        f"it brings {100 * chain.value:.0f} points under shift",
        f"every one of the fifteen by {100 * min(lead.value for lead in leads):.0f} points or more",
        f"Lion at 5e-5 reaches {clean[0]:.1f} %, the strong chain {clean[1]:.1f} %",
        f"end anywhere between {100 * failed.min():.0f} and {100 * failed.max():.0f} %",
        f"ended at {adam[0]:.0f}, {adam[1]:.0f} and {adam[2]:.0f} % on validation",
        f"at 128, {minutes / 60:.0f} minutes in all",
        f"Confirmed: {gain('unseen_only', FINAL, LARGER):.1f} points",
        f"leads each of them by {100 * control_leads[nearest].value:.1f} points or more",
        f"a gain of ten points on {unseen.sum()} images without anything practised",
        f"all {recorded().estimate(FINAL, 'unseen_only').n:,} test photographs",
        f"the gain is {gain('unseen_only'):.0f} points where no operation was practised, "
        f"against {gain('shifted_test'):.0f} on",
        f"alone it is {ahead[0]} cells ahead, together with it {ahead[1]}",
        f"monocytes ({' to '.join(recall[5])} %), lymphocytes ({' to '.join(recall[4])} %) and "
        f"immature granulocytes ({' to '.join(recall[3])} %)",
        f"the monocyte ({matrix[3, 5]}: a similar shape), the neutrophil ({matrix[3, 6]}: what "
        f"many of them become) and the basophil ({matrix[3, 0]}: perhaps",
    ]


def sentences_of_09():
    eight = recorded().estimate(FINAL, "eight_views/shifted_test").value
    assert eight < recorded().estimate(FINAL, "shifted_test").high
    card = json.loads((course.root() / "models" / FINAL / "card.json").read_text())
    labels, logits = (
        of[np.isin(recorded().labels("shifted_validation"), (5, 6))]
        for of in (
            recorded().labels("shifted_validation"),
            recorded().logits(FINAL, "shifted_validation"),
        )
    )
    left = (5 + logits[:, 5:7].argmax(axis=1) != labels).sum()
    assert left < (logits.argmax(axis=1) != labels).sum() / 2
    weights = (course.root() / "models" / FINAL / "weights.npz").stat().st_size
    unfamiliar = card["familiarity"]["measured"]["shifted_validation"]["unfamiliar"]
    decision = (course.root() / "docs/decisions/0009-photographs-from-anywhere.md").read_text(
        "utf-8"
    )
    strangers = [
        f"{float(found):.0f}"
        for found in re.search(
            r"unfamiliar: ([\d.]+) % of corners.*?, ([\d.]+) % of the pieces of two holiday "
            r"pictures \(120\), ([\d.]+) % of masks \(240\), ([\d.]+) % of noise",
            decision,
        ).groups()
    ]
    worse = re.search(
        r"unfamiliar are ([\d.]+) % of the corners, ([\d.]+) % of the holiday pictures, "
        r"([\d.]+) % of the masks, ([\d.]+) % of the noise",
        decision,
    )
    worse = [f"{float(number):.0f}" for number in worse.groups()]
    small = re.search(r"\| 30 % of their size \| ([\d.]+) % .*?\| ([\d.]+) %", decision).groups()
    return [
        f"its weights ({weights / 1e6:.1f} MB)",
        f"reaches down to {100 * metrics.fraction(np.ones(6)).low:.0f} %",
        f"gave no name to {strangers[0]} % of image corners that show red cells only, to "
        f"{strangers[2]} % of black-and-white silhouettes of cells, and to {strangers[1]} % of "
        "pieces",
        f"has its price, {100 * unfamiliar:.0f} % of the shifted cells",
        f"gave no name to {worse[0]} % of those corners, to {worse[2]} % of the silhouettes, to "
        f"{worse[1]} % of the pieces, and to {worse[3]} % of noise (final: "
        f"{strangers[3]} %)",
        f"{small[0]} % were named correctly as they were and {small[1]} % once the cell was found",
        f"Eight views bring {100 * eight - value(FINAL, 'shifted_test'):.1f} points "
        "(before rounding)",
        f"Before needs {temperature(TUNED):.1f} at home. After needs {temperature(FINAL):.2f}",
        f"is correct in {value(FINAL, 'test'):.0f} % of the clean cases",
        f"Our {value(FINAL, 'shifted_test'):.1f} % belongs to our shifted test",
    ]


def second_opinions():
    """Return p of 08's questions, by network, alone or with the final model, and image set."""
    found = {}
    for image_set in (*records.CHOOSE_ON, "unseen_only_validation"):
        labels, own = recorded().labels(image_set), recorded().logits(FINAL, image_set)
        for name in ("ladder_wide", LARGER):
            other = recorded().logits(name, image_set)
            for way, asked in zip(WAYS, (other, own + other), strict=True):
                found[name, way, image_set] = metrics.compare(labels, own, asked).p_value
    return found


def test_decision_4_tells_what_the_ensemble_reaches():
    text = (course.root() / "docs" / "decisions" / "0004-the-final-model.md").read_text("utf-8")
    text, reached = " ".join(text.split()), {}
    for image_set in ("shifted_validation", "shifted_test", "test", "second_acquisition"):
        logits = [recorded().logits(name, image_set) for name in (FINAL, "ladder_lite2")]
        correctly = np.add(*logits).argmax(axis=1) == recorded().labels(image_set)
        reached[image_set] = f"{100 * correctly.mean():.1f}"
    assert f"logits reached {reached['shifted_validation']} % on shifted validation" in text
    found = re.search(r"the mean has ([\d.]+) \(.*?\) .*?, ([\d.]+) \(.*? and ([\d.]+) \(", text)
    expected = [reached[name] for name in ("shifted_test", "test", "second_acquisition")]
    assert list(found.groups()) == expected


def points(first, second, image_set):
    """Return second minus first in points, over all seeds of both."""
    return 100 * recorded().difference(second, first, image_set).value


def recalls():
    """Return each class's recall on the second acquisition, before and after."""
    labels = recorded().labels("second_acquisition")
    both = [correct(name, "second_acquisition") for name in (TUNED, FINAL)]
    return {label: [of[labels == label].mean() for of in both] for label in np.unique(labels)}


def temperature(experiment, image_set="validation"):
    """Return the temperature that makes the labels of a set most likely."""
    labels, logits = recorded().labels(image_set), recorded().logits(experiment, image_set)

    def loss(by):
        return -log_softmax(logits / by, axis=1)[np.arange(len(labels)), labels].mean()

    return minimize_scalar(loss, bounds=(0.05, 20), method="bounded").x


@pytest.mark.parametrize(
    ("name", "sentences"),
    [
        ("03_custom_cnns", sentences_of_03),
        ("04_transfer", sentences_of_04),
        ("05_finetune", sentences_of_05),
        ("06_augment", sentences_of_06),
        ("07_imbalance", sentences_of_07),
        ("08_final", sentences_of_08),
        ("09_use", sentences_of_09),
    ],
    ids=["03", "04", "05", "06", "07", "08", "09"],
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


def test_the_seed_that_leads_everywhere_else_is_last_on_the_second_acquisition():
    reached = {of: recorded().values(SMALL, of) for of in (*records.CHOOSE_ON, *records.REPORT_ON)}
    assert reached.pop("second_acquisition").argmin() == 2
    assert len(reached) == 4
    assert all(values.argmax() == 2 for values in reached.values())


def test_verdicts_in_words_of_05_to_08_are_the_records():
    for image_set in ("validation", "test", "shifted_test", "second_acquisition"):
        assert recorded().difference(TUNED, LITE0, image_set).sign > 0
    against = [(name, TUNED) for name in recipes.FINE_TUNED if name != TUNED]
    for image_set in ("validation", "test", "second_acquisition"):
        assert signs(against, image_set, 12) == [0, 0, 0]
    assert signs(against, "shifted_test", 12) == [0, 1, 1]
    second = [recorded().difference(*pair, "second_acquisition").value for pair in against]
    assert min(second) > 0


def test_the_released_network_before_is_like_the_recorded_one():
    card = json.loads((course.root() / "models" / TUNED / "card.json").read_text())
    for image_set, measured in card["metrics"].items():
        if image_set in records.IMAGE_SETS and not image_set.endswith("seen"):
            assert abs(100 * measured["value"] - value(TUNED, image_set)) < 1, image_set


def test_the_second_acquisition_is_mixed_as_08_says():
    counts = np.bincount(recorded().labels("second_acquisition"), minlength=8)
    assert counts[3] / counts.sum() == pytest.approx(1 / 3, abs=0.01)
    assert counts[7] == 0


def test_the_temperatures_do_what_09_says():
    """One number nearly serves both sets for the final model; for the network before it cannot."""

    def error(experiment, image_set, by):
        probabilities = softmax(recorded().logits(experiment, image_set) / by, axis=1)
        labels = recorded().labels(image_set)
        return 100 * metrics.expected_calibration_error(probabilities, labels).value

    by = {name: temperature(name, "shifted_validation") for name in (TUNED, FINAL)}
    assert error(TUNED, "test", by[TUNED]) > 10
    assert [round(error(FINAL, of, by[FINAL])) for of in ("test", "shifted_test")] == [2, 2]


def signs(pairs, image_set, comparisons=1):
    """Return +1, 0 or -1 for each (first, second): first better, not told apart, worse."""
    differences = (recorded().difference(*pair, image_set, comparisons) for pair in pairs)
    return [difference.sign for difference in differences]


def test_verdicts_over_seeds_of_05_06_and_08_are_the_records():
    baseline = "subset_fine_tuned"
    for image_set in records.CHOOSE_ON:
        recipes_of_05 = ("subset_both_at_once", "subset_batch_norm_trained")
        assert signs([(name, baseline) for name in recipes_of_05], image_set) == [0, -1]
        networks = [n for n in recipes.SUBSET_OF_NETWORK.values() if n != baseline]
        assert signs([(name, baseline) for name in networks], image_set) == [0, 0, 0]
        assert [len(recorded().seeds(name, image_set)) for name in networks] == [3, 3, 3]
    families = [(name, baseline) for name in recipes.FAMILIES if name != baseline]
    clean, shifted = (signs(families, of, 2 * len(families)) for of in records.CHOOSE_ON)
    assert clean == [0, 0, 0, 0, -1, 0, 0, 0]
    assert shifted == [0, 0, 1, 1, 1, 1, 1, 1]
    copies = "subset_rand_augment_copies"
    questions = [("subset_rand_augment", copies), ("subset_rand_augment_3_copies", copies)]
    assert signs(questions, "validation") == [0, -1]
    assert signs(questions, "shifted_validation") == [0, 0]
    steps = list(recipes.ABLATION)
    steps = list(zip(steps[1:], steps, strict=False))
    told = {of: signs(steps, of, 2 * len(steps)) for of in records.CHOOSE_ON}
    assert told == {
        "validation": [0, -1, 0, 0, 1, 0],
        "shifted_validation": [1, 1, 0, 0, 1, 0],
    }
    trials = ("tuning_2_operations", "tuning_lion_1e-4", "tuning_lion_5e-5")
    against = [(name, "subset_composed") for name in trials]
    assert signs(against, "shifted_validation", 18) == [0, 0, 0]
