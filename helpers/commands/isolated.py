"""Runs a submission in a process of its own, away from this repository and within limits.

Enforced: a time limit for the whole process group; on Linux a memory limit for each process
(RLIMIT_DATA; macOS and Windows have none that works); at most 1 GB a file; an environment without
proxies, credentials and the course's settings; a Python path of the standard library, the installed
packages and the submission's own folder, without the course's helpers; temporary folders as home
and working folder; images and predictions exchanged as .npy files that are never unpickled.

NOT enforced: there is no sandbox. The code runs as the user who started it: it may read and write
that user's files, use the network, and leave the process group. Never run a stranger's submission
on a machine that holds secrets.
"""

import os
import shutil
import signal
import site
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from helpers.course import CourseError
from helpers.data.reading import unpack

RUNNER = Path(__file__).with_name("isolated_run.py")

# All that is handed on of the environment: where programs are, and which processor TensorFlow uses.
HANDED_ON = (
    "PATH",
    "SYSTEMROOT",
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
    "TF_CPP_MIN_LOG_LEVEL",
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_FORCE_GPU_ALLOW_GROWTH",
)

# What went wrong, by the stage of isolated_run.py that it went wrong in.
FAILURES = {
    "import": "model.py fails when it is imported",
    "class": "model.py has no class Model",
    "init": "Model() fails",
    "predict": "Model.predict fails",
    "answer": "Model.predict returned something that is no array of numbers",
}
MEMORY_ERRORS = ("MemoryError", "ResourceExhaustedError", "std::bad_alloc")


@dataclass(frozen=True)
class Answer:
    """What a submission predicted.

    Attributes:
        classes: an array for each array of images, exactly as it was returned: not yet checked.
        printed_lines: how many lines it printed.
        seconds: wall-clock time of the process.
    """

    classes: list[np.ndarray]
    printed_lines: int
    seconds: float


def predict(path: Path, batches: list[np.ndarray], minutes: float, gigabytes: float) -> Answer:
    """Unpack a submission and let its Model predict each array of images, in one process.

    Args:
        path: the zip.
        batches: uint8 (N, 96, 96, 3) each.
        minutes: the most time for all of it.
        gigabytes: the most memory that one process may allocate (Linux).

    Raises:
        CourseError: if the zip is refused, or model.py fails, takes too long or too much memory.
    """
    with tempfile.TemporaryDirectory(prefix="score-", ignore_cleanup_errors=True) as name:
        workspace = Path(name).resolve()
        folders = {part: workspace / part for part in ("submission", "exchange", "home")}
        for folder in folders.values():
            folder.mkdir()
        unpack(path, folders["submission"])
        if not (folders["submission"] / "model.py").is_file():
            raise CourseError(
                f"{path.name} has no model.py at its top: zip the files, not the folder that "
                "holds them."
            )
        for index, images in enumerate(batches):
            np.save(folders["exchange"] / f"images-{index:04}.npy", images, allow_pickle=False)
        started = time.perf_counter()
        status = _run(workspace, 60 * minutes, gigabytes)
        seconds = time.perf_counter() - started
        _raise_failure(path.name, workspace, status, minutes, gigabytes)
        exchange = folders["exchange"]
        return Answer(
            [_read(exchange / f"classes-{i:04}.npy", path.name) for i in range(len(batches))],
            _count_lines(workspace / "stdout"),
            seconds,
        )


def _run(workspace: Path, seconds: float, gigabytes: float) -> int | None:
    """Run isolated_run.py; return its exit status, or None if the time ran out."""
    runner = shutil.copy(RUNNER, workspace / "run.py")
    # -I: no PYTHON… variables, no folder of the user's; -S: no .pth file, by which an editable
    # installation puts this repository on the path.
    command = [sys.executable, "-I", "-S", "-B", runner]
    command += [workspace / "submission", workspace / "exchange", str(gigabytes), *_libraries()]
    with (workspace / "stdout").open("wb") as output, (workspace / "stderr").open("wb") as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            cwd=workspace / "home",
            env=_environment(workspace / "home"),
            start_new_session=True,
        )
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            _kill(process)


def _kill(process: subprocess.Popen) -> None:
    """End the process and all that it started, as far as they stayed in its group."""
    if hasattr(os, "killpg"):
        # The group is named after the process; there is none left if all of it has ended.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def _environment(home: Path) -> dict[str, str]:
    handed_on = {name: os.environ[name] for name in HANDED_ON if name in os.environ}
    own = dict.fromkeys(("HOME", "USERPROFILE", "TMPDIR", "TEMP", "TMP"), str(home))
    return {**handed_on, **own}


def _libraries() -> list[str]:
    """Return the folders of installed packages."""
    folders = site.getsitepackages()
    if site.ENABLE_USER_SITE:
        folders.append(site.getusersitepackages())
    return [folder for folder in folders if Path(folder).is_dir()]


def _raise_failure(
    name: str, workspace: Path, status: int | None, minutes: float, gigabytes: float
) -> None:
    if status is None:
        raise CourseError(
            f"{name} was stopped after {minutes:g} minutes: make Model.predict faster, or allow it "
            "more with --minutes."
        )
    too_much = CourseError(
        f"{name} needs more than {gigabytes:g} GB of memory: predict fewer images at a time, or "
        "allow it more with --gigabytes."
    )
    failure = workspace / "exchange" / "failure"
    if failure.is_file():
        stage, _, error = failure.read_text(errors="replace").partition("\n")
        if error.startswith(MEMORY_ERRORS):
            raise too_much
        what = FAILURES.get(stage, "model.py fails")
        reason = "" if stage == "class" else f" ({_printable(error)})"
        raise CourseError(f"{name}: {what}{reason}; mend model.py and zip it again.")
    if status:
        last = _last_line(workspace / "stderr")
        if any(kind in last for kind in MEMORY_ERRORS):
            raise too_much
        how = f"signal {-status}" if status < 0 else f"exit status {status}"
        raise CourseError(
            f"{name} ended its own process ({how}; its last words: {last or 'none'}): let "
            "Model.predict return."
        )


def _read(path: Path, name: str) -> np.ndarray:
    """Return an array as the submission left it; nothing in the file is trusted."""
    if not path.is_file():
        raise CourseError(f"{name} ended its own process too early: let Model.predict return.")
    try:
        with path.open("rb") as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except (ValueError, OSError, OverflowError, EOFError, MemoryError) as error:
        raise CourseError(
            f"{name}: {FAILURES['answer']}; mend model.py and zip it again."
        ) from error


def _count_lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in file)


def _last_line(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 4096))
        lines = file.read().decode(errors="replace").split("\n")
    return next((_printable(line) for line in reversed(lines) if line.strip()), "")


def _printable(text: str) -> str:
    """Return a line of a stranger's text that is safe on a terminal, 200 characters at most."""
    return "".join(c if c.isprintable() else " " for c in text).strip()[:200]
