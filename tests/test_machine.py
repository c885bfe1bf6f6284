import shutil
import subprocess
from collections.abc import Callable

import pytest

from helpers import course
from helpers.evaluation import machine


@pytest.fixture
def timed(monkeypatch) -> Callable[..., float]:
    """Return what is measured of calls that last so many seconds each, by a clock of its own."""

    def measured(*durations: float) -> float:
        now, left = [0.0], iter(durations)
        monkeypatch.setattr(machine.time, "perf_counter", lambda: now[0])

        def call() -> None:
            now[0] += next(left)

        return machine.seconds_per_call(call, repeats=len(durations) - 1)

    return measured


@pytest.mark.skipif(shutil.which("git") is None, reason="no git here")
@pytest.mark.parametrize(
    ("changed", "dirty"),
    [("helpers", True), ("commands", True), ("notebooks", True), ("docs", False)],
)
def test_altered_code_is_told_wherever_it_lies(changed, dirty, tmp_path, monkeypatch):
    monkeypatch.setattr(course, "root", lambda: tmp_path)
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    (tmp_path / changed).mkdir()
    (tmp_path / changed / "new.py").touch()
    assert machine.provenance()["dirty"] == dirty


def test_the_first_call_is_not_counted(timed):
    assert timed(8, 1) == 1


def test_one_slow_call_does_not_move_the_median(timed):
    assert timed(0, 1, 8, 1) == 1
