"""Making a class rare on purpose, and a linear model that shows what that does."""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def rows_with_rare_class(labels: np.ndarray, rare: int, keep: int, seed: int) -> np.ndarray:
    """Return the rows that remain, sorted, when only `keep` images of one class are kept.

    Args:
        labels: int (N,).
        rare: the class to make rare.
        keep: how many of its images stay, chosen at random by `seed`.
    """
    of_class = np.flatnonzero(labels == rare)
    kept = np.random.default_rng(seed).choice(of_class, keep, replace=False)
    return np.sort(np.concatenate([np.flatnonzero(labels != rare), kept]))


def linear_logits(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    features: np.ndarray,
    class_weight: str | None = None,
) -> np.ndarray:
    """Return logits (N, classes) of a logistic regression on standardised features.

    Args:
        train_features: float (M, D).
        train_labels: int (M,), every class from 0 to the largest present.
        features: float (N, D) to predict.
        class_weight: None, or "balanced" for scikit-learn's inverse class shares.
    """
    regression = LogisticRegression(C=0.01, max_iter=300, class_weight=class_weight)
    model = make_pipeline(StandardScaler(), regression)
    return model.fit(train_features, train_labels).decision_function(features)
