"""Checks of the notebooks' exercises: each says what is right, or what is wrong with an answer.

    from exercises import check, hint

    check("03.2", answer, data=data)
    hint("03.2")

A check computes the right value from the images at hand and never tells it. One module for each
notebook holds its exercises (`exercises/n03.py`), each a function that returns None for a right
answer and else one sentence that names the mistake.
"""

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Exercise:
    """One exercise.

    Attributes:
        verdict: takes the answer and, by keyword, what the notebook hands over; returns None if the
            answer is right, else a sentence that names the mistake and not the answer.
        hint: one or two sentences that help without giving the answer.
    """

    verdict: Callable[..., str | None]
    hint: str


_EXERCISES: dict[str, Exercise] = {}


def exercise(name: str, hint: str) -> Callable[[Callable], Callable]:
    """Register the decorated function as the verdict of exercise `name`, such as "03.2"."""

    def register(verdict: Callable[..., str | None]) -> Callable[..., str | None]:
        _EXERCISES[name] = Exercise(verdict, hint)
        return verdict

    return register


def find(name: str) -> Exercise:
    """Return an exercise by its name, "notebook.number".

    Raises:
        ValueError: if there is none of that name.
    """
    module = f"{__name__}.n{name.partition('.')[0]}"
    if importlib.util.find_spec(module):
        importlib.import_module(module)
    if name not in _EXERCISES:
        raise ValueError(f"There is no exercise {name!r}: its name stands above its cell.")
    return _EXERCISES[name]


def check(name: str, answer: object, **given: object) -> None:
    """Print whether an answer is right, or what is wrong with it.

    Args:
        name: of the exercise, such as "03.2".
        answer: yours; `...` (the starter's placeholder) counts as not answered, and so does a
            function that holds nothing else.
        given: what the exercise's cell hands over, such as the images.
    """
    if answer is ... or _is_empty(answer):
        print(f"{name}: not answered yet. Replace the three dots and run the cell again.")
        return
    verdict = find(name).verdict
    try:
        mistake = verdict(answer, **given)
    except Exception as error:  # whatever an answer of a kind that nobody foresaw leads to
        kind = type(answer).__name__
        mistake = f"A {kind} of this form cannot be checked ({type(error).__name__}: {error})."
    if mistake is None:
        print(f"{name}: correct.")
    else:
        print(f'{name}: not yet. {mistake} hint("{name}") helps.')


def hint(name: str) -> None:
    """Print an exercise's hint."""
    print(f"{name}: {find(name).hint}")


def _starter(): ...


def _is_empty(answer: object) -> bool:
    code = getattr(answer, "__code__", None)
    return code is not None and code.co_code == _starter.__code__.co_code
