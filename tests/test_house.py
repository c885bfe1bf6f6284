"""The layout: how large helpers/ is, what may import what, and the names that are gone.

`python tests/test_house.py` prints the sizes.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HELPERS = ROOT / "helpers"
LESSONS = sorted(ROOT.glob("notebooks/*.py")) + sorted(ROOT.glob("notebooks/solutions/*.py"))

# A folder imports only folders before it; "" is helpers/ itself. What changes images works on plain
# arrays and knows no data set, so it comes first: data.sets makes the shifted sets with it.
STATIONS = ("", "changes", "data", "models", "evaluation", "training", "figures")
# The programs, beside helpers/.
PROGRAMS = ("commands.report", "commands")
FOLDERS = (*STATIONS, *PROGRAMS)
DESCRIPTIONS = (
    *("training.experiment", "training.recipes", "models.backbones"),
    *("evaluation.metrics", "evaluation.records"),
)
MOST_FILES, MOST_LINES = 45, 9_500
MOST_MODULES_REACHED, MOST_LINES_REACHED = 30, 7_000
MOST_ENTRIES = 12


@cache
def modules() -> dict[str, Path]:
    """Return every module by its name, with its file: "data.cleaning", "commands.score"."""
    files = dict.fromkeys(sorted(HELPERS.rglob("*.py")), HELPERS)
    files |= dict.fromkeys(sorted((ROOT / "commands").rglob("*.py")), ROOT)
    return {
        ".".join(file.relative_to(top).with_suffix("").parts): file for file, top in files.items()
    }


def helper_modules() -> set[str]:
    """Return the names of the modules of helpers/."""
    return {name for name, file in modules().items() if file.is_relative_to(HELPERS)}


def folder(module: str) -> str:
    """Return the folder that a module stands in; "" for helpers/ itself."""
    return module.rpartition(".")[0]


@cache
def tree(file: Path) -> ast.Module:
    """Return a file's syntax tree."""
    return ast.parse(file.read_text(encoding="utf-8"), filename=str(file))


def imported(node: ast.AST) -> Iterator[str]:
    """Yield the dotted names that one import statement may mean; nothing for any other node."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"line {node.lineno}: a relative import"
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that run when the file is imported."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from outside_functions(child)


@cache
def helpers_of(file: Path) -> frozenset[str]:
    """Return the modules of helpers/ that a file imports, wherever in it the import stands.

    What it imports from exercises/ is followed: all of that package, since it imports by name.
    """
    found = set()
    for name in {name for node in ast.walk(tree(file)) for name in imported(node)}:
        package, _, module = name.partition(".")
        if package == "helpers" and module in modules():
            found.add(module)
        elif package == "commands" and name in modules():
            found.add(name)
        elif package == "exercises" and file.parent.name != "exercises":
            found = found.union(*map(helpers_of, (ROOT / "exercises").glob("*.py")))
    return frozenset(found)


def reached(file: Path) -> frozenset[str]:
    """Return the modules of helpers/ that importing what `file` imports brings in, transitively."""
    found, waiting = set(), set(helpers_of(file))
    while waiting:
        module = waiting.pop()
        found.add(module)
        waiting |= helpers_of(modules()[module]) - found
    return frozenset(found)


def lines(names: frozenset[str] | set[str]) -> int:
    """Return how many lines these modules have."""
    return sum(len(modules()[name].read_text(encoding="utf-8").splitlines()) for name in names)


def sizes() -> str:
    """Return the layout's numbers, a line for helpers/, each folder and each notebook."""
    own = helper_modules()
    rows = [f"{'helpers/':34s}{len(own):3d} files{lines(own):7,d} lines"]
    for name in FOLDERS:
        own = {module for module in modules() if folder(module) == name}
        rows.append(f"  {name or '(top)':32s}{len(own):3d} files{lines(own):7,d} lines")
    for lesson in LESSONS:
        name = str(lesson.relative_to(ROOT / "notebooks"))
        own = reached(lesson)
        rows.append(f"reached by {name:23s}{len(own):3d} files{lines(own):7,d} lines")
    return "\n".join(rows)


# --- size


def test_helpers_have_few_files():
    assert len(helper_modules()) <= MOST_FILES, sizes()


def test_helpers_have_few_lines():
    assert lines(helper_modules()) <= MOST_LINES, sizes()


def test_a_notebook_reaches_few_files():
    assert max(len(reached(lesson)) for lesson in LESSONS) <= MOST_MODULES_REACHED, sizes()


def test_a_notebook_reaches_few_lines():
    assert max(lines(reached(lesson)) for lesson in LESSONS) <= MOST_LINES_REACHED, sizes()


def test_the_listing_is_short():
    entries = [entry.name for entry in HELPERS.iterdir() if entry.name != "__pycache__"]
    assert len(entries) <= MOST_ENTRIES, sorted(entries)
    assert {folder(module) for module in helper_modules()} == set(STATIONS)
    assert {folder(module) for module in modules()} == set(FOLDERS)
    assert not list(HELPERS.rglob("*/__init__.py"))


# --- one-way flow


def test_a_folder_imports_only_folders_before_it():
    wrong = [
        f"{module} imports {other}"
        for module, file in modules().items()
        for other in helpers_of(file)
        if FOLDERS.index(folder(other)) > FOLDERS.index(folder(module)) and module != "__main__"
    ]
    assert wrong == []


def test_no_import_goes_in_a_circle():
    try:
        TopologicalSorter({name: helpers_of(file) for name, file in modules().items()}).prepare()
    except CycleError as error:
        pytest.fail(f"{' -> '.join(error.args[1])}")


def test_helpers_are_imported_at_the_top_of_a_file():
    wrong = []
    for module, file in modules().items():
        at_the_top = set(outside_functions(tree(file)))
        for node in ast.walk(tree(file)):
            packages = ("helpers", "commands")
            names = [name for name in imported(node) if name.partition(".")[0] in packages]
            if names and node not in at_the_top:
                wrong.append(f"{module}, line {node.lineno}: {names[0]}")
            # __main__ imports the one command that was asked for.
            if module != "__main__" and isinstance(node, ast.Call):
                text = ast.unparse(node)
                if "import_module(" in text and ("helpers" in text or "commands" in text):
                    wrong.append(f"{module}, line {node.lineno}: {text}")
    assert wrong == []


def test_a_notebook_imports_neither_report_nor_commands():
    for lesson in LESSONS:
        wrong = [module for module in reached(lesson) if folder(module) in PROGRAMS]
        assert wrong == [], lesson.name


# --- descriptions and counts without TensorFlow


def without_tensorflow() -> list[str]:
    """Return the modules that describe or count: they start in a second."""
    return [*DESCRIPTIONS, *(name for name in modules() if folder(name) == "commands.report")]


def test_descriptions_name_no_tensorflow():
    for module in without_tensorflow():
        packages = {
            name.partition(".")[0]
            for node in ast.walk(tree(modules()[module]))
            for name in imported(node)
        }
        assert not packages & {"tensorflow", "keras", "keras_cv"}, module


def test_descriptions_load_no_tensorflow():
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(name if name.startswith('commands') else 'helpers.' + name)\n"
        "    loaded = {'tensorflow', 'keras', 'keras_cv'} & set(sys.modules)\n"
        "    assert not loaded, f'{name} loads {loaded}'\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *without_tensorflow()],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


# --- names that are gone

FORMER_MODULES = (
    *("augment_families", "augment_figures", "benchmark", "calibration", "claims"),
    *("cleaning_figures", "costs", "course_data", "dataset", "downloads", "drawn", "experiments"),
    *("explanation", "explanation_figures", "frozen_sets", "fused_batch_norm", "grad_cam"),
    *("homework", "image_folders", "imbalance", "inspection", "isolated", "isolated_run"),
    *("judging", "ladder", "networks", "notebooks", "pages", "predict", "provenance"),
    *("quiet_tensorflow", "recipes", "recorded", "release", "results", "robustness", "score"),
    *("shifts", "sources", "splits", "study", "submission", "submission_model", "timing"),
    *("transfer", "transfer_figures", "unpacking", "views", "weights", "cleaning", "augment"),
)
# Modules that were folded into others after they had moved into a folder.
FOLDED_MODULES = "|".join(
    [
        *("calibration", "costs", "frozen_sets", "grad_cam", "imbalance", "inspection"),
        *("isolated_run", "judging", "pages", "paired", "recorded", "robustness", "timing"),
        *("transfer", "unpacking", "views", "facts"),
    ]
)
# A name, and how it is written: a regular expression.
FORMER_NAMES = {
    "flat modules": rf"helpers[./]({'|'.join(FORMER_MODULES)})\b|from helpers import "
    rf"([a-z_]+, )*({'|'.join(FORMER_MODULES)})\b",
    "folded modules": rf"helpers[./][a-z]+[./]({FOLDED_MODULES})\b|"
    rf"from helpers\.[a-z]+ import ([a-z_]+, )*({FOLDED_MODULES})\b",
    **{
        name: rf"\b{name}\b"
        for name in (
            *("quiet_tensorflow", "image_folders", "augment_families"),
            *("isolated_run", "submission_figures", "report_figures"),
            *("record_outcome", "Outcome", "Judged"),
            *("shift_validation", "frozen_sets", "cleaning_figures", "augment_figures"),
            *("transfer_figures", "explanation_figures", "grad_cam.py", "judging.py"),
            *("provenance.py", "timing.py", "unpacking.py", "inspection.py", "views.py"),
        )
    },
    "course_data": r"\bcourse_data\.|import (.*, )?course_data\b",
    "look_up": r"\.look_up\b|import (.*, )?look_up\b",
    "over_seeds": r"\.over_seeds\b|import (.*, )?over_seeds\b",
    "drawn cells": r"\b[Dd]rawn cells\b|\b[Dd]rawn images\b",
    # The error that tells the new word stays, and its test.
    "SOURCE=drawn": r"BLOODCELLS_SOURCE=drawn\b(?! is now)",
    "RECIPE": r"\b(SHIFT_)?RECIPE\b",
    "images for a set's name": r"\bimages: str\b",
    "titles of image sets": r"\bCHOSEN_ON\b",
    "right on, for accuracy": r"\b(is|are|was|were|be) right on\b",
}


def texts() -> Iterator[tuple[Path, str]]:
    """Yield the course's own text files, this one excepted."""
    kinds = ("*.py", "*.md", "*.typ", "*.toml", "*.yml", "*.yaml", "*.ipynb", "*.cff", "*.txt")
    folders = ("helpers", "commands", "exercises", "notebooks", "tests", "docs", "data", "models")
    folders = (*folders, "report")
    top = [ROOT / "Makefile", *ROOT.glob(".github/**/*"), *ROOT.glob(".ci/*")]
    found = {file for kind in kinds for file in ROOT.glob(kind)}
    found |= {f for name in folders for kind in kinds for f in (ROOT / name).rglob(kind)}
    for file in sorted(found | {entry for entry in top if entry.is_file()}):
        if file != Path(__file__).resolve() and ".ipynb_checkpoints" not in file.parts:
            yield file, file.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", FORMER_NAMES)
def test_former_names_are_gone(name: str):
    pattern = re.compile(FORMER_NAMES[name])
    found = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for file, text in texts()
        if pattern.search(text)
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found, "\n".join(found)


if __name__ == "__main__":
    print(sizes())
