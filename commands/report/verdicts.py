"""What the course report's prose needs: numbers as text, and the words that depend on a result.

The sentences stand in report.typ. A group is None where its experiments are not trained yet.
"""

import itertools
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cache

import numpy as np
import pandas as pd
from scipy import stats

from commands.report.tables import (
    CHOOSING_SETS,
    COMPARISONS,
    CORRUPTED,
    CUSTOM,
    FROZEN,
    PAIR_SETS,
    PAIRED_SETS,
    PAIRS,
    REPORTED_BACKBONES,
    WHOLE_WAY,
    Records,
    Table,
    difference,
    percent,
    points,
)
from helpers import course
from helpers.changes import shifts
from helpers.data.photographs import CLASS_NAMES
from helpers.data.sets import SHIFT_SEEDS
from helpers.evaluation import metrics
from helpers.evaluation.metrics import LEVEL, Difference, Estimate
from helpers.evaluation.records import NotMeasuredError
from helpers.models.backbones import BACKBONES
from helpers.training.recipes import (
    ABLATION,
    ALONE,
    CONTROLS,
    FAMILIES,
    FINE_TUNED,
    HOMEWORK_FINAL,
    MODELS,
    REFERENCE,
    REMEDIES,
    SUBSET_OF_NETWORK,
    TRIALS,
    find,
)

YES, NO, PART, UNKNOWN = "reproduced", "not reproduced", "in part", "not measurable here"
OPEN, LATER = "cannot be told", "not measured yet"
FAILING_CLASS = "immature granulocytes"
SETTINGS = tuple(TRIALS)[1:8]
LION = tuple(name for name in TRIALS if name.startswith("tuning_lion"))
# Variants on the subset, by the name of their comparisons; the first of each is the baseline.
GROUPS = {"families": FAMILIES, "alone": ALONE}
# The two networks that must not be confused, by the words that the report has for them.
NETWORKS = {"homework": HOMEWORK_FINAL, "course": "final"}
# The homework's validation images: a tenth of its cleaned set.
REPORTED_IMAGES = 1194


def numbers(records: Records) -> dict:
    """Return what the report's prose reads, all of it text, words of a verdict, or None."""
    judged = {name: _judged(records, judge) for name, judge in CLAIMS.items()}
    counts = Counter(claim["verdict"] for claim in judged.values())
    return {
        "records": {key: _texts(record.estimate) for key, record in records.by_key.items()},
        "pairs": {
            f"{first}/{second}/{image_set}": _or_none(_pair, records, first, second, image_set)
            for first, second in PAIRS
            for image_set in PAIR_SETS
        },
        "claims": judged,
        "counts": {"all": str(len(judged)), **{word: str(n) for word, n in counts.items()}},
        "setting": _setting(records),
        "homework": _homework(),
        "spread": _spreads(records),
        "classes": _classes(records),
        "tuning": _or_none(_tuning, records),
        "Lion": _or_none(_lion, records),
        "search": _or_none(_search, records),
        "corruptions": _corruptions(records),
        "comparisons": {family: str(count) for family, count in COMPARISONS.items()},
        "same recipe": _same_recipe(records),
        "ladder": _ladder(records),
        "unseen alone": _unseen_alone(records),
        "second acquisition": _second_acquisition(records),
        "calibration": _calibration(records),
        "examples": _examples(records),
        "backbones": _backbones(records),
        "remedies": _remedies(records),
        "controls": _or_none(_controls, records),
        **{f"{group} {of}": _told(records, group, of) for group in GROUPS for of in CHOOSING_SETS},
        "left out": [
            title for name, title in MODELS.items() if name not in records.trained(MODELS)
        ],
    }


def claims(records: Records) -> Table:
    """Return Table 7: each claim of the homework report by its short name, and its verdict."""
    rows = [(name, _judged(records, judge)["verdict"]) for name, judge in CLAIMS.items()]
    table = pd.DataFrame(rows, columns=["the homework report's claim", "here"])
    return Table("report_table7", table, table)


def _or_none(found: Callable[..., dict], records: Records, *arguments: str) -> dict | None:
    try:
        return found(records, *arguments)
    except NotMeasuredError:
        return None


def _texts(found: Estimate) -> dict[str, str]:
    texts = {name: percent(getattr(found, name)) for name in ("value", "low", "high")}
    return {**texts, "n": f"{found.n:,}"}


def _pair(records: Records, first: str, second: str, image_set: str) -> dict[str, str]:
    return _difference_texts(difference(records, first, second, image_set, family="models"))


def _difference_texts(found: Difference) -> dict[str, str]:
    texts = {name: points(getattr(found, name)) for name in ("value", "low", "high")}
    return {**texts, "verdict": {1: "better", -1: "worse", 0: "chance"}[found.sign]}


def _setting(records: Records) -> dict[str, str]:
    final = records.record(HOMEWORK_FINAL, "test").details
    full, project = course.PROFILES["full"], course.root() / "pyproject.toml"
    kinds = {kind: records.sets[f"{kind}_operations"] for kind in ("seen", "unseen")}
    sizes = {name: entry["images"] for name, entry in records.sets["sets"].items()}
    measured = ("shifted_test_seen", "shifted_test_unseen", "medmnist_c")
    sizes |= {name: records.estimate(HOMEWORK_FINAL, name).n for name in measured}
    try:
        ended = records.record("vgg_like", "test").details
    except NotMeasuredError:
        ended = {"stopped_by": "", "epochs": ""}
    return {
        **{f"{name} images": f"{count:,}" for name, count in sizes.items()},
        **{f"{kind} operations": ", ".join(names) for kind, names in kinds.items()},
        **{f"number of {kind} operations": str(len(names)) for kind, names in kinds.items()},
        "training images": f"{final['train_images']:,}",
        "subset images": f"{full.budgets['subset'].train_images:,}",
        "subset epochs": str(full.budgets["subset"].max_epochs),
        "most epochs": str(full.budgets["finetune"].max_epochs),
        "epochs": str(final["epochs"]),
        "best epoch": str(final["best_epoch"]),
        "minutes": f"{final['seconds'] / 60:.0f}",
        "device": final["device"],
        "cost device": records.costs["device"],
        "version": tomllib.loads(project.read_text("utf-8"))["project"]["version"],
        "CNN 2 stopped by": ended["stopped_by"],
        "CNN 2 epochs": str(ended["epochs"]),
    }


def _homework() -> dict[str, str]:
    """Return what can be said of the homework's own numbers without its predictions."""
    counts = [round(fraction * REPORTED_IMAGES) for fraction in (0.9858, 0.9874)]
    interval = metrics.fraction(np.arange(REPORTED_IMAGES) < counts[0])
    apart = counts[1] - counts[0]
    scores = [float(value) for value in REPORTED_BACKBONES.values()]
    return {
        "images": f"{REPORTED_IMAGES:,}",
        "images apart": str(apart),
        # The most telling case: the networks disagree on no other images than those.
        "least p": f"{stats.binomtest(0, apart).pvalue:.1f}",
        "low": percent(interval.low),
        "high": percent(interval.high),
        "backbones apart": str(round((max(scores) - min(scores)) / 100 * REPORTED_IMAGES)),
    }


def spread(records: Records, image_set: str) -> float:
    """Return the distance of the best from the worst fine-tuning on an image set, 0-1."""
    return float(np.ptp([records.estimate(name, image_set).value for name in FINE_TUNED]))


def _spreads(records: Records) -> dict[str, str]:
    found = {image_set: percent(spread(records, image_set)) for image_set in PAIRED_SETS}
    values = [records.estimate(name, "shifted_test").value for name in FINE_TUNED]
    found |= {
        "shifted_test lowest": percent(min(values)),
        "shifted_test highest": percent(max(values)),
    }
    return found


def _same_recipe(records: Records) -> dict[str, str]:
    """Return in how many pairs of seeds of one recipe McNemar's test finds a difference."""
    found = {}
    for image_set in CHOOSING_SETS:
        p_values = []
        for name in records.experiments(image_set):
            several = len(records.seeds(name, image_set)) >= 3
            if not several or records.has_collapsed(name):
                continue
            correct = records.correct(name, image_set)
            pairs = itertools.combinations(correct, 2)
            p_values += [metrics.mcnemar(*pair).p_value for pair in pairs]
        count = sum(p_value < LEVEL for p_value in p_values)
        found[image_set] = f"{count} of {len(p_values)}"
    return found


def _ladder(records: Records) -> dict[str, object]:
    """Return which steps bring more on the shifted test than chance explains, and the whole way."""
    steps = {
        after: difference(records, after, before, "shifted_test", family="ladder")
        for before, after in itertools.pairwise(ABLATION)
    }
    told = [
        {"name": ABLATION[name], **_difference_texts(found)}
        for name, found in steps.items()
        if found.sign > 0
    ]
    whole = {
        f"{start} {image_set}": _difference_texts(
            difference(records, NETWORKS["course"], name, image_set, family="whole way")
        )
        for start, name, image_set in WHOLE_WAY
    }
    seconds, step = 0.0, find(NETWORKS["course"])
    while step is not None:
        seconds += records.record(step.name, "test").details["seconds"]
        step = step.starts_from
    return {
        "told": told,
        "whole": whole,
        "beyond doubt": all(found["verdict"] == "better" for found in whole.values()),
        "minutes": f"{seconds / 60:.0f}",
    }


def _unseen_alone(records: Records) -> dict[str, str]:
    """Return the accuracy under unseen operations alone, and the gain there and on all."""
    found, names = {}, ("fine_tuned", NETWORKS["course"])
    for word, name in zip(("plain", "course"), names, strict=True):
        estimate = records.estimate(name, "unseen_only")
        found |= {f"{word} {key}": text for key, text in _texts(estimate).items()}
    for word, image_set in (("gain", "unseen_only"), ("whole gain", "shifted_test")):
        plain, course = (records.estimate(name, image_set).value for name in names)
        found[word] = points(course - plain)
    return found


def _second_acquisition(records: Records) -> dict[str, object]:
    """Return how its classes are mixed, and those that the course's final model gains most on."""
    image_set = "second_acquisition"
    labels = records.labels(image_set)
    counts = np.bincount(labels, minlength=len(CLASS_NAMES))
    recall = {
        word: [
            records.correct(name, image_set)[0][labels == k].mean() if counts[k] else 0.0
            for k in range(len(CLASS_NAMES))
        ]
        for word, name in NETWORKS.items()
    }
    rise = np.subtract(recall["course"], recall["homework"])
    most = [
        {
            "name": CLASS_NAMES[k],
            "images": str(counts[k]),
            **{word: f"{100 * values[k]:.0f}" for word, values in recall.items()},
        }
        for k in np.argsort(-rise, kind="stable")[:3]
    ]
    largest = int(counts.argmax())
    return {
        "most": most,
        "largest": CLASS_NAMES[largest],
        "largest images": str(counts[largest]),
        "absent": [name for name, count in zip(CLASS_NAMES, counts, strict=True) if not count],
    }


@cache
def reliability(records: Records) -> dict[tuple[str, str], tuple[Estimate, pd.DataFrame]]:
    """Return calibration error and reliability table by (word of NETWORKS, image set).

    Each network has one temperature, fitted on the clean validation images.
    """
    found = {}
    for word, name in NETWORKS.items():
        temperature = _temperature(records, name)
        for image_set in ("test", "shifted_test"):
            labels = records.labels(image_set)
            probabilities = metrics.softmax(records.logits(name, image_set), temperature)
            error = metrics.expected_calibration_error(probabilities, labels)
            found[word, image_set] = error, metrics.reliability(probabilities, labels)
    return found


def _temperature(records: Records, name: str) -> float:
    return metrics.fit_temperature(records.logits(name, "validation"), records.labels("validation"))


def _calibration(records: Records) -> dict[str, str]:
    found = {
        f"{word} {image_set}": percent(error.value)
        for (word, image_set), (error, _) in reliability(records).items()
    }
    for word, name in NETWORKS.items():
        temperature, image_set = _temperature(records, name), "second_acquisition"
        probabilities = metrics.softmax(records.logits(name, image_set), temperature)
        found[f"{word} temperature"] = f"{temperature:.2f}"
        found[f"{word} sure"] = f"{100 * probabilities.max(axis=1).mean():.0f}"
        found[f"{word} correct"] = f"{100 * records.correct(name, image_set)[0].mean():.0f}"
    return found


def example_rows(labels: np.ndarray) -> list[int]:
    """Return the rows of the report's example photographs: the first image of each class."""
    return [int(np.flatnonzero(labels == k)[0]) for k in range(len(CLASS_NAMES))]


def _examples(records: Records) -> list[dict[str, object]]:
    """Return of each example its class, its operations, and what both networks answer.

    An answer is {"name": class, "correct": bool}, by the word of the network and the image set.
    """
    labels = records.labels("shifted_test")
    chains = shifts.chains(len(labels), SHIFT_SEEDS["shifted_test"])
    found = []
    for row in example_rows(labels):
        answers = {
            f"{word} {image_set}": int(records.logits(name, image_set)[row].argmax())
            for word, name in NETWORKS.items()
            for image_set in ("test", "shifted_test")
        }
        answers = {
            key: {"name": CLASS_NAMES[k], "correct": k == int(labels[row])}
            for key, k in answers.items()
        }
        found.append({"name": CLASS_NAMES[labels[row]], "operations": chains[row], **answers})
    return found


def hardest_class(records: Records, image_set: str) -> tuple[str, float]:
    """Return the class with the lowest recall of the homework's final network, and it (0-1)."""
    logits = records.logits(HOMEWORK_FINAL, image_set)
    recall = metrics.per_class(records.labels(image_set), logits, CLASS_NAMES)["recall"]
    return recall.idxmin(), float(recall.min())


def _rank_of_failing_class(records: Records) -> int:
    """Return the place of the immature granulocytes among the classes by size, 1 the largest."""
    counts = np.bincount(records.labels("test"), minlength=len(CLASS_NAMES))
    return int((counts > counts[CLASS_NAMES.index(FAILING_CLASS)]).sum()) + 1


def _classes(records: Records) -> dict[str, str]:
    found = {"failing": FAILING_CLASS, "failing rank": str(_rank_of_failing_class(records))}
    for image_set in ("test", "shifted_test"):
        name, recall = hardest_class(records, image_set)
        logits = records.logits(HOMEWORK_FINAL, image_set)
        matrix = metrics.confusion(records.labels(image_set), logits)
        sizes = matrix.sum(axis=1)
        np.fill_diagonal(matrix, 0)
        true, predicted = np.unravel_index(matrix.argmax(), matrix.shape)
        texts = {"hardest": name, "recall": percent(recall), "count": str(matrix.max())}
        texts |= {"true": CLASS_NAMES[true], "predicted": CLASS_NAMES[predicted]}
        texts["of"] = str(sizes[true])
        found |= {f"{image_set} {key}": text for key, text in texts.items()}
    return found


def _tuning(records: Records) -> dict[str, str]:
    compared = [name for name in TRIALS if name != REFERENCE]
    found = {"trials": str(len(compared))}
    for image_set in CHOOSING_SETS:
        signs = [d.sign for d in _differences(records, compared, image_set)]
        means = {title: records.values(name, image_set).mean() for name, title in TRIALS.items()}
        best = max(means, key=means.get)
        texts = {"better": str(signs.count(1)), "worse": str(signs.count(-1))}
        texts |= {"best": best.removesuffix(" (reference)"), "mean": percent(means[best])}
        texts["worse names"] = ", ".join(
            TRIALS[name] for name, sign in zip(compared, signs, strict=True) if sign < 0
        )
        found |= {f"{image_set} {key}": text for key, text in texts.items()}
    return found


def _lion(records: Records) -> dict[str, str]:
    found = _differences(records, LION, "shifted_validation")
    return {"trials": str(len(LION)), "better": str(sum(d.sign > 0 for d in found))}


def _search(records: Records) -> dict[str, str]:
    trials, image_set = records.searched(), "shifted_validation"
    of_list = max(TRIALS, key=lambda name: records.estimate(name, image_set).value)
    return {
        "trials": str(len(trials)),
        "best": percent(records.estimate(trials[0], image_set).value),
        "of list": TRIALS[of_list],
        "of list value": percent(records.estimate(of_list, image_set).value),
    }


def _corruptions(records: Records) -> dict[str, str]:
    values = {name: records.estimate(HOMEWORK_FINAL, name).value for name in CORRUPTED[1:]}
    hardest = min(values, key=values.get)
    return {
        "count": str(len(values)),
        "hardest": hardest.removeprefix("medmnist_c/").replace("_", " "),
        "hardest value": percent(values[hardest]),
    }


def _backbones(records: Records) -> list[dict[str, str]]:
    """Return how each other backbone differs on shifted validation from the default one."""
    first, *others = SUBSET_OF_NETWORK
    return [
        {"name": BACKBONES[network].title}
        | _difference_texts(
            difference(
                records,
                SUBSET_OF_NETWORK[network],
                SUBSET_OF_NETWORK[first],
                "shifted_validation",
                family="backbones",
            )
        )
        for network in others
        if records.seeds(SUBSET_OF_NETWORK[network], "validation")
    ]


def _remedies(records: Records) -> list[dict[str, str]]:
    """Return how each remedy for imbalance differs from none in macro F1 on validation."""
    plain, *others = REMEDIES
    return [
        {"name": REMEDIES[name]}
        | _difference_texts(
            difference(records, name, plain, "validation", "macro F1", family="remedies")
        )
        for name in others
    ]


def _controls(records: Records) -> dict[str, str]:
    """Return how far the strong chain leads the nearest of CONTROLS on shifted validation."""
    leads = [
        difference(records, "subset_strong", name, "shifted_validation", family="controls")
        for name in CONTROLS
    ]
    ahead = sum(lead.sign > 0 for lead in leads)
    least = min(leads, key=lambda lead: lead.value)
    return {"ahead": str(ahead), "all": str(len(leads)), **_difference_texts(least)}


def _told(records: Records, group: str, image_set: str) -> list[dict[str, str]]:
    """Return how each variant of GROUPS that can be told from its baseline differs from it."""
    baseline, *others = GROUPS[group]
    found = {
        GROUPS[group][name]: difference(records, name, baseline, image_set, family=group)
        for name in others
    }
    return [{"name": title} | _difference_texts(each) for title, each in found.items() if each.sign]


# What came of a claim: its "verdict", and the numbers that it rests on.
Judge = Callable[[Records], dict]


def _judged(records: Records, judge: Judge) -> dict:
    try:
        return judge(records)
    except NotMeasuredError as error:
        title = {**MODELS, **TRIALS}.get(error.experiment, error.experiment)
        return {"verdict": LATER, "missing": title}


def _model(first: str, second: str, better: bool) -> Judge:
    """Judge whether a model is better (or no better) than another on the shifted test."""

    def judge(records: Records) -> dict:
        found = difference(records, first, second, "shifted_test", family="models")
        return {"verdict": _word(found) if better else _no_better(found)}

    return judge


def _word(found: Difference, expected: int = 1) -> str:
    """Return what came of a claimed difference, 1 for better and -1 for worse."""
    return {expected: YES, 0: OPEN}.get(found.sign, NO)


def _no_better(found: Difference) -> str:
    """Return what came of the claim that the first is no better than the second."""
    return YES if found.sign <= 0 else NO


def _all_or_part(held: Iterable[bool]) -> str:
    held = list(held)
    return YES if all(held) else PART if any(held) else NO


def _validation_hides_the_shift(records: Records) -> dict:
    both = [[records.estimate(name, s) for s in ("validation", "shifted_test")] for name in CUSTOM]
    return {"verdict": _all_or_part(clean.low > shifted.high for clean, shifted in both)}


def _differences(records: Records, names: Iterable[str], image_set: str) -> list[Difference]:
    return [difference(records, name, REFERENCE, image_set, family="tuning") for name in names]


def _count(held: list[bool]) -> dict:
    return {"verdict": _all_or_part(held), "count": str(sum(held)), "of": str(len(held))}


def _lower_the_test(records: Records) -> dict:
    found = _differences(records, SETTINGS, "shifted_validation")
    judged = _count([d.sign < 0 for d in found])
    return judged if any(d.sign for d in found) else judged | {"verdict": OPEN}


def _trial(first: str, second: str, better: bool) -> Judge:
    """Judge whether a trial is better (or no better) than another on shifted validation."""

    def judge(records: Records) -> dict:
        image_set = "shifted_validation"
        found = difference(records, first, second, image_set, family="tuning")
        verdict = _word(found) if better else _no_better(found)
        return _difference_texts(found) | {"verdict": verdict}

    return judge


def _lion_validates_better_and_tests_worse(records: Records) -> dict:
    pair = ("fine_tuned_rand_augment_lion", HOMEWORK_FINAL)
    words = {
        _word(difference(records, *pair, image_set, family="models"), expected)
        for image_set, expected in (("validation", 1), ("shifted_test", -1))
    }
    if len(words) == 1:
        return {"verdict": words.pop()}
    return {"verdict": PART if YES in words else NO}


def _backbones_are_alike(records: Records) -> dict:
    missing = [name for name in REPORTED_BACKBONES if name in records.costs["missing"]]
    return {"verdict": UNKNOWN, "missing": ", ".join(BACKBONES[name].title for name in missing)}


def _hardest_class(records: Records) -> dict:
    hardest = [hardest_class(records, image_set)[0] for image_set in ("test", "shifted_test")]
    return {"verdict": _all_or_part(name == FAILING_CLASS for name in hardest)}


def _imbalance_is_the_cause(records: Records) -> dict:
    rank = _rank_of_failing_class(records)
    return {"verdict": YES if rank == len(CLASS_NAMES) else NO}


def _remedies_bring_nothing(records: Records) -> dict:
    plain, *others = REMEDIES
    found = [
        difference(records, name, plain, "validation", "macro F1", family="remedies")
        for name in others
    ]
    return _count([d.sign <= 0 for d in found])


CLAIMS: dict[str, Judge] = {
    "own networks": _validation_hides_the_shift,
    "frozen MobileNetV3": _model(FROZEN[0], CUSTOM[1], better=True),
    "frozen EfficientNet": _model(FROZEN[1], FROZEN[0], better=True),
    "fine-tuning": _model("fine_tuned", FROZEN[1], better=True),
    "mild augmentation": _model("fine_tuned_mild", "fine_tuned", better=False),
    "RandAugment": _model(HOMEWORK_FINAL, "fine_tuned", better=True),
    "settings on validation": lambda records: _count(
        [d.sign == 0 for d in _differences(records, SETTINGS, "validation")]
    ),
    "settings on the test": _lower_the_test,
    "learning rate": _trial(REFERENCE, "tuning_adam_1e-3", better=True),
    "Lion": lambda records: _count(
        [d.sign <= 0 for d in _differences(records, LION, "shifted_validation")]
    ),
    "Lion at 1e-4/3": _lion_validates_better_and_tests_worse,
    "dense layer": _trial("tuning_extra_dense", REFERENCE, better=False),
    "larger backbones": _backbones_are_alike,
    "hardest class": _hardest_class,
    "imbalance": _imbalance_is_the_cause,
    "remedies": _remedies_bring_nothing,
}
