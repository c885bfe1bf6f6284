"""Checks of 07_imbalance."""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from exercises import compare, exercise

KEPT = (5, 10, 20, 40, 80)


@exercise("07.1", "The F1 of a class that is never predicted is 0, and every class counts.")
def lazy_macro_f1(answer: object, *, labels: np.ndarray) -> str | None:
    """Expect the macro F1 of a model that always answers with the largest class."""
    counts = np.bincount(labels)
    fraction = counts.max() / counts.sum()
    f1 = 2 * fraction / (1 + fraction)
    return compare.number(
        answer,
        f1 / len(counts),
        tolerance=2e-3,
        mistakes={
            "That is the accuracy.": fraction,
            "That is the F1 of the one class: the others count too, with 0.": f1,
            "That averages recall, not F1.": 1 / len(counts),
        },
    )


@exercise(
    "07.2", "Which sum counts the images that were *given* a name: over rows or over columns?"
)
def precision_matrix(answer: object, *, matrix: np.ndarray) -> str | None:
    """Expect the confusion matrix with the classes' precision on its diagonal."""
    columns = matrix / matrix.sum(axis=0, keepdims=True)
    found = np.asarray(answer)
    if found.shape == matrix.shape:
        if np.allclose(found, matrix / matrix.sum(axis=1, keepdims=True)):
            return "The diagonal of that holds recall: it divides by the row sums."
        if np.allclose(found, matrix / matrix.sum(axis=0)[:, None]):
            return "The column sums are laid along the rows: mind the axis of the division."
        if np.allclose(found, matrix / matrix.sum(axis=1)):
            return "The row sums are laid along the columns, and precision needs the column sums."
        if np.allclose(found, matrix / matrix.sum()):
            return "That divides by the number of all images."
        if np.allclose(found, 100 * columns, atol=1):
            return "Those are percentages: give fractions, between 0 and 1."
    return compare.array(answer, columns, tolerance=5.1e-3)


@exercise("07.3", "Multiply the logarithm of the frequencies by tau before you subtract it.")
def adjustment(answer: object) -> str | None:
    """Expect a function that adjusts logits by class frequencies, with a strength `tau`."""
    if not callable(answer):
        return "A function is expected."
    logits, counts = np.array([[2.0, 1.0, 0.5], [0.0, 3.0, 1.0]]), np.array([600, 300, 100])
    log_frequency = np.log(counts / counts.sum())
    for tau in (0.0, 1.0, 0.5, 2.0):
        with np.errstate(all="ignore"):  # a wrong formula may divide by zero
            found = answer(logits, counts, tau)
        if found is None:
            return "It returns nothing: is the function still empty?"
        found = np.asarray(found, float)
        # A number added to all logits of an image changes no decision.
        with np.errstate(all="ignore"):
            differences = found - found[..., :1]
        expected = logits - tau * log_frequency
        expected = expected - expected[..., :1]
        if found.shape != logits.shape:
            return f"It returns the shape {found.shape} for logits of shape {logits.shape}."
        if np.allclose(differences, expected):
            continue
        added = logits + tau * log_frequency
        if np.allclose(differences, added - added[..., :1]):
            return "It adds the logarithm, which favours the frequent classes: subtract it."
        if tau == 0:
            return "At tau = 0 the decisions should stay as they are."
        return f"At tau = {tau:g} the logits are not those of the formula."
    return None


@exercise(
    "07.4", "Keep the first n rows of the rare class and all others; the probe is the lesson's."
)
def images_needed(answer: object, *, train: tuple, validation: tuple, rare: int) -> str | None:
    """Expect the first of `KEPT` at which a probe finds more than half of the rare class."""
    (features, labels), (validation_features, validation_labels) = train, validation
    of_rare, is_rare = np.flatnonzero(labels == rare), validation_labels == rare
    tried = [count for count in KEPT if count <= len(of_rare)] or [len(of_rare)]
    recalls = []
    for count in tried:
        rows = np.setdiff1d(np.arange(len(labels)), of_rare[count:])
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=500))
        probe.fit(features[rows], labels[rows])
        recalls.append((probe.predict(validation_features[is_rare]) == rare).mean())
    above = [count for count, recall in zip(tried, recalls, strict=True) if recall > 0.5]
    expected = above[0] if above else tried[-1]
    mistakes = {
        "Recall is still at most one half there.": tried[max(0, tried.index(expected) - 1)],
        "A smaller number suffices.": tried[min(len(tried) - 1, tried.index(expected) + 1)],
    }
    if answer not in KEPT and answer != expected:
        return compare.number(answer, expected) and f"Give one of the numbers {tried}."
    return compare.number(answer, expected, mistakes=mistakes)


@exercise(
    "07.5", "Other values of tau, chosen by cross-validation on the training rows, are one way."
)
def better_rule(answer: object, *, baseline: np.ndarray, labels: np.ndarray) -> str | None:
    """Expect logits with a higher macro F1 than the baseline's, float (N, classes)."""
    found = np.asarray(answer)
    if found.shape == labels.shape:
        return "Those are classes: hand in logits, one per class."
    if found.shape != baseline.shape:
        return f"Logits of shape {baseline.shape} are expected, not {found.shape}."
    yours, ours = (
        f1_score(labels, each.argmax(axis=1), average="macro") for each in (found, baseline)
    )
    if ours == 1:
        return compare.TOO_EASY.format(ours)
    if yours <= ours:
        return f"Its macro F1 is {yours:.3f}, and logit adjustment has {ours:.3f}."
    return None
