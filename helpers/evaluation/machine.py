"""Where a number came from (revision, versions, processor); time and memory that a run takes."""

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from helpers import course

PACKAGES = ("tensorflow", "keras", "keras-cv", "numpy", "scikit-learn", "pillow")


def provenance() -> dict:
    """Return the revision of the code, whether it was altered since, and the versions it ran on.

    Returns:
        "revision" (None outside a checkout), "dirty", "python", "versions" and "device".
    """
    return {
        "revision": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain", "--", "helpers", "commands", "notebooks")),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "device": device(),
    }


def device() -> str:
    """Return the name of the GPU that TensorFlow uses, or of the processor and its cores."""
    if "tensorflow" in sys.modules:
        config = sys.modules["tensorflow"].config
        if gpus := config.list_physical_devices("GPU"):
            return config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
    return f"{_processor()}, {os.cpu_count()} cores"


def peak_memory() -> float | None:
    """Return the most memory this process has held so far, in MiB; None on Windows."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Kibibytes, but bytes on macOS (getrusage(2) of each).
    return peak / (1024**2 if sys.platform == "darwin" else 1024)


def seconds_per_call(function: Callable[[], object], repeats: int = 5) -> float:
    """Return the median wall-clock seconds of `function()`.

    One call before the timed ones is not counted: it may trace a graph or fill a cache.

    Args:
        function: what to time, without arguments.
        repeats: timed calls, at least 1.
    """
    function()
    durations = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        durations.append(time.perf_counter() - started)
    return statistics.median(durations)


def _processor() -> str:
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text().splitlines() if listing.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _git(*arguments: str) -> str | None:
    """Return git's answer about this checkout, or None where there is no checkout (Colab)."""
    command = ["git", "-C", str(course.root()), *arguments]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()
