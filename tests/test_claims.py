"""What the course prints was measured: each number is tied to its record; no digit can drift."""

import re

import pytest

from helpers import claims, course

PAGES = [course.root() / "README.md", *sorted((course.root() / "docs").rglob("*.md"))]
RECORDS = {
    "run/test/accuracy": {"value": 0.97414, "interval": [0.96535, 0.98075], "n": 1663},
    "run/shifted/accuracy": {"value": 0.61395, "interval": [0.59032, 0.63706], "n": 1663},
    "run/gain": {"value": -0.0316, "interval": None, "n": 408, "seconds": 930.0, "dirty": True},
    "run/p": {"value": 2.4e-7, "interval": None},
    "run/parameters": {"value": 4_049_571, "interval": None},
}


def readme():
    return PAGES[0].read_text(encoding="utf-8")


def ties(text):
    """Return every printed number with its tie, found in another way than the check finds them."""
    return list(
        re.finditer(r"(?P<number>\d[\d,.]*)(?: %| points| minutes)?(?P<tie><!--.*?-->)", text)
    )


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_number_of_the_course_is_what_it_is_tied_to(path):
    text = path.read_text(encoding="utf-8")
    may_note = path.parent.name == "decisions"
    assert claims.check(text, claims.read_records(), may_note=may_note) == []


def test_every_record_is_of_a_full_run():
    assert {record.get("profile", "full") for record in claims.read_records().values()} == {"full"}


def test_changing_any_digit_of_the_readme_is_noticed():
    text, records = readme(), claims.read_records()
    found = ties(text)
    assert len(found) == text.count("<!--") >= 10
    before = claims.check(text, records)
    for match in found:
        for place in range(match.start("number"), match.end("number")):
            for digit in set("0123456789") - {text[place]} if text[place].isdigit() else ():
                changed = text[:place] + digit + text[place + 1 :]
                complaints = set(claims.check(changed, records)) - set(before)
                assert complaints, changed[match.start() - 40 : match.end()]


def test_taking_any_tie_from_the_readme_is_noticed():
    text, records = readme(), claims.read_records()
    before = claims.check(text, records)
    for match in ties(text):
        untied = text[: match.start("tie")] + text[match.end("tie") :]
        complaints = set(claims.check(untied, records)) - set(before)
        assert any(f"{match['number']} is tied to no record" in said for said in complaints)


def test_misspelling_any_key_in_the_readme_is_noticed():
    text, records = readme(), claims.read_records()
    before = claims.check(text, records)
    for match in ties(text):
        place = match.start("tie") + len("<!-- ")
        misspelt = text[:place] + "x" + text[place:]
        complaints = set(claims.check(misspelt, records)) - set(before)
        assert any("no record has this key" in said for said in complaints), match["tie"]


@pytest.mark.parametrize(
    "text",
    [
        "97.4 %<!-- run/test/accuracy -->",
        "97.41 %<!-- run/test/accuracy -->, 0.974<!-- run/test/accuracy -->",
        "96.5<!-- run/test/accuracy low --> to 98.1 %<!-- run/test/accuracy high -->",
        "59<!-- run/shifted/accuracy low -->–64 %<!-- run/shifted/accuracy high -->",
        "**97.4<!-- run/test/accuracy --> %** of 1,663<!-- run/test/accuracy n --> images",
        "36.0 points<!-- run/test/accuracy minus run/shifted/accuracy -->",
        "−3.2 points<!-- run/gain --> in 15.5 minutes<!-- run/gain seconds -->",
        "4.05 million<!-- run/parameters --> parameters, 4,049,571<!-- run/parameters -->",
        "p < 0.001<!-- run/p -->, p = 2.4e-07<!-- run/p -->",
        "| 98.6 %<!-- quoted: the report 98.58 --> | 22 points<!-- quoted: the report 98.58 minus"
        "\n77.00 --> |",
        "![97.4 % of 1,663](a/3.5.png)<!-- run/test/accuracy --><!-- run/test/accuracy n -->",
    ],
)
def test_what_agrees_with_its_record_passes(text):
    assert claims.check(text, RECORDS) == []


@pytest.mark.parametrize(
    "text",
    [
        "`97.4 %`, ``` 3.5 ``` and\n```sh\nhead -n 97.4\n```\n",
        "[the table](tables/05.csv), https://example.org/97.4 and <img width=97.4>",
        "EfficientNet-Lite0, EfficientNetB0, block2a, SHA-256 and Apache-2.0",
        "Python 3.11, 3.12 or 3.13, release 0.1.0, CC BY 4.0",
        "images of 96 × 96, 96×96×3, 5 × 5 px",
        "Acevedo et al. 2020, *Data in Brief* 30:105474.",
        "# 3. A heading\n\n1. first\n12. twelfth",
        "with a 95 % interval",
    ],
)
def test_what_is_no_measurement_needs_no_tie(text):
    assert claims.check(text, RECORDS) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("97.5 %<!-- run/test/accuracy -->", "97.5 should be 97.4"),
        ("97 %<!-- run/test/accuracy --> 98 %<!-- run/test/accuracy -->", "98 should be 97"),
        ("0.974 %<!-- run/test/accuracy -->", "0.974 should be 97.414"),
        ("97.4<!-- run/test/accuracy -->", "97.4 should be 1.0"),
        ("1663<!-- run/test/accuracy n -->", "1663 should be 1,663"),
        ("3.2 points<!-- run/gain -->", "3.2 should be -3.2"),
        ("4.1e-07<!-- run/p -->", "4.1e-07 should be 2.4e-07"),
        ("p < 0.002<!-- run/p -->", "is no bound"),
        ("p < 0.001<!-- run/test/accuracy -->", "is no upper bound"),
        ("97.4 %<!-- run/test/accurracy -->", "no record has this key"),
        ("97.4 %<!-- run/test/accuracy mean -->", "no such number"),
        ("97.4 %<!-- run/gain low -->", "no such number"),
        ("1<!-- run/gain dirty -->", "no such number"),
        ("98.6 %<!-- quoted: the report 98.48 -->", "98.6 should be 98.5"),
        ("98.6 %<!-- quoted: the report -->", "name one of the report, the homework"),
        ("98.6 %<!-- quoted: hearsay 98.58 -->", "name one of the report, the homework"),
        ("8 times<!-- noted: once -->", "docs/decisions alone"),
        ("about 97 <!-- run/test/accuracy -->", "stands behind no number"),
        ("words<!-- run/test/accuracy -->", "stands behind no number"),
        ("in 2020<!-- run/test/accuracy -->", "stands behind no number"),
        ("![97.4 % there](a.png)", "97.4 is tied to no record"),
        ("![cells](a.png)<!-- run/test/accuracy -->", "stands behind no number"),
        ("![97.4 %, 1,664](a.png)<!-- run/test/accuracy --><!-- run/test/accuracy n -->", "1,663"),
    ],
)
def test_what_disagrees_is_said(text, said):
    complaints = claims.check(f"First line.\n\n{text}\n", RECORDS)
    assert any(said in complaint for complaint in complaints), complaints
    assert all(complaint.startswith("Line 3: ") for complaint in complaints)


@pytest.mark.parametrize(
    "text",
    [
        "97.4 %",
        "12 of all images",
        "p = 0.03",
        "8 times faster",
        "in 3 seconds",
        "75 s an epoch",
        "152 MB",
        "of 2,020 images",
        "2020.5 points",
        "a share of .5",
        "Keras 3",
        "Python 97 %",
        "100x",
        "<b>97.4</b>",
        "1/3",
        "(95 % of them)",
    ],
)
def test_a_number_without_a_tie_is_never_missed(text):
    assert len(claims.check(text, RECORDS)) >= 1


def test_a_decision_may_note_what_was_measured_once_if_it_says_how():
    noted = "8 times<!-- noted: make bench, one step with XLA against one without -->"
    assert claims.check(noted, RECORDS, may_note=True) == []
    assert claims.check("8<!-- noted: -->", RECORDS, may_note=True) == [
        "Line 1: 8 is noted without a reason: say what measured it."
    ]
