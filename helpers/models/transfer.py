"""What the notebooks on transfer learning and fine-tuning measure of backbones."""

from collections.abc import Iterable

import keras
import numpy as np
import pandas as pd

from helpers.evaluation import timing
from helpers.models import backbones, weights


def kernel_changes(trained: keras.Model, start: keras.Model) -> pd.Series:
    """Return how far training moved the kernels of each block.

    Args:
        trained, start: the same backbone after and before training.

    Returns:
        The mean over a block's kernels of norm(change) / norm(start), indexed by the first part of
        its layers' names ("block2a"), in the order of the network.
    """
    changes: dict[str, list[float]] = {}
    for after, before in zip(trained.layers, start.layers, strict=True):
        if hasattr(after, "kernel"):
            old, new = before.kernel.numpy(), after.kernel.numpy()
            change = np.linalg.norm(new - old) / np.linalg.norm(old)
            changes.setdefault(before.name.split("_")[0], []).append(float(change))
    return pd.Series({block: np.mean(values) for block, values in changes.items()})


def backbone_costs(names: Iterable[str], images: np.ndarray) -> pd.DataFrame:
    """Return what backbones cost in use, measured with random weights, which cost the same.

    Args:
        names: keys of `backbones.BACKBONES`.
        images: uint8 (N, 96, 96, 3), one batch.

    Returns:
        A row a backbone, its title the index: "parameters" and "ms an image".
    """
    rows = {}
    for name in names:
        model = weights.load_backbone(name, pretrained=False)
        seconds = timing.seconds_per_call(lambda model=model: model(images, training=False), 1)
        rows[backbones.BACKBONES[name].title] = (model.count_params(), 1000 * seconds / len(images))
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["parameters", "ms an image"])
    return table.astype({"parameters": int}).rename_axis("backbone")
