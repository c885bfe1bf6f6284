"""One command names another repository: in a copy of the tree, everywhere, without losing a run."""

import shutil

import nbformat
import pytest

from commands import notebooks, publish
from helpers import course

OLD = publish.published_as()
NEW = "someone-else/cells.v2"
TEXTS = ("*.md", "*.py", "*.ipynb", "*.cff", "*.toml", "*.yml")


@pytest.fixture(scope="module")
def fork(tmp_path_factory):
    """Return a copy of the files that a reader meets."""
    folder = tmp_path_factory.mktemp("fork")
    for path in [path for kind in TEXTS for path in course.root().glob(kind)]:
        shutil.copy(path, folder)
    for name in ("notebooks", "docs"):
        shutil.copytree(course.root() / name, folder / name)
    return folder


@pytest.fixture
def copy(fork, monkeypatch):
    """Return the copy, which the commands take for the course."""
    monkeypatch.setattr(course, "root", lambda: fork)
    return fork


def contents(folder):
    files = {path for kind in TEXTS for path in folder.rglob(kind)}
    return {path.relative_to(folder).as_posix(): path.read_text("utf-8") for path in files}


def test_a_fork_is_named_everywhere_and_back_again(copy, capsys):
    before = contents(copy)
    assert publish.main([NEW]) == 0
    after = contents(copy)
    changed = {name for name in before if before[name] != after[name]}
    told = capsys.readouterr().out.splitlines()[:-1]
    assert changed == set(told)
    # The old name is read there: a run that was cut short must still find it.
    assert told[-1] == "pyproject.toml"
    assert {"README.md", "CITATION.cff", "pyproject.toml"} <= changed
    assert {f"notebooks/01_inspect.{kind}" for kind in ("py", "ipynb")} <= changed
    for name, text in after.items():
        for address in (f"github.com/{OLD}", f"/github/{OLD}", OLD.split("/")[0] + ".github.io"):
            assert address not in text, name
    assert f"/github/{NEW}/blob/" in after["README.md"]
    assert f'COURSE = "https://github.com/{NEW}"' in after["notebooks/08_final.py"]
    for name in filter(lambda name: name.endswith(".ipynb"), changed):
        runs = [
            [(cell.get("outputs"), cell.get("execution_count")) for cell in cells]
            for cells in (nbformat.reads(of[name], as_version=4).cells for of in (before, after))
        ]
        assert runs[0] == runs[1]
    # The pair is in step: nothing is left to pair, and pairing loses nothing.
    assert notebooks.main(["pair", "01_inspect", "08_final"]) == 0
    assert contents(copy) == after
    assert publish.main([NEW]) == 0
    assert capsys.readouterr().out == f"No files changed: the course is published as {NEW}.\n"
    # What a run that was cut short has not reached yet, the next one changes.
    for name in ("README.md", "notebooks/03_custom_cnns.ipynb", "pyproject.toml"):
        (copy / name).write_text(before[name], "utf-8")
    assert publish.main([NEW]) == 0
    assert contents(copy) == after
    assert publish.main([OLD]) == 0
    assert contents(copy) == before


def test_nothing_is_changed_where_a_notebook_was_edited_by_itself(copy):
    edited = copy / "notebooks" / "05_finetune.ipynb"
    kept = edited.read_text("utf-8")
    edited.write_text(kept.replace("# 5 · Fine-tuning", "# 5 · Finer tuning"), "utf-8")
    before = contents(copy)
    with pytest.raises(course.CourseError, match=r"05_finetune\.ipynb was edited in cell 1"):
        publish.publish(NEW)
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
