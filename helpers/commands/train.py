"""The course's trainings from the command line, one by one and by name.

Commands:
    python -m helpers train list
    python -m helpers train run NAME [NAME ...] [--seeds 0 1 2] [--force]
"""

import argparse

from helpers import course
from helpers.data.sets import load_course_data
from helpers.evaluation import metrics, records
from helpers.training import recipes
from helpers.training.run import run


def main() -> None:
    """Read the command line and list or run experiments under COURSE_PROFILE."""
    parser = argparse.ArgumentParser(description="Run experiments of the course by name.")
    parser.add_argument("command", choices=("list", "run"))
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--force", action="store_true", help="train again what is cached")
    arguments = parser.parse_args()
    if arguments.command == "list":
        print("\n".join(recipes.catalogue()))
        return
    if not arguments.names:
        parser.error("run needs the NAME of an experiment; list prints them all")
    experiments = {name: recipes.find(name) for name in arguments.names}
    data = load_course_data()
    for seed in arguments.seeds:
        for name in arguments.names:
            experiment = experiments[name].variant(name, seed=seed)
            outcome = run(experiment, data, force=arguments.force)
            records.record_outcome(outcome, data)
            accuracy = metrics.accuracy(data["validation"].labels, outcome.logits["validation"])
            print(
                f"{name}, seed {seed}: validation {accuracy}, {outcome.seconds:.0f} s", flush=True
            )


if __name__ == "__main__":
    course.run_command(main)
