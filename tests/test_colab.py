"""The notebooks' first cell, run as Colab would: in another environment and an empty folder."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv

import pytest

from commands import notebooks
from helpers import course

RUN_CELL = """
import sys, types
from IPython.core.interactiveshell import InteractiveShell
if {in_colab}:
    sys.modules["google.colab"] = types.ModuleType("google.colab")
result = InteractiveShell.instance().run_cell({cell!r})
result.raise_error()
"""


def run(*command, **options):
    return subprocess.run(command, check=True, capture_output=True, text=True, **options)


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """A repository that holds this working tree under its release tag, in the place of GitHub."""
    repository = tmp_path_factory.mktemp("released")
    for name in ("pyproject.toml", "README.md", "LICENSE", "requirements.txt"):
        shutil.copy(course.root() / name, repository)
    for name in ("helpers", "commands", "exercises", "models", "report", "notebooks"):
        shutil.copytree(course.root() / name, repository / name)
    version = tomllib.loads((repository / "pyproject.toml").read_text())["project"]["version"]
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"], ["tag", f"v{version}"]):
        run("git", *identity, *arguments, cwd=repository)
    return repository.as_uri()


@pytest.fixture
def colab(tmp_path):
    """An environment without the course; this one's packages play those that Colab brings."""
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=True)
    python = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    paths = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
    site_packages = paths.stdout.strip()
    with open(os.path.join(site_packages, "colab.pth"), "w") as file:
        file.write(sysconfig.get_path("purelib"))
    return python, site_packages


def first_cell(repository):
    cell = notebooks.from_python(notebooks.sources()[0]).cells[1].source
    line = next(line for line in cell.splitlines() if line.startswith("COURSE = "))
    return cell.replace(line, f"COURSE = {repository!r}")


def imported_from(python, folder):
    script = (
        "import exercises; from helpers import course; from helpers.evaluation import records; "
        "print(course.root()); assert records.published().by_key"
    )
    return subprocess.run([python, "-c", script], cwd=folder, capture_output=True, text=True)


@pytest.mark.parametrize("in_colab", [True, False])
def test_the_first_cell_installs_the_course_in_colab_only(colab, released, tmp_path, in_colab):
    python, site_packages = colab
    folder = tmp_path / "empty"
    folder.mkdir()
    script = RUN_CELL.format(in_colab=in_colab, cell=first_cell(released))
    # No index: what Colab brings must satisfy the course's ranges, TensorFlow included.
    offline = {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "IPYTHONDIR": str(tmp_path)}
    installed = run(python, "-c", script, cwd=folder, env={**os.environ, **offline})
    found = imported_from(python, folder)
    if in_colab:
        assert found.stdout.strip() == str(folder / "course"), installed.stdout + found.stderr
        assert not os.path.exists(os.path.join(site_packages, "tensorflow"))
    else:
        assert "No module named 'exercises'" in found.stderr
    assert sys.prefix not in site_packages
