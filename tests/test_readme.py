"""README and docs: every measured number is its record's, see readme_numbers.toml.

Where a test here fails, its text holds the sentence that should stand in the file: copy it there,
or, for a new number, list its sentence in readme_numbers.toml.
"""

import json
import re
import tomllib
from pathlib import Path
from statistics import fmean

import pytest

from helpers import course

PAGES = [
    "README.md",
    *(str(p.relative_to(course.root())) for p in (course.root() / "docs").rglob("*.md")),
]
LIST = tomllib.loads((Path(__file__).with_name("readme_numbers.toml")).read_text("utf-8"))
RECORDS = {
    record["key"]: record
    for record in json.loads((course.root() / "report" / "results.json").read_text("utf-8"))
}
# Code, the targets of links, addresses, the numbers of headings and lists, and a card's settings.
NO_PROSE = (
    r"(?ms)^```.*?^```|`[^`]*`|(?<=\])\([^)\s]*\)|https?://[^\s)>]+|^(?:#+ |\s*)\d+\. "
    r"|^:::+\{[\w-]+\}(?: \d ·|[ \d]+$)|^:(?:link|img-top|gutter): \S+$"
)


def value(term):
    """Return the number that a term of "from" names: of a record, quoted, a sum or a difference.

    "mean NAME/SET/accuracy", or "lowest" or "highest", is of an experiment's three seeds.
    """
    for sign, factor in ((" + ", 1), (" - ", -1)):
        if sign in term:
            first, second = term.rsplit(sign, 1)
            return value(first) + factor * value(second)
    if term.startswith(("quoted ", "noted ")):
        number = term.partition(" ")[2]
        return float(number) if "." in number else int(number)
    if term.startswith(("mean ", "lowest ", "highest ")):
        of, _, key = term.partition(" ")
        experiment, _, rest = key.partition("/")
        seeds = [RECORDS[f"{experiment}-seed{k}/{rest}"]["value"] for k in range(3)]
        return {"mean": fmean, "lowest": min, "highest": max}[of](seeds)
    key, field = (term, "value") if term in RECORDS else term.rsplit(" ", 1)
    assert key in RECORDS, f"readme_numbers.toml: no record has the key '{key}'"
    record = RECORDS[key]
    low, high = record["interval"]
    found = {"value": record["value"], "low": low, "high": high, "n": record["n"]}
    return found[field] if field in found else {"minutes": record["seconds"] / 60}[field]


def sentence(entry):
    """Return a sentence as it should stand in its file, white space as single spaces."""
    numbers = iter([value(term) for term in entry["from"]])

    def printed(match):
        text = format(next(numbers), match[1])
        return text.removesuffix("%") if match[1].endswith("%") else text

    text = re.sub(r"\{:([^}]*)\}", printed, entry["text"])
    assert next(numbers, None) is None, f"more sources than placeholders: {entry['text']}"
    return " ".join(text.split())


def complaints(page, text):
    """Return what is wrong with the numbers in a page's text, a sentence each."""
    found, flat = [], " ".join(re.sub(NO_PROSE, kept_code, text).split())
    expected = [sentence(e) for e in LIST["sentence"] if e.get("file", "README.md") == page]
    for wanted in expected:
        marked = " ".join(re.sub(NO_PROSE, kept_code, wanted).split())
        if marked not in flat:
            found.append(f"{page} should say: {wanted}")
        flat = flat.replace(marked, "…")
    for name in sorted(LIST["names"], key=len, reverse=True):
        flat = re.sub(rf"(?<![\d.]){re.escape(name)}(?!\d|\.\d)", "…", flat)
    # A quiz asks about cases that it makes up.
    for match in re.finditer(r"\d[\d.,:]*", "" if page.startswith("docs/quiz/") else flat):
        around = flat[max(0, match.start() - 50) : match.end() + 30]
        found.append(
            f"{page}: {match[0]} has no record in '{around}': list its sentence, or its name, in "
            "tests/readme_numbers.toml"
        )
    return found


def kept_code(match):
    """Return code without its digits, so that sentences with code in them can still be found."""
    return re.sub(r"\d", "", match[0])


@pytest.mark.parametrize("page", PAGES)
def test_every_number_is_its_records(page):
    text = (course.root() / page).read_text("utf-8")
    assert "<!--" not in text
    found = complaints(page, text)
    assert not found, "\n".join(found)


def test_every_page_of_the_list_is_there():
    assert {entry.get("file", "README.md") for entry in LIST["sentence"]} <= set(PAGES)


def test_numbers_are_only_noted_in_decisions():
    for entry in LIST["sentence"]:
        noted = [term for term in entry["from"] if "noted " in term]
        assert not noted or entry["file"].startswith("docs/decisions/"), entry["text"]


def test_every_record_is_of_a_full_run():
    assert {record.get("profile", "full") for record in RECORDS.values()} == {"full"}


def test_changing_any_digit_of_the_readme_is_noticed():
    text = (course.root() / "README.md").read_text("utf-8")
    # Digits of names as well, since a wrong version is no name of the list.
    free = [match.span() for match in re.finditer(NO_PROSE, text)]
    places = [
        match.start()
        for match in re.finditer(r"\d", text)
        if not any(start <= match.start() < end for start, end in free)
    ]
    assert len(places) >= 60
    for place in places:
        for digit in set("0123456789") - {text[place]}:
            changed = text[:place] + digit + text[place + 1 :]
            assert complaints("README.md", changed), changed[place - 40 : place + 20]


def test_a_number_without_a_record_is_noticed():
    assert "97.4 has no record" in complaints("docs/new.md", "It names 97.4 % of them.")[0]
    assert complaints("docs/new.md", "Python 3.11, 3.12 or 3.13 and `97.4`, 95 % interval") == []


def test_a_sentence_that_does_not_stand_there_is_said_in_full():
    wanted = sentence(LIST["sentence"][0])
    assert complaints("README.md", "")[0] == f"README.md should say: {wanted}"
    assert "{" not in wanted
