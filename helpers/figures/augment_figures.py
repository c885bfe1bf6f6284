"""Plots of the notebook on augmentation; see `figures` for their rules."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from helpers.figures.style import PALETTE


def labelled_rows(rows: dict[str, np.ndarray], heading: str, gap: int = 6) -> Figure:
    """Show one row of images, uint8 (K, H, W, 3), for each key, which stands at its left.

    A row with fewer images than the longest is white at its end; `gap` is in pixels.
    """
    columns = max(len(images) for images in rows.values())
    height, width = next(iter(rows.values())).shape[1:3]
    canvas = np.full((len(rows) * (height + gap), columns * (width + gap), 3), 255, np.uint8)
    for row, images in enumerate(rows.values()):
        for column, image in enumerate(images):
            top, left = row * (height + gap), column * (width + gap)
            canvas[top : top + height, left : left + width] = image
    # One picture of all: an axis for each image would take seconds to lay out.
    figure, axis = plt.subplots(figsize=(0.62 * columns + 1.3, 0.62 * len(rows) + 0.5))
    axis.imshow(canvas, interpolation="nearest")
    axis.set_xticks([])
    axis.set_yticks(height / 2 + np.arange(len(rows)) * (height + gap), list(rows), fontsize=8)
    axis.grid(visible=False)
    axis.spines[:].set_visible(False)
    figure.suptitle(heading, fontsize=11, fontweight="bold", x=0.01, ha="left")
    return figure


def mean_changes(changes: pd.DataFrame, heading: str) -> Figure:
    """Show the mean of each column with its 95 % interval (normal, over images).

    Args:
        changes: a row an image, a column a way of augmenting: mean absolute change of the image's
            pixels, in grey values of 0-255.
        heading: what was found.
    """
    figure, axis = plt.subplots(figsize=(6.8, 0.36 * changes.shape[1] + 1.2))
    places = np.arange(changes.shape[1])
    errors = 1.96 * changes.sem()
    axis.errorbar(changes.mean(), places, xerr=errors, fmt="o", color=PALETTE[0], capsize=3)
    axis.set_yticks(places, changes.columns)
    axis.set_ylim(changes.shape[1] - 0.5, -0.5)
    axis.set(title=heading, xlabel="mean change of a pixel, of 255, with 95 % interval")
    return figure


def two_costs(once: float, every_epoch: float, epochs: int, heading: str) -> Figure:
    """Show seconds spent on augmentation after each epoch: paid once, or paid every epoch.

    Args:
        once: seconds to make one set of copies before training.
        every_epoch: seconds to draw one epoch's batches.
        epochs: length of the axis, at least 1.
        heading: what was found.
    """
    figure, axis = plt.subplots(figsize=(6.5, 3.2))
    axis.plot([1, epochs], [once, once], color=PALETTE[0], label="offline copies")
    drawn = [every_epoch, every_epoch * epochs]
    axis.plot([1, epochs], drawn, color=PALETTE[1], label="on the fly")
    axis.legend(fontsize=8)
    axis.set(title=heading, xlabel="epochs trained", ylabel="seconds of augmentation")
    axis.set_ylim(bottom=0)
    return figure
