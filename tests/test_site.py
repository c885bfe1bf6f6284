"""Pages, links and pictures: what would break the site, found without building it."""

import re
import tomllib
from functools import cache
from pathlib import Path

import nbformat
import pytest

from commands import notebooks
from helpers import course

ROOT = course.root()
DOCS = ROOT / "docs"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
NOTEBOOKS = [path.with_suffix(".ipynb") for path in notebooks.with_solutions().values()]
# The pages that a reader meets, on the site and on GitHub.
PAGES = sorted(
    {
        *(*ROOT.glob("*.md"), *DOCS.rglob("*.md")),
        *(*ROOT.glob("data/*.md"), *ROOT.glob("models/**/*.md"), *NOTEBOOKS),
    }
)
# [text](target), a definition [name]: target, and a card's options.
TARGETS = re.compile(
    r"\[(?:[^\]]|\]\[)*\]\(([^)\s]+)\)|(?m:^\[[^\]]+\]: (\S+)$)|(?m:^:(?:link|img-top): (\S+)$)"
)
ANCHOR = re.compile(r'<a id="([^"]+)">|(?m:^\(([\w-]+)\)=$)')
TOCTREE = re.compile(r"(?ms)^```\{toctree\}\n(.*?)^```")


@cache
def prose(page: Path) -> str:
    """Return a page's Markdown without its code."""
    text = page.read_text("utf-8")
    if page.suffix == ".ipynb":
        cells = nbformat.reads(text, as_version=4).cells
        text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    return re.sub(r"(?ms)^```(\{?).*?^```", lambda match: match[0] if match[1] else "", text)


def anchors(page: Path) -> set[str]:
    """Return what a link into a page may name: its own anchors, and its headings'."""
    headings = re.findall(r"(?m)^#+ (.*)$", prose(page))
    if page.suffix == ".ipynb":
        return {heading.replace("`", "").replace(" ", "-") for heading in headings}
    made = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return made | {first or second for first, second in ANCHOR.findall(prose(page))}


def wrong_targets(page: Path, text: str) -> list[str]:
    """Return the targets in a page's text that lead nowhere."""
    wrong = []
    for target in filter(None, (t for match in TARGETS.findall(text) for t in match)):
        name, _, anchor = target.partition("#")
        file = (page.parent / name) if name else page
        # A card names a page without its ending, or an anchor; GitHub shows a folder, the site not.
        found = [f for f in (file, Path(f"{file}.md"), Path(f"{file}.ipynb")) if f.is_file()]
        if page.name == "README.md" and file.is_dir():
            continue
        if ":" in target or name in anchors(page) or target == "../break/index.html":
            continue
        if not found or (anchor and anchor not in anchors(found[0])):
            wrong.append(target)
    return wrong


def in_contents(page: Path) -> list[Path]:
    """Return the pages below a page in the table of contents, itself among them."""
    found = [page]
    for block in TOCTREE.findall(prose(page)):
        for entry in (line for line in block.splitlines() if line and not line.startswith(":")):
            top = ROOT if entry.startswith("/") else page.parent
            below = [f for f in sorted(top.glob(entry.lstrip("/") + ".*")) if f != page]
            below = [f for f in below if f.suffix in (".md", ".ipynb")]
            assert below, f"{page.relative_to(ROOT)}: no page is called {entry}"
            found += [further for file in below for further in in_contents(file)]
    return found


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


# --- the table of contents


def test_every_page_is_in_the_table_of_contents_once():
    contents = in_contents(DOCS / "index.md")
    wanted = {page for page in PAGES if page.is_relative_to(DOCS) or page in NOTEBOOKS}
    assert sorted(wanted - set(contents)) == []
    assert len(contents) == len(set(contents))


def test_lessons_come_in_their_order():
    contents = in_contents(DOCS / "index.md")
    lessons = [page.with_suffix(".ipynb") for page in notebooks.sources()]
    assert contents[1 : len(lessons) + 1] == lessons


@pytest.mark.parametrize("path", notebooks.sources(), ids=lambda path: path.stem)
def test_a_lesson_has_its_quiz_its_solutions_and_its_picture_on_the_first_page(path):
    title = prose(path.with_suffix(".ipynb")).splitlines()[0].removeprefix("# ")
    quiz = (DOCS / "quiz" / f"{path.stem[:2]}.md").read_text("utf-8")
    assert quiz.splitlines()[0] == f"# Quiz to {title}"
    card = (
        rf"(?m)^:link: \.\./notebooks/{path.stem}\n:link-type: doc\n:img-top: .*/{path.stem[:2]}_"
    )
    assert re.search(card, (DOCS / "index.md").read_text("utf-8"))


# --- links


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    assert wrong_targets(page, prose(page)) == []


@pytest.mark.parametrize(
    "text",
    [
        *("[x](nowhere.md)", "[x](glossary.md#nowhere)", "![x](../report/figures/no.png)"),
        *("[x](../notebooks/03_custom_cnns.ipynb#No-such-heading)", "[x](#nowhere)", "[x](quiz)"),
        *(
            "[![x](no.svg)](glossary.md)",
            "[x]: no.md",
            ":link: ../notebooks/no",
            ":img-top: no.png",
        ),
    ],
)
def test_a_link_to_nothing_is_noticed(text):
    assert len(wrong_targets(DOCS / "teaching.md", text)) == 1


def test_a_badge_opens_each_lesson_in_the_version_that_its_first_cell_fetches():
    text = (ROOT / "README.md").read_text("utf-8")
    repository = PROJECT["urls"]["Repository"].removeprefix("https://github.com/")
    place = f"https://colab.research.google.com/github/{repository}/blob/v{PROJECT['version']}"
    for path in notebooks.sources():
        label = path.stem[3:]
        assert f"[{label}]: {place}/notebooks/{path.stem}.ipynb\n" in text
        row = next(line for line in text.splitlines() if line.startswith(f"| [`{path.stem}`]"))
        assert re.search(rf"\[!\[Open .+ in Colab\]\[colab\]\]\[{label}\]", row)


# --- pictures, and what a page would have to load from elsewhere


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_picture_can_be_read_aloud(page):
    assert "![]" not in prose(page)
    assert len(re.findall(r"(?m)^:img-top:", prose(page))) == prose(page).count(":img-alt: ")
    if page.suffix == ".ipynb":
        for cell in nbformat.read(page, as_version=4).cells:
            shown = [o for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
            # The site gives a cell one alternative text.
            assert len(shown) <= 1, cell.source
            assert all(output.metadata["image/png"]["alt"] for output in shown), cell.source


@pytest.mark.parametrize("page", NOTEBOOKS, ids=name)
def test_no_notebook_has_a_formula_that_only_mathjax_could_show(page):
    assert not re.search(r"\$[^$]+\$|\\\(|\\\[|\\begin\{", re.sub(r"`[^`]*`", "", prose(page)))
