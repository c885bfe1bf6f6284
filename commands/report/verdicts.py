"""What the course report's prose needs: numbers as text, and the words that depend on a result.

The sentences stand in report.typ. A group is None where its experiments are not trained yet.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd
from scipy import stats

from commands.report.tables import (
    CHOOSING_SETS,
    CORRUPTED,
    PAIRED_SETS,
    REPORTED_BACKBONES,
    Records,
    Table,
    difference,
    percent,
    points,
)
from helpers import course
from helpers.data.photographs import CLASS_NAMES
from helpers.evaluation import metrics
from helpers.evaluation.metrics import LEVEL, Difference, Estimate
from helpers.evaluation.records import NotMeasuredError
from helpers.models.backbones import BACKBONES
from helpers.training.recipes import (
    ABLATION,
    FINE_TUNED,
    HOMEWORK_FINAL,
    MODELS,
    REFERENCE,
    REMEDIES,
    SUBSET_OF_NETWORK,
    TRIALS,
)

YES, NO, PART, UNKNOWN = "reproduced", "not reproduced", "in part", "not measurable here"
LATER = "not measured yet"
FAILING_CLASS = "immature granulocytes"
CUSTOM = ("small_cnn", "vgg_like")
FROZEN = ("mobilenet_v3_small_frozen", "efficientnet_lite0_frozen")
SETTINGS = tuple(TRIALS)[1:8]
LION = tuple(name for name in TRIALS if name.startswith("tuning_lion"))
PAIRS = (
    *((later, earlier) for earlier, later in itertools.pairwise((*CUSTOM, *FROZEN, "fine_tuned"))),
    ("fine_tuned_mild", "fine_tuned"),
    (HOMEWORK_FINAL, "fine_tuned"),
    (HOMEWORK_FINAL, "fine_tuned_mild"),
    ("fine_tuned_rand_augment_lion", HOMEWORK_FINAL),
    *((later, earlier) for earlier, later in itertools.pairwise(ABLATION)),
)
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
            for image_set in PAIRED_SETS
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
        "backbones": _backbones(records),
        "remedies": _remedies(records),
        "left out": [
            title for name, title in MODELS.items() if name not in records.trained(MODELS)
        ],
    }


def claims(records: Records) -> Table:
    """Return Table 6: each claim of the homework report by its short name, and its verdict."""
    rows = [(name, _judged(records, judge)["verdict"]) for name, judge in CLAIMS.items()]
    table = pd.DataFrame(rows, columns=["the homework report's claim", "here"])
    return Table("report_table6", table, table)


def _or_none(found: Callable[..., dict], records: Records, *arguments: str) -> dict | None:
    try:
        return found(records, *arguments)
    except NotMeasuredError:
        return None


def _texts(found: Estimate) -> dict[str, str]:
    texts = {name: percent(getattr(found, name)) for name in ("value", "low", "high")}
    return {**texts, "n": f"{found.n:,}"}


def _pair(records: Records, first: str, second: str, image_set: str) -> dict[str, str]:
    """Return seed 0 of two models side by side: accuracies, McNemar's test, and what it says."""
    test = records.compare(first, second, image_set)
    better = "better" if test.only_first > test.only_second else "worse"
    return {
        "first": percent(records.estimate(first, image_set).value),
        "second": percent(records.estimate(second, image_set).value),
        "only first": str(test.only_first),
        "only second": str(test.only_second),
        "p": p_text(test.p_value),
        "verdict": better if test.p_value < LEVEL else "chance",
    }


def p_text(p_value: float) -> str:
    """Return "p < 0.001", or p with two decimals, three below 0.01."""
    if p_value < 0.001:
        return "p < 0.001"
    return f"p = {p_value:.{2 if p_value >= 0.01 else 3}f}"


def _difference_texts(found: Difference) -> dict[str, str]:
    texts = {name: points(getattr(found, name)) for name in ("value", "low", "high")}
    return {**texts, "verdict": {1: "better", -1: "worse", 0: "chance"}[found.sign]}


def _setting(records: Records) -> dict[str, str]:
    final = records.record(HOMEWORK_FINAL, "test").details
    full = course.PROFILES["full"]
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
        "subset images": f"{full.subset.train_images:,}",
        "subset epochs": str(full.subset.max_epochs),
        "most epochs": str(full.finetune.max_epochs),
        "epochs": str(final["epochs"]),
        "best epoch": str(final["best_epoch"]),
        "minutes": f"{final['seconds'] / 60:.0f}",
        "device": final["device"],
        "cost device": records.costs["device"],
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
    pairs = list(itertools.combinations(FINE_TUNED, 2))
    told_apart = {
        image_set: sum(records.compare(*pair, image_set).p_value < LEVEL for pair in pairs)
        for image_set in PAIRED_SETS
    }
    return {
        **{f"{image_set} spread": percent(spread(records, image_set)) for image_set in PAIRED_SETS},
        **{
            f"{image_set} pairs": f"{count} of {len(pairs)}"
            for image_set, count in told_apart.items()
        },
    }


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
    found = {"trials": str(len(compared)), "by chance": f"{LEVEL * len(compared):.1f}"}
    for image_set in CHOOSING_SETS:
        signs = [difference(records, name, REFERENCE, image_set).sign for name in compared]
        means = {title: records.values(name, image_set).mean() for name, title in TRIALS.items()}
        best = max(means, key=means.get)
        texts = {"better": str(signs.count(1)), "worse": str(signs.count(-1))}
        texts |= {"best": best.removesuffix(" (reference)"), "mean": percent(means[best])}
        found |= {f"{image_set} {key}": text for key, text in texts.items()}
    return found


def _lion(records: Records) -> dict[str, str]:
    found = _differences(records, LION, "shifted_validation")
    return {"trials": str(len(LION)), "better": str(sum(d.sign > 0 for d in found))}


def _search(records: Records) -> dict[str, str]:
    trials, image_set = records.searched(), "shifted_validation"
    of_list = max(TRIALS, key=lambda name: records.estimate(name, image_set).value)
    test = records.compare(trials[0], REFERENCE, image_set)
    return {
        "trials": str(len(trials)),
        "best": percent(records.estimate(trials[0], image_set).value),
        "reference": percent(records.estimate(REFERENCE, image_set).value),
        "of list": TRIALS[of_list],
        "of list value": percent(records.estimate(of_list, image_set).value),
        "p": p_text(test.p_value),
        "verdict": "could be chance" if test.p_value >= LEVEL else "could hardly be chance",
    }


def _corruptions(records: Records) -> dict[str, str]:
    values = {name: records.estimate(HOMEWORK_FINAL, name).value for name in CORRUPTED[1:]}
    found = {"count": str(len(values))}
    for word, choose in (("hardest", min), ("easiest", max)):
        name = choose(values, key=values.get)
        found[word] = name.removeprefix("medmnist_c/").replace("_", " ")
        found[f"{word} value"] = percent(values[name])
    return found


def _backbones(records: Records) -> list[dict[str, str]]:
    """Return how each other backbone differs on shifted validation from the default one."""
    first, *others = SUBSET_OF_NETWORK
    return [
        {"name": BACKBONES[network].title}
        | _difference_texts(
            difference(
                records, SUBSET_OF_NETWORK[network], SUBSET_OF_NETWORK[first], "shifted_validation"
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
        | _difference_texts(difference(records, name, plain, "validation", "macro F1"))
        for name in others
    ]


# What came of a claim: its "verdict", and the numbers that it rests on.
Judge = Callable[[Records], dict]


def _judged(records: Records, judge: Judge) -> dict:
    try:
        return judge(records)
    except NotMeasuredError as error:
        title = {**MODELS, **TRIALS}.get(error.experiment, error.experiment)
        return {"verdict": LATER, "missing": title}


def _is_better(first: str, second: str, image_set: str, expected: bool = True) -> Judge:
    """Judge whether seed 0 of one model beats another's on an image set, as was claimed or not."""

    def judge(records: Records) -> dict:
        better = _pair(records, first, second, image_set)["verdict"] == "better"
        return {"verdict": YES if better == expected else NO}

    return judge


def _all_or_part(held: Iterable[bool]) -> str:
    held = list(held)
    return YES if all(held) else PART if any(held) else NO


def _validation_hides_the_shift(records: Records) -> dict:
    both = [[records.estimate(name, s) for s in ("validation", "shifted_test")] for name in CUSTOM]
    return {"verdict": _all_or_part(clean.low > shifted.high for clean, shifted in both)}


def _differences(records: Records, names: Iterable[str], image_set: str) -> list[Difference]:
    return [difference(records, name, REFERENCE, image_set) for name in names]


def _count(held: list[bool]) -> dict:
    return {"verdict": _all_or_part(held), "count": str(sum(held)), "of": str(len(held))}


def _trial(first: str, second: str, better: bool) -> Judge:
    """Judge whether a trial is better (or no better) than another on shifted validation."""

    def judge(records: Records) -> dict:
        found = difference(records, first, second, "shifted_validation")
        verdict = YES if (found.sign > 0) == better else NO
        return _difference_texts(found) | {"verdict": verdict}

    return judge


def _lion_validates_better_and_tests_worse(records: Records) -> dict:
    pair = ("fine_tuned_rand_augment_lion", HOMEWORK_FINAL)
    sets = {"validation": "better", "shifted_test": "worse"}
    return {
        "verdict": _all_or_part(
            _pair(records, *pair, image_set)["verdict"] == word for image_set, word in sets.items()
        )
    }


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
    found = [difference(records, name, plain, "validation", "macro F1") for name in others]
    return _count([d.sign <= 0 for d in found])


CLAIMS: dict[str, Judge] = {
    "own networks": _validation_hides_the_shift,
    "frozen MobileNetV3": _is_better(FROZEN[0], CUSTOM[1], "shifted_test"),
    "frozen EfficientNet": _is_better(FROZEN[1], FROZEN[0], "shifted_test"),
    "fine-tuning": _is_better("fine_tuned", FROZEN[1], "shifted_test"),
    "mild augmentation": _is_better("fine_tuned_mild", "fine_tuned", "shifted_test", False),
    "RandAugment": _is_better(HOMEWORK_FINAL, "fine_tuned", "shifted_test"),
    "settings on validation": lambda records: _count(
        [d.sign == 0 for d in _differences(records, SETTINGS, "validation")]
    ),
    "settings on the test": lambda records: _count(
        [d.sign < 0 for d in _differences(records, SETTINGS, "shifted_validation")]
    ),
    "learning rate": _trial(REFERENCE, "tuning_adam_1e-3", True),
    "Lion": lambda records: _count(
        [d.sign <= 0 for d in _differences(records, LION, "shifted_validation")]
    ),
    "Lion at 1e-4/3": _lion_validates_better_and_tests_worse,
    "dense layer": _trial("tuning_extra_dense", REFERENCE, False),
    "larger backbones": _backbones_are_alike,
    "hardest class": _hardest_class,
    "imbalance": _imbalance_is_the_cause,
    "remedies": _remedies_bring_nothing,
}
