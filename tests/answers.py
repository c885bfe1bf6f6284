"""What a check says to an answer: for the tests of the exercises, none of which is here."""

import exercises


def verdict(name: str, answer: object, **given: object) -> str | None:
    """Return what is wrong with an answer, None if it is right."""
    return exercises.find(name).verdict(answer, **given)


def refused(name: str, answer: object, words: str, **given: object) -> None:
    """Assert that an answer is wrong, for a reason that holds these words."""
    sentence = verdict(name, answer, **given)
    assert sentence is not None, "it was accepted"
    assert words in sentence, sentence
