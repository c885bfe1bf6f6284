"""The catalogue: its trainings are those of the records, by name, seed and identity."""

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from helpers import course
from helpers.training import recipes
from helpers.training.experiment import budget, identity

CATALOGUE = recipes.catalogue()


def test_the_identity_of_every_record_is_its_experiments():
    records = json.loads((course.root() / "report" / "results.json").read_text())
    expected, found = {}, {}
    for record in records:
        run = record["key"].split("/")[0]
        name, _, seed = run.rpartition("-seed")
        if "identity" in record and name in CATALOGUE:
            profile = course.PROFILES[record["profile"]]
            data = SimpleNamespace(profile=profile, fingerprint=record["split"])
            expected[record["key"]] = record["identity"]
            found[record["key"]] = identity(CATALOGUE[name].variant(name, seed=int(seed)), data)
    assert len(expected) > 600
    assert found == expected


def test_titles_are_of_trainings_that_there_are():
    groups = (recipes.TRIALS, recipes.REMEDIES, recipes.FAMILIES, recipes.ABLATION)
    for titles in (*groups, recipes.ALONE, recipes.CONTROLS, recipes.MODELS, recipes.FINE_TUNED):
        assert set(titles) <= set(CATALOGUE)
    assert set(recipes.SUBSET_OF_NETWORK.values()) <= set(CATALOGUE)


def test_every_profile_has_every_budget_and_names_them_where_one_is_unknown():
    for profile in course.PROFILES.values():
        assert {e.budget for e in CATALOGUE.values()} == set(profile.budgets)
        unknown = CATALOGUE["fine_tuned"].variant("mine", budget="finetun")
        with pytest.raises(course.CourseError, match=r"'finetun'.*choose from scratch, .*finetune"):
            budget(unknown, profile)


def test_the_catalogue_needs_no_tensorflow():
    code = "import sys, helpers.training.recipes; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=course.root()).returncode == 0
