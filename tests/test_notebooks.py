import ast
import re
import tomllib

import jupytext
import nbformat
import pytest

from helpers import course
from helpers.commands import notebooks

NAMES = [
    "01_inspect",
    "02_clean",
    "03_custom_cnns",
    "04_transfer",
    "05_finetune",
    "06_augment",
    "07_imbalance",
    "08_final",
]
EVERY = pytest.mark.parametrize("path", notebooks.sources(), ids=lambda path: path.stem)


def stored(path):
    return nbformat.read(path.with_suffix(".ipynb"), as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def is_compared(cell):
    return bool(cell.outputs) and "nbval-ignore-output" not in cell.metadata.get("tags", [])


def test_the_course_has_its_notebooks():
    assert [path.stem for path in notebooks.sources()] == NAMES


@EVERY
def test_both_halves_of_a_pair_hold_the_same_cells(path):
    expected = notebooks.from_python(path)
    actual = stored(path)
    assert [
        (cell.cell_type, cell.source, cell.metadata.get("tags", [])) for cell in actual.cells
    ] == [
        (cell.cell_type, cell.source, cell.metadata.get("tags", [])) for cell in expected.cells
    ], f"run `make pair`: {path.stem}.ipynb differs from its .py"


@EVERY
def test_stored_outputs_are_of_the_helpers_recipes(path):
    made_with = stored(path).metadata.get(notebooks.MADE_WITH)
    assert made_with is not None, f"run `make notebooks`: {path.stem} was never stored"
    recipes = {"experiment_recipe", "shift_recipe"}
    assert {n: made_with[n] for n in recipes} == {n: notebooks.made_with()[n] for n in recipes}, (
        f"run `make notebooks`: {path.stem} is stale"
    )


def test_a_raised_recipe_makes_stored_outputs_stale(monkeypatch):
    before = notebooks.made_with()
    monkeypatch.setattr(
        "helpers.training.experiment.CACHE_VERSION", before["experiment_recipe"] + 1
    )
    assert notebooks.made_with() != before


def test_pairing_notices_a_changed_cell_and_keeps_the_others(tmp_path):
    source = tmp_path / "01_toy.py"
    source.write_text("# %%\n1 + 1\n\n# %%\n2 + 2\n")
    notebooks.pair(source)
    target = source.with_suffix(".ipynb")
    ran = nbformat.read(target, as_version=4)
    for cell, answer in zip(ran.cells, "24", strict=True):
        cell.outputs = [nbformat.v4.new_output("execute_result", {"text/plain": answer})]
    nbformat.write(ran, target)
    source.write_text("# %%\n1 + 1\n\n# %%\n2 + 3\n")
    notebooks.pair(source)
    again = nbformat.read(target, as_version=4)
    assert [len(cell.outputs) for cell in again.cells] == [1, 0]
    assert jupytext.reads(source.read_text(), "py:percent").cells[1].source == "2 + 3"


@EVERY
def test_stored_outputs_are_whole_and_clean(path):
    cells = code_cells(stored(path))
    assert all(cell.execution_count for cell in cells), "a cell has no stored run"
    for cell in cells:
        for output in cell.outputs:
            assert output.output_type != "error", cell.source
            assert output.get("name") != "stderr", (cell.source, output.text)
            text = output.get("text", "") + str(output.get("data", {}).get("text/plain", ""))
            assert not re.search(r"/(home|root|work|tmp|Users)/|it/s\]", text), text
    pictures = sum("image/png" in o.get("data", {}) for c in cells for o in c.outputs)
    assert pictures >= 3
    assert path.with_suffix(".ipynb").stat().st_size < 1.5e6


@EVERY
def test_enough_outputs_are_compared(path):
    assert sum(is_compared(cell) for cell in code_cells(stored(path))) >= 5


@EVERY
def test_most_cells_are_short(path):
    lines = [len(cell.source.splitlines()) for cell in code_cells(notebooks.from_python(path))]
    short = sum(count <= 6 for count in lines[2:])
    assert short >= 0.6 * len(lines[2:]), lines
    assert max(lines) <= 16


@EVERY
def test_prose_opens_closes_and_exercises(path):
    prose = "\n".join(
        cell.source for cell in notebooks.from_python(path).cells if cell.cell_type == "markdown"
    )
    assert prose.count("\n# ") + prose.startswith("# ") == 1
    for heading in ("In this notebook you will", "**Time**", "## Recap", "## Exercises"):
        assert heading in prose, heading
    assert prose.count("#### Solution") >= 2


def test_every_notebook_begins_with_the_same_colab_cell():
    first = {code_cells(notebooks.from_python(path))[0].source for path in notebooks.sources()}
    assert len(first) == 1
    project = tomllib.loads((course.root() / "pyproject.toml").read_text())["project"]
    assert f"git+{project['urls']['Repository']}@v{project['version']}" in first.pop()


@pytest.mark.parametrize("name", ["01_inspect", "02_clean"])
def test_the_first_two_notebooks_need_no_tensorflow(name):
    source = (course.root() / "notebooks" / f"{name}.py").read_text()
    imported = {
        alias.name if isinstance(node, ast.Import) else f"{node.module}.{alias.name}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    heavy = {
        "helpers.training.run",
        "helpers.training.loop",
        "helpers.models.networks",
        "helpers.models.weights",
    }
    assert not {found for found in imported for name in heavy if found.startswith(name)}
    assert not {found for found in imported if found.split(".")[0] in ("tensorflow", "keras")}
