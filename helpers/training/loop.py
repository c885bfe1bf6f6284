"""Training: batches, and one `model.fit` whose callback survives an interruption.

Batches depend only on the seed and the epoch, so a training that was interrupted goes on after its
last whole epoch with the batches it would have had.
"""

import itertools
import json
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from sklearn.utils.class_weight import compute_class_weight

from helpers.changes.augment import Augmenter, Mixer
from helpers.data.downloads import progress_bar
from helpers.evaluation.machine import peak_memory
from helpers.evaluation.records import CURVES
from helpers.files import read_arrays, replaced

# XLA makes a training step on a CPU slower (`make bench` shows it): off there, whatever Keras'
# "auto" may choose.
JIT_COMPILE = "auto" if tf.config.list_physical_devices("GPU") else False

OPTIMIZERS = {"adam": keras.optimizers.Adam, "lion": keras.optimizers.Lion}


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
        soft_labels: labels come as fractions (B, classes) instead of class numbers.
        label_smoothing: fraction of each soft label that is spread over all classes.
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
        classes: give labels as fractions, float32 (B, classes); None for class numbers.
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
        self._augmenter, self._mixer = augmenter, mixer

    @property
    def steps(self) -> int:
        """How many batches an epoch has."""
        return -(-len(self.labels) // self.batch_size)

    def epochs(self, first: int = 0) -> tf.data.Dataset:
        """Return one epoch after the other without end, each augmented and in an order of its own.

        Args:
            first: the epoch (from 0) to begin with.
        """

        def order() -> Iterator[tuple[int, np.ndarray]]:
            for epoch in itertools.count(first):
                rng = np.random.default_rng([self.seed, epoch])
                yield epoch, rng.permutation(len(self.labels))

        return self._dataset(order, self._augmenter, self._mixer)

    def ordered(self) -> tf.data.Dataset:
        """Return the batches as they are, in order."""
        dataset = self._dataset(lambda: [(0, np.arange(len(self.labels)))], None, None)
        return dataset.apply(tf.data.experimental.assert_cardinality(self.steps))

    def _dataset(
        self,
        order: Callable[[], Iterable[tuple[int, np.ndarray]]],
        augmenter: Augmenter | None,
        mixer: Mixer | None,
    ) -> tf.data.Dataset:
        def generate() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
            for epoch, rows in order():
                epoch_seed = self.seed * 100_003 + epoch
                for start in range(0, len(rows), self.batch_size):
                    chosen = rows[start : start + self.batch_size]
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
        return dataset.map(prepare, num_parallel_calls=2, deterministic=True).prefetch(2)


class Resumable(keras.callbacks.Callback):
    """Early stopping, best weights and a time limit, which an interruption does not undo.

    After every epoch one file holds all that the next one needs: curves, weights, the optimizer's
    state and the best weights so far. It is replaced as a whole, so they always fit each other.
    Where the optimizer averages the weights (`ema`), the average is evaluated and kept.

    Attributes:
        state: CURVES, one float per epoch; "best_epoch" (from 1); "stopped_by" ("patience",
            "epochs", "time", or "" until then); "seconds" of training; "peak_memory" (MiB).
        best: the best epoch's weights, as `get_weights` returns them.
    """

    def __init__(self, path: Path, name: str, patience: int | None, max_minutes: float):
        """Prepare for one `fit`; see `fit` for the arguments."""
        super().__init__()
        self.path, self.name = path, name
        self.patience, self.max_minutes = patience, max_minutes
        self.state: dict = {**{curve: [] for curve in CURVES}, "best_epoch": 0, "stopped_by": ""}
        self.state |= {"seconds": 0.0, "peak_memory": None}
        self.best: list[np.ndarray] = []

    @property
    def epochs(self) -> int:
        """How many epochs are done."""
        return len(self.state["loss"])

    def resume(self, model: keras.Model) -> None:
        """Give a compiled model what the file holds, if there is one; a damaged one is told."""
        model.optimizer.build(model.trainable_variables)
        if not self.path.exists():
            return
        try:
            stored = read_arrays(self.path)
            state = json.loads(str(stored.pop("state")))
            values = [stored[f"now_{i}"] for i in range(len(variables(model)))]
            best = [stored[f"best_{i}"] for i in range(len(model.weights))]
            pairs = zip([*variables(model), *model.weights], [*values, *best], strict=True)
            if any(tuple(own.shape) != value.shape for own, value in pairs):
                raise ValueError("it is of another network")
        except (KeyError, ValueError) as error:
            print(f"{self.name}: {self.path.name} is damaged ({error}), training begins anew.")
            return
        for variable, value in zip(variables(model), values, strict=True):
            variable.assign(value)
        self.state, self.best = state, best

    def why_stop(self, max_epochs: int) -> str:
        """Return why no further epoch is trained, or an empty string."""
        if not self.epochs:
            return ""
        if self.patience is not None and self.epochs - self.state["best_epoch"] >= self.patience:
            return "patience"
        if self.epochs >= max_epochs:
            return "epochs"
        return "time" if self.state["seconds"] >= 60 * self.max_minutes else ""

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Start the clock."""
        self._started = time.perf_counter()

    def on_test_begin(self, logs: dict | None = None) -> None:
        """Put the average of the weights, if there is one, in their place."""
        trainable = self.model.trainable_variables
        self._raw = [variable.numpy() for variable in trainable]
        self.model.optimizer.finalize_variable_values(trainable)

    def on_test_end(self, logs: dict | None = None) -> None:
        """Keep what was evaluated, and put the weights themselves back."""
        self._evaluated = self.model.get_weights()
        for variable, value in zip(self.model.trainable_variables, self._raw, strict=True):
            variable.assign(value)

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        """Note the curves, keep the weights if they are the best, decide whether to go on."""
        for curve in CURVES:
            self.state[curve].append(float(logs[curve]))
        # A loss that is no number is the worst; the first weights are kept all the same.
        losses = np.nan_to_num(self.state["val_loss"], nan=np.inf)
        if self.patience is None or losses.argmin() == epoch:
            self.state["best_epoch"], self.best = epoch + 1, self._evaluated
        self.state["seconds"] += time.perf_counter() - self._started
        self.state["peak_memory"] = peak_memory()
        self.state["stopped_by"] = self.why_stop(self.params["epochs"])
        self.model.stop_training = bool(self.state["stopped_by"])
        self._write()

    def _write(self) -> None:
        now = {f"now_{i}": variable.numpy() for i, variable in enumerate(variables(self.model))}
        best = {f"best_{i}": value for i, value in enumerate(self.best)}
        with replaced(self.path) as temporary:
            np.savez(temporary, state=json.dumps(self.state), **now, **best)


def fit(
    model: keras.Model,
    train: Batches,
    validation: Batches,
    path: Path,
    *,
    name: str,
    max_epochs: int,
    max_minutes: float,
    patience: int | None,
    class_weights: dict[int, float] | None = None,
) -> dict:
    """Train with early stopping on the validation loss; leave the best weights in the model.

    Called again after an interruption, training goes on after its last whole epoch and ends as it
    would have without.

    Args:
        model: compiled by `compile_model`.
        train, validation: batches to learn from, and to choose the best epoch by.
        path: .npz file of what an interrupted training goes on from.
        name: shown beside the progress bar.
        max_epochs: most epochs.
        max_minutes: no epoch is started after so many.
        patience: epochs without a lower validation loss before training stops. With None nothing
            stops early and the last epoch is the best: a falling learning rate is to be followed to
            its end.
        class_weights: factor of each class in the loss, or None.

    Returns:
        `Resumable.state`.

    Raises:
        CourseError: if `path` cannot be written.
    """
    training = Resumable(path, name, patience, max_minutes)
    training.resume(model)
    first = training.epochs
    with progress_bar(desc=name, unit=" epochs", initial=first) as bar:
        progress = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: bar.update())
        if not training.why_stop(max_epochs):
            model.fit(
                train.epochs(first),
                steps_per_epoch=train.steps,
                initial_epoch=first,
                epochs=max_epochs,
                validation_data=validation.ordered(),
                class_weight=class_weights,
                callbacks=[training, progress],
                shuffle=False,
                verbose=0,
            )
    model.set_weights(training.best)
    return {**training.state, "stopped_by": training.why_stop(max_epochs)}


def balanced_class_weights(labels: np.ndarray) -> dict[int, float]:
    """Return n / (classes x images of the class) for each class, scikit-learn's "balanced".

    Args:
        labels: int (N,).
    """
    classes = np.unique(labels)
    weights = compute_class_weight("balanced", classes=classes, y=labels)
    return dict(zip(classes.tolist(), weights.tolist(), strict=True))


def variables(model: keras.Model) -> list:
    """Return all that a compiled model's next step depends on, its optimizer's state included."""
    return [*model.variables, *model.optimizer.variables]
