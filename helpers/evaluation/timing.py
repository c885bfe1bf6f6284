"""Timing two ways of doing the same thing, so that their ratio can be printed."""

import statistics
import time
from collections.abc import Callable


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
