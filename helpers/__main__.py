"""The course's one command line: `python -m helpers COMMAND`; `--help` lists the commands."""

import importlib
import sys

from helpers import course

COMMANDS = {
    "notebooks": ("commands.notebooks", "pair, run, store or show the notebooks as pages"),
    "train": ("commands.train", "list or run the course's experiments"),
    "robustness": ("commands.robustness", "judge an experiment on MedMNIST-C's corruptions"),
    "study": ("commands.study", "the homework report's tuning list and a search after it"),
    "freeze": ("commands.frozen_sets", "write down how the evaluation sets were made"),
    "release": ("models.released", "make a released model of a trained experiment"),
    "predict": ("commands.predict", "name the cells on photographs"),
    "submission": ("commands.submission", "write submission.zip"),
    "score": ("commands.score", "score a submission.zip"),
    "report": ("report.build", "build the course report from its records"),
    "measure": ("commands.measure", "compare ways of doing a thing, or cost the networks"),
}


def main() -> int | None:
    """Run the command that the first argument names with the arguments after it."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name not in COMMANDS:
        lines = "\n".join(f"  {command:12s} {line}" for command, (_, line) in COMMANDS.items())
        print(f"python -m helpers COMMAND [--help]\n\n{lines}")
        return 0 if name in ("-h", "--help") else 2
    module = importlib.import_module(f"helpers.{COMMANDS[name][0]}")
    sys.argv = [f"python -m helpers {name}", *sys.argv[2:]]
    return module.main()


if __name__ == "__main__":
    course.run_command(main)
