import ast
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from types import SimpleNamespace

import jupytext
import nbformat
import pytest

from commands import notebooks
from helpers import course
from helpers.data.photographs import Source

SOURCE = Source("synthetic", "synthetic cells", False, "0")
NAMES = [
    "01_inspect",
    "02_clean",
    "03_custom_cnns",
    "04_transfer",
    "05_finetune",
    "06_augment",
    "07_imbalance",
    "08_final",
    "09_use",
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
    ], f"run `make pair`, which loses nothing: {path.stem}.ipynb differs from its .py"


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
    monkeypatch.setattr(notebooks, "CACHE_VERSION", before["experiment_recipe"] + 1)
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


@pytest.fixture
def toy(tmp_path):
    """Return a .py with three cells, paired, each with an output."""
    path = tmp_path / "01_toy.py"
    path.write_text(
        "# ---\n# jupyter:\n#   jupytext:\n#     formats: ipynb,py:percent\n# ---\n\n"
        '# %% [markdown]\n# # Title\n\n# %% tags=["keep"]\n1 + 1\n\n# %%\n2 + 2\n'
    )
    notebooks.pair(path)
    notebook = stored(path)
    for cell, answer in zip(notebook.cells[1:], "24", strict=True):
        cell.outputs = [nbformat.v4.new_output("execute_result", {"text/plain": answer})]
    nbformat.write(notebook, path.with_suffix(".ipynb"))
    return path


def edited_elsewhere(path, change) -> bytes:
    """Change a stored notebook as another editor does; return the file's content."""
    notebook = stored(path)
    change(notebook)
    target = path.with_suffix(".ipynb")
    nbformat.write(notebook, target)
    return target.read_bytes()


def change_text(notebook):
    notebook.cells[2].source = "2 + 5"


def add_cell(notebook):
    notebook.cells.append(nbformat.v4.new_code_cell("mine"))


def remove_cell(notebook):
    del notebook.cells[1]


def move_cell(notebook):
    notebook.cells.reverse()


def drop_ids(notebook):  # as Colab does
    change_text(notebook)
    notebook.nbformat_minor = 4
    for cell in notebook.cells:
        cell.metadata.id = cell.pop("id")


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (change_text, "in cell 3 after"),
        (add_cell, "in cell 4 after"),
        (remove_cell, "by removing or moving cells"),
        (move_cell, "by removing or moving cells"),
        (drop_ids, "in cell 3 after"),
    ],
)
def test_an_edit_of_the_ipynb_is_never_lost(toy, change, where):
    content = edited_elsewhere(toy, change)
    for command in (notebooks.pair, notebooks.refuse_edited):
        with pytest.raises(course.CourseError, match=f"{where}.* notebooks take 01_toy"):
            command(toy)
    assert toy.with_suffix(".ipynb").read_bytes() == content
    expected = [cell.source for cell in stored(toy).cells]
    notebooks.take(toy)
    assert [cell.source for cell in notebooks.from_python(toy).cells] == expected
    assert notebooks.edits(toy) == ""
    notebooks.pair(toy)
    assert [cell.source for cell in stored(toy).cells] == expected


def test_taking_an_edit_over_keeps_header_tags_and_outputs_of_other_cells(toy):
    before = toy.read_text()
    edited_elsewhere(toy, change_text)
    notebooks.take(toy)
    assert toy.read_text() == before.replace("2 + 2", "2 + 5")
    assert [len(cell.outputs) for cell in code_cells(stored(toy))] == [1, 0]


def test_edits_on_both_sides_are_left_to_the_reader(toy):
    content = edited_elsewhere(toy, change_text)
    toy.write_text(toy.read_text().replace("1 + 1", "1 + 3"))
    text = toy.read_text()
    with pytest.raises(course.CourseError, match=r"Both 01_toy\.py and 01_toy\.ipynb were edited"):
        notebooks.take(toy)
    assert (toy.read_text(), toy.with_suffix(".ipynb").read_bytes()) == (text, content)


def test_an_edit_that_the_py_holds_too_is_none(toy):
    edited_elsewhere(toy, change_text)
    toy.write_text(toy.read_text().replace("2 + 2", "2 + 5"))
    notebooks.pair(toy)
    assert [len(cell.outputs) for cell in code_cells(stored(toy))] == [1, 0]


def test_storing_refuses_before_anything_runs(toy, monkeypatch):
    content = edited_elsewhere(toy, change_text)
    monkeypatch.setattr(notebooks, "load_photographs", lambda: pytest.fail("images were loaded"))
    with pytest.raises(course.CourseError, match="in cell 3"):
        notebooks.execute_all({toy.stem: toy}, store=True)
    assert toy.with_suffix(".ipynb").read_bytes() == content


def test_solutions_are_paired_and_named_apart(tmp_path, monkeypatch):
    for name in ("01_a", "solutions/01_a"):
        path = tmp_path / "notebooks" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("# %%\n1\n")
    monkeypatch.setattr(course, "root", lambda: tmp_path)
    assert notebooks.main(["pair"]) == 0
    solved = tmp_path / "notebooks" / "solutions" / "01_a.py"
    assert list(notebooks.with_solutions()) == ["01_a", "solutions/01_a"]
    assert len(stored(solved).cells) == 1
    edited_elsewhere(solved, lambda notebook: notebook.cells[0].update(source="2"))
    with pytest.raises(course.CourseError, match="notebooks take solutions/01_a"):
        notebooks.main(["pair"])
    assert notebooks.main(["take", "solutions/01_a"]) == 0
    assert solved.read_text().endswith("# %%\n2\n")
    solved.with_suffix(".ipynb").write_text("damaged")
    with pytest.raises(course.CourseError, match=r"git checkout notebooks/solutions/01_a\.ipynb`"):
        notebooks.main(["pair"])


def test_a_lesson_and_its_solution_that_fail_are_kept_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(course, "build_folder", lambda: tmp_path / "build")
    for number, name in enumerate(("01_a", "solutions/01_a")):
        path = tmp_path / "notebooks" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# %%\n{number} / 0\n")
        with pytest.raises(notebooks.CellExecutionError):
            notebooks.execute(path, tmp_path / f"{name}.ipynb")
    kept = {file.name: file.read_text() for file in (tmp_path / "build").iterdir()}
    assert sorted(kept) == ["failed-01_a.ipynb", "failed-solutions-01_a.ipynb"]
    assert '"0 / 0"' in kept["failed-01_a.ipynb"]
    assert '"1 / 0"' in kept["failed-solutions-01_a.ipynb"]


@pytest.mark.parametrize("content", [b"", b"{}", b'{"cells": 3}', b"[]", b"\xff\xfe", b'{"nbf'])
def test_a_damaged_notebook_is_one_sentence(toy, content):
    toy.with_suffix(".ipynb").write_bytes(content)
    with pytest.raises(course.CourseError, match=r"01_toy\.ipynb is no notebook that can be read"):
        notebooks.pair(toy)
    assert toy.with_suffix(".ipynb").read_bytes() == content


@EVERY
def test_jupytext_writes_a_notebook_back_as_it_is(path):
    text = path.read_text(encoding="utf-8")
    body = jupytext.writes(jupytext.read(path), "py:percent")
    assert body.partition("\n# ---\n")[2] == text.partition("\n# ---\n")[2]


NOISE = """WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
I0000 00:00:1795703988.286753   12160 cudart_stub.cc:31] Could not find cuda drivers on your machine
2026-11-26 14:00:01.123456: I tensorflow/core/platform/cpu_feature_guard.cc:210] This TensorFlow
To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow
"""


def test_tensorflows_notes_are_dropped_and_warnings_stay():
    texts = [NOISE, NOISE + "UserWarning: mine\n", "UserWarning: mine\n"]
    outputs = [nbformat.v4.new_output("stream", name="stderr", text=text) for text in texts]
    cell = nbformat.v4.new_code_cell("", outputs=outputs)
    cleaned, _ = notebooks.DropNoise().preprocess_cell(cell, {}, 0)
    assert [output.text for output in cleaned.outputs] == ["UserWarning: mine\n"] * 2


def test_each_notebook_runs_in_a_kernel_of_its_own_and_its_memory_is_told(tmp_path):
    code = "import os\nkept = bytearray(300_000_000)\nprint(os.getpid())"
    path = tmp_path / "01_toy.py"
    path.write_text(f"# %%\n{code}\n")
    runs = [notebooks.execute(path, tmp_path / f"{name}.ipynb") for name in "ab"]
    kernels = {
        nbformat.read(tmp_path / f"{name}.ipynb", 4).cells[0].outputs[0].text for name in "ab"
    }
    assert len(kernels) == 2
    for minutes, gigabytes in runs:
        assert 0 < minutes < 5
        if sys.platform == "linux":
            assert 0.3 < gigabytes < 1


def test_what_a_kernels_libraries_write_is_not_on_the_terminal(tmp_path, capfd):
    path = tmp_path / "01_toy.py"
    path.write_text('# %%\nimport os\nos.write(2, b"a library\'s greeting")\nprint("answer")\n')
    notebooks.execute(path, tmp_path / "out.ipynb")
    assert "answer" in (tmp_path / "out.ipynb").read_text()
    assert "greeting" not in capfd.readouterr().err


@pytest.mark.parametrize("name", ["01_inspect", "02_clean"])
def test_the_first_notebooks_run_on_a_reader_s_own_images(name, tmp_path, monkeypatch):
    """Continuous integration runs them all so; these two need no TensorFlow."""
    script = course.root() / ".ci" / "own_cells.py"
    subprocess.run([sys.executable, script, tmp_path / "own"], check=True)
    monkeypatch.setenv("BLOODCELLS_SOURCE", str(tmp_path / "own"))
    monkeypatch.setenv("PYTHONPATH", str(course.root()))
    path = course.root() / "notebooks" / f"{name}.py"
    notebooks.execute(path, tmp_path / "run.ipynb")
    told = [cell.outputs for cell in code_cells(nbformat.read(tmp_path / "run.ipynb", 4))]
    assert "160 photographs in 4 class folders of your own" in str(told)


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals")
def test_ctrl_c_ends_a_run_in_one_line(tmp_path):
    paths = [tmp_path / f"0{number}_toy.py" for number in (1, 2, 3)]
    started = [path.with_suffix(".pid") for path in paths]
    for path, mark in zip(paths, started, strict=True):
        lines = f"import os, time\nopen({str(mark)!r}, 'w').write(f'{{os.getpid()}}')"
        path.write_text(f"# %%\n{lines}\ntime.sleep(300)\n")
    body = (
        "import pathlib, signal\nfrom helpers import course\n"
        "from commands import notebooks\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"notebooks.records.folder = lambda source: pathlib.Path({str(tmp_path)!r})\n"
        f"paths = {{path: pathlib.Path(path) for path in {[str(path) for path in paths]}}}\n"
        "course.run_command(lambda: notebooks.execute_all(paths, store=False))"
    )
    environment = os.environ | {"PYTHONPATH": str(course.root()), "BLOODCELLS_SOURCE": "synthetic"}
    with subprocess.Popen(
        [sys.executable, "-c", body], env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 120
        while not all(mark.exists() and mark.read_text() for mark in started[:2]):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        assert process.stderr.read().strip() == "Stopped; what was done is kept."
    assert process.returncode == 130
    assert not started[2].exists()
    for mark in started[:2]:
        with pytest.raises(ProcessLookupError):
            os.kill(int(mark.read_text()), 0)


def test_a_kernel_that_ends_is_a_failure_in_one_line(toy, monkeypatch, capsys):
    toy.write_text("# %%\nimport os\nos._exit(1)\n")
    monkeypatch.setattr(notebooks, "load_photographs", lambda: SimpleNamespace(source=SOURCE))
    monkeypatch.setattr(notebooks.records, "folder", lambda source: course.root() / "build" / "toy")
    assert notebooks.execute_all({toy.stem: toy}, store=False) == 1
    assert "failed: its kernel ended, perhaps for want of memory" in capsys.readouterr().out


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
    if (path.parent / "solutions" / path.name).exists():
        assert prose.count("**Exercise ") >= 4
        assert "#### Solution" not in prose
    else:
        assert prose.count("#### Solution") >= 2


def test_every_notebook_begins_with_the_same_colab_cell():
    first = {code_cells(notebooks.from_python(path))[0].source for path in notebooks.sources()}
    assert len(first) == 1
    project = tomllib.loads((course.root() / "pyproject.toml").read_text())["project"]
    cell = first.pop()
    assert f'COURSE = "{project["urls"]["Repository"]}"' in cell
    assert f"--branch v{project['version']} " in cell


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
