import html
import re
import shutil
import subprocess
from html.parser import HTMLParser

import nbformat
import pytest

from commands import notebooks
from helpers import course

NAMES = [path.stem for path in notebooks.sources()]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# A phone as narrow as they come, in CSS pixels.
NARROW = 360


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Return {file name: text} of the pages of all stored notebooks."""
    paths = notebooks.write_pages(tmp_path_factory.mktemp("html"))
    return {path.name: path.read_text(encoding="utf-8") for path in paths}


class Elements(HTMLParser):
    """All elements of a page, as (tag, attributes)."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def of(self, *tags):
        return [attributes for tag, attributes in self.found if tag in tags]


def test_every_notebook_has_a_page_and_the_index_leads_to_all_in_order(built):
    assert set(built) == {"index.html", *(f"{name}.html" for name in NAMES)}
    links = [link["href"] for link in Elements(built["index.html"]).of("a")]
    assert links == [f"{name}.html" for name in NAMES]


def test_the_index_names_each_notebook_by_its_title(built):
    for path in notebooks.sources():
        title = notebooks.from_python(path).cells[0].source.splitlines()[0].removeprefix("# ")
        assert html.escape(title) in built["index.html"]


@pytest.mark.parametrize("name", NAMES)
def test_pages_are_linked_to_their_neighbours(built, name):
    place = NAMES.index(name)
    before = [f"{NAMES[place - 1]}.html"] if place else []
    after = [f"{NAMES[place + 1]}.html"] if place + 1 < len(NAMES) else []
    links = Elements(built[f"{name}.html"]).of("a")
    # At the top and again at the bottom.
    assert [link["href"] for link in links if link.get("rel") == "prev"] == 2 * before
    assert [link["href"] for link in links if link.get("rel") == "next"] == 2 * after
    assert sum(link["href"] == "index.html" for link in links) == 2


@pytest.mark.parametrize("name", ["index", *NAMES])
def test_a_page_needs_nothing_but_itself(built, name):
    text = built[f"{name}.html"]
    elements = Elements(text)
    assert not elements.of("script", "link", "iframe", "object", "embed")
    assert all(image["src"].startswith("data:") for image in elements.of("img"))
    styles = "".join(re.findall(r"<style.*?</style>", text, re.DOTALL))
    assert "@import" not in styles
    assert set(re.findall(r"url\(['\"]?(?!data:)[^)]*", styles)) <= {"url(#"}


@pytest.mark.parametrize("name", ["index", *NAMES])
def test_a_page_is_made_for_phones_and_for_readers_who_cannot_see_it(built, name):
    elements = Elements(built[f"{name}.html"])
    wanted = {"name": "viewport", "content": "width=device-width, initial-scale=1.0"}
    assert wanted in elements.of("meta")
    assert elements.of("html") == [{"lang": "en"}]
    assert len(elements.of("h1")) == len(elements.of("main")) == 1
    texts = [image.get("alt") for image in elements.of("img")]
    assert all(texts)
    assert "a figure without a title" not in texts


@pytest.mark.parametrize("name", NAMES)
def test_a_page_shows_every_stored_image(built, name):
    stored = nbformat.read(course.root() / "notebooks" / f"{name}.ipynb", as_version=4)
    outputs = [output for cell in stored.cells for output in cell.get("outputs", [])]
    drawn = sum("image/png" in output.get("data", {}) for output in outputs)
    assert len(Elements(built[f"{name}.html"]).of("img")) == drawn > 0


def test_a_notebook_that_was_not_made_yet_is_named(tmp_path, monkeypatch):
    (tmp_path / "01_toy.py").write_text("# %% [markdown]\n# # Toy\n")
    monkeypatch.setattr(notebooks, "sources", lambda: [tmp_path / "01_toy.py"])
    with pytest.raises(course.CourseError, match=r"01_toy\.ipynb .*make pair"):
        notebooks.write_pages(tmp_path / "html")


@pytest.mark.parametrize("path", notebooks.sources(), ids=lambda path: path.stem)
def test_no_notebook_has_a_formula_that_only_mathjax_could_show(path):
    for cell in notebooks.from_python(path).cells:
        if cell.cell_type == "markdown":
            prose = re.sub(r"```.*?```|`[^`]*`", "", cell.source, flags=re.DOTALL)
            assert not re.search(r"\$[^$]+\$|\\\(|\\\[|\\begin\{", prose), cell.source


# The browser that runs this has no display and lays each page out in a frame of a phone's width.
MEASURE = """<!doctype html><iframe style="width:{width}px; height:740px; border:0"
srcdoc="{page}" onload="const root = this.contentDocument.documentElement;
const missing = [...this.contentDocument.images].filter(i => !i.naturalWidth).length;
document.body.textContent = `width ${{root.scrollWidth}}, missing ${{missing}}`"></iframe>"""


@pytest.mark.parametrize("name", ["index", *NAMES])
def test_a_browser_lays_a_page_out_within_a_phones_width(built, name, tmp_path):
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"no browser to lay pages out with: none of {', '.join(BROWSERS)} is installed")
    measured = tmp_path / "measure.html"
    page = html.escape(built[f"{name}.html"])
    measured.write_text(MEASURE.format(width=NARROW, page=page), encoding="utf-8")
    # Containers give Chromium no sandbox; the only pages it opens are the ones built above.
    options = ["--headless", "--no-sandbox", "--hide-scrollbars", f"--user-data-dir={tmp_path}/it"]
    answer = subprocess.run(
        [browser, *options, "--dump-dom", measured.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert f"width {NARROW}, missing 0" in answer.stdout
