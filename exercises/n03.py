"""Checks of 03_custom_cnns."""

import numpy as np

from exercises import compare, exercise

# Of CNN 2: the side of the last map before and after its pooling, and the maps.
_LAST_MAP, _MAPS = 3, 512
# What the open task allows: a fraction of the weights, and so much less accuracy.
_WEIGHTS, _LOSS = 0.5, 0.02


@exercise(
    "03.1",
    "How many numbers does the last map have after its pooling? Each class has a weight for every "
    "one of them, and one bias.",
)
def flattened_weights(answer: object, class_count: int) -> str | None:
    """Expect the weights of a dense layer on CNN 2's flattened last map."""
    numbers = _LAST_MAP**2 * _MAPS
    mistakes = {
        "The biases are missing: one per class.": numbers * class_count,
        "That is the layer as it is, behind global average pooling.": (_MAPS + 1) * class_count,
        "That counts the map before its last pooling: it has four times as many places.": (
            (2 * _LAST_MAP) ** 2 * _MAPS + 1
        )
        * class_count,
        "That is one class's part: there are as many as classes.": numbers + 1,
        "That is how many numbers the flattened map has, not how many weights.": numbers,
    }
    return compare.number(answer, (numbers + 1) * class_count, 0.5, mistakes)


@exercise(
    "03.2",
    "At (row, column) the answer is the sum of image[row : row + h, column : column + w] * kernel. "
    "There are H - h + 1 rows of such places and W - w + 1 columns.",
)
def convolve(answer: object) -> str | None:
    """Expect a function that slides a kernel over an image, without padding or flipping."""
    if not callable(answer):
        return "Hand over the function itself: answer = convolve, without brackets or arguments."
    rng = np.random.default_rng(0)
    image, kernel = rng.random((7, 9)), rng.random((3, 2))
    try:
        found = np.asarray(answer(image, kernel), dtype=float)
    except Exception as error:
        return f"On an image of shape (7, 9) and a kernel of shape (3, 2) it fails: {error!r}."
    windows = np.lib.stride_tricks.sliding_window_view(image, kernel.shape)
    expected = (windows * kernel).sum(axis=(2, 3))
    if found.shape == image.shape:
        return "Its answer has the image's shape, so there is padding: keep only places that fit."
    if found.shape == expected.shape:
        if np.allclose(found, (windows * kernel[::-1, ::-1]).sum(axis=(2, 3))):
            return "The kernel is turned around, as in mathematics: networks don't do that."
        if np.allclose(found, np.maximum(expected - expected.mean(), 0)):
            return "Leave ReLU out: negative answers are answers too."
    return compare.array(found, expected, 1e-6)


@exercise(
    "03.3",
    "It stops after the first epoch whose validation loss is not lower than the lowest before it.",
)
def patience_of_one(answer: object, history: dict[str, list[float]]) -> str | None:
    """Expect the last epoch (from 1) that a patience of one would have trained."""

    def last(losses: list[float], patience: int = 1) -> int:
        best, waited = np.inf, 0
        for epoch, loss in enumerate(losses, start=1):
            waited = 0 if loss < best else waited + 1
            best = min(best, loss)
            if waited == patience:
                return epoch
        return len(losses)

    losses = history["val_loss"]
    expected = last(losses)
    mistakes = {
        "That is the epoch before: the one whose weights it would put back, not the last one.": (
            expected - 1
        ),
        "That is the best epoch of the whole training: with less patience it may not get there.": (
            int(np.argmin(losses)) + 1
        ),
        "That is where training *loss* stops falling: it watches the validation loss.": last(
            history["loss"]
        ),
        "That follows the accuracy: it watches the validation loss.": last(
            [-accuracy for accuracy in history["val_accuracy"]]
        ),
        "That is a patience of two.": last(losses, 2),
    }
    return compare.number(answer, expected, 0.1, mistakes)


@exercise(
    "03.4",
    "np.rot90(images, axes=(1, 2)) turns each image; the largest of `network.predict`'s logits is "
    "the class. Compare the two predictions with each other; the labels don't matter.",
)
def quarter_turn(answer: object, network: object, images: np.ndarray) -> str | None:
    """Expect the fraction of images whose predicted class survives a quarter turn."""

    def predicted(shown: np.ndarray) -> np.ndarray:
        return network.predict(shown, verbose=0).argmax(axis=1)

    before = predicted(images)
    expected = (before == predicted(np.rot90(images, axes=(1, 2)))).mean()
    mirrored = (before == predicted(images[:, :, ::-1])).mean()
    half = (before == predicted(np.rot90(images, 2, axes=(1, 2)))).mean()
    clockwise = (before == predicted(np.rot90(images, -1, axes=(1, 2)))).mean()
    mistakes = {
        "That is the fraction that changes: the other one is asked for.": 1 - expected,
        "That number belongs to mirrored images, not to turned ones.": mirrored,
        "That number belongs to a half turn.": half,
        "That turn goes clockwise, and np.rot90 goes the other way.": clockwise,
    }
    tolerance = 0.5 / len(images)
    others = {text: v for text, v in mistakes.items() if abs(v - expected) > tolerance}
    return compare.number(answer, expected, tolerance, others)


@exercise("03.5", "Solve 1.96 * sqrt(p * (1 - p) / N) = 0.01 for N, with p = 0.94.")
def images_needed(answer: object) -> str | None:
    """Expect the number of images for an interval of one point to either side, within 10."""
    needed = 1.96**2 * 0.94 * 0.06
    mistakes = {
        "That interval is one point wide in all: one point to *either side* is asked for.": (
            needed / 0.005**2
        ),
        "The reach is 1 point, a fraction of 0.01, not 1 or 0.1.": needed / 0.1**2,
        "That is one standard error: the interval reaches 1.96 of them.": 0.94 * 0.06 / 0.01**2,
        "That is for an accuracy of 50 %: put in p = 0.94.": 1.96**2 * 0.25 / 0.01**2,
        "That takes 2 for 1.96: a rule of thumb, but the formula is asked for.": (
            2**2 * 0.94 * 0.06 / 0.01**2
        ),
        "The square is missing: N stands below a root.": 1.96 * np.sqrt(0.94 * 0.06) / 0.01,
    }
    return compare.number(answer, needed / 0.01**2, 10, mistakes)


@exercise(
    "03.6",
    "Where are CNN 1's weights? One more convolution with pooling before Flatten leaves the dense "
    "layer a quarter of its places.",
)
def fewer_weights(answer: object, reference: object, judge: object) -> str | None:
    """Expect a trained network of at most half the weights that is hardly less accurate.

    Args:
        answer: a Keras model from pixels (0-255) to logits.
        reference: the lesson's network.
        judge: the validation images, an `ImageSet`.
    """
    if not hasattr(answer, "predict") or not hasattr(answer, "count_params"):
        return "Hand over the trained Keras network itself."
    most = int(_WEIGHTS * reference.count_params())
    if answer.count_params() > most:
        return f"It has {answer.count_params():,} weights, and at most {most:,} are allowed."
    logits = answer.predict(judge.images, verbose=0)
    wanted = reference.predict(judge.images, verbose=0)
    if logits.shape != wanted.shape:
        return f"Its answers have the shape {logits.shape} instead of {wanted.shape}."
    correct, of_network = (of.argmax(axis=1) == judge.labels for of in (logits, wanted))
    gains = correct.astype(float) - of_network
    # Few images tell little apart: what counts is the upper end of the paired interval.
    highest = gains.mean() + 1.96 * gains.std(ddof=1) / np.sqrt(len(gains))
    if np.all(logits.argmax(axis=1) == logits[0].argmax()):
        return "It names one class for every image: was it trained, and on pixels from 0 to 255?"
    if highest < -_LOSS:
        return (
            f"It reaches {correct.mean():.1%}, and `network` {of_network.mean():.1%}: more than "
            "2 points below, beyond what so few images leave open."
        )
    return None
