"""The site, built by Sphinx from the repository as it is: `make site`.

Pages stand at their files' paths; the table of contents is in docs/index.md.
"""

import json
import re
import shutil
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
REPOSITORY = PROJECT["urls"]["Repository"]
# A notebook and the course that its first cell fetches are of one version.
COLAB = (
    f"https://colab.research.google.com/github/{REPOSITORY.removeprefix('https://github.com/')}"
    f"/blob/v{PROJECT['version']}"
)
# "Break it yourself" is built by a command of its own, and part of the site where that was run.
BREAK = ROOT / "build" / "break"

project = "Blood cells, clean and shifted"
author = "the course's contributors"
html_title = project
root_doc = "docs/index"
language = "en"

extensions = ["myst_nb", "sphinx_design"]
include_patterns = [
    *("docs/**.md", "notebooks/*.ipynb", "notebooks/solutions/*.ipynb"),
    *("data/README.md", "models/final/CARD.md", "models/larger/CARD.md", "CONTRIBUTING.md"),
]
exclude_patterns = ["build", ".*", "**/.ipynb_checkpoints"]
if BREAK.exists():
    tags.add("broken")  # noqa: F821  (Sphinx brings `tags`)
else:
    exclude_patterns.append("docs/break.md")

nb_execution_mode = "off"
myst_enable_extensions = ["attrs_inline", "colon_fence"]
myst_heading_anchors = 4

html_theme = "sphinx_book_theme"
html_theme_options = {
    "repository_url": REPOSITORY,
    "use_repository_button": True,
    "navbar_persistent": [],
    "show_toc_level": 2,
}
html_context = {"default_mode": "auto"}
html_static_path = ["static"]
html_css_files = ["site.css"]
html_extra_path = ["extra"]
html_sourcelink_suffix = ""


def prepare(app, docname: str, content: list[str]) -> None:
    """Say in Sphinx's words what GitHub and Jupyter say in others."""
    if docname == root_doc and not BREAK.exists():
        content[0] = content[0].replace("\nbreak\n", "\n")
    if not docname.startswith("notebooks/"):
        content[0] = re.sub(r'<a id="([^"]+)"></a>', r"[]{#\1}", content[0])
        return
    notebook = json.loads(content[0])
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            cell["source"] = re.sub(r"(?<=\.ipynb)#[^)\s]+", as_slug, source)
        for output in cell.get("outputs", []):
            if alt := output.get("metadata", {}).get("image/png", {}).get("alt"):
                cell["metadata"]["mystnb"] = {"image": {"alt": alt}}
        if source.startswith("COURSE = "):
            cell["metadata"]["tags"].append("hide-input")
            cell["metadata"]["mystnb"] = {"code_prompt_show": "What fetches the course in Colab"}
    name = docname.removeprefix("notebooks/")
    if "/" not in name:
        first = notebook["cells"][0]
        title, text = first["source"].split("\n", 1)
        first["source"] = (
            f"{title}\n\n[Open in Colab]({COLAB}/{docname}.ipynb) · "
            f"[Quiz](../docs/quiz/{name[:2]}.md) · [Solutions](solutions/{name}.ipynb)\n{text}"
        )
    content[0] = json.dumps(notebook)


def as_slug(anchor: re.Match) -> str:
    """Return Jupyter's anchor of a heading as Sphinx and GitHub write it."""
    return "#" + re.sub(r"[^\w-]", "", anchor[0].lower())


def add_break(app, error: Exception | None) -> None:
    """Copy the page that is no page of Sphinx's."""
    if BREAK.exists() and not error:
        shutil.copytree(BREAK, Path(app.outdir) / "break", dirs_exist_ok=True)


def setup(app) -> None:
    """Connect the two."""
    app.connect("source-read", prepare)
    app.connect("build-finished", add_break)
