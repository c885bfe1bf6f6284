"""Claims: every number in a Markdown text is tied to where it comes from, and checked against it.

A tie is an HTML comment directly behind a number or its unit, invisible once rendered:

    97.4 %<!-- fine_tuned-seed0/test/accuracy -->      a record's value
    96.5<!-- KEY low --> to 98.1 %<!-- KEY high -->    its interval; any other field by its name: n
    36.0 points<!-- KEY minus KEY -->                  a difference, rounded last
    98.6 %<!-- quoted: the report 98.58 -->            another text's number, as that text prints it
    8 times<!-- noted: why it has no record -->        only in docs/decisions

The numbers in an image's alternative text are tied by comments behind the image, in their order.

Every number in digits needs a tie. Exempt, by the rules in EXEMPT, are code, addresses, names
with digits (EfficientNetB0), versions, sizes (96 × 96), years, a journal's volume and page, the
numbers of headings and lists, and the level of a 95 % interval. Numbers in words are not seen.
"""

import json
import re
from dataclasses import dataclass

from helpers import course

QUOTED_FROM = ("the report", "the homework")

# Units that a tie may stand behind, and what they make of a record's shares, seconds and counts.
# A number with another unit is printed as its record holds it, with the tie before the unit.
SCALES = {"%": 100, "points": 100, "minutes": 1 / 60, "million": 1e-6, "seconds": 1, "times": 1}

COMMENT = r"<!--(?P<tie>.*?)-->"
NUMBER = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:e[-+]?\d+)?"
UNIT = r"(?:\s?(?:%|(?:" + "|".join(unit for unit in SCALES if unit != "%") + r")\b))"

EXEMPT = (
    r"^```.*?^```",
    r"`(?:[^`\n]|\n(?!\n))+`",
    # a link's target, another address, an HTML tag
    r"(?<=\])\([^)\s]*\)",
    r"https?://[^\s)>]+",
    r"</?[A-Za-z][^<>]*>",
    # a name, a version
    r"\b[A-Za-z][A-Za-z_]*(?:-[A-Za-z]+)*-?\d[\w.-]*",
    r"\b(?:Python|TensorFlow|Keras|CC BY)\s\d+(?:\.\d+)+(?:(?:, | or | and )\d\.\d+)*(?!\s?%)",
    r"\b\d+\.\d+\.\d+\b",
    # a size
    r"\b\d+(?:\s?×\s?\d+)+(?:\spx)?",
    # a year; counts have a comma there
    r"(?<![\d.,])(?:19|20)\d\d(?![\d.,]*\d|\s?%)",
    r"(?<=\* )\d+:\d+",
    r"^(?:#+ |\s*)\d+\. ",
    r"\b95 %\s(?:confidence )?interval",
)


@dataclass(frozen=True)
class Claim:
    """One printed number.

    Attributes:
        line: where it stands, from 1.
        printed: the number as printed, with its sign, without its unit.
        below: whether a `<` stands before it.
        scale: what a record's value is multiplied by to give the number.
        tie: what its comment says; None if there is no comment.
    """

    line: int
    printed: str
    below: bool
    scale: float
    tie: str | None


class _UntrueError(Exception):
    """What is wrong with a claim, as the end of a sentence that begins with the number."""


def read_records() -> dict[str, dict]:
    """Return all records of full runs, {key: record}."""
    text = (course.root() / "report" / "results.json").read_text(encoding="utf-8")
    return {record["key"]: record for record in json.loads(text)}


def check(text: str, records: dict[str, dict], *, may_note: bool = False) -> list[str]:
    """Return a sentence for every number that is not what it is tied to, or is tied to nothing.

    Args:
        text: Markdown.
        records: from `read_records`.
        may_note: whether numbers without a record may be tied by `noted:` and a reason.
    """
    claims, complaints = find(text)
    for claim in claims:
        try:
            _verify(claim, records, may_note)
        except _UntrueError as reason:
            complaints.append((claim.line, f"{claim.printed} {reason}"))
    return [
        f"Line {line}: {sentence}" for line, sentence in sorted(complaints, key=lambda of: of[0])
    ]


def find(text: str) -> tuple[list[Claim], list[tuple[int, str]]]:
    """Return the claims of a Markdown text, and (line, sentence) for every tie without a number."""
    seen = _without_exempt(text)
    claims, complaints = [], []

    def line_of(place: int) -> int:
        return text.count("\n", 0, place) + 1

    def without_number(tie: str, line: int) -> None:
        complaints.append((line, f"the tie '{tie.strip()}' stands behind no number."))

    image = rf"!\[(?P<alt>[^\]]*)\] *(?P<ties>(?:{COMMENT.replace('?P<tie>', '?:')})*)"
    for match in re.finditer(image, seen, re.DOTALL):
        ties = list(re.finditer(COMMENT, match["ties"], re.DOTALL))
        numbers = list(_numbers(match["alt"]))
        for place, number in enumerate(numbers):
            tie = ties[place]["tie"] if place < len(ties) else None
            line = line_of(match.start("alt") + number.start())
            claims.append(_claim(number, match["alt"], line, tie))
        for tie in ties[len(numbers) :]:
            without_number(tie["tie"], line_of(match.start("ties") + tie.start()))
    seen = re.sub(image, _blank, seen, flags=re.DOTALL)

    prose = re.sub(COMMENT, _blank, seen, flags=re.DOTALL)
    used = set()
    for number in _numbers(prose):
        tie = re.compile(rf"{UNIT}?{COMMENT}", re.DOTALL).match(seen, number.end())
        if tie:
            used.add(tie.end())
        line = line_of(number.start())
        claims.append(_claim(number, seen, line, tie["tie"] if tie else None))
    for match in re.finditer(COMMENT, seen, re.DOTALL):
        if match.end() not in used:
            without_number(match["tie"], line_of(match.start()))
    return claims, complaints


def _without_exempt(text: str) -> str:
    """Return the text with everything exempt blanked, as long as before; comments stay."""
    pattern = "|".join([r"(?P<comment><!--.*?-->)", *EXEMPT])

    def blank(match: re.Match) -> str:
        return match[0] if match["comment"] else _blank(match)

    return re.sub(pattern, blank, text, flags=re.DOTALL | re.MULTILINE)


def _blank(match: re.Match) -> str:
    return re.sub(r"[^\n]", " ", match[0])


def _numbers(text: str) -> list[re.Match]:
    pattern = rf"(?P<below>(?:<|&lt;)\s?)?(?P<printed>(?:(?<!\w)[-−+])?{NUMBER})"
    return list(re.finditer(pattern, text))


def _claim(number: re.Match, text: str, line: int, tie: str | None) -> Claim:
    # The first number of "59.0 to 63.7 %" has the unit of the second.
    behind = re.sub(COMMENT, "", text[number.end() :], flags=re.DOTALL)
    unit = re.match(rf"(?:(?:\sto\s|–){NUMBER})?(?P<unit>{UNIT})", behind)
    return Claim(
        line=line,
        printed=number["printed"],
        below=bool(number["below"]),
        scale=SCALES[unit["unit"].strip()] if unit else 1,
        tie=None if tie is None else " ".join(tie.split()),
    )


def _verify(claim: Claim, records: dict[str, dict], may_note: bool) -> None:
    if claim.tie is None:
        raise _UntrueError(
            "is tied to no record: put <!-- its key --> directly behind it, "
            "or <!-- quoted: source number --> if another text says so."
        )
    kind, _, rest = claim.tie.partition(":")
    if kind == "noted":
        if not may_note:
            raise _UntrueError(
                "is only noted, which docs/decisions alone may do: give it a record."
            )
        if not rest.strip():
            raise _UntrueError("is noted without a reason: say what measured it.")
        return
    if kind == "quoted":
        _compare(claim, _quoted(rest.strip()))
    else:
        values = [_value(term, records) for term in _terms(claim.tie)]
        _compare(claim, claim.scale * _difference(values))


def _compare(claim: Claim, true: float) -> None:
    printed = claim.printed.replace("−", "-")
    if claim.below:
        # A bound is one of 0.1, 0.01, 0.001, …: others would be true with another digit too.
        if not re.fullmatch(r"0\.0*1", printed):
            raise _UntrueError("is no bound such as < 0.001: print the number itself.")
        if true >= float(printed):
            raise _UntrueError(f"is no upper bound: '{claim.tie}' is {true:.3g}.")
        return
    mantissa, _, exponent = printed.partition("e")
    decimals = len(mantissa.partition(".")[2])
    if exponent:
        rounded = f"{true:.{decimals}e}"
        same = mantissa == rounded.partition("e")[0] and float(printed) == float(rounded)
    else:
        rounded = f"{true:{'+' if printed.startswith('+') else ''},.{decimals}f}"
        same = printed == rounded
    if not same:
        raise _UntrueError(f"should be {rounded}, says '{claim.tie}'.")


def _quoted(rest: str) -> float:
    match = re.fullmatch(rf"(?P<source>.+?) (?P<values>{NUMBER}(?: minus {NUMBER})?)", rest)
    if not match or match["source"] not in QUOTED_FROM:
        raise _UntrueError(
            f"is quoted from '{rest}': name one of {', '.join(QUOTED_FROM)}, and the number there."
        )
    return _difference([float(value.replace(",", "")) for value in _terms(match["values"])])


def _terms(tie: str) -> list[str]:
    return tie.split(" minus ")


def _difference(values: list[float]) -> float:
    return values[0] - sum(values[1:])


def _value(term: str, records: dict[str, dict]) -> float:
    """Return the value of a record's key, or of "key field"."""
    key, field = (term, "value") if term in records else term.rpartition(" ")[::2]
    if key not in records:
        raise _UntrueError(f"is tied to '{term}', and no record has this key.")
    low, high = records[key].get("interval") or (None, None)
    found = {**records[key], "low": low, "high": high}.get(field)
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise _UntrueError(f"is tied to '{field}' of '{key}', and this record has no such number.")
    return found
