"""`make html`: every stored notebook as one HTML file, with an index, to read without Jupyter.

A page needs nothing but itself: its style and its images are inside, it has no scripts, and it is
read offline and on a phone. The text is the notebooks' own; formulas are written in plain signs
there, so no MathJax is needed (`tests/test_pages.py` holds both).
"""

import html
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbconvert import HTMLExporter
from nbconvert.filters import markdown2html
from pygments.formatters import HtmlFormatter

from helpers import course
from helpers.commands import notebooks
from helpers.files import replaced

INDEX = "index.html"
# Enough of "In this notebook you will" to choose a notebook by; its page has the rest.
BULLETS_IN_INDEX = 3

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}
</style>
</head>
<body>
{body}
</body>
</html>
"""


@dataclass(frozen=True)
class Opening:
    """What the first cell of a notebook says: its title, and what is learned in it (Markdown)."""

    title: str
    bullets: list[str]


def opening(notebook: nbformat.NotebookNode) -> Opening:
    """Return a notebook's title and the items of its first list.

    Raises:
        CourseError: if no Markdown cell has a title.
    """
    for cell in notebook.cells:
        title = re.search(r"^# (.+)$", cell.source, re.MULTILINE)
        if cell.cell_type == "markdown" and title:
            items = re.findall(r"^- (.+(?:\n  .+)*)", cell.source, re.MULTILINE)
            return Opening(title[1], [" ".join(item.split()).rstrip(",.") for item in items])
    raise course.CourseError("A notebook has no title: begin its first text cell with `# `.")


def add_alternative_texts(notebook: nbformat.NotebookNode) -> None:
    """Give every image among the outputs an alternative text, if it was not stored with one.

    `figures.save` stores the figure's heading. Where a notebook ran without it, the heading of the
    section and the number of the figure in the notebook say which one it is.
    """
    section, number = "", 0
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            section = (re.findall(r"^#+ (.+)$", cell.source, re.MULTILINE) or [section])[-1]
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                number += 1
                stored = output.metadata.setdefault("image/png", {})
                stored.setdefault("alt", f"Figure {number} of this notebook, in: {section}")


def page(notebook: nbformat.NotebookNode, before: str | None, after: str | None) -> str:
    """Return a notebook as a whole HTML page.

    Args:
        notebook: with its outputs; its images get their alternative texts.
        before: name of the page before it, without ending; None for the first.
        after: name of the page after it; None for the last.
    """
    add_alternative_texts(notebook)
    exporter = HTMLExporter(
        template_name="basic",
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        exclude_anchor_links=True,
    )
    body, _ = exporter.from_notebook_node(notebook)
    links = [
        f'<a rel="prev" href="{before}.html">← {before}</a>' if before else "<span></span>",
        f'<a href="{INDEX}">index</a>',
        f'<a rel="next" href="{after}.html">{after} →</a>' if after else "<span></span>",
    ]
    top, bottom = (
        f'<nav aria-label="{label}">\n' + "\n".join(links) + "\n</nav>"
        for label in ("notebooks", "notebooks, again")
    )
    return _whole(opening(notebook).title, f"{top}\n<main>\n{body}\n</main>\n{bottom}")


def index(openings: dict[str, Opening]) -> str:
    """Return the page that leads to the others: {name of a page without ending: its opening}."""
    sections = []
    for name, found in openings.items():
        items = "\n".join(f"- {bullet}" for bullet in found.bullets[:BULLETS_IN_INDEX])
        sections.append(
            f'<section>\n<h2><a href="{name}.html">{html.escape(found.title)}</a></h2>\n'
            f"{markdown2html(items)}\n</section>"
        )
    title = "The notebooks of the course"
    heading = f"<h1>{title}</h1>\n<p>In each of them you will, among other things:</p>"
    return _whole(title, "<main>\n" + "\n".join([heading, *sections]) + "\n</main>")


def build(folder: Path) -> list[Path]:
    """Write the page of every stored notebook and the index into `folder`; return all paths.

    Raises:
        CourseError: if a notebook has not been made from its .py yet.
    """
    stored = {}
    for source in notebooks.sources():
        path = source.with_suffix(".ipynb")
        if not path.exists():
            raise course.CourseError(f"{path.name} is missing from notebooks/: run `make pair`.")
        stored[path.stem] = nbformat.read(path, as_version=4)
    names = list(stored)
    befores, afters = [None, *names[:-1]], [*names[1:], None]
    texts = {INDEX: index({name: opening(notebook) for name, notebook in stored.items()})}
    for name, before, after in zip(names, befores, afters, strict=True):
        texts[f"{name}.html"] = page(stored[name], before, after)
    for name, text in texts.items():
        with replaced(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return [folder / name for name in texts]


def _whole(title: str, body: str) -> str:
    style = Path(__file__).with_suffix(".css").read_text(encoding="utf-8")
    code_colours = HtmlFormatter(style="default").get_style_defs(".highlight")
    return PAGE.format(title=html.escape(title), style=f"{code_colours}\n{style}", body=body)


def main() -> int:
    """Build all pages into build/html/; return the exit status."""
    try:
        paths = build(course.build_folder() / "html")
    except course.CourseError as error:
        print(error, file=sys.stderr)
        return 1
    shown = paths[0].relative_to(course.root()).as_posix()
    print(f"{len(paths)} pages: open {shown}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
