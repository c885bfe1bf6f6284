import errno
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from helpers.course import CourseError
from helpers.training import loop
from helpers.training.loop import Batches


def coloured(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images whose class is their colour, with noise: learnable in a few steps."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    images = rng.integers(0, 120, (count, 8, 8, 3))
    images[np.arange(count), :, :, labels] += 100
    return images.astype(np.uint8), labels


def tiny_model(**settings) -> keras.Model:
    keras.utils.set_random_seed(0)
    layers = [keras.Input((8, 8, 3)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten()]
    model = keras.Sequential([*layers, keras.layers.Dense(3)])
    loop.compile_model(model, "adam", 0.01, **settings)
    return model


def fit(path, model=None, train=None, max_epochs=4, **changes):
    train = train or coloured(64)
    validation = coloured(32, seed=1)
    settings = {"name": "tiny", "max_minutes": 5, "patience": 50, **changes}
    model = model or tiny_model()
    batches = Batches(*train, batch_size=16, seed=0)
    state = loop.fit(
        model, batches, Batches(*validation, 16), path, max_epochs=max_epochs, **settings
    )
    return model, state


def drawn(batches, epoch):
    one = batches.epochs(epoch).take(batches.steps)
    return np.concatenate([images.numpy() for images, _ in one])


def test_batches_repeat_by_seed_and_epoch_and_stay_uint8():
    images, labels = coloured(50)
    first, again, other = (Batches(images, labels, 16, seed) for seed in (0, 0, 1))
    assert drawn(first, 3).dtype == np.uint8
    np.testing.assert_array_equal(drawn(first, 3), drawn(again, 3))
    assert not np.array_equal(drawn(first, 3), drawn(first, 4))
    assert not np.array_equal(drawn(first, 3), drawn(other, 3))
    assert sorted(map(bytes, drawn(first, 3))) == sorted(map(bytes, images))


def test_labels_travel_with_their_images():
    images, labels = coloured(50)
    for batch, batch_labels in Batches(images, labels, 16, 0).epochs().take(4):
        means = batch.numpy().mean(axis=(1, 2))
        np.testing.assert_array_equal(means.argmax(axis=1), batch_labels)


def test_augmentation_gets_a_seed_that_is_the_images_own():
    images, labels = coloured(50)
    seen = []

    def remember(batch, seeds):
        seen.append(seeds)
        return batch

    batches = Batches(images, labels, 16, 0, augmenter=remember)
    assert next(iter(batches.epochs()))[0].shape == (16, 8, 8, 3)
    assert seen[0].shape == (None, 2)


def test_one_epoch_follows_the_other():
    batches = Batches(*coloured(50), 16)
    two = [images.numpy() for images, _ in batches.epochs(3).take(2 * batches.steps)]
    np.testing.assert_array_equal(np.concatenate(two[:4]), drawn(batches, 3))
    np.testing.assert_array_equal(np.concatenate(two[4:]), drawn(batches, 4))


class Interrupt(keras.callbacks.Callback):
    """Ctrl-C in the middle of the third epoch."""

    def on_train_batch_end(self, batch, logs=None):
        if self.epoch == 2 and batch == 1:
            raise KeyboardInterrupt

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch


@pytest.mark.parametrize("settings", [{}, {"ema": 0.9, "cosine_steps": 16}])
def test_an_interrupted_training_ends_as_an_uninterrupted_one(tmp_path, settings, monkeypatch):
    whole, expected = fit(tmp_path / "whole.npz", tiny_model(**settings))
    with monkeypatch.context() as patched:
        patched.setattr(keras.callbacks, "LambdaCallback", lambda **_: Interrupt())
        with pytest.raises(KeyboardInterrupt):
            fit(tmp_path / "cut.npz", tiny_model(**settings))
    resumed, state = fit(tmp_path / "cut.npz", tiny_model(**settings))
    for curve in loop.CURVES:
        assert state[curve] == pytest.approx(expected[curve], rel=1e-5)
    for first, second in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-6)


def test_a_finished_training_is_not_gone_on_with(tmp_path):
    model, state = fit(tmp_path / "t.npz")
    again, same = fit(tmp_path / "t.npz")
    assert same == state
    for first, second in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("kept", [0, 100, -100])
def test_a_damaged_file_is_told_and_training_begins_anew(tmp_path, kept, capsys):
    path = tmp_path / "t.npz"
    _, expected = fit(path, max_epochs=2)
    path.write_bytes(path.read_bytes()[:kept])
    _, state = fit(path, max_epochs=2)
    assert state["val_loss"] == pytest.approx(expected["val_loss"], rel=1e-5)
    assert "t.npz is damaged" in capsys.readouterr().out


def test_a_file_of_another_network_is_told_and_training_begins_anew(tmp_path, capsys):
    fit(tmp_path / "t.npz", max_epochs=1)
    keras.utils.set_random_seed(0)
    wider = [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(4)]
    other = keras.Sequential([*wider, keras.layers.Dense(3)])
    loop.compile_model(other, "adam", 0.01)
    _, state = fit(tmp_path / "t.npz", other, max_epochs=2)
    assert len(state["loss"]) == 2
    assert "t.npz is damaged" in capsys.readouterr().out


def test_a_full_disk_is_one_sentence_and_the_epochs_before_are_kept(tmp_path, monkeypatch):
    path, savez = tmp_path / "t.npz", np.savez

    def full(file, **arrays):
        if len(json.loads(arrays["state"])["loss"]) > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        savez(file, **arrays)

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(CourseError, match="No space left on device"):
        fit(path)
    monkeypatch.setattr(np, "savez", savez)
    assert [path.name for path in tmp_path.iterdir()] == ["t.npz"]
    _, state = fit(path, max_epochs=2)
    assert len(state["loss"]) == 2


def test_early_stopping_keeps_the_best_weights(tmp_path):
    # With wrong labels, learning more makes the validation loss worse.
    images, labels = coloured(64)
    wrong = (images, np.roll(labels, 1))
    model, state = fit(tmp_path / "t.npz", train=wrong, max_epochs=60, patience=3)
    assert state["stopped_by"] == "patience"
    assert len(state["val_loss"]) == state["best_epoch"] + 3
    images, labels = coloured(32, seed=1)
    loss = model.evaluate(images, labels, verbose=0)[0]
    assert loss == pytest.approx(min(state["val_loss"]), rel=1e-4)


def test_without_patience_the_last_epoch_is_kept(tmp_path):
    images, labels = coloured(64)
    _, state = fit(
        tmp_path / "t.npz", train=(images, np.roll(labels, 1)), max_epochs=8, patience=None
    )
    assert (state["stopped_by"], state["best_epoch"]) == ("epochs", 8)
    assert state["val_loss"][-1] > min(state["val_loss"])


def test_the_average_of_the_weights_is_judged_and_training_goes_on_from_the_weights(tmp_path):
    model, state = fit(tmp_path / "averaged.npz", tiny_model(ema=0.99), max_epochs=6)
    _, expected = fit(tmp_path / "raw.npz", tiny_model(), max_epochs=6)
    # The same steps are taken; only what is judged lags behind.
    assert state["loss"] == pytest.approx(expected["loss"], rel=1e-4)
    assert state["val_loss"][-1] > expected["val_loss"][-1]
    images, labels = coloured(32, seed=1)
    judged = model.evaluate(images, labels, verbose=0)[0]
    assert judged == pytest.approx(state["val_loss"][-1], rel=1e-4)


def test_a_cosine_schedule_rises_and_falls_to_nothing(tmp_path):
    model = tiny_model(cosine_steps=40)
    rate = model.optimizer._learning_rate
    assert float(rate(2)) == pytest.approx(0.01)
    assert float(rate(1)) < 0.01
    assert float(rate(40)) == pytest.approx(0, abs=1e-6)


def test_soft_labels_are_mixed_by_the_share_of_pixels():
    images, labels = coloured(64)

    def half(batch, shares, seeds):
        return batch, 0.5 * shares + 0.5 * tf.roll(shares, 1, axis=0)

    mixed = Batches(images, labels, 16, 0, classes=3, mixer=half)
    plain = Batches(images, labels, 16, 0, classes=3)
    for (_, soft), (_, hard) in zip(mixed.epochs().take(4), plain.epochs().take(4), strict=True):
        expected = 0.5 * hard.numpy() + 0.5 * np.roll(hard.numpy(), 1, axis=0)
        np.testing.assert_allclose(soft.numpy(), expected)


def test_time_is_a_reason_to_stop(tmp_path):
    _, state = fit(tmp_path / "t.npz", max_minutes=0)
    assert (state["stopped_by"], len(state["loss"])) == ("time", 1)


def test_balanced_weights_pull_every_class_alike():
    labels = np.array([0] * 6 + [2] * 2)
    weights = loop.balanced_class_weights(labels)
    assert weights == {0: pytest.approx(8 / 12), 2: pytest.approx(8 / 4)}
