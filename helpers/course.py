"""The course's settings (profile, folders, environment), and how its commands end."""

import errno
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

# A system's refusals, which are never a fault of the program.
REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)


class CourseError(Exception):
    """Something a reader can mend: one sentence that says what was wrong, where, and what to do."""


def run_command(main: Callable[[], int | None]) -> None:
    """Run a command and exit with its status; a CourseError is one sentence and status 1.

    A disk that is full and what may not be used are a sentence too, wherever that was noticed.
    Ctrl-C is one line and status 130. SIGTERM and a closed terminal end a command as an exception
    does: what it started is ended too. A closed pipe (`| head`) is no error.
    """
    for name in ("SIGTERM", "SIGHUP"):
        # One that is ignored stays so (nohup); Windows lacks SIGHUP.
        number = getattr(signal, name, None)
        if number and signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _exit_for_signal)
    # A file's name may hold letters that the terminal has not.
    sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = main()
        sys.stdout.flush()
    except CourseError as error:
        status = 1
        print(printable(error), file=sys.stderr)
    except KeyboardInterrupt:
        status = 130
        print("\nStopped; what was done is kept.", file=sys.stderr)
    except BrokenPipeError:
        status = 0
        stop_printing()
    except OSError as error:
        if error.errno not in REFUSED:
            raise
        status = 1
        if error.filename is None:  # standard output, whose rest would fail again at the end
            stop_printing()
        place = printable(error.filename or "What is printed")
        print(
            f"{place} cannot be read or written ({error.strerror}): "
            "free some disk space, or ask for the right to use it.",
            file=sys.stderr,
        )
    sys.exit(status)


def stop_printing() -> None:
    """Let standard output lead nowhere from now on: its reader has gone, or its disk is full."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def printable(text: object) -> str:
    """Return a name or text of others on one line that is safe on a terminal and in a table.

    Control characters, line breaks and bytes that are no UTF-8 are escaped as in Python.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def _exit_for_signal(number: int, _frame: object) -> None:
    sys.exit(128 + number)


@dataclass(frozen=True)
class Budget:
    """How much one kind of training may use.

    Attributes:
        train_images: most training images; None for all.
        max_epochs: most epochs.
        minutes: no epoch is started after so many; None for the profile's `training_minutes`.
    """

    train_images: int | None
    max_epochs: int
    minutes: float | None = None


@dataclass(frozen=True)
class Profile:
    """How much one run of a notebook does.

    Attributes:
        name: "quick" (a first run, and continuous integration) or "full" (the real thing).
        train_images: most training images anything may use; None for all of them.
        evaluation_images: most images in each evaluation set; None for all of them.
        training_minutes: no training starts another epoch after this many minutes.
        budgets: what each kind of training may use. "scratch": a network from random weights;
            "deep_scratch": the VGG-like one, by far the slowest of these; "head": a head on cached
            features; "finetune": a full-size fine-tuning; "subset": each variant in a comparison,
            on one fixed subset of the training images; "subset_longer": one for three times as
            long; "ladder": each step towards the final model; "longer", "final" and "wide": the
            final model's three parts, at the images' own size, at a larger one, and on the widest
            changes; "larger": a larger network on its own.
    """

    name: str
    train_images: int | None
    evaluation_images: int | None
    training_minutes: float
    budgets: Mapping[str, Budget]


PROFILES = {
    "quick": Profile(
        name="quick",
        train_images=1200,
        evaluation_images=240,
        training_minutes=1.5,
        budgets={
            "scratch": Budget(None, 6),
            "deep_scratch": Budget(400, 2),
            "head": Budget(None, 30),
            "finetune": Budget(None, 2),
            **dict.fromkeys(
                ("subset", "subset_longer", "ladder", "longer", "final", "wide", "larger"),
                Budget(320, 1),
            ),
        },
    ),
    "full": Profile(
        name="full",
        train_images=None,
        evaluation_images=None,
        training_minutes=60.0,
        budgets={
            "scratch": Budget(None, 1000),
            "deep_scratch": Budget(None, 15),
            "head": Budget(None, 200),
            "finetune": Budget(None, 15),
            "subset": Budget(3000, 8),
            "subset_longer": Budget(3000, 24),
            "ladder": Budget(None, 6, minutes=30),
            "longer": Budget(None, 40, minutes=90),
            "final": Budget(None, 20, minutes=90),
            "wide": Budget(None, 10, minutes=90),
            "larger": Budget(None, 30, minutes=170),
        },
    ),
}


def profile() -> Profile:
    """Return the profile named by the environment variable COURSE_PROFILE (default "quick").

    Raises:
        CourseError: if no profile has that name.
    """
    name = os.environ.get("COURSE_PROFILE", "").strip() or "quick"
    if name not in PROFILES:
        raise CourseError(
            f"COURSE_PROFILE is {name!r}, which is no profile: set it to 'quick' or 'full'."
        )
    return PROFILES[name]


def root() -> Path:
    """Return the course's folder: the checkout that holds this package, else the working folder.

    In Colab the package is installed without its checkout, and files go to the working folder.
    """
    checkout = Path(__file__).resolve().parent.parent
    return checkout if (checkout / "notebooks").is_dir() else Path.cwd()


def mirror() -> str | None:
    """Return BLOODCELLS_MIRROR as an http(s) URL without final slash, or an absolute folder.

    A relative folder counts from the course's folder, so that it means the same in every notebook.
    None if the variable is not set.
    """
    named = os.environ.get("BLOODCELLS_MIRROR", "").strip()
    if not named:
        return None
    if named.startswith(("http://", "https://")):
        return named.rstrip("/")
    return str(expanded(named))


def expanded(named: str) -> Path:
    """Return the absolute path of a file or folder that a setting names.

    A relative one counts from the course's folder, `~` is the home folder.

    Raises:
        CourseError: if it begins with `~` and the name of nobody, or can be no path.
    """
    try:
        return Path(os.path.realpath(root() / Path(named).expanduser()))
    except (RuntimeError, ValueError, OSError) as error:
        raise CourseError(f"{named[:300]!r} is no path that can be found ({error}).") from error


def output_folder(profile_name: str, source_label: str, is_published: bool) -> Path:
    """Return where a run's figures, tables and records go.

    Only a full run on the course's photographs writes to the committed report/; every other run
    writes to build/<source>-<profile>/.
    """
    if profile_name == "full" and is_published:
        return _made(root() / "report")
    return _made(build_folder() / f"{source_label}-{profile_name}")


def data_folder() -> Path:
    """Return the git-ignored folder of downloaded and decoded images, made if missing."""
    return _made(root() / "data")


def build_folder() -> Path:
    """Return the git-ignored folder of everything a run leaves behind, made if missing."""
    return _made(root() / "build")


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CourseError(
            f"The folder {folder} cannot be made ({error.strerror}): "
            "run the course from a folder you may write to."
        ) from error
    return folder
