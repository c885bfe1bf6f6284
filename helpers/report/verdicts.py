"""The homework report's claims, each with what came of it here; computed, never written by hand."""

from collections.abc import Callable

import pandas as pd

from helpers.data.photographs import CLASS_NAMES
from helpers.evaluation import metrics
from helpers.evaluation.metrics import Difference
from helpers.models.backbones import BACKBONES
from helpers.report.records import (
    NotMeasuredError,
    Records,
)
from helpers.report.tables import REPORTED_BACKBONES, Table, difference, percent, points
from helpers.training.recipes import (
    HOMEWORK_FINAL,
    MODELS,
    REFERENCE,
    REMEDIES,
    TRIALS,
)

YES, NO, PART, UNKNOWN = "reproduced", "not reproduced", "in part", "not measurable here"
LATER = "not measured yet"
VERDICTS = (YES, NO, PART, UNKNOWN, LATER)
FAILING_CLASS = "immature granulocytes"
# What came of a claim, and the evidence.
Claim = tuple[str, str]
CUSTOM = ("small_cnn", "vgg_like")
FROZEN = ("mobilenet_v3_small_frozen", "efficientnet_lite0_frozen")
RANKS = ("the largest", "the second-largest", "the third-largest", "the fourth-largest")
RANKS += ("the fourth-smallest", "the third-smallest", "the second-smallest", "the smallest")
SETTINGS = (
    "tuning_batch_64",
    "tuning_batch_32",
    "tuning_magnitude_0.6",
    "tuning_deviation_0.2",
    "tuning_2_operations",
    "tuning_3_operations",
    "tuning_rate_0.7",
)
LION = tuple(name for name in TRIALS if name.startswith("tuning_lion"))


def claims(records: Records) -> Table:
    """Return Table 6: each claim of the homework report, the verdict and the evidence for it."""
    rows = [(claim, *_judged(records, judge)) for claim, judge in CLAIMS.items()]
    table = pd.DataFrame(rows, columns=["the report's claim", "here", "evidence"])
    return Table("report_table6", table, table)


def _judged(records: Records, judge: Callable[[Records], Claim]) -> Claim:
    try:
        return judge(records)
    except NotMeasuredError as error:
        title = {**MODELS, **TRIALS}.get(error.experiment, error.experiment)
        return LATER, f"{title} is not trained yet"


def first_is_better(first: str, second: str, images: str) -> Callable[[Records], Claim]:
    """Return a judge of the claim that seed 0 of one model beats another's on an image set."""

    def judge(records: Records) -> Claim:
        test = records.compare(first, second, images)
        better = test.p_value < 0.05 and test.only_first > test.only_second
        return YES if better else NO, evidence(records, first, second, images)

    return judge


def first_is_not_better(first: str, second: str, images: str) -> Callable[[Records], Claim]:
    """Return a judge of the claim that one model does not beat another on an image set."""

    def judge(records: Records) -> Claim:
        verdict, text = first_is_better(first, second, images)(records)
        return NO if verdict == YES else YES, text

    return judge


def evidence(records: Records, first: str, second: str, images: str) -> str:
    """Return the two accuracies with McNemar's test: "78.1 against 61.4 %, p < 0.001"."""
    values = [percent(records.estimate(name, images).value) for name in (first, second)]
    chance = p_text(records.compare(first, second, images).p_value)
    return f"{images.replace('_', ' ')}: {values[0]} against {values[1]} %, {chance}"


def p_text(p_value: float) -> str:
    """Return "p < 0.001", or p with two decimals, three below 0.01."""
    if p_value < 0.001:
        return "p < 0.001"
    return f"p = {p_value:.{2 if p_value >= 0.01 else 3}f}"


def _validation_hides_the_shift(records: Records) -> Claim:
    drops = []
    for name in CUSTOM:
        clean, shifted = (records.estimate(name, s) for s in ("validation", "shifted_test"))
        drops.append(clean.low > shifted.high)
    texts = [
        f"{percent(records.estimate(name, 'validation').value)} and "
        f"{percent(records.estimate(name, 'shifted_test').value)} %"
        for name in CUSTOM
    ]
    verdict = YES if all(drops) else PART if any(drops) else NO
    return verdict, f"validation and shifted test: {'; '.join(texts)}"


def _differences(records: Records, names: tuple[str, ...], images: str) -> list[Difference]:
    return [difference(records, name, REFERENCE, images) for name in names]


def _tuning_leaves_validation(records: Records) -> Claim:
    found = _differences(records, SETTINGS, "validation")
    return _share(found, lambda d: d.sign == 0, "no difference found on validation")


def _tuning_lowers_shifted(records: Records) -> Claim:
    found = _differences(records, SETTINGS, "shifted_validation")
    return _share(found, lambda d: d.sign < 0, "worse on shifted validation")


def _lion_brings_nothing(records: Records) -> Claim:
    found = _differences(records, LION, "shifted_validation")
    return _share(found, lambda d: d.sign <= 0, "no better on shifted validation")


def _share(found: list[Difference], holds: Callable[[Difference], bool], what: str) -> Claim:
    count = sum(map(holds, found))
    verdict = YES if count == len(found) else NO if count == 0 else PART
    return verdict, f"{what}: {count} of {len(found)} trials"


def _trial(first: str, second: str, better: bool) -> Callable[[Records], Claim]:
    """Return a judge of the claim that a trial is better (or no better) than another."""

    def judge(records: Records) -> Claim:
        found = difference(records, first, second, "shifted_validation")
        interval = f"{points(found.low)} to {points(found.high)}"
        text = f"shifted validation: {points(found.value)} points ({interval})"
        return YES if (found.sign > 0) == better else NO, text

    return judge


def _lion_validates_better_and_tests_worse(records: Records) -> Claim:
    pair = ("fine_tuned_rand_augment_lion", HOMEWORK_FINAL)
    better, _ = first_is_better(*pair, "validation")(records)
    worse, _ = first_is_better(*pair[::-1], "shifted_test")(records)
    verdict = YES if better == worse == YES else NO if better == worse == NO else PART
    return verdict, "; ".join(evidence(records, *pair, s) for s in ("validation", "shifted_test"))


def _backbones_are_alike(records: Records) -> Claim:
    absent = records.costs["missing"]
    missing = [BACKBONES[name].title for name in REPORTED_BACKBONES if name in absent]
    return UNKNOWN, f"because no ImageNet weights of {', '.join(missing)} are at hand (Table 2)"


def _hardest_class(records: Records) -> Claim:
    hardest = [hardest_class(records, images) for images in ("test", "shifted_test")]
    count = sum(name == FAILING_CLASS for name, _ in hardest)
    texts = [
        f"lowest recall on {images}: {name}, {percent(recall)} %"
        for images, (name, recall) in zip(("test", "shifted test"), hardest, strict=True)
    ]
    return (NO, PART, YES)[count], "; ".join(texts)


def hardest_class(records: Records, images: str) -> tuple[str, float]:
    """Return the class with the lowest recall of the final model, and that recall (0-1)."""
    logits = records.logits(HOMEWORK_FINAL, images)
    recall = metrics.per_class(records.labels(images), logits, CLASS_NAMES)["recall"]
    return recall.idxmin(), float(recall.min())


def rank_of_failing_class(records: Records) -> int:
    """Return the place of the immature granulocytes among the classes by size, 1 the largest."""
    counts = pd.Series(records.labels("test")).value_counts()
    return int((counts > counts[CLASS_NAMES.index(FAILING_CLASS)]).sum()) + 1


def _imbalance_is_the_cause(records: Records) -> Claim:
    rank = rank_of_failing_class(records)
    text = f"by number of images that class is {RANKS[rank - 1]} of {len(CLASS_NAMES)}"
    return YES if rank == len(CLASS_NAMES) else NO, text


def _remedies_bring_nothing(records: Records) -> Claim:
    plain, *others = REMEDIES
    found = [difference(records, name, plain, "validation", "macro F1") for name in others]
    return _share(found, lambda d: d.sign <= 0, "no better macro F1 on validation")


CLAIMS: dict[str, Callable[[Records], Claim]] = {
    "Networks of one's own do well on validation and badly on the test": (
        _validation_hides_the_shift
    ),
    "A frozen MobileNetV3 is much better on the test than CNN 2": (
        first_is_better(FROZEN[0], CUSTOM[1], "shifted_test")
    ),
    "A frozen EfficientNet is better still": first_is_better(*FROZEN[::-1], "shifted_test"),
    "Fine-tuning adds to it": first_is_better("fine_tuned", FROZEN[1], "shifted_test"),
    "Mild augmentation brings no significant gain": (
        first_is_not_better("fine_tuned_mild", "fine_tuned", "shifted_test")
    ),
    "RandAugment is what raised the test score": (
        first_is_better(HOMEWORK_FINAL, "fine_tuned", "shifted_test")
    ),
    "Batch size and RandAugment's settings leave validation as it was": _tuning_leaves_validation,
    "… and lower the test score": _tuning_lowers_shifted,
    "A learning rate of 1e-4 is better than 1e-3": _trial(REFERENCE, "tuning_adam_1e-3", True),
    "Lion brings no significant gain": _lion_brings_nothing,
    "Lion at 1e-4/3 validates better and tests worse": _lion_validates_better_and_tests_worse,
    "A dense layer of 128 brings nothing": _trial("tuning_extra_dense", REFERENCE, False),
    "ResNet50, DenseNet121 and EfficientNetB4 do as well on validation": _backbones_are_alike,
    "Immature granulocytes are misclassified most": _hardest_class,
    "… because classes are imbalanced": _imbalance_is_the_cause,
    "Class weights and balancing bring no gain": _remedies_bring_nothing,
}
