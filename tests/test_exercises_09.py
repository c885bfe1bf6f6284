"""The checks of 09_use refuse plausible wrong answers and name the mistake."""

import numpy as np
import pytest

from exercises import find
from exercises.n09 import _kept

SCORE = """Scored on photographs (mirror), profile full, in 61 seconds.

clean test          97.1% (95 % interval 96.2% to 97.8%, n = 1,663)
shifted test        {reached}% (95 % interval 78.0% to 81.9%, n = 1,663)
"""
TEMPERATURE = 0.7


class Recorded:
    """Logits of two networks on three sets, each its own, the more often correct the surer."""

    def labels(self, image_set):
        return np.random.default_rng(len(image_set)).integers(0, 3, 400)

    def logits(self, experiment, image_set):
        rng = np.random.default_rng([len(experiment), len(image_set)])
        logits = rng.normal(0, 1, (400, 3))
        logits[np.arange(400), self.labels(image_set)] += 2
        return logits

    def correct(self, experiment, image_set):
        answers = self.logits(experiment, image_set).argmax(axis=1)
        return (answers == self.labels(image_set))[None]


def kept(experiment="final", image_set="shifted_validation", temperature=TEMPERATURE):
    return _kept(Recorded(), experiment, image_set, temperature)


ANSWERED, CORRECT = kept()
ALL = Recorded().correct("final", "shifted_validation").mean()

CASES = [
    (
        "09.1",
        {},
        0.665241,
        [
            (0.866814, "without"),
            (0.981703, "multiplies"),
            (0.433407, "divides the probability"),
            (4 / 6, "exponentials"),
            (0.244728, "second class"),
            (66.5241, "percentage"),
        ],
    ),
    (
        "09.2",
        {},
        0.065,
        [
            (0.1, "more answers"),
            (0.035, "cancel"),
            (0.2, "worst bin"),
            (0.815, "correct"),
            (0.85, "mean probability"),
            (6.5, "percentage"),
        ],
    ),
    (
        "09.3",
        {},
        [[9.0, 5.0, 0.0], [0.0, 5.0, 5.2]],
        [
            ([[9.0, 0.0, 0.0], [8.0, 0.0, 2.5]], "agree"),
            ([[0.9, 0.1, 0.0], [0.1, 0.1, 0.8]], "probabilities"),
            ([[9.0, 0.0], [0.0, 2.5]], "shape"),
            ([[9.0, 0.0, 0.0], [0.0, 0.0, 2.5]], "Both ways"),
            ([[9.0, 0.0, 0.0], [0.0, 0.0, 9.0]], "level"),
        ],
    ),
    (
        "09.4",
        {"recorded": Recorded(), "temperature": TEMPERATURE},
        (ANSWERED, CORRECT),
        [
            ((CORRECT, ANSWERED), "other way round"),
            (kept(temperature=1), "missing"),
            (kept(temperature=1 / TEMPERATURE), "divide"),
            (kept(image_set="validation"), "clean"),
            (kept(image_set="shifted_test"), "test"),
            (kept("fine_tuned"), "network before"),
            ((1 - ANSWERED, CORRECT), "unanswered"),
            ((ANSWERED, ALL), "all images"),
            ((ANSWERED, ANSWERED * CORRECT), "divide by those"),
            ((ANSWERED, 0.5), "second number"),
            ((0.5, CORRECT), "first number"),
            ((100 * ANSWERED, 100 * CORRECT), "Fractions"),
            (CORRECT, "not one"),
            ("all", "Two numbers"),
        ],
    ),
    (
        "09.5",
        {"goal": 0.679},
        SCORE.format(reached=80.0),
        [
            (SCORE.format(reached=67.9), "goal"),
            (0.8, "text"),
            ("shifted test 80.0 %", "not what"),
            (
                SCORE.format(reached=80.0).replace("photographs (mirror)", "synthetic cells"),
                "synth",
            ),
            (SCORE.format(reached=80.0).replace("profile full", "profile quick"), "full profile"),
            (SCORE.format(reached=80.0) + "\n Only a part was scored, drawn", "IMAGES"),
            (SCORE.format(reached=80.0) + "\nWARNING: asked again", "training mode"),
        ],
    ),
]


@pytest.mark.parametrize(("name", "given", "right", "wrong"), CASES, ids=lambda v: str(v)[:8])
def test_the_right_answer_is_accepted(name, given, right, wrong):
    assert find(name).verdict(right, **given) is None


@pytest.mark.parametrize(
    ("name", "given", "answer", "words"),
    [(name, given, answer, words) for name, given, _, wrong in CASES for answer, words in wrong],
)
def test_a_wrong_answer_is_refused_with_its_mistake(name, given, answer, words):
    assert words in find(name).verdict(answer, **given)
