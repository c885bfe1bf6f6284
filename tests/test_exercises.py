"""What the exercises' checks say; each notebook's own wrong answers are in test_exercises_NN.py."""

import re
import warnings

import numpy as np
import pytest

import exercises
from commands import notebooks
from exercises import compare


def test_an_unanswered_exercise_says_so(capsys):
    exercises.check("03.1", ...)
    assert capsys.readouterr().out.startswith("03.1: not answered yet.")


def test_an_empty_function_is_no_answer(capsys):
    def starter(image, rng): ...

    exercises.check("06.2", starter)
    assert "not answered yet" in capsys.readouterr().out


def test_an_answer_that_a_check_cannot_handle_is_refused(capsys):
    exercises.check("01.3", [[1], [1, 2]], labels=np.arange(2), is_photograph=np.ones(2, bool))
    assert "01.3: not yet. A list of this form cannot be checked" in capsys.readouterr().out


@pytest.mark.parametrize("path", notebooks.sources(), ids=lambda path: path.stem)
def test_a_notebook_has_four_to_six_exercises_each_with_a_hint(path):
    names = sorted(set(re.findall(r'check\(\s*"([\d.]+)"', path.read_text(encoding="utf-8"))))
    assert 4 <= len(names) <= 6
    assert names == [f"{path.name[:2]}.{number}" for number in range(1, len(names) + 1)]
    assert all(exercises.find(name).hint.endswith((".", "?")) for name in names)


def test_an_unknown_exercise_is_named():
    with pytest.raises(ValueError, match=r"no exercise '99\.1'"):
        exercises.find("99.1")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (25.0, "percentage"),
        (-0.25, "sign"),
        (0.3, "too large"),
        ([0.1, 0.2], "One number"),
        ("a quarter", "One number"),
        (float("nan"), "finite"),
        (0.75, "the wrong ones"),
    ],
)
def test_a_wrong_number_is_refused_with_its_mistake(answer, words):
    assert words in compare.number(answer, 0.25, mistakes={"Those are the wrong ones.": 0.75})


def test_a_recipe_that_reaches_the_same_with_every_seed_is_compared_without_a_warning():
    same, others = [0.96] * 3, [0.90, 0.91, 0.89]
    with warnings.catch_warnings(action="error"):
        assert compare.seeds((same, others, "better")) is None
        assert compare.seeds((others, same, "worse")) is None


def test_a_right_number_may_come_as_any_scalar():
    for answer in (0.25, np.float32(0.25), np.array(0.25), np.array([0.25])):
        assert compare.number(answer, 0.25) is None


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (np.ones((3, 1)), "broadcast"),
        (np.ones(4), "is expected"),
        (np.array([1, 1, 2]), "1 of 3"),
        ("abc", "An array"),
    ],
)
def test_a_wrong_array_is_refused_with_its_mistake(answer, words):
    assert words in compare.array(answer, np.ones(3))
