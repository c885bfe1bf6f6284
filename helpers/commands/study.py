"""The tuning as one Optuna study: the report's hand-made list first, then a small search.

Commands:
    python -m helpers study run [--trials N] [--storage URL]   N searched trials after the report's
    python -m helpers study show [--storage URL]

A trial trains on the fixed subset with one seed; its value is the accuracy on shifted validation,
and its records are those of any experiment.
The study is kept in build/tuning.db, so that an interrupted one goes on. With the URL of a shared
database several machines work on it at once, each taking the next trial.
"""

import argparse
import inspect

import optuna
import pandas as pd
from optuna.trial import TrialState

from helpers import course
from helpers.changes.augment import rand_augment_copies
from helpers.course import CourseError
from helpers.data.sets import CourseData
from helpers.training import recipes
from helpers.training.experiment import Experiment
from helpers.training.run import result

STUDY = "tuning"
REPORTED, SEARCHED = "the report's", "searched"
# What RandAugment does unless an experiment says otherwise: the report's setting.
AUGMENTATION = {
    name: inspect.signature(rand_augment_copies).parameters[name].default
    for name in ("augmentations_per_image", "magnitude", "magnitude_stddev", "rate")
}


def parameters_of(experiment: Experiment) -> dict:
    """Return an experiment's place in the search space."""
    return {
        "optimizer": experiment.optimizer,
        "learning_rate": experiment.learning_rate,
        "batch_size": experiment.batch_size,
        "extra_dense": experiment.extra_dense or 0,
        **AUGMENTATION,
        **experiment.offline_options,
    }


def experiment_of(parameters: dict) -> Experiment:
    """Return the experiment at a place in the search space; one of the report's keeps its name."""
    for experiment in recipes.tuning().values():
        if parameters_of(experiment) == parameters:
            return experiment
    options = {name: parameters[name] for name in AUGMENTATION}
    named = "_".join(f"{value:.3g}" if isinstance(value, float) else f"{value}"
                     for value in parameters.values())  # fmt: skip
    return recipes.tuning()["tuning_adam_1e-4"].variant(
        f"search_{named}",
        optimizer=parameters["optimizer"],
        learning_rate=parameters["learning_rate"],
        batch_size=parameters["batch_size"],
        extra_dense=parameters["extra_dense"] or None,
        offline_options={n: v for n, v in options.items() if v != AUGMENTATION[n]},
    )


def suggest(trial: optuna.Trial) -> dict:
    """Return the trial's parameters, drawn around what the report tried by hand."""
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
    """Return the study; what is left of the report's list waits in it, interrupted trials again.

    Args:
        storage: URL of a database that Optuna can use; None for build/tuning.db.
    """
    # Machines that share a study would otherwise all draw the same places.
    is_own = storage is None
    seed = 0 if is_own else None
    storage = storage or f"sqlite:///{course.build_folder() / 'tuning.db'}"
    study = optuna.create_study(
        storage=storage,
        study_name=STUDY,
        direction="maximize",
        load_if_exists=True,
        sampler=optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=len(recipes.tuning()) + 2, constant_liar=True
        ),
    )
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
    return study


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

    if len(study.get_trials(states=complete)) < total:
        enough = optuna.study.MaxTrialsCallback(total, complete)
        study.optimize(objective, callbacks=[enough])


def table(study: optuna.Study) -> pd.DataFrame:
    """Return one row a finished trial, best first: name, list, parameters and accuracies (0-1).

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


def main() -> None:
    """Read the command line; run or show the study under COURSE_PROFILE."""
    from helpers.data.sets import load_course_data

    parser = argparse.ArgumentParser(description="Run or show the tuning study.")
    parser.add_argument("command", choices=("run", "show"))
    parser.add_argument("--trials", type=int, default=8, help="searched ones, after the report's")
    parser.add_argument("--storage", help="URL of a shared database, e.g. postgresql://…")
    arguments = parser.parse_args()
    study = open_study(arguments.storage)
    if arguments.command == "run":
        run_study(study, load_course_data(), arguments.trials)
    print(table(study).to_string())


if __name__ == "__main__":
    course.run_command(main)
