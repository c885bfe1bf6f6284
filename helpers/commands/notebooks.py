"""The notebooks' machinery: each .py is the source, its .ipynb is made from it in one direction.

Commands:
    python -m helpers notebooks pair            make every .ipynb anew, keep outputs of equal cells
    python -m helpers notebooks run [NAME ...]  execute into build/, leave notebooks/ as it is
    python -m helpers notebooks store [NAME ...]  execute and store the outputs in notebooks/
    python -m helpers notebooks html            every stored notebook as a page, into build/html/
"""

import argparse
import hashlib
import html
import os
import sys
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter
from nbconvert.preprocessors import ExecutePreprocessor

from helpers import course
from helpers.data.sources import load_photographs
from helpers.evaluation import records
from helpers.files import replaced

# Key in a stored notebook's metadata.
MADE_WITH = "made_with"
INDEX = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1.0">
<title>Blood cells, clean and shifted</title>
<style>main {{ max-width: 40rem; margin: 2rem auto; padding: 0 1rem; font: 1.1rem/1.6 sans-serif }}
</style>
</head>
<body><main><h1>Blood cells, clean and shifted</h1>
<ol>
{items}
</ol></main></body>
</html>
"""
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


def sources() -> list[Path]:
    """Return the notebooks' .py files in the order of the course."""
    return sorted((course.root() / "notebooks").glob("[0-9][0-9]_*.py"))


def from_python(path: Path) -> nbformat.NotebookNode:
    """Return the notebook that a py:percent file describes, without outputs.

    Cell ids are made from the cells' text, so they stay as they are while the text does.
    """
    notebook = jupytext.read(path, fmt="py:percent")
    notebook.metadata = nbformat.from_dict(
        {
            "jupytext": {"formats": "ipynb,py:percent"},
            "kernelspec": KERNEL,
            "language_info": {"name": "python"},
        }
    )
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        digest = hashlib.sha1(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:10]
        seen[digest] = seen.get(digest, 0) + 1
        cell.id = f"{digest}-{seen[digest]}"
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def made_with() -> dict:
    """Return what stored outputs depend on beside the notebook's text: profile and recipes.

    A stored notebook whose recipes are older than the helpers' shows numbers that they no longer
    compute; a test finds it without training anything.
    """
    from helpers.data.sets import SHIFT_VERSION
    from helpers.training.experiment import CACHE_VERSION

    return {
        "profile": course.profile().name,
        "experiment_recipe": CACHE_VERSION,
        "shift_recipe": SHIFT_VERSION,
    }


def pair(path: Path) -> None:
    """Write the .ipynb beside a .py; cells whose text is unchanged keep their stored outputs."""
    notebook = from_python(path)
    target = path.with_suffix(".ipynb")
    if target.exists():
        before = nbformat.read(target, as_version=4)
        if MADE_WITH in before.metadata:
            notebook.metadata[MADE_WITH] = before.metadata[MADE_WITH]
        stored = {cell.id: cell for cell in before.cells}
        for cell in notebook.cells:
            if cell.cell_type == "code" and cell.id in stored:
                cell.outputs = stored[cell.id].outputs
                cell.execution_count = stored[cell.id].execution_count
    _write(notebook, target)


def execute(path: Path, target: Path) -> float:
    """Execute a notebook in its folder, write it with outputs to `target`, return the seconds.

    Raises:
        CellExecutionError: if a cell fails; `target` then is as it was, and a file "failed-…" in
            the build folder holds the outputs up to that cell.
    """
    notebook = from_python(path)
    # No progress bars: they would stay in the stored outputs.
    os.environ["TQDM_DISABLE"] = "1"
    executor = ExecutePreprocessor(timeout=None, kernel_name="python3", record_timing=False)
    executor.extra_arguments = ["--log-level=ERROR"]
    started = time.perf_counter()
    try:
        executor.preprocess(notebook, {"metadata": {"path": str(path.parent)}})
    except BaseException:
        _write(notebook, course.build_folder() / f"failed-{target.name}")
        raise
    notebook.metadata[MADE_WITH] = made_with()
    notebook.metadata.kernelspec = nbformat.from_dict(KERNEL)
    notebook.metadata.language_info = nbformat.from_dict({"name": "python"})
    _write(notebook, target)
    return time.perf_counter() - started


def execute_all(names: list[str], store: bool) -> int:
    """Execute the notebooks named (all if none are), say what was made; return the failures."""
    photographs = load_photographs()
    folder = records.folder(photographs.source)
    chosen = [path for path in sources() if not names or path.stem in names]
    failures = 0
    for path in chosen:
        target = path.with_suffix(".ipynb")
        if not store:
            target = folder / "notebooks" / target.name
        print(f"{path.stem:16s}", end=" ", flush=True)
        try:
            print(f"{execute(path, target):6.0f} s", flush=True)
        except CellExecutionError as error:
            failures += 1
            print(f"failed: {error.ename}: {error.evalue}", flush=True)
    shown = folder.relative_to(course.root()).as_posix()
    figures = len(list((folder / "figures").glob("*.pdf")))
    tables = len(list((folder / "tables").glob("*.csv")))
    print(
        f"\n{len(chosen) - failures} of {len(chosen)} notebooks ran in the "
        f"{course.profile().name} profile.\n"
        f"Images:    {photographs.source.description}\n"
        f"Notebooks: {'notebooks/' if store else shown + '/notebooks/'}\n"
        f"Figures:   {shown}/figures/ ({figures}, each as PNG and PDF)\n"
        f"Tables:    {shown}/tables/ ({tables})"
    )
    return failures


def write_pages(folder: Path) -> list[Path]:
    """Write an index and each stored notebook as an HTML page; return their paths.

    A page needs nothing but itself and has links to its neighbours; see page/index.html.j2.

    Raises:
        CourseError: if a notebook was not made yet.
    """
    exporter = HTMLExporter(
        template_name="page",
        extra_template_basedirs=[str(Path(__file__).parent)],
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )
    names = [path.stem for path in sources()]
    items, texts = [], {}
    for before, path, after in zip(["", *names], sources(), [*names[1:], ""], strict=False):
        stored = path.with_suffix(".ipynb")
        if not stored.exists():
            raise course.CourseError(
                f"{stored.name} is missing in {stored.parent}: make it with `make pair`."
            )
        notebook = nbformat.read(stored, as_version=4)
        title = notebook.cells[0].source.splitlines()[0].removeprefix("# ")
        notebook.metadata.title = title
        items.append(f'<li><a href="{path.stem}.html">{html.escape(title)}</a></li>')
        links = {"before": before, "after": after}
        texts[f"{path.stem}.html"], _ = exporter.from_notebook_node(notebook, links)
    texts["index.html"] = INDEX.format(items="\n".join(items))
    for name, text in texts.items():
        with replaced(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return [folder / name for name in texts]


def _write(notebook: nbformat.NotebookNode, target: Path) -> None:
    with replaced(target) as temporary:
        nbformat.write(notebook, temporary)


def main() -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m helpers notebooks", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("command", choices=["pair", "run", "store", "html"])
    parser.add_argument("names", nargs="*", help="notebooks, 03_custom_cnns; all if none is named")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - {path.stem for path in sources()}
    if unknown:
        parser.error(f"no notebook is called {', '.join(sorted(unknown))}")
    try:
        if arguments.command == "pair":
            for path in sources():
                pair(path)
            return 0
        if arguments.command == "html":
            shown = write_pages(course.build_folder() / "html")[-1].relative_to(course.root())
            print(f"{len(sources())} pages: open {shown.as_posix()}")
            return 0
        return int(execute_all(arguments.names, arguments.command == "store") > 0)
    except course.CourseError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
