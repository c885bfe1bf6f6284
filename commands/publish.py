"""Name the repository that this copy of the course is published in, everywhere at once.

    python -m helpers publish OWNER/REPO

The one that it is now stands in pyproject.toml. Its addresses on GitHub, GitHub Pages and Colab
change in the notebooks' first cells (.py and .ipynb; outputs stay), badges, CITATION.cff and pages.
"""

import argparse
import re
import tomllib
from pathlib import Path

from commands import notebooks
from helpers import course
from helpers.files import replaced

GITHUB = "https://github.com/"
# What GitHub allows as an owner and as a repository's name.
NAME = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,37}[A-Za-z0-9])?/(?!\.{1,2}$)[\w.-]{1,100}"


def published_as() -> str:
    """Return OWNER/REPO as pyproject.toml names it.

    Raises:
        CourseError: if the address there is none of GitHub's.
    """
    file = course.root() / "pyproject.toml"
    project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
    address = project["urls"]["Repository"]
    if not re.fullmatch(re.escape(GITHUB) + NAME, address):
        raise course.CourseError(
            f"The Repository in pyproject.toml, {course.printable(address)}, is no address like "
            f"{GITHUB}OWNER/REPO: mend it there first."
        )
    return address.removeprefix(GITHUB)


def readdressed(text: str, old: str, new: str) -> str:
    """Return a text with the addresses of one repository changed to another's."""
    text = re.sub(rf"(github\.com/|/github/){re.escape(old)}(?![\w-]|\.\w)", rf"\g<1>{new}", text)
    return re.sub(rf"{re.escape(_site(old))}(?![\w-]|\.\w)", _site(new), text, flags=re.IGNORECASE)


def _site(repository: str) -> str:
    owner, name = repository.split("/")
    return f"{owner.lower()}.github.io/{name}"


def publish(new: str) -> list[Path]:
    """Change the addresses in all files that hold one; return the files that changed.

    pyproject.toml comes last, so that a run that was cut short can be run again.

    Raises:
        CourseError: if `new` is no OWNER/REPO, or an .ipynb was edited by itself.
    """
    if not re.fullmatch(NAME, new, re.ASCII):
        raise course.CourseError(
            f"{course.printable(new)} is no repository's name: give OWNER/REPO, as in "
            f"{GITHUB}OWNER/REPO."
        )
    old, root = published_as(), course.root()
    lessons = list(notebooks.with_solutions().values())
    for path in lessons:
        notebooks.refuse_edited(path)
    changed = []
    for path in lessons:
        changed += notebooks.reword(path, lambda text: readdressed(text, old, new))
    pages = [*sorted(root.glob("*.md")), *sorted((root / "docs").rglob("*.md"))]
    for path in [*pages, root / "CITATION.cff", root / "pyproject.toml"]:
        text = path.read_text(encoding="utf-8")
        if (told := readdressed(text, old, new)) != text:
            with replaced(path) as temporary:
                temporary.write_text(told, encoding="utf-8")
            changed.append(path)
    return changed


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("repository", metavar="OWNER/REPO")
    repository = parser.parse_args(arguments).repository
    changed = publish(repository)
    for path in changed:
        print(path.relative_to(course.root()).as_posix())
    print(f"{len(changed) or 'No'} files changed: the course is published as {repository}.")
    return 0
