"""The report's tables: from records to numbers (CSV), and to text (LaTeX, Markdown, the PDF)."""

import dataclasses
import itertools
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.changes import corruptions
from helpers.data.photographs import CLASS_NAMES
from helpers.evaluation import metrics, records
from helpers.evaluation.metrics import (
    Difference,
    Estimate,
    macro_f1_difference,
    seed_variance,
)
from helpers.evaluation.records import (
    CHOOSE_ON,
    IMAGE_SETS,
    MADE_BY,
    REPORT_ON,
    NotMeasuredError,
    experiment_of,
)
from helpers.files import replaced
from helpers.models.backbones import BACKBONES
from helpers.training.experiment import Experiment
from helpers.training.recipes import (
    ABLATION,
    ALONE,
    CONTROLS,
    FAMILIES,
    HOMEWORK_FINAL,
    MODELS,
    REFERENCE,
    REMEDIES,
    SEARCH,
    SUBSET_OF_NETWORK,
    TRIALS,
    ablation,
)

PAIRED_SETS = {
    name: IMAGE_SETS[name]
    for name in (
        *("validation", "test", "shifted_test", "shifted_test_seen", "shifted_test_unseen"),
        "second_acquisition",
    )
}
# MedMNIST-C as a whole, and each corruption.
CORRUPTED = ("medmnist_c", *(f"medmnist_c/{name}" for name in corruptions.CORRUPTIONS))
# What is compared under unseen operations alone.
UNSEEN = ("fine_tuned", "final", "ladder_lite2_larger")
TABLE1_SETS = {**PAIRED_SETS, "medmnist_c": IMAGE_SETS["medmnist_c"]}
CHOOSING_SETS = {name: IMAGE_SETS[name] for name in CHOOSE_ON}
ABLATION_SETS = (*REPORT_ON, "medmnist_c")

# The full-size trainings that the text compares, each with the one that it is built on.
CUSTOM = ("small_cnn", "vgg_like")
FROZEN = ("mobilenet_v3_small_frozen", "efficientnet_lite0_frozen")
PAIRS = (
    *((later, earlier) for earlier, later in itertools.pairwise((*CUSTOM, *FROZEN, "fine_tuned"))),
    ("fine_tuned_mild", "fine_tuned"),
    (HOMEWORK_FINAL, "fine_tuned"),
    (HOMEWORK_FINAL, "fine_tuned_mild"),
    ("fine_tuned_rand_augment_lion", HOMEWORK_FINAL),
)
PAIR_SETS = ("validation", *REPORT_ON)
# What the text says of the way to the course's final model: from which network, on which images.
WHOLE_WAY = (
    ("plain", "fine_tuned", "shifted_test"),
    ("homework", HOMEWORK_FINAL, "shifted_test"),
    ("homework", HOMEWORK_FINAL, "second_acquisition"),
)
# How many comparisons each table or list makes; its intervals hold all at once.
COMPARISONS = {
    "models": len(PAIRS) * len(PAIR_SETS),
    "backbones": len(SUBSET_OF_NETWORK) - 1,
    "tuning": (len(TRIALS) - 1) * len(CHOOSING_SETS),
    "whole way": len(WHOLE_WAY),
    "ladder": (len(ABLATION) - 1) * len(REPORT_ON),
    "remedies": (len(REMEDIES) - 1) * len(CHOOSING_SETS),
    "families": (len(FAMILIES) - 1) * len(CHOOSING_SETS),
    "alone": (len(ALONE) - 1) * len(CHOOSING_SETS),
    "controls": 2 * len(CONTROLS),
}
# What the settings of an experiment are called where one differs from the step before.
SETTINGS = {
    "offline": lambda value: "RandAugment's copies" if value == "rand_augment" else "no copies",
    "augmentation": lambda value: f"'{value}' augmentation",
    "freeze": lambda value: "all layers trained" if value is None else f"frozen through {value}",
    "freeze_batch_norm": lambda value: f"batch normalisation {'frozen' if value else 'trained'}",
    "learning_rate": lambda value: f"rate {value:.0e}".replace("e-0", "e-"),
    "schedule": lambda value: f"{value} rate" if value == "constant" else f"warm-up and {value}",
    "patience": lambda value: "no early stopping" if value is None else "early stopping",
    "label_smoothing": lambda value: f"labels smoothed by {value:g}",
    "ema": lambda value: "averaged weights",
    "image_size": lambda value: f"{value} px",
    "batch_size": lambda value: f"batch of {value}",
    "starts_from": lambda value: "goes on from the step before",
}

# What the homework report printed: validation and Codabench accuracy, in per cent.
REPORTED_MODELS = {
    "mobilenet_v3_small_frozen": ("91.72", "42.00"),
    "fine_tuned_rand_augment": ("98.58", "77.00"),
    "fine_tuned_rand_augment_lion": ("98.74", "76.00"),
}
REPORTED_BACKBONES = {"resnet50": "97.41", "densenet121": "97.49", "efficientnet_b4": "98.58"}
NONE = "–"


class Records(records.Records):
    """All that was measured.

    Attributes:
        costs: costs.json: "networks" and "missing".
        sets: evaluation_sets.json: how the image sets were made.
        missing: keys of the records that are not there yet, all of OPTIONAL.
    """

    costs: dict
    sets: dict
    missing: list[str]

    def trained(self, titles: dict[str, str]) -> dict[str, str]:
        """Return those of {experiment: title} that are trained."""
        return {name: title for name, title in titles.items() if self.seeds(name, "validation")}

    def searched(self) -> list[str]:
        """Return the trials of the search that are recorded, the best on shifted validation first.

        Raises:
            NotMeasuredError: if there is none.
        """
        found = {
            experiment_of(record.run): record.estimate.value
            for record in self.by_key.values()
            if record.run.startswith(SEARCH) and record.image_set == "shifted_validation"
        }
        if not found:
            raise NotMeasuredError(SEARCH, "shifted_validation")
        return sorted(found, key=found.get, reverse=True)


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        name: file name without ending.
        numbers: full-precision numbers, for the CSV.
        shown: text as printed; a line break parts a value from its interval.
        note: what stands below it, if anything.
    """

    name: str
    numbers: pd.DataFrame
    shown: pd.DataFrame
    note: str = ""

    def write(self, folder: Path) -> None:
        """Write name.csv, name.tex (booktabs) and name.md into a folder."""
        flat = self.shown.replace("\n", " ", regex=True)
        rows = [list(flat.columns), ["---"] * flat.shape[1], *flat.to_numpy().tolist()]
        texts = {
            "csv": self.numbers.to_csv(index=False, float_format="%.6g"),
            "tex": flat.to_latex(index=False, escape=True).replace("−", "$-$"),
            "md": "".join(f"| {' | '.join(row)} |\n" for row in rows),
        }
        if self.note:
            code = re.sub("`(.*?)`", r"\\texttt{\1}", self.note.replace("_", r"\_"))
            texts["tex"] += f"\\par{{\\footnotesize {code}}}\n"
            texts["md"] += f"\n{self.note}\n"
        for ending, text in texts.items():
            with replaced(folder / f"{self.name}.{ending}") as temporary:
                temporary.write_text(text, encoding="utf-8", newline="\n")

    def as_json(self) -> dict:
        """Return {"columns": [...], "rows": [[...]], "note": ...} of text."""
        rows = self.shown.to_numpy().tolist()
        return {"columns": list(self.shown.columns), "rows": rows, "note": self.note}


def percent(value: float) -> str:
    """Return 0.974 as "97.4"."""
    return f"{100 * value:.1f}"


def points(value: float) -> str:
    """Return a difference of fractions in percentage points, with its sign: "+1.2", "−0.4"."""
    text = f"{100 * value:+.1f}"
    return "0.0" if text in ("-0.0", "+0.0") else text.replace("-", "−")


def with_interval(estimate: Estimate) -> str:
    """Return "97.4", and below it "(96.5–98.1)"."""
    return f"{percent(estimate.value)}\n({percent(estimate.low)}–{percent(estimate.high)})"


def mean_and_range(values: np.ndarray) -> str:
    """Return the mean of the seeds, and below it their lowest and highest value; "–" for none."""
    if len(values) == 0:
        return NONE
    if len(values) == 1:
        return f"{percent(values[0])}\n(one seed)"
    return f"{percent(values.mean())}\n({percent(values.min())}–{percent(values.max())})"


def with_verdict(difference: Difference) -> str:
    """Return "+1.2*", its interval below it; the star says that the interval leaves out 0."""
    star = "*" if difference.sign else ""
    interval = f"{points(difference.low)} to {points(difference.high)}"
    return f"{points(difference.value)}{star}\n({interval})"


def commands(keys: Iterable[str], most_names: int | None = None) -> list[str]:
    """Return the shell commands that make records: experiments with the same seeds together.

    Args:
        keys: of records, or without "/accuracy".
        most_names: where a command has more, NAME stands for them; None to name all.
    """
    seeds = defaultdict(set)
    for key in keys:
        run, image_set = key.split("/")[:2]
        experiment, seed = run.rsplit("-seed", 1)
        seeds[MADE_BY.get(image_set, "run"), experiment].add(seed)
    together = defaultdict(list)
    for (command, experiment), wanted in seeds.items():
        together[command, " ".join(sorted(wanted))].append(experiment)
    # What evaluates a training comes after it.
    return [
        f"COURSE_PROFILE=full python -m helpers train {command} {_named(names, most_names)} "
        f"--seeds {wanted}"
        for (command, wanted), names in sorted(
            together.items(), key=lambda item: item[0][0] != "run"
        )
    ]


def _named(names: list[str], most: int | None) -> str:
    return "NAME" if most is not None and len(names) > most else " ".join(names)


def quoted(lines: list[str]) -> str:
    """Return commands as part of a sentence."""
    return " and ".join(f"`{line}`" for line in lines)


def tables(records: Records) -> list[Table]:
    """Return all tables of the report but that of the claims, in order."""
    makers = (models, pairs, backbones, tuning, ladder, imbalance)
    return [maker(records) for maker in makers]


def models(records: Records) -> Table:
    """Return Table 1: every model on every image set, seed 0 with its interval, other seeds' range.

    The homework report's own numbers stand in columns of their own.
    """
    numbers, shown = [], []
    for name, title in MODELS.items():
        row, text = {"model": title}, {"model": title}
        for image_set, heading in TABLE1_SETS.items():
            try:
                estimate = records.estimate(name, image_set)
            except NotMeasuredError:
                text[heading] = NONE
                continue
            text[heading] = with_interval(estimate)
            row |= _columns(heading, estimate)
            values = records.values(name, image_set)
            if len(values) > 1:
                text[heading] += f"\nseeds {percent(values.min())}–{percent(values.max())}"
                row |= {f"{heading} lowest": values.min(), f"{heading} highest": values.max()}
        validation, codabench = REPORTED_MODELS.get(name, (NONE, NONE))
        quoted = {"homework: validation": validation, "homework: hidden test": codabench}
        numbers.append(row | quoted)
        shown.append(text | quoted)
    note = _note(records, MODELS)
    return Table("report_table1", pd.DataFrame(numbers), pd.DataFrame(shown), note)


def _note(records: Records, experiments: Iterable[str]) -> str:
    """Return what a table says of its experiments that are not trained yet, with the command."""
    keys = [key for key in records.missing if experiment_of(key) in experiments]
    if not keys:
        return ""
    shorter = quoted(commands(keys, most_names=2))
    names = "; `make report` prints the names" if "NAME" in shorter else ""
    return f"{NONE} not trained yet: {shorter}{names}."


def _columns(heading: str, estimate: Estimate) -> dict[str, float]:
    return {
        heading: estimate.value,
        f"{heading} low": estimate.low,
        f"{heading} high": estimate.high,
    }


def pairs(records: Records) -> Table:
    """Return Table 2: how each full-size training differs from the one that it is built on."""
    rows = []
    for first, second in PAIRS:
        title = f"{MODELS[first]} against {MODELS[second]}".replace("the same, ", "")
        row = {"difference": (title, title)}
        for image_set in PAIR_SETS:
            try:
                found = difference(records, first, second, image_set, family="models")
            except NotMeasuredError:
                row[IMAGE_SETS[image_set]] = (None, NONE)
                continue
            row |= _difference_columns(IMAGE_SETS[image_set], found)
        rows.append(row)
    return _table("report_table2", rows, _note(records, MODELS))


def _difference_columns(heading: str, found: Difference) -> dict[str, tuple]:
    return {
        heading: (found.value, with_verdict(found)),
        f"{heading} low": (found.low, None),
        f"{heading} high": (found.high, None),
    }


def backbones(records: Records) -> Table:
    """Return Table 3: accuracy of each backbone on the subset and what it costs; who is missing.

    Costs are at 96 px; ms per image on the machine that costs.json was made on.
    """
    networks, missing = records.costs["networks"], records.costs["missing"]
    numbers, shown = [], []
    for name in dict.fromkeys((*SUBSET_OF_NETWORK, *missing)):
        cost = networks.get(name, {})
        row = {"network": BACKBONES[name].title, **_costs(cost)}
        text = {
            "network": row["network"],
            "parameters, million": _scaled(cost, "parameters", 1e6),
            "multiply-adds, million": _scaled(cost, "multiply_adds", 1e6, 0),
            "ms per image, training": _scaled(cost, "training_ms"),
            "ms per image, inference": _scaled(cost, "inference_ms"),
        }
        for image_set, heading in CHOOSING_SETS.items():
            values = records.values(SUBSET_OF_NETWORK.get(name, name), image_set)
            row[heading] = values.mean() if len(values) else None
            text[heading] = mean_and_range(values)
        row["homework report's validation"] = REPORTED_BACKBONES.get(name, NONE)
        numbers.append(row | {"not measured because": missing.get(name, "")})
        if name not in missing:
            shown.append(text)
    titles = [
        BACKBONES[name].title
        + (f" ({REPORTED_BACKBONES[name]} %)" if name in REPORTED_BACKBONES else "")
        for name in missing
    ]
    note = (
        "No ImageNet weights at hand (in brackets the homework report's validation accuracy): "
        f"{', '.join(titles)}."
        if titles
        else ""
    )
    return Table("report_table3", pd.DataFrame(numbers), pd.DataFrame(shown), note)


def _costs(cost: dict) -> dict:
    names = ("parameters", "multiply_adds", "training_ms", "inference_ms")
    return {name: cost.get(name) for name in names}


def _scaled(cost: dict, name: str, unit: float = 1, digits: int = 1) -> str:
    return NONE if cost.get(name) is None else f"{cost[name] / unit:,.{digits}f}"


def tuning(records: Records) -> Table:
    """Return Table 4: the accuracy of each trial, and its difference from the reference."""
    rows = [
        {"trial": (title, title)} | _compared(records, name, REFERENCE, "tuning")
        for name, title in TRIALS.items()
    ]
    return _table("report_table4", rows, _note(records, TRIALS))


def imbalance(records: Records) -> Table:
    """Return Table 6: macro F1 of each remedy against none."""
    plain = next(iter(REMEDIES))
    rows = [
        {"remedy": (title, title)} | _compared(records, name, plain, "remedies", "macro F1")
        for name, title in REMEDIES.items()
    ]
    return _table("report_table6", rows)


def _table(name: str, rows: list[dict[str, tuple]], note: str = "") -> Table:
    """Return a table from rows of {column: (number, text or None if it stands in the CSV only)}."""
    numbers = [{column: number for column, (number, _) in row.items()} for row in rows]
    shown = [{c: text for c, (_, text) in row.items() if text is not None} for row in rows]
    return Table(name, pd.DataFrame(numbers), pd.DataFrame(shown), note)


def _compared(
    records: Records, name: str, reference: str, family: str, metric: str = "accuracy"
) -> dict[str, tuple]:
    """Return one row's scores over seeds and their differences from the reference."""
    row = {}
    for image_set, heading in CHOOSING_SETS.items():
        column = heading if metric == "accuracy" else f"{heading}, {metric}"
        values = scores(records, name, image_set, metric)
        if not len(values):
            row |= {column: (None, NONE), f"{column}: difference": (None, NONE)}
            continue
        row[column] = values.mean(), mean_and_range(values)
        row[f"{column} lowest"] = values.min(), None
        row[f"{column} highest"] = values.max(), None
        if name == reference or not records.seeds(reference, image_set):
            row[f"{column}: difference"] = None, NONE
            continue
        found = difference(records, name, reference, image_set, metric, family)
        row |= _difference_columns(f"{column}: difference", found)
    return row


def scores(records: Records, experiment: str, image_set: str, metric: str) -> np.ndarray:
    """Return float (seeds,), 0-1: recorded accuracy, or macro F1 from the stored logits."""
    if metric == "accuracy":
        return records.values(experiment, image_set)
    labels = records.labels(image_set)
    logits = (
        records.logits(experiment, image_set, k) for k in records.seeds(experiment, image_set)
    )
    reports = (metrics.per_class(labels, scores, CLASS_NAMES) for scores in logits)
    return np.array([report["F1"].mean() for report in reports])


def difference(
    records: Records,
    first: str,
    second: str,
    image_set: str,
    metric: str = "accuracy",
    family: str | None = None,
) -> Difference:
    """Return the difference of two experiments over all their seeds, by accuracy or macro F1.

    Args:
        records: of both.
        first, second: names of experiments.
        image_set: on which they are compared.
        metric: "accuracy" or "macro F1".
        family: the comparisons among which this is one, see COMPARISONS; None for it alone.

    Raises:
        NotMeasuredError: if one of them is not recorded.
    """
    comparisons = COMPARISONS.get(family, 1)
    if metric == "accuracy":
        return records.difference(first, second, image_set, comparisons)
    variance = seed_variance(scores(records, name, image_set, metric) for name in REMEDIES)
    predicted = (records.predicted(name, image_set) for name in (first, second))
    labels = records.labels(image_set)
    return macro_f1_difference(labels, *predicted, len(CLASS_NAMES), variance, comparisons)


def ladder(records: Records) -> Table:
    """Return Table 5: what each step to the course's final model changes, and what it brings."""
    rows, steps = [], ablation()
    for before, after in itertools.pairwise(ABLATION):
        details = records.record(after, "test").details
        changed = ", ".join(changes(steps[before], steps[after]))
        epochs, minutes = str(details["epochs"]), f"{details['seconds'] / 60:.0f}"
        row = {"step": (ABLATION[after],) * 2, "what changes": (changed, changed)}
        row |= {"epochs": (details["epochs"], epochs), "minutes": (float(minutes), minutes)}
        for image_set in REPORT_ON:
            found = difference(records, after, before, image_set, family="ladder")
            row |= _difference_columns(IMAGE_SETS[image_set], found)
        rows.append(row)
    return _table("report_table5", rows)


def changes(before: Experiment, after: Experiment) -> list[str]:
    """Return in words which settings of a step differ from those of the step before.

    Raises:
        KeyError: if a setting differs that has no words in SETTINGS.
    """
    settings = {each.name: getattr(after, each.name) for each in dataclasses.fields(after)}
    return [
        SETTINGS[name](value)
        for name, value in settings.items()
        if name not in ("name", "budget") and value != getattr(before, name)
    ]
