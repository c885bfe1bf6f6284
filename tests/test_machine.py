import time

from helpers.evaluation import machine


def test_the_first_call_is_not_counted():
    delays = iter([0.5, 0.01, 0.01, 0.01])
    assert 0.01 <= machine.seconds_per_call(lambda: time.sleep(next(delays)), repeats=3) < 0.4


def test_one_slow_call_does_not_move_the_median():
    delays = iter([0.0, 0.01, 0.5, 0.01])
    assert machine.seconds_per_call(lambda: time.sleep(next(delays)), repeats=3) < 0.4
