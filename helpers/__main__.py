"""The course's one command line: `python -m helpers COMMAND`; `--help` lists the commands.

The programs themselves stand in commands/, beside helpers/: no lesson imports them.
"""

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from helpers import course

COMMANDS = {
    "notebooks": ("notebooks", "pair, run or store the notebooks"),
    "train": ("train", "list, run or evaluate the course's trainings"),
    "study": ("study", "the homework report's tuning list and a search after it"),
    "release": ("release", "make a released model of a trained experiment"),
    "predict": ("predict", "name the cells on photographs"),
    "submission": ("submission", "write submission.zip"),
    "score": ("score", "score a submission.zip"),
    "report": ("report.build", "build the course report from its records"),
    "audit": ("audit", "find copies, leaks and odd pictures in a folder of images"),
    "publish": ("publish", "name the repository that a copy of the course is published in"),
    "browser": ("browser", "build the page on which networks are broken in the browser"),
    "measure": ("measure", "compare ways of doing a thing, or cost the networks"),
    "photographs": ("photographs", "measure predict on cells of other sizes, and on no cells"),
}


def main(arguments: list[str] | None = None) -> int | None:
    """Run the command that the first argument names with the arguments after it."""
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name not in COMMANDS:
        lines = "\n".join(f"  {command:12s} {line}" for command, (_, line) in COMMANDS.items())
        print(f"python -m helpers COMMAND [--help]\n\n{lines}")
        if name in ("-h", "--help"):
            return 0
        print(f"\nNo command is called {course.printable(name)}.", file=sys.stderr)
        return 2
    course.profile()  # a mistyped one is told before anything is loaded
    # No command opens a window, and matplotlib stops at a name that it does not know.
    os.environ.pop("MPLBACKEND", None)
    # argparse takes a command's name from here.
    sys.argv = [f"python -m helpers {name}", *rest]
    with hushed():
        module = importlib.import_module(f"commands.{COMMANDS[name][0]}")
    return module.main()


@contextmanager
def hushed() -> Iterator[None]:
    """Let standard error lead nowhere: TensorFlow has no other way to be imported without notes."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


if __name__ == "__main__":
    course.run_command(main)
