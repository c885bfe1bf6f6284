"""One command names another repository: in a copy of the tree, everywhere, without losing a run."""

import os
import shutil
import subprocess
import sys

import nbformat
import pytest

from commands import publish
from helpers import course

OLD = publish.published_as()
NEW = "someone-else/cells.v2"
TEXTS = ("*.md", "*.py", "*.ipynb", "*.cff", "*.toml", "*.yml")


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """Return a copy of what git holds of the text files, and the packages."""
    folder = tmp_path_factory.mktemp("fork")
    top = [path for kind in TEXTS for path in course.root().glob(kind)]
    for path in top:
        shutil.copy(path, folder)
    skipped = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
    for name in ("helpers", "commands", "exercises", "notebooks", "docs"):
        shutil.copytree(course.root() / name, folder / name, ignore=skipped)
    return folder


def run(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "helpers", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
    )


def contents(folder):
    files = {path for kind in TEXTS for path in folder.rglob(kind)}
    return {path.relative_to(folder).as_posix(): path.read_text("utf-8") for path in files}


def test_a_fork_is_named_everywhere_and_back_again(copy):
    before = contents(copy)
    told = run(copy, "publish", NEW)
    assert told.returncode == 0, told.stderr
    after = contents(copy)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == set(told.stdout.splitlines()[:-1])
    assert {"README.md", "CITATION.cff", "pyproject.toml"} <= changed
    assert {f"notebooks/01_inspect.{kind}" for kind in ("py", "ipynb")} <= changed
    for name, text in after.items():
        for address in (f"github.com/{OLD}", f"/github/{OLD}", publish._site(OLD)):
            assert address not in text, name
    assert f"/github/{NEW}/blob/" in after["README.md"]
    assert f'COURSE = "https://github.com/{NEW}"' in after["notebooks/08_final.py"]
    for name in filter(lambda name: name.endswith(".ipynb"), changed):
        one, two = (nbformat.reads(texts[name], as_version=4).cells for texts in (before, after))
        runs = [
            [(c.get("outputs"), c.get("execution_count")) for c in cells] for cells in (one, two)
        ]
        assert runs[0] == runs[1]
    # The pair is in step: nothing to pair, and nothing is lost by pairing.
    assert run(copy, "notebooks", "pair").returncode == 0
    assert contents(copy) == after
    again = run(copy, "publish", NEW)
    assert again.stdout == f"No files changed: the course is published as {NEW}.\n"
    assert run(copy, "publish", OLD).returncode == 0
    assert contents(copy) == before


def test_a_run_that_was_cut_short_is_finished_by_the_next(copy):
    before = contents(copy)
    assert run(copy, "publish", NEW).returncode == 0
    whole = contents(copy)
    for name in ("README.md", "notebooks/03_custom_cnns.ipynb", "pyproject.toml"):
        (copy / name).write_text(before[name], "utf-8")
    assert run(copy, "publish", NEW).returncode == 0
    assert contents(copy) == whole
    assert run(copy, "publish", OLD).returncode == 0


def test_nothing_is_changed_where_a_notebook_was_edited_by_itself(copy):
    edited = copy / "notebooks" / "05_finetune.ipynb"
    kept = edited.read_text("utf-8")
    edited.write_text(kept.replace("# 5 · Fine-tuning", "# 5 · Finer tuning"), "utf-8")
    before = contents(copy)
    told = run(copy, "publish", NEW)
    assert told.returncode == 1
    assert "05_finetune.ipynb was edited in cell 1" in told.stderr
    assert contents(copy) == before
    edited.write_text(kept, "utf-8")


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            "owner",
            "owner/",
            "/repo",
            "a/b/c",
            "own er/repo",
            "owner/re po",
            "-a/b",
            "a-/b",
            "a/..",
        ),
        *(
            "https://github.com/a/b",
            "a/b\n",
            "a/b\x1b[31m",
            "ä/b",
            "a" * 40 + "/b",
            "a/" + "b" * 101,
        ),
    ],
)
def test_what_is_no_repository_is_one_sentence(name):
    with pytest.raises(
        course.CourseError, match=r"is no repository's name: give OWNER/REPO"
    ) as told:
        publish.publish(name)
    assert str(told.value).isprintable()


@pytest.mark.parametrize("kept", ["github.com/a/b-c", "github.com/a/bc", "github.com/a/b.git"])
def test_a_longer_name_is_another_repository(kept):
    assert publish.readdressed(kept, "a/b", "x/y") == kept


def test_addresses_on_github_pages_and_colab_change():
    text = "https://github.com/a/b. colab.com/github/a/b/blob a.github.io/b/ my a/b"
    told = "https://github.com/x/y. colab.com/github/x/y/blob x.github.io/y/ my a/b"
    assert publish.readdressed(text, "a/b", "x/y") == told
