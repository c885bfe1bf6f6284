"""The report's tables: from records to numbers (CSV), and to text (LaTeX, Markdown, the PDF)."""

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
from helpers.evaluation.records import CHOOSE_ON, IMAGE_SETS, NotMeasuredError, experiment_of
from helpers.files import replaced
from helpers.models.backbones import BACKBONES
from helpers.training.recipes import (
    ABLATION,
    HOMEWORK_FINAL,
    MODELS,
    REFERENCE,
    REMEDIES,
    SEARCH,
    SUBSET_OF_NETWORK,
    TRIALS,
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
TABLE1_SETS = {**PAIRED_SETS, "medmnist_c": IMAGE_SETS["medmnist_c"]}
CHOOSING_SETS = {name: IMAGE_SETS[name] for name in CHOOSE_ON}
ABLATION_SETS = ("test", "shifted_test", "second_acquisition", "medmnist_c")

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
    seeds, corrupted = defaultdict(set), {}
    for key in keys:
        experiment, seed = key.split("/")[0].rsplit("-seed", 1)
        if key.split("/")[1] == "medmnist_c":
            corrupted[experiment] = True
        else:
            seeds[experiment].add(seed)
    together = defaultdict(list)
    for experiment, wanted in seeds.items():
        together[" ".join(sorted(wanted))].append(experiment)
    found = [
        f"helpers train run {_named(names, most_names)} --seeds {wanted}"
        for wanted, names in together.items()
    ]
    if corrupted:
        found.append(f"helpers train robustness {' '.join(corrupted)}")
    return [f"COURSE_PROFILE=full python -m {command}" for command in found]


def _named(names: list[str], most: int | None) -> str:
    return "NAME" if most is not None and len(names) > most else " ".join(names)


def quoted(lines: list[str]) -> str:
    """Return commands as part of a sentence."""
    return " and ".join(f"`{line}`" for line in lines)


def tables(records: Records) -> list[Table]:
    """Return all tables of the report, in order."""
    makers = (models, backbones, tuning, imbalance, per_class, ladder)
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
        quoted = {"homework: validation": validation, "homework: Codabench": codabench}
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


def backbones(records: Records) -> Table:
    """Return Table 2: accuracy of each backbone on the subset and what it costs; who is missing.

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
    return Table("report_table2", pd.DataFrame(numbers), pd.DataFrame(shown), note)


def _costs(cost: dict) -> dict:
    names = ("parameters", "multiply_adds", "training_ms", "inference_ms")
    return {name: cost.get(name) for name in names}


def _scaled(cost: dict, name: str, unit: float = 1, digits: int = 1) -> str:
    return NONE if cost.get(name) is None else f"{cost[name] / unit:,.{digits}f}"


def tuning(records: Records) -> Table:
    """Return Table 3: the accuracy of each trial, and its difference from the reference."""
    rows = [
        {"trial": (title, title)} | _compared(records, name, REFERENCE, ("accuracy",))
        for name, title in TRIALS.items()
    ]
    return _table("report_table3", rows, _note(records, TRIALS))


def imbalance(records: Records) -> Table:
    """Return Table 4: accuracy and macro F1 of each remedy against none."""
    plain = next(iter(REMEDIES))
    rows = [
        {"remedy": (title, title)} | _compared(records, name, plain, ("accuracy", "macro F1"))
        for name, title in REMEDIES.items()
    ]
    return _table("report_table4", rows)


def _table(name: str, rows: list[dict[str, tuple]], note: str = "") -> Table:
    """Return a table from rows of {column: (number, text or None if it stands in the CSV only)}."""
    numbers = [{column: number for column, (number, _) in row.items()} for row in rows]
    shown = [{c: text for c, (_, text) in row.items() if text is not None} for row in rows]
    return Table(name, pd.DataFrame(numbers), pd.DataFrame(shown), note)


def _compared(
    records: Records, name: str, reference: str, metrics: tuple[str, ...]
) -> dict[str, tuple]:
    """Return one row's scores over seeds and their differences from the reference."""
    row = {}
    for image_set, heading in CHOOSING_SETS.items():
        for metric in metrics:
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
            found = difference(records, name, reference, image_set, metric)
            row[f"{column}: difference"] = found.value, with_verdict(found)
            row[f"{column}: difference low"] = found.low, None
            row[f"{column}: difference high"] = found.high, None
    return row


def scores(
    records: Records, experiment: str, image_set: str, metric: str = "accuracy"
) -> np.ndarray:
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
    records: Records, first: str, second: str, image_set: str, metric: str = "accuracy"
) -> Difference:
    """Return the difference of two experiments over all their seeds, by accuracy or macro F1."""
    alike = REMEDIES if metric == "macro F1" else (*TRIALS, *REMEDIES)
    if metric == "accuracy":
        return records.difference(first, second, image_set, alike)
    variance = seed_variance(scores(records, name, image_set, metric) for name in alike)
    predicted = (records.predicted(name, image_set) for name in (first, second))
    return macro_f1_difference(records.labels(image_set), *predicted, len(CLASS_NAMES), variance)


def per_class(records: Records) -> Table:
    """Return Table 5: precision, recall and F1 of the final model, clean and shifted test."""
    parts = []
    for image_set, heading in (("test", "test"), ("shifted_test", "shifted test")):
        logits = records.logits(HOMEWORK_FINAL, image_set)
        report = metrics.per_class(records.labels(image_set), logits, CLASS_NAMES)
        parts.append(report.drop(columns="images").add_prefix(f"{heading}, "))
    numbers = pd.concat([report[["images"]], *parts], axis=1).reset_index()
    shown = numbers.copy().astype(object)
    shown["images"] = [f"{count:,}" for count in numbers["images"]]
    for column in shown.columns[2:]:
        shown[column] = [percent(value) for value in numbers[column]]
    return Table("report_table5", numbers, shown)


def ladder(records: Records) -> Table:
    """Return Table 7: each step from the homework report's fine-tuning to the final model."""
    numbers, shown = [], []
    for name, title in ABLATION.items():
        row, text = {"step": title}, {"step": title}
        for image_set in ABLATION_SETS:
            estimate = records.estimate(name, image_set)
            row |= _columns(TABLE1_SETS[image_set], estimate)
            text[TABLE1_SETS[image_set]] = with_interval(estimate)
        numbers.append(row)
        shown.append(text)
    return Table("report_table7", pd.DataFrame(numbers), pd.DataFrame(shown))
