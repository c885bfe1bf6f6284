"""The tuning as one Optuna study: the homework's hand-made list first, then a small search.

Commands:
    python -m helpers study run [--trials N] [--storage URL]   N searched trials after the list
    python -m helpers study show [--storage URL]

A trial trains on the fixed subset with one seed; its value is the accuracy on shifted validation,
and its records are those of any experiment.
The study is kept in build/tuning.db, so that an interrupted one goes on. With the URL of a shared
database several machines work on it at once, each taking the next trial.
"""

import argparse
import inspect
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import optuna
import pandas as pd
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from helpers import course
from helpers.changes.augment import rand_augment_copies
from helpers.course import CourseError
from helpers.data.sets import CourseData, load_course_data
from helpers.training import recipes
from helpers.training.experiment import Experiment
from helpers.training.run import result

STUDY = "tuning"
REPORTED, SEARCHED = "the homework's", "searched"
# What RandAugment does unless an experiment says otherwise: the homework's setting.
AUGMENTATION = {
    name: inspect.signature(rand_augment_copies).parameters[name].default
    for name in ("augmentations_per_image", "magnitude", "magnitude_stddev", "rate")
}


def parameters_of(experiment: Experiment) -> dict:
    """Return an experiment's place in the search space, by the names that `suggest` draws."""
    return {
        "optimizer": experiment.optimizer,
        "learning_rate": experiment.learning_rate,
        "batch_size": experiment.batch_size,
        "extra_dense": experiment.extra_dense or 0,
        **AUGMENTATION,
        **experiment.offline_options,
    }


def experiment_of(parameters: dict) -> Experiment:
    """Return the experiment at a place in the search space; one of the list keeps its name."""
    for experiment in recipes.tuning().values():
        if parameters_of(experiment) == parameters:
            return experiment
    options = {name: parameters[name] for name in AUGMENTATION}
    values = (f"{v:.3g}" if isinstance(v, float) else f"{v}" for v in parameters.values())
    return recipes.tuning()[recipes.REFERENCE].variant(
        recipes.SEARCH + "_".join(values),
        optimizer=parameters["optimizer"],
        learning_rate=parameters["learning_rate"],
        batch_size=parameters["batch_size"],
        extra_dense=parameters["extra_dense"] or None,
        offline_options={n: v for n, v in options.items() if v != AUGMENTATION[n]},
    )


def suggest(trial: optuna.Trial) -> dict:
    """Return the trial's parameters, drawn around what the homework tried by hand."""
    return {
        "optimizer": trial.suggest_categorical("optimizer", ["adam", "lion"]),
        "learning_rate": trial.suggest_float("learning_rate", 1e-5, 3e-3, log=True),
        "batch_size": trial.suggest_categorical("batch_size", [32, 64, 128]),
        "extra_dense": trial.suggest_categorical("extra_dense", [0, 128]),
        "augmentations_per_image": trial.suggest_int("augmentations_per_image", 1, 4),
        "magnitude": trial.suggest_float("magnitude", 0.2, 0.8),
        "magnitude_stddev": trial.suggest_float("magnitude_stddev", 0.0, 0.3),
        "rate": trial.suggest_float("rate", 0.5, 1.0),
    }


def open_study(storage: str | None = None) -> optuna.Study:
    """Return the study; what is left of the list waits in it, interrupted trials again.

    Args:
        storage: URL of a database that Optuna can use; None for build/tuning.db.

    Raises:
        CourseError: if the database cannot be opened, or is none.
    """
    # Machines that share a study would otherwise all draw the same places.
    is_own = storage is None
    seed = 0 if is_own else None
    with _told(SQLAlchemyError, optuna.exceptions.OptunaError, ImportError, ValueError):
        study = optuna.create_study(
            storage=_own_database() if is_own else storage,
            study_name=STUDY,
            direction="maximize",
            load_if_exists=True,
            sampler=optuna.samplers.TPESampler(
                seed=seed, n_startup_trials=len(recipes.tuning()) + 2, constant_liar=True
            ),
        )
        _enqueue(study, is_own)
    return study


def _own_database() -> optuna.storages.RDBStorage:
    # Not by its URL, in which a folder's name may mean something else.
    path = course.build_folder() / "tuning.db"
    connection = {"creator": lambda: sqlite3.connect(path)}
    return optuna.storages.RDBStorage("sqlite://", engine_kwargs=connection)


@contextmanager
def _told(*errors: type[Exception]) -> Iterator[None]:
    """Turn a database's errors into one sentence, without its URL, which may hold a password."""
    try:
        yield
    except errors as error:
        raise CourseError(
            "The study's database (build/tuning.db, or that of --storage) cannot be used "
            f"({type(error.__cause__ or error).__name__}): free some disk space, look at its URL, "
            "driver and server, or delete a damaged build/tuning.db (the records stay)."
        ) from error


def _enqueue(study: optuna.Study, is_own: bool) -> None:
    if is_own:
        # Nobody else works on this file: what runs in it was interrupted.
        for trial in study.get_trials(states=(TrialState.RUNNING,)):
            study.tell(trial.number, state=TrialState.FAIL)
    waiting = (TrialState.COMPLETE, TrialState.WAITING, TrialState.RUNNING)
    present = {trial.user_attrs.get("name") for trial in study.get_trials(states=waiting)}
    for experiment in recipes.tuning().values():
        if experiment.name not in present:
            study.enqueue_trial(
                parameters_of(experiment),
                user_attrs={"name": experiment.name, "list": REPORTED},
            )


def run_study(study: optuna.Study, data: CourseData, searched: int) -> None:
    """Run the enqueued trials that are left, then searched ones until there are `searched`.

    Trials that other machines finish meanwhile count too.
    """
    total = len(recipes.tuning()) + searched
    complete = (TrialState.COMPLETE,)

    def objective(trial: optuna.Trial) -> float:
        experiment = experiment_of(suggest(trial))
        trial.set_user_attr("name", experiment.name)
        accuracies = result(experiment, data).accuracies
        trial.set_user_attr("validation", accuracies["validation"].value)
        return accuracies["shifted_validation"].value

    with _told(SQLAlchemyError, optuna.exceptions.StorageInternalError):
        if len(study.get_trials(states=complete)) < total:
            enough = optuna.study.MaxTrialsCallback(total, complete)
            study.optimize(objective, callbacks=[enough])


def table(study: optuna.Study) -> pd.DataFrame:
    """Return one row per finished trial, best first: name, list, parameters and accuracies (0-1).

    Raises:
        CourseError: if none has finished yet.
    """
    finished = [trial for trial in study.trials if trial.value is not None]
    if not finished:
        raise CourseError("No trial of the study has finished yet: `python -m helpers study run`.")
    rows = [
        {
            "trial": trial.user_attrs["name"],
            "from": trial.user_attrs.get("list", SEARCHED),
            "validation": trial.user_attrs["validation"],
            "shifted validation": trial.value,
            **trial.params,
        }
        for trial in finished
    ]
    return pd.DataFrame(rows).sort_values("shifted validation", ascending=False, ignore_index=True)


def main(arguments: list[str] | None = None) -> None:
    """Read the command line; run or show the study under COURSE_PROFILE."""
    parser = argparse.ArgumentParser(description="Run or show the tuning study.")
    parser.add_argument("command", choices=("run", "show"))
    parser.add_argument("--trials", type=int, default=8, help="searched ones, after the list's")
    parser.add_argument("--storage", help="URL of a shared database, e.g. postgresql://…")
    options = parser.parse_args(arguments)
    study = open_study(options.storage)
    if options.command == "run":
        run_study(study, load_course_data(), options.trials)
    print(table(study).to_string())
