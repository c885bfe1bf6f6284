"""What the README prints was measured: each number is tied to its record."""

import json

import pytest

from helpers import course


@pytest.mark.parametrize("images", ["test", "shifted_test", "second_acquisition"])
def test_the_readme_prints_what_was_recorded(images):
    records = json.loads((course.root() / "report" / "results.json").read_text())
    by_key = {record["key"]: record for record in records}
    record = by_key[f"fine_tuned-seed0/{images}/accuracy"]
    low, high = record["interval"]
    text = " ".join((course.root() / "README.md").read_text().split())
    assert f"{100 * record['value']:.1f} %" in text
    assert f"{100 * low:.1f} to {100 * high:.1f} %" in text
    assert record["profile"] == "full"
