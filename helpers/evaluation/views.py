"""Test-time augmentation: the eight views of a cell, and what a network says of all of them."""

import numpy as np

from helpers.evaluation import metrics
from helpers.models import networks

VIEWS = 8


def view(images: np.ndarray, number: int) -> np.ndarray:
    """Return images (N, H, H, 3) turned by `number` % 4 quarters, from 4 on mirrored first.

    Args:
        images: of any dtype, square.
        number: 0 to 7; 0 is the image as it is.
    """
    sides = images if number < 4 else images[:, :, ::-1]
    return np.ascontiguousarray(np.rot90(sides, number % 4, axes=(1, 2)))


def mean_logits(model, images: np.ndarray) -> np.ndarray:
    """Return the logarithm of the mean probability over the eight views, float32 (N, classes).

    Its softmax is that mean. The same average as a submission's with VIEWS = 8.

    Args:
        model: takes images (N, 96, 96, 3) in 0-255, returns logits.
        images: uint8 (N, 96, 96, 3).
    """
    shares = [
        metrics.softmax(networks.predict_logits(model, view(images, number)))
        for number in range(VIEWS)
    ]
    return np.log(np.mean(shares, axis=0) + np.finfo(np.float32).tiny).astype(np.float32)
