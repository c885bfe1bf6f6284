"""Prints the lowest versions that pyproject.toml allows, as a constraints file for pip."""

import tomllib
from pathlib import Path

with (Path(__file__).resolve().parent.parent / "pyproject.toml").open("rb") as file:
    project = tomllib.load(file)["project"]

extras = project["optional-dependencies"].values()
for requirement in [*project["dependencies"], *(line for extra in extras for line in extra)]:
    print(requirement.replace(">=", "=="))
