"""Records: every number the course prints, with what it needs to be believed.

A run's folder holds results.json (one record per number), predictions/<run>.npz (the logits behind
a training's accuracies; labels.npz the labels) and curves/<run>.json (how it learned; older
trainings have none). No TensorFlow: whatever reports reads this.
"""

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from helpers import course
from helpers.changes import shifts
from helpers.course import CourseError
from helpers.data.photographs import Source
from helpers.data.sets import PARTIAL_SHIFTS, SHIFT_SEEDS, CourseData, ImageSet
from helpers.evaluation import metrics
from helpers.evaluation.machine import provenance
from helpers.evaluation.metrics import Estimate
from helpers.files import locked, read_arrays, replaced, write_json

# Titles of the image sets that accuracies are recorded for. A shifted set has two parts: the images
# whose changes all have a counterpart in a training augmentation, and the others.
IMAGE_SETS = {
    "validation": "validation",
    "shifted_validation": "shifted validation",
    "test": "test",
    "shifted_test": "shifted test",
    "shifted_test_seen": "shifted: seen only",
    "shifted_test_unseen": "shifted: with unseen",
    "second_acquisition": "second acquisition",
    "medmnist_c": "MedMNIST-C",
    "unseen_only_validation": "validation: unseen only",
    "unseen_only": "shifted: unseen only",
}
# Models are chosen on these sets, and the chosen one is reported on those.
CHOOSE_ON = ("validation", "shifted_validation")
REPORT_ON = ("test", "shifted_test", "second_acquisition")

# The commands of `python -m helpers train` that evaluate on PARTIAL_SHIFTS, and on which group.
PARTIAL = {"unseen": "unseen_only", "families": "family_only"}
# What records an image set that a training itself is not evaluated on.
MADE_BY = {"medmnist_c": "robustness"} | {
    image_set: command for command, group in PARTIAL.items() for image_set in PARTIAL_SHIFTS[group]
}

CURVES = ("loss", "accuracy", "val_loss", "val_accuracy")

_ACCURACY = "accuracy"

# The experiments whose networks begin at random weights.
FROM_SCRATCH = ("small_cnn", "vgg_like")

# So accurate on clean validation (0-1) is every training that has not failed.
COLLAPSED = 0.8


class NotMeasuredError(CourseError):
    """A record that is needed and not there yet; `experiment` names whose."""

    def __init__(self, experiment: str, image_set: str):
        super().__init__(
            f"Nothing is recorded of {experiment} on {IMAGE_SETS.get(image_set, image_set)}: "
            f"make it with `python -m helpers train {MADE_BY.get(image_set, 'run')} {experiment}`."
        )
        self.experiment = experiment


def run_name(experiment: str, seed: int) -> str:
    """Return how one training's records and files are called."""
    return f"{experiment}-seed{seed}"


def experiment_of(run: str) -> str:
    """Return the experiment of a `run_name`, or of a record's key that begins with one."""
    return run.partition("/")[0].rpartition("-seed")[0]


def accuracy_key(run: str, image_set: str) -> str:
    """Return the key of a training's accuracy on an image set."""
    return f"{run}/{image_set}/{_ACCURACY}"


@dataclass(frozen=True)
class Record:
    """One number of results.json.

    Attributes:
        key: "run/image set/accuracy", see `accuracy_key`.
        estimate: the value with its interval, each in 0-1, and n.
        details: what else is known: seed, seconds, fingerprint of the split, provenance.
    """

    key: str
    estimate: Estimate
    details: dict

    @property
    def run(self) -> str:
        """The training that the number is of."""
        return self.key.partition("/")[0]

    @property
    def image_set(self) -> str:
        """The image set of a training's accuracy."""
        return self.key.partition("/")[2].removesuffix(f"/{_ACCURACY}")

    def to_json(self) -> dict:
        """Return the record as results.json holds it."""
        estimate = self.estimate
        interval = [estimate.low, estimate.high]
        number = {"key": self.key, "value": estimate.value, "interval": interval, "n": estimate.n}
        return number | self.details

    @classmethod
    def from_json(cls, entry: object) -> "Record":
        """Return the record of an entry of results.json.

        Raises:
            ValueError: if it is none, with the reason.
        """
        if not isinstance(entry, dict) or not isinstance(entry.get("key"), str):
            raise ValueError("an entry without a key")
        details, key = dict(entry), entry["key"]
        del details["key"]
        value, interval, n = (details.pop(name, None) for name in ("value", "interval", "n"))
        if not isinstance(interval, list) or len(interval) != 2:
            raise ValueError(f"{key} has no interval")
        if not all(_is_fraction(number) for number in (value, *interval)):
            raise ValueError(f"{key} has a value or an interval that is no number from 0 to 1")
        if not interval[0] <= value <= interval[1]:
            raise ValueError(f"{key} has a value outside its interval")
        if not isinstance(n, int) or n < 1:
            raise ValueError(f"{key} has no n")
        return cls(key, Estimate(value, *interval, n), details)


class Records:
    """What one folder holds: the numbers at once, logits and curves when they are asked for.

    Attributes:
        folder: of results.json, predictions/ and curves/.
        by_key: every `Record` by its key, sorted.
    """

    def __init__(self, folder: Path):
        """Read results.json; a folder without it holds no record.

        Raises:
            CourseError: if it is damaged, or holds a key twice.
        """
        self.folder, self.by_key = folder, _read(folder / "results.json")
        self._arrays: dict[str, dict[str, np.ndarray]] = {}

    @property
    def stamp(self) -> str:
        """What a figure of these records says of the images that they were measured on."""
        sources = {str(record.details.get("source")) for record in self.by_key.values()}
        return f"recorded on photographs ({', '.join(sorted(sources))})"

    def of_run(self, run: str) -> dict[str, Record]:
        """Return a training's records by image set."""
        found = [record for record in self.by_key.values() if record.run == run]
        return {record.image_set: record for record in found}

    def record(self, experiment: str, image_set: str, seed: int = 0) -> Record:
        """Return the record of one training's accuracy.

        Raises:
            NotMeasuredError: if it is not there; so do all methods that need one.
        """
        key = accuracy_key(run_name(experiment, seed), image_set)
        if key not in self.by_key:
            raise NotMeasuredError(experiment, image_set)
        return self.by_key[key]

    def estimate(self, experiment: str, image_set: str, seed: int = 0) -> Estimate:
        """Return a recorded accuracy with its interval."""
        return self.record(experiment, image_set, seed).estimate

    def seeds(self, experiment: str, image_set: str) -> list[int]:
        """Return the seeds that an experiment has records for on an image set, perhaps none."""
        runs = (
            record.run
            for record in self.by_key.values()
            if record.image_set == image_set and experiment_of(record.run) == experiment
        )
        return sorted(int(run.rpartition("-seed")[2]) for run in runs)

    def values(self, experiment: str, image_set: str) -> np.ndarray:
        """Return the recorded accuracies (0-1) of all seeds, float (seeds,), perhaps of none."""
        seeds = self.seeds(experiment, image_set)
        return np.array([self.estimate(experiment, image_set, seed).value for seed in seeds])

    def logits(self, experiment: str, image_set: str, seed: int = 0) -> np.ndarray:
        """Return the stored logits of one training, float32 (N, classes), the largest of a row 0.

        Raises:
            NotMeasuredError: if the training is not recorded.
            CourseError: if their file is missing or damaged, or holds none of this image set.
        """
        self.record(experiment, image_set, seed)
        run = run_name(experiment, seed)
        groups = [group for group, sets in PARTIAL_SHIFTS.items() if image_set in sets]
        return self._stored(_group_file(run, groups[0]) if groups else run, image_set)

    def labels(self, image_set: str) -> np.ndarray:
        """Return the labels of an image set, int64 (N,).

        Raises:
            CourseError: if their file is missing or damaged, or holds none of this image set.
        """
        # Partial shifts change the photographs of another set.
        roles = {name: of.role for sets in PARTIAL_SHIFTS.values() for name, of in sets.items()}
        return self._stored("labels", roles.get(image_set, image_set))

    def predicted(self, experiment: str, image_set: str) -> np.ndarray:
        """Return int (seeds, N): the class that each seed of an experiment predicts."""
        seeds = self.seeds(experiment, image_set) or [0]
        return np.array([self.logits(experiment, image_set, k).argmax(axis=1) for k in seeds])

    def correct(self, experiment: str, image_set: str) -> np.ndarray:
        """Return bool (seeds, N): which images each seed of an experiment predicts correctly."""
        return self.predicted(experiment, image_set) == self.labels(image_set)

    def compare(self, first: str, second: str, image_set: str) -> metrics.PairedTest:
        """Return McNemar's test of seed 0 of two experiments on one image set."""
        logits = (self.logits(name, image_set) for name in (first, second))
        return metrics.compare(self.labels(image_set), *logits)

    def mean(self, experiment: str, image_set: str) -> Estimate:
        """Return the mean accuracy of all seeds, the lowest and the highest as its interval."""
        values = self.values(experiment, image_set)
        if not len(values):
            raise NotMeasuredError(experiment, image_set)
        return Estimate(values.mean(), values.min(), values.max(), len(values))

    def difference(
        self,
        first: str,
        second: str,
        image_set: str,
        comparisons: int = 1,
    ) -> metrics.Difference:
        """Return the difference in accuracy of two experiments, over images and seeds.

        Args:
            first, second: their names.
            image_set: on which both are compared.
            comparisons: see `metrics.accuracy_difference`.
        """
        correct = (self.correct(name, image_set) for name in (first, second))
        variances = [self.seed_variance(name, image_set) for name in (first, second)]
        return metrics.accuracy_difference(*correct, variances, comparisons)

    def seed_variance(self, experiment: str, image_set: str) -> float:
        """Return the variance of one seed's accuracy on an image set, pooled over experiments.

        Those that begin as this one does, from random weights or from ImageNet's: the seeds of the
        former lie several times as far apart on another acquisition. What collapses in training is
        another thing and left out. Whether it does is told on clean validation: under a shift
        recipes are meant to lie apart.
        """
        from_scratch = experiment in FROM_SCRATCH
        return metrics.seed_variance(
            self.values(name, image_set)
            for name in self.experiments(image_set)
            if (name in FROM_SCRATCH) == from_scratch and not self.has_collapsed(name)
        )

    def has_collapsed(self, experiment: str) -> bool:
        """Return whether a seed of an experiment fails even on clean validation."""
        return self.values(experiment, "validation").min(initial=1.0) < COLLAPSED

    def experiments(self, image_set: str) -> list[str]:
        """Return the names of all experiments with a record on an image set."""
        runs = (record.run for record in self.by_key.values() if record.image_set == image_set)
        return list(dict.fromkeys(experiment_of(run) for run in runs if "-seed" in run))

    def history(self, run: str, identity: str | None = None) -> dict[str, list[float]] | None:
        """Return a training's CURVES, one float per epoch; None where they were not recorded.

        Args:
            run: see `run_name`.
            identity: of the training; curves of another one under the same name are not returned.

        Raises:
            CourseError: if their file is damaged.
        """
        path = self.folder / "curves" / f"{run}.json"
        if not path.exists():
            return None
        stored = _json(path)
        try:
            if identity not in (None, stored["identity"]):
                return None
            return {curve: [float(value) for value in stored[curve]] for curve in CURVES}
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged(path, f"no curves: {error}") from error

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """Return predictions/<name>.npz by image set: logits float32, labels int64.

        Raises:
            CourseError: if the file is missing or damaged.
        """
        if name not in self._arrays:
            self._arrays[name] = _arrays(self.folder / "predictions" / f"{name}.npz")
        return self._arrays[name]

    def _stored(self, name: str, image_set: str) -> np.ndarray:
        stored = self.arrays(name)
        whole = image_set.removesuffix("_seen").removesuffix("_unseen")
        if whole not in stored:
            raise _damaged(self.folder / "predictions" / f"{name}.npz", f"nothing of {whole}")
        if whole == image_set:
            return stored[whole]
        return stored[whole][parts(whole, len(stored[whole]))[image_set]]


def parts(image_set: str, count: int) -> dict[str, np.ndarray]:
    """Return the two parts of a shifted set (see IMAGE_SETS) as rows, bool (count,), by name.

    The chains of operations depend on the seed alone, so no image is needed to tell the parts; a
    set that is not shifted has none.
    """
    if image_set not in SHIFT_SEEDS:
        return {}
    seen = shifts.seen_images(count, SHIFT_SEEDS[image_set])
    return {f"{image_set}_seen": seen, f"{image_set}_unseen": ~seen}


def folder(source: Source) -> Path:
    """Return where this run's figures, tables and records go (see `course.output_folder`)."""
    return course.output_folder(course.profile().name, source.label, source.is_published)


def published() -> Records:
    """Return the records in git, which lessons and the course report read on any images.

    A full run on photographs replaces them by the reader's own.
    """
    return Records(course.root() / "report")


def write(records: Iterable[Record], source: Source) -> None:
    """Write records to results.json at once; those with the same keys are replaced.

    Args:
        records: their details are completed by the profile, the source and `provenance`, which they
            may hold themselves.
        source: where the images came from.
    """
    here = {
        "profile": course.profile().name,
        "source": source.name,
        "source_checksum": source.checksum,
        **provenance(),
    }
    path = folder(source) / "results.json"
    # Between reading and writing, another run on this machine may write too.
    with locked(course.build_folder() / "results.lock"):
        entries = {key: record.to_json() for key, record in _read(path).items()}
        for new in records:
            entries[new.key] = replace(new, details=here | new.details).to_json()
        write_json(path, [entries[key] for key in sorted(entries)])


def write_run(
    run: str,
    logits: dict[str, np.ndarray],
    history: dict[str, list[float]],
    data: CourseData,
    **details: object,
) -> None:
    """Record a training: its logits, its curves, and its accuracy on every evaluation set.

    Args:
        run: see `run_name`.
        logits: float (N, classes) by image set.
        history: CURVES, one float per epoch.
        data: the images it was evaluated on.
        details: what else each record holds, "identity" among it.
    """
    source = data.source
    write_predictions(run, {name: half_logits(values) for name, values in logits.items()}, source)
    labels = {name: images.labels.astype(np.uint8) for name, images in data.evaluation_sets.items()}
    write_predictions("labels", labels, source)
    with replaced(folder(source) / "curves" / f"{run}.json") as temporary:
        curves = {curve: history[curve] for curve in CURVES}
        temporary.write_text(json.dumps({"identity": details["identity"], **curves}) + "\n")
    written = []
    for name, answers in logits.items():
        labels, shared = data[name].labels, {"split": data.fingerprint, **details}
        shared["images_sha256"] = digest(data[name])
        rows = {name: np.full(len(labels), True), **parts(name, len(labels))}
        written += [
            Record(accuracy_key(run, part), metrics.accuracy(labels[of], answers[of]), shared)
            for part, of in rows.items()
            if of.any()
        ]
    write(written, source)


def write_partial(run: str, group: str, logits: dict[str, np.ndarray], source: Source) -> None:
    """Write a run's logits, float (N, classes), on a group of PARTIAL_SHIFTS to their own file."""
    halves = {name: half_logits(values) for name, values in logits.items()}
    write_predictions(_group_file(run, group), halves, source)


def half_logits(logits: np.ndarray) -> np.ndarray:
    """Return logits (N, classes) as they are recorded: float16, relative to a row's largest.

    The probabilities stay, and few become equal.
    """
    return (logits - logits.max(axis=1, keepdims=True)).astype(np.float16)


def _group_file(run: str, group: str) -> str:
    return f"{run}-{group}"


def write_predictions(name: str, arrays: dict[str, np.ndarray], source: Source) -> None:
    """Write arrays by image set to predictions/<name>.npz."""
    with replaced(folder(source) / "predictions" / f"{name}.npz") as temporary:
        np.savez_compressed(temporary, **arrays)


def digest(images: ImageSet) -> str:
    """Return the SHA-256 of a set's pixels and labels, in order."""
    pixels = hashlib.sha256(images.images.tobytes())
    pixels.update(images.labels.astype("<i8").tobytes())
    return pixels.hexdigest()


def _is_fraction(value: object) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and 0 <= value <= 1


def _read(path: Path) -> dict[str, Record]:
    """Return the records of results.json by key; none if there is no such file."""
    if not path.exists():
        return {}
    entries = _json(path)
    try:
        if not isinstance(entries, list):
            raise ValueError("no list of records")
        records = list(map(Record.from_json, entries))
        found = {record.key: record for record in records}
        if len(found) < len(records):
            keys = [record.key for record in records]
            raise ValueError(f"{next(k for k in keys if keys.count(k) > 1)} is there twice")
    except ValueError as error:
        raise _damaged(path, error) from error
    return found


def _json(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path, error) from error


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        arrays = read_arrays(path)
    except FileNotFoundError as error:
        raise CourseError(
            f"{path.name} is missing in {path.parent.name}/, though results.json has its numbers: "
            "restore it from git, or delete the records to make both anew."
        ) from error
    except ValueError as error:
        raise _damaged(path, error) from error
    for name, values in arrays.items():
        if values.dtype.kind not in ("f" if values.ndim == 2 else "iu"):
            raise _damaged(path, f"{name} is {values.dtype}")
    return {
        name: values.astype(np.float32 if values.ndim == 2 else np.int64)
        for name, values in arrays.items()
    }


def _damaged(path: Path, reason: object) -> CourseError:
    reason = str(reason).partition("\n")[0] or type(reason).__name__
    return CourseError(
        f"{path.name} in {path.parent.name}/ is damaged ({reason}): restore it from git, "
        "or delete it to begin a new one."
    )
