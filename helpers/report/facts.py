"""Everything that report.typ prints: numbers as text, and sentences that depend on a result."""

import itertools
from collections import Counter

import numpy as np
from scipy import stats

from helpers import course
from helpers.data.photographs import CLASS_NAMES
from helpers.evaluation import metrics
from helpers.evaluation.metrics import LEVEL, Difference
from helpers.models.backbones import BACKBONES
from helpers.report.records import (
    CHOOSING_SETS,
    CORRUPTED,
    PAIRED_SETS,
    PARTS,
    NotMeasuredError,
    Records,
)
from helpers.report.tables import REPORTED_BACKBONES, difference, percent, points
from helpers.report.verdicts import (
    FAILING_CLASS,
    LION,
    RANKS,
    VERDICTS,
    claims,
    hardest_class,
    p_text,
    rank_of_failing_class,
)
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

# How prose names the models of Table 1.
IN_PROSE = {
    **ABLATION,
    **MODELS,
    "mobilenet_v3_small_frozen": "the frozen MobileNetV3-Small",
    "efficientnet_lite0_frozen": "the frozen EfficientNet-Lite0",
    "fine_tuned": "fine-tuning without augmentation",
    "fine_tuned_mild": "fine-tuning with mild augmentation",
    "fine_tuned_rand_augment": "fine-tuning with RandAugment",
    "fine_tuned_rand_augment_lion": "fine-tuning with RandAugment and Lion",
    "ladder_strong": "composed augmentation",
    "ladder_all_layers": "training all layers",
    "ladder_batch_norm": "training batch normalisation too",
    "ladder_longer": "longer training with averaged weights and smoothed labels",
    "final": "training on larger images with heavier changes",
}
PAIRS = (
    ("vgg_like", "small_cnn"),
    ("mobilenet_v3_small_frozen", "vgg_like"),
    ("efficientnet_lite0_frozen", "mobilenet_v3_small_frozen"),
    ("fine_tuned", "efficientnet_lite0_frozen"),
    ("fine_tuned_mild", "fine_tuned"),
    (HOMEWORK_FINAL, "fine_tuned"),
    (HOMEWORK_FINAL, "fine_tuned_mild"),
    ("fine_tuned_rand_augment_lion", HOMEWORK_FINAL),
    *((later, earlier) for earlier, later in itertools.pairwise(ABLATION)),
)
ENDINGS = {"patience": "early stopping", "epochs": "its budget", "time": "its time limit"}
# The homework's validation images: a tenth of its cleaned set.
REPORTED_IMAGES = 1194


def facts(records: Records) -> dict:
    """Return what the PDF reads: "records" by key, "facts" and "verdicts" by name; all text."""
    return {
        "records": {key: _record(record.estimate) for key, record in records.by_key.items()},
        "facts": {
            **_setting(records),
            **_reported(),
            **_spreads(records),
            **_classes(records),
            **_tuning(records),
            **_corruptions(records),
            "claims": _claim_counts(records),
            "models left out": _left_out(records, MODELS),
            "trials left out": _left_out(records, TRIALS),
        },
        "verdicts": {
            **{
                f"{first}/{second}/{images}": _verdict(records, first, second, images)
                for first, second in PAIRS
                for images in PAIRED_SETS
            },
            **_backbone_verdicts(records),
            **_remedy_verdicts(records),
        },
    }


def _record(found: metrics.Estimate) -> dict[str, str]:
    texts = {name: percent(getattr(found, name)) for name in ("value", "low", "high")}
    return {**texts, "n": f"{found.n:,}"}


def _setting(records: Records) -> dict[str, str]:
    final = records.record(HOMEWORK_FINAL, "test").details
    full = course.PROFILES["full"]
    sets = records.sets["sets"]
    return {
        **{f"{name} images": f"{entry['images']:,}" for name, entry in sets.items()},
        "training images": f"{final['train_images']:,}",
        "subset images": f"{full.subset.train_images:,}",
        "subset epochs": str(full.subset.max_epochs),
        "most epochs": str(full.finetune.max_epochs),
        "epochs": str(final["epochs"]),
        "best epoch": str(final["best_epoch"]),
        "minutes": f"{final['seconds'] / 60:.0f}",
        "device": final["device"],
        "cost device": records.costs["device"],
        "CNN 2 end": _end(records, "vgg_like"),
        "MedMNIST-C images": f"{records.estimate(HOMEWORK_FINAL, 'medmnist_c').n:,}",
        **{f"{part} images": f"{records.estimate(HOMEWORK_FINAL, part).n:,}" for part in PARTS},
        "seen operations": ", ".join(records.sets["seen_operations"]),
        "unseen operations": ", ".join(records.sets["unseen_operations"]),
        "number of seen operations": str(len(records.sets["seen_operations"])),
        "number of unseen operations": str(len(records.sets["unseen_operations"])),
    }


def _end(records: Records, experiment: str) -> str:
    """Return what ended a training, and when: "was ended by early stopping after 12 epochs"."""
    try:
        entry = records.record(experiment, "test").details
    except NotMeasuredError:
        return "is not measured yet"
    return f"was ended by {ENDINGS[entry['stopped_by']]} after {entry['epochs']} epochs"


def _reported() -> dict[str, str]:
    """Return what can be said of the report's own numbers without its predictions."""
    right = [round(share * REPORTED_IMAGES) for share in (0.9858, 0.9874)]
    interval = metrics.share(np.arange(REPORTED_IMAGES) < right[0])
    apart = right[1] - right[0]
    # The most telling case: the networks disagree on no other images than those.
    least_p = stats.binomtest(0, apart).pvalue
    chance = "could be chance" if least_p >= LEVEL else "cannot be judged without the predictions"
    scores = [float(value) for value in REPORTED_BACKBONES.values()]
    spread = round((max(scores) - min(scores)) / 100 * REPORTED_IMAGES)
    return {
        "reported images": f"{REPORTED_IMAGES:,}",
        "reported images apart": {1: "one image", 2: "two images"}.get(apart, f"{apart} images"),
        "reported least p": f"{least_p:.1f}",
        "reported chance": chance,
        "reported interval": f"{percent(interval.low)} to {percent(interval.high)} %",
        "reported backbones apart": str(spread),
    }


def spread(records: Records, images: str) -> float:
    """Return the distance of the best from the worst fine-tuning on an image set, 0-1."""
    values = [records.estimate(name, images).value for name in FINE_TUNED]
    return max(values) - min(values)


def _spreads(records: Records) -> dict[str, str]:
    ladder = [records.estimate(name, "shifted_test").value for name in list(FINE_TUNED)[:3]]
    rises = ladder == sorted(ladder) and len(set(ladder)) == len(ladder)
    steps = ", ".join(percent(value) for value in ladder)
    telling = {
        images: sum(
            records.compare(first, second, images).p_value < LEVEL
            for place, first in enumerate(FINE_TUNED)
            for second in list(FINE_TUNED)[place + 1 :]
        )
        for images in ("validation", "test", "shifted_test")
    }
    pairs = len(FINE_TUNED) * (len(FINE_TUNED) - 1) // 2
    return {
        **{f"{images} spread": percent(spread(records, images)) for images in PAIRED_SETS},
        **{f"{images} pairs": f"{count} of {pairs}" for images, count in telling.items()},
        "ladder": f"The ladder {'appears' if rises else 'does not appear'}: {steps} %",
    }


def headline(records: Records) -> str:
    """Return the title of the central figure."""
    clean, shifted = (percent(spread(records, s)) for s in ("validation", "shifted_test"))
    return (
        f"On validation the {len(FINE_TUNED)} fine-tunings lie within {clean} points, "
        f"on the shifted test within {shifted}"
    )


def _classes(records: Records) -> dict[str, str]:
    found = {}
    for images in ("test", "shifted_test"):
        name, recall = hardest_class(records, images)
        found |= {f"{images} hardest class": name, f"{images} hardest recall": percent(recall)}
        matrix = metrics.confusion(records.labels(images), records.logits(HOMEWORK_FINAL, images))
        sizes = matrix.sum(axis=1)
        np.fill_diagonal(matrix, 0)
        true, predicted = np.unravel_index(matrix.argmax(), matrix.shape)
        found[f"{images} commonest error"] = (
            f"{CLASS_NAMES[true]} taken for {CLASS_NAMES[predicted]} "
            f"({matrix.max()} of {sizes[true]} images)"
        )
    rank = rank_of_failing_class(records)
    found["failing class"] = FAILING_CLASS
    found["failing class rank"] = f"{RANKS[rank - 1]} of {len(CLASS_NAMES)}"
    return found


def _tuning(records: Records) -> dict[str, str]:
    """Return, in sentences, what the tuning list, Lion in it and the search after it brought."""
    sentences = {
        "tuning": (
            _tuning_found,
            "What the trials bring is not measured yet.",
        ),
        "Lion in tuning": (_lion_found, "What Lion brings in the trials is not measured yet."),
        "search": (_search_found, "What a search would have found is not measured yet."),
    }
    found = {}
    for name, (sentence, otherwise) in sentences.items():
        try:
            found[name] = sentence(records)
        except NotMeasuredError:
            found[name] = otherwise
    return found


def _tuning_found(records: Records) -> str:
    compared = [name for name in TRIALS if name != REFERENCE]
    counts, best = [], []
    for images, heading in CHOOSING_SETS.items():
        signs = [difference(records, name, REFERENCE, images).sign for name in compared]
        counts.append(f"{signs.count(1)} better and {signs.count(-1)} worse on {heading}")
        means = {title: records.values(name, images).mean() for name, title in TRIALS.items()}
        title = max(means, key=means.get)
        trial = title.removesuffix(" (reference)")
        best.append(f"on {heading} that of {trial} ({percent(means[title])} %)")
    return (
        f"Of {len(compared)} trials, {' and '.join(counts)}; chance alone would bring "
        f"{LEVEL * len(compared):.1f} such findings on each set. "
        f"The highest mean is {', '.join(best)}."
    )


def _lion_found(records: Records) -> str:
    signs = [difference(records, name, REFERENCE, "shifted_validation").sign for name in LION]
    return (
        f"Of the {len(LION)} tuning trials with Lion, the number that beats the reference on "
        f"shifted validation is {signs.count(1)}."
    )


def _search_found(records: Records) -> str:
    trials = records.searched()
    best, images = trials[0], "shifted_validation"
    values = [percent(records.estimate(name, images).value) for name in (best, REFERENCE)]
    list_best = max(TRIALS, key=lambda name: records.estimate(name, images).value)
    beside = percent(records.estimate(list_best, images).value)
    test = records.compare(best, REFERENCE, images)
    verdict = "could be chance" if test.p_value >= LEVEL else "could hardly be chance"
    return (
        f"A search then drew {len(trials)} more settings from wider ranges, one seed each. Its "
        f"best reaches {values[0]} % on shifted validation; the same seed of the reference has "
        f"{values[1]} %, and that of the list's best, {TRIALS[list_best]}, {beside} %. The "
        f"difference from the reference {verdict} ({p_text(test.p_value)}), for these two "
        "networks; that the best was chosen on these very images flatters it."
    )


def _corruptions(records: Records) -> dict[str, str]:
    values = {
        name.removeprefix("medmnist_c/"): records.estimate(HOMEWORK_FINAL, name).value
        for name in CORRUPTED[1:]
    }
    worst, best = min(values, key=values.get), max(values, key=values.get)
    return {
        "corruptions": f"Of its {len(values)} corruptions the hardest for the final model is "
        f"{worst.replace('_', ' ')} ({percent(values[worst])} %), the easiest "
        f"{best.replace('_', ' ')} ({percent(values[best])} %)."
    }


def _claim_counts(records: Records) -> str:
    """Return "16 claims, tested here: 7 reproduced, 9 not reproduced"."""
    counts = Counter(claims(records).shown["here"])
    verdicts = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict])
    return f"{counts.total()} claims, tested here: {verdicts}"


def _left_out(records: Records, titles: dict[str, str]) -> str:
    """Return which of {experiment: title} a figure leaves out, as a sentence; "" if none."""
    left_out = [title for name, title in titles.items() if name not in records.trained(titles)]
    if not left_out:
        return ""
    if len(left_out) == len(titles):
        return "None of them is trained yet."
    return f"Left out, since not trained yet: {', '.join(left_out)}."


def _verdict(records: Records, first: str, second: str, images: str) -> str:
    """Return a whole clause on seed 0 of two models: which is better, if any."""
    names = [IN_PROSE[name] for name in (first, second)]
    try:
        test = records.compare(first, second, images)
    except NotMeasuredError:
        return f"the difference between {names[0]} and {names[1]} is not measured yet"
    values = [percent(records.estimate(name, images).value) for name in (first, second)]
    if test.p_value >= LEVEL:
        clause = f"the difference between {names[0]} and {names[1]} could be chance"
    else:
        better = test.only_first > test.only_second
        clause = f"{names[0]} is {'better' if better else 'worse'} than {names[1]}"
    alone = f"right alone on {test.only_first} and {test.only_second} images"
    return f"{clause} ({values[0]} against {values[1]} %; {alone}, {p_text(test.p_value)})"


def _backbone_verdicts(records: Records) -> dict[str, str]:
    clauses = []
    for network, name in SUBSET_OF_NETWORK.items():
        if name == "subset_fine_tuned" or not records.seeds(name, "validation"):
            continue
        found = difference(records, name, "subset_fine_tuned", "shifted_validation")
        clauses.append(f"{BACKBONES[network].title} {_against(found)}")
    return {"backbones": "; ".join(clauses)}


def _remedy_verdicts(records: Records) -> dict[str, str]:
    plain, *others = REMEDIES
    clauses = [
        f"{REMEDIES[name]} {_against(difference(records, name, plain, 'validation', 'macro F1'))}"
        for name in others
    ]
    return {"remedies": "; ".join(clauses)}


def _against(found: Difference) -> str:
    """Return "+1.2 points (+0.4 to +2.0), better"."""
    interval = f"{points(found.low)} to {points(found.high)}"
    return f"{points(found.value)} points ({interval}), {found.verdict}"
