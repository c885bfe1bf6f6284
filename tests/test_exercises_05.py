"""The checks of 05_finetune refuse plausible wrong answers and name the mistake."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import softmax

from exercises import find

LOGITS = np.random.default_rng(5).normal(size=(40, 8)) * 3


def layer(name: str, kind: str = "Conv2D"):
    return type(kind, (), {"name": name, "trainable": True})()


def backbone() -> SimpleNamespace:
    names = ("stem_conv", "block2a_conv", "block2a_bn", "block2b_conv", "block2b_bn", "top_conv")
    kinds = {"bn": "BatchNormalization", "conv": "Conv2D"}
    return SimpleNamespace(
        trainable=True, layers=[layer(n, kinds[n.rpartition("_")[2]]) for n in names]
    )


class Recorded:
    """Three seeds of two recipes on 60 images, drawn."""

    def seeds(self, experiment, image_set):
        return [0, 1, 2]

    def labels(self, image_set):
        return np.arange(60) % 3

    def logits(self, experiment, image_set, seed):
        key = [len(experiment), len(image_set), seed]
        noise = np.random.default_rng(key).normal(size=(60, 3))
        return np.eye(3)[self.labels(image_set)] + noise


def freeze_right(network, block):
    last = max(i for i, x in enumerate(network.layers) if x.name.startswith(block))
    for index, x in enumerate(network.layers):
        x.trainable = index > last and type(x).__name__ != "BatchNormalization"


def freeze_without_norms(network, block):
    last = max(i for i, x in enumerate(network.layers) if x.name.startswith(block))
    for index, x in enumerate(network.layers):
        x.trainable = index > last


def freeze_all(network, block):
    for x in network.layers:
        x.trainable = False


def freeze_inverted(network, block):
    freeze_right(network, block)
    for x in network.layers:
        x.trainable = not x.trainable


def freeze_only(network, block):
    last = max(i for i, x in enumerate(network.layers) if x.name.startswith(block))
    for x in network.layers[: last + 1]:
        x.trainable = False


def freeze_nothing(network, block):
    pass


def p_values(image_set="validation"):
    from exercises.n05 import _p_values

    return _p_values(Recorded(), "subset_both_at_once", "subset_fine_tuned", image_set)


def largest(temperature):
    return softmax(LOGITS / temperature, axis=1).max(axis=1).mean()


STEPS = 6 * 63
GOOD = [0.95, 0.96, 0.955]
LOW = [0.90, 0.91, 0.905]
CASES = [
    ("05.1", {"class_count": 8}, 10248, [(10240, "bias"), (11520, "per feature"), (2, "tensors")]),
    (
        "05.2",
        {},
        freeze_right,
        [
            (freeze_without_norms, "batch normalisation"),
            (freeze_all, "Everything"),
            (freeze_inverted, "other way round"),
            (freeze_nothing, "still empty"),
            (freeze_only, "needs `trainable = True`"),
            ("block2a", "function"),
        ],
    ),
    (
        "05.3",
        {},
        0.99**STEPS,
        [
            (1 - 0.99**STEPS, "replaced"),
            (0.99**6, "epochs"),
            (0.99**63, "one epoch"),
            (0.99**372, "last batch"),
            (0.99**375, "whole number"),
            (100 * 0.99**STEPS, "percentage"),
        ],
    ),
    (
        "05.4",
        {"logits": LOGITS},
        (largest(1), largest(2)),
        [
            ((largest(2), largest(1)), "other way round"),
            ((largest(1), largest(0.5)), "multiplies"),
            ((1 / 8, 1 / 8), "all classes"),
            ((LOGITS.max(), LOGITS.max() / 2), "softmax"),
            (largest(2), "Two numbers"),
            (("much", "less"), "Two numbers"),
        ],
    ),
    (
        "05.5",
        {"recorded": Recorded()},
        list(p_values()),
        [
            (list(p_values()[::-1]), "order"),
            (list(p_values("shifted_validation")), "shifted"),
            (list(p_values()[:1]), "3 seeds"),
            (["a", "b", "c"], "Numbers"),
        ],
    ),
    (
        "05.6",
        {},
        (GOOD, LOW, "better"),
        [
            ((LOW, GOOD, "better"), "That is not 'better'"),
            ((GOOD, LOW, "not told apart"), "That is not 'not told apart'"),
            ((GOOD, LOW), "Two lists and a verdict"),
            ((GOOD, LOW, "yes"), "'better', 'worse', 'not told apart'"),
            (0.9, "Two lists"),
            ((GOOD[:2], LOW, "better"), "three seeds"),
            (([95.0, 96.0, 95.5], [90.0, 91.0, 90.5], "better"), "between 0 and 1"),
            (([0.93, 0.95, float("nan")], LOW, "better"), "between 0 and 1"),
            (([0.96] * 3, [0.95] * 3, "better"), "same accuracy"),
            # 2.4 standard errors: enough for twice, too little for three seeds.
            (([0.93, 0.95, 0.97], [0.89, 0.91, 0.93], "better"), "make 4.5 either way"),
        ],
    ),
]


def given(name, handed_over):
    return {"backbone": backbone()} if name == "05.2" else handed_over


@pytest.mark.parametrize(("name", "handed_over", "right", "wrong"), CASES, ids=lambda v: str(v)[:8])
def test_the_right_answer_is_accepted(name, handed_over, right, wrong):
    assert find(name).verdict(right, **given(name, handed_over)) is None


@pytest.mark.parametrize(
    ("name", "handed_over", "answer", "words"),
    [(name, g, answer, words) for name, g, _, wrong in CASES for answer, words in wrong],
)
def test_a_wrong_answer_is_refused_with_its_mistake(name, handed_over, answer, words):
    assert words in find(name).verdict(answer, **given(name, handed_over))


def test_a_difference_that_seeds_may_make_is_an_answer_too():
    lists = [0.93, 0.95, 0.97], [0.92, 0.94, 0.96]
    assert find("05.6").verdict((*lists, "not told apart")) is None
    assert find("05.6").verdict((LOW, GOOD, "worse")) is None
