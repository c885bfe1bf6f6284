"""The training loop: early stopping, class weights, and a state that survives an interruption.

Batches depend only on the seed and the epoch, so a training that was interrupted goes on after its
last whole epoch with the batches it would have had.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from helpers.changes.augment import Augmenter, Mixer
from helpers.evaluation.machine import peak_memory
from helpers.files import replaced

# XLA makes a training step on a CPU slower (`make bench` shows it): off there, whatever Keras'
# "auto" may choose.
JIT_COMPILE = "auto" if tf.config.list_physical_devices("GPU") else False

CURVES = ("loss", "accuracy", "val_loss", "val_accuracy")


class _RawAfterFit:
    """Keeps the weights: Keras' `fit` ends by putting their moving average in their place.

    Here `fit` is called once an epoch, and training would begin again from the average each time.
    """

    def finalize_variable_values(self, var_list: list) -> None:
        pass


class Adam(_RawAfterFit, keras.optimizers.Adam):
    pass


class Lion(_RawAfterFit, keras.optimizers.Lion):
    pass


OPTIMIZERS = {"adam": Adam, "lion": Lion}


def compile_model(
    model: keras.Model,
    optimizer: str,
    learning_rate: float,
    *,
    cosine_steps: int | None = None,
    soft_labels: bool = False,
    label_smoothing: float = 0.0,
    ema: float | None = None,
) -> None:
    """Compile with cross-entropy on logits, accuracy, and no XLA on a CPU.

    Args:
        model: takes images or features, returns logits.
        optimizer: "adam" or "lion".
        learning_rate: constant, or the highest of a cosine schedule.
        cosine_steps: steps in which a cosine falls to 0, after a rise over the first twentieth;
            None for a constant rate.
        soft_labels: labels come as shares (B, classes) instead of class numbers.
        label_smoothing: share of each soft label that is spread over all classes.
        ema: momentum of the moving average of the weights, with which `fit` judges; None for none.
    """
    rate = learning_rate if cosine_steps is None else _cosine(learning_rate, cosine_steps)
    average = {} if ema is None else {"use_ema": True, "ema_momentum": ema}
    model.compile(
        optimizer=OPTIMIZERS[optimizer](rate, **average),
        loss=(
            keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=label_smoothing)
            if soft_labels
            else keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        ),
        metrics=["accuracy"],
        jit_compile=JIT_COMPILE,
    )


def _cosine(highest: float, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Return a linear rise over a twentieth of the steps, then half a cosine down to 0.

    Source: Loshchilov & Hutter 2017, SGDR, ICLR (without restarts).
    """
    rise = max(1, steps // 20)
    return keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - rise), warmup_target=highest, warmup_steps=rise
    )


class Batches:
    """Batches of images or features; images stay uint8 until their batch is drawn.

    Args:
        inputs: uint8 (N, 96, 96, 3), or float32 features (N, D).
        labels: int64 (N,).
        batch_size: the last batch of an epoch may be smaller.
        seed: order and augmentation depend on it, the epoch and the image's row, on nothing else.
        augmenter: one of `augment.augmenter`, or None.
        classes: give labels as shares, float32 (B, classes); None for class numbers.
        mixer: one of `augment.mixer`, which needs `classes`, or None.
    """

    def __init__(
        self,
        inputs: np.ndarray,
        labels: np.ndarray,
        batch_size: int,
        seed: int = 0,
        augmenter: Augmenter | None = None,
        classes: int | None = None,
        mixer: Mixer | None = None,
    ):
        self.inputs, self.labels = inputs, labels
        self.batch_size, self.seed, self.classes = batch_size, seed, classes
        self._epoch = 0
        # Made once: its generator reads the epoch anew, and its graph is traced only once.
        self._shuffled = self._dataset(self._permutation, augmenter, mixer)

    def shuffled(self, epoch: int) -> tf.data.Dataset:
        """Return the augmented batches of one epoch (from 0) in that epoch's random order.

        The dataset is read before the next epoch's is asked for.
        """
        self._epoch = epoch
        return self._shuffled

    def ordered(self) -> tf.data.Dataset:
        """Return the batches as they are, in order."""
        return self._dataset(lambda: np.arange(len(self.labels)), None, None)

    def _permutation(self) -> np.ndarray:
        return np.random.default_rng([self.seed, self._epoch]).permutation(len(self.labels))

    def _dataset(
        self,
        order: Callable[[], np.ndarray],
        augmenter: Augmenter | None,
        mixer: Mixer | None,
    ) -> tf.data.Dataset:
        def generate() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
            rows = order()
            for start in range(0, len(rows), self.batch_size):
                chosen = rows[start : start + self.batch_size]
                epoch_seed = self.seed * 100_003 + self._epoch
                seeds = np.stack([np.full(len(chosen), epoch_seed), chosen], axis=1)
                yield self.inputs[chosen], self.labels[chosen], seeds.astype(np.int32)

        signature = (
            tf.TensorSpec((None, *self.inputs.shape[1:]), self.inputs.dtype),
            tf.TensorSpec((None,), tf.int64),
            tf.TensorSpec((None, 2), tf.int32),
        )

        def prepare(inputs, labels, seeds):
            inputs = augmenter(inputs, seeds) if augmenter else inputs
            labels = labels if self.classes is None else tf.one_hot(labels, self.classes)
            return mixer(inputs, labels, seeds) if mixer else (inputs, labels)

        dataset = tf.data.Dataset.from_generator(generate, output_signature=signature)
        dataset = dataset.map(prepare, num_parallel_calls=2, deterministic=True)
        count = -(-len(self.labels) // self.batch_size)
        return dataset.apply(tf.data.experimental.assert_cardinality(count)).prefetch(2)


def fit(
    model: keras.Model,
    train: Batches,
    validation: Batches,
    folder: Path,
    *,
    name: str,
    max_epochs: int,
    max_minutes: float,
    patience: int | None,
    class_weights: dict[int, float] | None = None,
) -> dict:
    """Train with early stopping on the validation loss; leave the best weights in the model.

    Without patience nothing stops early and the weights of the last epoch are the best: a falling
    learning rate is to be followed to its end. Where the optimizer averages the weights, the
    average is judged and kept. After each epoch the folder holds the state, the last and the best
    weights; called again after an interruption, training goes on from there.

    Returns:
        The state: CURVES as lists, "best_epoch" (from 1), "stopped_by" ("patience", "epochs" or
        "time"), "seconds" of training and "peak_memory" (MiB) of the process.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = _resume(model, folder)
    validation_batches = validation.ordered()
    progress = tqdm(desc=name, unit=" epochs", initial=len(state["loss"]), leave=False)
    while not state["stopped_by"]:
        started, epoch = time.perf_counter(), len(state["loss"])
        history = model.fit(
            train.shuffled(epoch),
            initial_epoch=epoch,
            epochs=epoch + 1,
            class_weight=class_weights,
            shuffle=False,
            verbose=0,
        ).history
        with _averaged(model):
            judged = model.evaluate(validation_batches, verbose=0, return_dict=True)
            for curve in ("loss", "accuracy"):
                state[curve].append(float(history[curve][0]))
                state[f"val_{curve}"].append(float(judged[curve]))
            # A loss that is no number is the worst; the first weights are kept all the same.
            losses = np.nan_to_num(state["val_loss"], nan=np.inf)
            if patience is None or losses.argmin() == epoch:
                state["best_epoch"] = epoch + 1
                save_weights(model, folder / "best.weights.h5")
        state["seconds"] += time.perf_counter() - started
        state["peak_memory"] = peak_memory()
        state["stopped_by"] = _why_stop(state, max_epochs, max_minutes, patience)
        save_weights(model, folder / "last.weights.h5")
        write_json(folder / "state.json", state)
        progress.set_postfix(validation=f"{state['val_accuracy'][-1]:.1%}")
        progress.update()
    progress.close()
    model.load_weights(folder / "best.weights.h5")
    return state


def balanced_class_weights(labels: np.ndarray) -> dict[int, float]:
    """Return n / (classes x images of the class) for each class, scikit-learn's "balanced".

    Args:
        labels: int (N,).
    """
    classes, counts = np.unique(labels, return_counts=True)
    weights = len(labels) / (len(classes) * counts)
    return {int(label): float(weight) for label, weight in zip(classes, weights, strict=True)}


def save_weights(model: keras.Model, path: Path) -> None:
    """Write the weights (and the optimizer's state, if compiled) as .weights.h5, never half."""
    with replaced(path) as temporary:
        model.save_weights(temporary)


def write_json(path: Path, content: dict) -> None:
    """Write a dict as JSON, never half."""
    with replaced(path) as temporary:
        temporary.write_text(json.dumps(content))


@contextmanager
def _averaged(model: keras.Model) -> Iterator[None]:
    """Give the model its moving average of weights for a while, if its optimizer keeps one."""
    weights = model.trainable_variables
    raw = [keras.ops.copy(weight) for weight in weights] if model.optimizer.use_ema else []
    keras.optimizers.Optimizer.finalize_variable_values(model.optimizer, weights)
    yield
    for weight, value in zip(weights, raw, strict=False):
        weight.assign(value)


def _resume(model: keras.Model, folder: Path) -> dict:
    """Return the state after the last whole epoch, weights and optimizer loaded; else a new one."""
    path = folder / "state.json"
    if not path.exists():
        curves = {curve: [] for curve in CURVES}
        return {**curves, "best_epoch": 0, "stopped_by": "", "seconds": 0.0}
    model.optimizer.build(model.trainable_variables)
    model.load_weights(folder / "last.weights.h5")
    return json.loads(path.read_text())


def _why_stop(state: dict, max_epochs: int, max_minutes: float, patience: int | None) -> str:
    epochs = len(state["loss"])
    if patience is not None and epochs - state["best_epoch"] >= patience:
        return "patience"
    if epochs >= max_epochs:
        return "epochs"
    return "time" if state["seconds"] >= 60 * max_minutes else ""
