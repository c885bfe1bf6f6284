"""The notebooks' machinery: each .py is the source, its .ipynb is made from it in one direction.

Commands, for the notebooks named, or all of them (pair: all solutions too):
    python -m helpers notebooks pair [NAME ...]   make .ipynb anew, keep outputs of equal cells
    python -m helpers notebooks take NAME [...]   take edits of an .ipynb over into its .py
    python -m helpers notebooks run [NAME ...]    execute into build/, two at once, leave notebooks/
                                                  as it is
    python -m helpers notebooks store [NAME ...]  execute, one after the other, and store the
                                                  outputs in notebooks/
"""

import argparse
import hashlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ClassVar

import jupytext
import nbformat
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbconvert.preprocessors import (
    CoalesceStreamsPreprocessor,
    ExecutePreprocessor,
    Preprocessor,
)

from helpers import course
from helpers.data.sets import SHIFT_VERSION
from helpers.data.sources import load_photographs
from helpers.evaluation import records
from helpers.files import replaced
from helpers.training.experiment import CACHE_VERSION

# Keys in a stored notebook's metadata.
MADE_WITH = "made_with"
MADE_FROM = "made_from"
# What kernels run with, unless it is set. glibc keeps what TensorFlow frees, instead of fetching
# the pages of each array anew (a tenth of the processor time of a small training), and
# the small products of scikit-learn's fits do not wait for a second thread, which comes late
# beside other work (a fit of 333 x 1,280 features then took 2.1 seconds instead of 0.06).
KERNEL_SETTINGS = {
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
    "OPENBLAS_NUM_THREADS": "1",
}
# Notebooks that run at once: a single one leaves half of two cores idle, and each more needs
# memory. Those that are stored show times, and run alone.
AT_ONCE = 2
# TensorFlow's and CUDA's notes when they are imported.
NOISE = re.compile(
    r"WARNING: All log messages before absl|[IWE]\d{4} [\d:.]+ |\d{4}-\d\d-\d\d [\d:.]+: [IWE] |"
    r"To enable the following instructions"
)
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


def sources() -> list[Path]:
    """Return the notebooks' .py files in the order of the course."""
    return sorted((course.root() / "notebooks").glob("[0-9][0-9]_*.py"))


def with_solutions() -> dict[str, Path]:
    """Return the .py files of notebooks and solutions by name: 03_custom_cnns, solutions/03_…."""
    solved = sorted((course.root() / "notebooks" / "solutions").glob("[0-9][0-9]_*.py"))
    return {path.stem: path for path in sources()} | {f"solutions/{p.stem}": p for p in solved}


def _name(path: Path) -> str:
    """Return what a notebook's .py or .ipynb is called: 03_custom_cnns, solutions/03_…."""
    return f"solutions/{path.stem}" if path.parent.name == "solutions" else path.stem


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
    for cell, identity in zip(notebook.cells, _identities(notebook), strict=True):
        cell.id = identity
    notebook.metadata[MADE_FROM] = _digest(notebook)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def _identities(notebook: nbformat.NotebookNode) -> list[str]:
    """Return for each cell the id that its text stands for."""
    seen: dict[str, int] = {}
    identities = []
    for cell in notebook.cells:
        digest = _cell_hash(f"{cell.cell_type}\n{cell.source}")
        seen[digest] = seen.get(digest, 0) + 1
        identities.append(f"{digest}-{seen[digest]}")
    return identities


def _digest(notebook: nbformat.NotebookNode) -> str:
    """Return what the cells' ids are together: of the text they were made from."""
    return _cell_hash(" ".join(cell.get("id", "") for cell in notebook.cells))


def _cell_hash(text: str) -> str:
    return hashlib.sha1(text.encode()).hexdigest()[:10]


def made_with() -> dict:
    """Return what stored outputs depend on beside the notebook's text: profile and recipes.

    A stored notebook whose recipes are older than the helpers' shows numbers that they no longer
    compute; a test finds it without training anything.
    """
    return {
        "profile": course.profile().name,
        "experiment_recipe": CACHE_VERSION,
        "shift_recipe": SHIFT_VERSION,
    }


def edits(path: Path) -> str:
    """Return where the .ipynb beside a .py was edited by itself, in VS Code say; "" if nowhere.

    An id that is not its cell's text's, a cell added, removed or moved is an edit, unless the .py
    holds the same text.
    """
    stored = _read(path.with_suffix(".ipynb"))
    expected = set(_identities(from_python(path)))
    actual = _identities(stored) if stored else []
    if not stored or _digest(from_python(path)) == _cell_hash(" ".join(actual)):
        return ""
    cells = [
        str(number)
        for number, (cell, identity) in enumerate(zip(stored.cells, actual, strict=True), 1)
        if cell.get("id") != identity and identity not in expected
    ]
    if cells:
        return f"in cell{'s' * (len(cells) > 1)} {', '.join(cells)}"
    unchanged = stored.metadata.get(MADE_FROM, _digest(stored)) == _digest(stored)
    return "" if unchanged else "by removing or moving cells"


def refuse_edited(path: Path) -> None:
    """Raise a CourseError if making the .ipynb beside a .py anew would lose an edit."""
    if edited := edits(path):
        name = _name(path)
        raise course.CourseError(
            f"{name}.ipynb was edited {edited} after it was made from {path.name}: take that over "
            f"with `python -m helpers notebooks take {name}`, or undo it with "
            f"`git checkout notebooks/{name}.ipynb`."
        )


def take(path: Path) -> None:
    """Write a .py anew from the .ipynb beside it, edited by itself, and pair the two.

    Raises:
        CourseError: if there is no .ipynb, or the .py was edited too.
    """
    target = path.with_suffix(".ipynb")
    stored = _read(target)
    if stored is None:
        raise course.CourseError(f"{_name(target)}.ipynb is not there: `make pair` makes it.")
    if not edits(path):
        pair(path)
        return
    if stored.metadata.get(MADE_FROM, _digest(stored)) != _digest(from_python(path)):
        raise course.CourseError(
            f"Both {_name(path)}.py and {_name(path)}.ipynb were edited after they were paired: "
            "carry the edits of one over by hand (`git diff` shows them), then remove "
            f"{_name(path)}.ipynb and run `make pair`."
        )
    notebook = jupytext.read(path, fmt="py:percent")
    notebook.cells = [_bare(cell) for cell in stored.cells]
    # The header stays as it was; jupytext would add its version.
    before, made = (
        re.match(r"# ---\n.*?^# ---\n|", text, re.DOTALL | re.MULTILINE)
        for text in (path.read_text(encoding="utf-8"), jupytext.writes(notebook, "py:percent"))
    )
    with replaced(path) as temporary:
        temporary.write_text(before[0] + made.string[made.end() :], encoding="utf-8")
    pair(path)


def _bare(cell: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return a cell's text and tags."""
    new = getattr(nbformat.v4, f"new_{cell.cell_type}_cell")(cell.source)
    if tags := cell.metadata.get("tags"):
        new.metadata.tags = tags
    return new


def pair(path: Path) -> None:
    """Write the .ipynb beside a .py; cells whose text is unchanged keep their stored outputs.

    Raises:
        CourseError: if the .ipynb was edited by itself.
    """
    refuse_edited(path)
    notebook = from_python(path)
    target = path.with_suffix(".ipynb")
    if before := _read(target):
        if MADE_WITH in before.metadata:
            notebook.metadata[MADE_WITH] = before.metadata[MADE_WITH]
        stored = {cell.get("id"): cell for cell in before.cells}
        for cell in notebook.cells:
            if cell.cell_type == "code" and cell.id in stored:
                cell.outputs = stored[cell.id].outputs
                cell.execution_count = stored[cell.id].execution_count
    _write(notebook, target)


def reword(path: Path, change: Callable[[str], str]) -> list[Path]:
    """Change what a notebook's text says in both its files; return those that it changed.

    Unlike an edit and `pair`, every cell keeps its stored run: for what no result depends on. Call
    `refuse_edited` before: an edit of the .ipynb by itself would pass as made from the .py.
    """
    changed, target = [], path.with_suffix(".ipynb")
    text = path.read_text(encoding="utf-8")
    if change(text) != text:
        with replaced(path) as temporary:
            temporary.write_text(change(text), encoding="utf-8")
        changed.append(path)
    stored = _read(target)
    if stored and any(change(cell.source) != cell.source for cell in stored.cells):
        for cell in stored.cells:
            cell.source = change(cell.source)
        for cell, identity in zip(stored.cells, _identities(stored), strict=True):
            cell.id = identity
        stored.metadata[MADE_FROM] = _digest(stored)
        _write(stored, target)
        changed.append(target)
    return changed


class DropNoise(Preprocessor):
    """Drops what TensorFlow writes to standard error when it starts; other lines there stay."""

    def preprocess_cell(self, cell, resources, index):
        """Return the cell, without outputs that were nothing but noise."""
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                lines = output.text.splitlines(keepends=True)
                output.text = "".join(line for line in lines if not NOISE.match(line))
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("text") != ""]
        return cell, resources


class _Executor(ExecutePreprocessor):
    """Executes notebooks; what a library writes to standard error past Python is kept from them.

    TensorFlow greets each kernel with lines on GPUs that no setting silences.
    """

    running: ClassVar[set["_Executor"]] = set()

    @contextmanager
    def setup_kernel(self, **options: object) -> Iterator[None]:
        with super().setup_kernel(stderr=subprocess.DEVNULL, **options):
            self.running.add(self)
            try:
                yield
            finally:
                self.running.discard(self)

    @classmethod
    def end_kernels(cls) -> None:
        """End all kernels that run; `execute` then raises DeadKernelError in its thread."""
        for executor in list(cls.running):
            with suppress(ProcessLookupError):
                os.kill(executor.km.provisioner.pid, signal.SIGTERM)


def execute(path: Path, target: Path) -> tuple[float, float | None]:
    """Execute a notebook in a kernel of its own and in its folder; write it, with outputs.

    Returns:
        minutes: wall-clock time.
        gigabytes: the most memory that its kernel held; None but on Linux.

    Raises:
        CellExecutionError: if a cell fails; `target` then is as it was, and a file "failed-…" in
            the build folder holds the outputs up to that cell.
        DeadKernelError: if the kernel ends, for want of memory say.
    """
    notebook = from_python(path)
    # No progress bars: they would stay in the stored outputs.
    os.environ["TQDM_DISABLE"] = "1"
    for name, value in KERNEL_SETTINGS.items():
        os.environ.setdefault(name, value)
    executor = _Executor(timeout=None, kernel_name="python3", record_timing=False)
    executor.extra_arguments = ["--log-level=CRITICAL"]
    peaks = []

    def note_memory(**_: object) -> None:
        status = Path(f"/proc/{executor.km.provisioner.pid}/status")
        if status.exists():
            peaks.append(int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1]) * 1024 / 1e9)

    executor.on_cell_executed = note_memory
    started = time.perf_counter()
    try:
        executor.preprocess(notebook, {"metadata": {"path": str(path.parent)}})
    except BaseException:
        name = _name(path).replace("/", "-")
        _write(notebook, course.build_folder() / f"failed-{name}.ipynb")
        raise
    for tidy in (DropNoise(enabled=True), CoalesceStreamsPreprocessor(enabled=True)):
        tidy(notebook, {})
    notebook.metadata[MADE_WITH] = made_with()
    notebook.metadata.kernelspec = nbformat.from_dict(KERNEL)
    notebook.metadata.language_info = nbformat.from_dict({"name": "python"})
    _write(notebook, target)
    return (time.perf_counter() - started) / 60, max(peaks, default=None)


def execute_all(chosen: dict[str, Path], store: bool) -> int:
    """Execute notebooks, by name, say what was made; return the number of failures."""
    for name, path in chosen.items():
        if store:
            refuse_edited(path)
        elif edited := edits(path):
            print(f"{name}.ipynb was edited {edited}; what runs is {name}.py.")
    photographs = load_photographs()
    folder = records.folder(photographs.source)
    targets = {
        name: path.with_suffix(".ipynb") if store else folder / "notebooks" / f"{name}.ipynb"
        for name, path in chosen.items()
    }
    failures = 0
    # In threads, since nbclient would answer Ctrl-C itself in the main one.
    pool = ThreadPoolExecutor(1 if store else AT_ONCE)
    runs = {name: pool.submit(execute, path, targets[name]) for name, path in chosen.items()}
    try:
        for name, run in runs.items():
            print(f"{name:24s}", end=" ", flush=True)
            try:
                minutes, gigabytes = run.result()
                memory = "" if gigabytes is None else f"{gigabytes:6.1f} GB at most"
                print(f"{minutes:5.1f} min{memory}", flush=True)
            except (CellExecutionError, DeadKernelError) as error:
                failures += 1
                reason = "its kernel ended, perhaps for want of memory"
                if isinstance(error, CellExecutionError):
                    reason = course.printable(f"{error.ename}: {error.evalue}")
                print(f"failed: {reason}", flush=True)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        # A kernel that was only starting is ended in the next round.
        while not all(run.done() for run in runs.values()):
            _Executor.end_kernels()
            time.sleep(0.1)
    shown = folder.relative_to(course.root()).as_posix()
    figures = len(list((folder / "figures").glob("*.png")))
    tables = len(list((folder / "tables").glob("*.csv")))
    print(
        f"\n{len(chosen) - failures} of {len(chosen)} notebooks ran in the "
        f"{course.profile().name} profile.\n"
        f"Images:    {photographs.source.description}\n"
        f"Notebooks: {'notebooks/' if store else shown + '/notebooks/'}\n"
        f"Figures:   {shown}/figures/ ({figures})\n"
        f"Tables:    {shown}/tables/ ({tables})"
    )
    return failures


def _read(path: Path) -> nbformat.NotebookNode | None:
    """Return a stored notebook, None if there is none."""
    if not path.exists():
        return None
    try:
        notebook = nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)
        nbformat.validate(notebook)
    except Exception as error:  # nbformat raises whatever a malformed notebook leads to
        reason = course.printable(str(error).partition("\n")[0][:200])
        raise course.CourseError(
            f"{_name(path)}.ipynb is no notebook that can be read ({reason}): put it back with "
            f"`git checkout notebooks/{_name(path)}.ipynb`, or remove it and run `make pair`."
        ) from error
    return notebook


def _write(notebook: nbformat.NotebookNode, target: Path) -> None:
    with replaced(target) as temporary:
        nbformat.write(notebook, temporary)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["pair", "take", "run", "store"])
    parser.add_argument(
        "names", nargs="*", help="03_custom_cnns, solutions/03_custom_cnns; all if none is named"
    )
    options = parser.parse_args(arguments)
    known = with_solutions()
    if unknown := set(options.names) - set(known):
        parser.error(f"no notebook is called {', '.join(sorted(unknown))}")
    if options.command == "take" and not options.names:
        parser.error("take needs the NAME of a notebook")
    chosen = {name: path for name, path in known.items() if name in (options.names or known)}
    if options.command in ("run", "store"):
        if not options.names:
            chosen = {path.stem: path for path in sources()}
        return int(execute_all(chosen, options.command == "store") > 0)
    for path in chosen.values():
        (take if options.command == "take" else pair)(path)
    return 0
