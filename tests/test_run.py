import dataclasses
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from helpers import course
from helpers.data import synthetic
from helpers.data.photographs import CLASS_NAMES, ImageSet, Source
from helpers.data.sets import CourseData
from helpers.evaluation import records
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
        course.PROFILES["quick"],
        name="test",
        budgets=dict.fromkeys(("scratch", "head", "subset"), TINY),
        training_minutes=60,
    )
    sets = {"train": images, "validation": few, "test": few}
    source = Source("synthetic", "synthetic cells", False, "0")
    return CourseData(sets, CLASS_NAMES, source, profile, "fingerprint")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(course, "build_folder", lambda: tmp_path)


def relative(logits):
    """As they are recorded: the largest of each image is 0."""
    return logits - logits.max(axis=1, keepdims=True)


def never(*_):
    raise AssertionError("trained though it is recorded")


def test_a_training_is_recorded_in_the_same_call_and_not_run_again(data, monkeypatch, tmp_path):
    first = run.result(SCRATCH, data)
    assert (first.train_images, first.epochs, first.stopped_by) == (48, 2, "epochs")
    assert set(first.logits) == {"validation", "test"}
    assert set(first.history) == set(records.CURVES)
    assert len(first.history["val_loss"]) == 2
    stored = records.Records(records.folder(data.source))
    assert stored.estimate("toy_cnn", "test") == first.accuracies["test"]
    monkeypatch.setattr(run, "_train", never)
    again = run.result(SCRATCH, data)
    assert again.history == first.history
    np.testing.assert_array_equal(first.logits["test"], again.logits["test"])
    # Without the cache the records say the same; with the cache alone they are written again.
    cached = run._path(SCRATCH, data)
    aside = cached.rename(tmp_path / "aside.npz")
    assert run.result(SCRATCH, data).accuracies == first.accuracies
    aside.rename(cached)
    (stored.folder / "results.json").unlink()
    assert run.result(SCRATCH, data).accuracies == first.accuracies
    with pytest.raises(AssertionError, match="trained"):
        run.result(SCRATCH, data, force=True)
    with pytest.raises(AssertionError, match="trained"):
        run.result(SCRATCH.variant("toy_cnn", learning_rate=1e-4), data)
    with pytest.raises(AssertionError, match="trained"):
        run.result(SCRATCH, dataclasses.replace(data, fingerprint="other"))


def test_records_without_curves_are_believed(data, monkeypatch):
    run.result(SCRATCH, data)
    run._path(SCRATCH, data).unlink()
    (curves,) = (records.folder(data.source) / "curves").iterdir()
    curves.unlink()
    monkeypatch.setattr(run, "_train", never)
    assert run.result(SCRATCH, data).history is None


def test_a_record_without_its_predictions_is_one_sentence(data):
    run.result(SCRATCH, data)
    (records.folder(data.source) / "predictions" / "toy_cnn-seed0.npz").unlink()
    with pytest.raises(course.CourseError, match=r"toy_cnn-seed0\.npz is missing"):
        run.result(SCRATCH, data)


def test_what_is_recorded_is_answered_for_by_its_own_weights_only(data):
    """Trained again, a network is another one: its numbers must not be mixed with the recorded."""
    run.load_recorded(SCRATCH, data)  # nothing is recorded yet
    outcome = run.result(SCRATCH, data)
    model = run.load_recorded(SCRATCH, data)
    logits = model.predict(data["test"].images, verbose=0)
    np.testing.assert_allclose(relative(logits), outcome.logits["test"], atol=0.02)
    path = run._path(SCRATCH, data)
    stored = dict(np.load(path))
    np.savez(path, **stored | {"logits_validation": stored["logits_validation"][:, ::-1]})
    with pytest.raises(course.CourseError, match="is recorded, but its weights are not in"):
        run.load_recorded(SCRATCH, data)
    path.unlink()
    with pytest.raises(course.CourseError, match="--seeds 0 --force"):
        run.load_recorded(SCRATCH, data)


def test_a_damaged_cache_is_told_and_made_anew(data, capsys):
    first = run.result(SCRATCH, data)
    path = run._path(SCRATCH, data)
    path.write_bytes(path.read_bytes()[:1000])
    model = run.load_trained(SCRATCH, data)
    assert "damaged" in capsys.readouterr().out
    logits = model.predict(data["test"].images, verbose=0)
    assert (logits.argmax(axis=1) == first.logits["test"].argmax(axis=1)).mean() > 0.9
    features = run.features("efficientnet_lite0", data, "test")
    (stored,) = (course.build_folder() / "cache" / "features").iterdir()
    expected = np.array(features)
    stored.write_bytes(stored.read_bytes()[:50])
    np.testing.assert_array_equal(run.features("efficientnet_lite0", data, "test"), expected)
    assert "damaged" in capsys.readouterr().out


def test_records_know_which_networks_begin_at_random_weights():
    """Their seeds are pooled apart from the others'."""
    assert set(records.FROM_SCRATCH) == set(run.FROM_SCRATCH)


def test_two_runs_of_one_training_do_not_get_in_each_others_way(data, monkeypatch):
    trained, train = [], run._train

    def slow(experiment, *rest):
        trained.append(experiment.name)
        time.sleep(1)
        train(experiment, *rest)

    monkeypatch.setattr(run, "_train", slow)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: run._trained(SCRATCH, data).history["loss"], range(2)))
    assert trained == ["toy_cnn"]
    assert found[0] == found[1]


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
    assert run._path(changed, data) != run._path(SCRATCH, data)


def test_other_images_make_another_experiment(data):
    other = dataclasses.replace(data, fingerprint="other")
    assert run._path(SCRATCH, other) != run._path(SCRATCH, data)


def test_a_trained_head_predicts_from_images_what_it_did_from_features(data):
    outcome = run.result(HEAD, data)
    model = run.load_trained(HEAD, data)
    logits = model.predict(data["test"].images, verbose=0)
    np.testing.assert_allclose(relative(logits), outcome.logits["test"], atol=0.02)


def test_fine_tuning_starts_from_the_trained_head_and_may_be_repeated(data):
    tuned = Experiment("toy_tuned", "efficientnet_lite0", "subset", freeze="block6a", batch_size=16)
    outcome = run.result(tuned, data)
    # The compiled network is kept and reset: a second run must begin where the first did.
    again = run.result(tuned, data, force=True)
    np.testing.assert_allclose(outcome.history["loss"], again.history["loss"], rtol=1e-3)
    model = run.load_trained(tuned, data)
    logits = model.predict(data["validation"].images, verbose=0)
    np.testing.assert_allclose(relative(logits), outcome.logits["validation"], atol=0.02)
    # A comparison on the subset chooses; it never looks at a test image.
    assert set(outcome.logits) == {"validation"}


def test_a_training_goes_on_from_the_weights_of_another(data):
    first = Experiment("toy_first", "efficientnet_lite0", "subset", freeze="block6a", batch_size=16)
    still = {"image_size": 112, "starts_from": first, "learning_rate": 0.0, "dropout": 0.0}
    second = first.variant("toy_second", **still)
    started = run.result(second, data)
    larger = run.new_network(second, 8)
    larger.set_weights(run.load_trained(first, data).get_weights())
    expected = larger.predict(data["validation"].images, verbose=0)
    np.testing.assert_allclose(started.logits["validation"], relative(expected), atol=0.02)


def test_what_a_training_starts_from_makes_another_experiment(data):
    folders = {
        run._path(SCRATCH.variant("toy_cnn", starts_from=first), data)
        for first in (None, SCRATCH, SCRATCH.variant("toy_cnn", seed=1))
    }
    assert len(folders) == 3
