import dataclasses

import numpy as np
import pytest

from helpers import course
from helpers.data import synthetic
from helpers.data.photographs import CLASS_NAMES, ImageSet, Source
from helpers.data.sets import CourseData
from helpers.training import run
from helpers.training.experiment import Experiment

TINY = course.Budget(48, 2)
SCRATCH = Experiment("toy_cnn", "small_cnn", budget="scratch", batch_size=16)
HEAD = Experiment("toy_head", "efficientnet_lite0", budget="head", freeze="all", batch_size=16)


@pytest.fixture(scope="module")
def data():
    labels = np.arange(96) % 8
    images = ImageSet(synthetic.draw_cells(labels, seed=0), labels)
    few = images.rows(np.arange(16))
    profile = dataclasses.replace(
        course.PROFILES["quick"], name="test", scratch=TINY, head=TINY, subset=TINY
    )
    sets = {"train": images, "validation": few, "test": few}
    source = Source("synthetic", "synthetic cells", False, "0")
    return CourseData(sets, CLASS_NAMES, source, profile, "fingerprint")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(course, "build_folder", lambda: tmp_path)


def test_a_finished_experiment_is_not_run_again(data, monkeypatch):
    first = run.run(SCRATCH, data)
    assert first.train_images == 48
    assert set(first.logits) == {"validation", "test"}
    monkeypatch.setattr(run, "_train", None)
    again = run.run(SCRATCH, data)
    np.testing.assert_array_equal(first.logits["test"], again.logits["test"])
    with pytest.raises(TypeError):
        run.run(SCRATCH, data, force=True)


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": 2e-3},
        {"seed": 1},
        {"augmentation": "mild"},
        {"offline_options": {"magnitude": 0.6}},
    ],
)
def test_every_setting_makes_another_experiment(data, change):
    changed = SCRATCH.variant(SCRATCH.name, **change)
    assert run._folder(changed, data) != run._folder(SCRATCH, data)


def test_other_images_make_another_experiment(data):
    other = dataclasses.replace(data, fingerprint="other")
    assert run._folder(SCRATCH, other) != run._folder(SCRATCH, data)


def test_a_trained_head_predicts_from_images_what_it_did_from_features(data):
    outcome = run.run(HEAD, data)
    model = run.load_trained(HEAD, data)
    logits = model.predict(data["test"].images, verbose=0)
    np.testing.assert_allclose(logits, outcome.logits["test"], atol=1e-3)


def test_fine_tuning_starts_from_the_trained_head_and_may_be_repeated(data):
    tuned = Experiment("toy_tuned", "efficientnet_lite0", "subset", freeze="block6a", batch_size=16)
    outcome = run.run(tuned, data)
    # The compiled network is kept and reset: a second run must begin where the first did.
    again = run.run(tuned, data, force=True)
    np.testing.assert_allclose(outcome.history["loss"], again.history["loss"], rtol=1e-3)
    model = run.load_trained(tuned, data)
    logits = model.predict(data["validation"].images, verbose=0)
    np.testing.assert_allclose(logits, outcome.logits["validation"], atol=1e-3)
    # A comparison on the subset chooses; it never looks at a test image.
    assert set(outcome.logits) == {"validation"}


def test_a_training_goes_on_from_the_weights_of_another(data):
    first = Experiment("toy_first", "efficientnet_lite0", "subset", freeze="block6a", batch_size=16)
    still = {"image_size": 112, "starts_from": first, "learning_rate": 0.0, "dropout": 0.0}
    second = first.variant("toy_second", **still)
    started = run.run(second, data)
    larger = run.new_network(second, 8)
    larger.set_weights(run.load_trained(first, data).get_weights())
    expected = larger.predict(data["validation"].images, verbose=0)
    np.testing.assert_allclose(started.logits["validation"], expected, atol=1e-3)


def test_what_a_training_starts_from_makes_another_experiment(data):
    folders = {
        run._folder(SCRATCH.variant("toy_cnn", starts_from=first), data)
        for first in (None, SCRATCH, SCRATCH.variant("toy_cnn", seed=1))
    }
    assert len(folders) == 3
