"""Plots of the notebooks on transfer learning and fine-tuning; see `figures` for their rules."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from helpers.figures.style import CLEAN, PALETTE, SHIFTED


def feature_maps(
    image: np.ndarray, maps: dict[str, np.ndarray], heading: str, shown: int = 7
) -> Figure:
    """Show an image and, a row a layer, those feature maps that vary most over it.

    Args:
        image: uint8 (H, W, 3).
        maps: float (h, w, channels) of each layer, by the layer's title.
        heading: what was found.
        shown: maps a layer.
    """
    size = (8.2, 1.25 * len(maps) + 0.5)
    figure, axes = plt.subplots(len(maps), shown + 1, figsize=size, squeeze=False)
    for row, (title, layer) in zip(axes, maps.items(), strict=True):
        row[0].imshow(image)
        row[0].set_ylabel(title, fontsize=8)
        strongest = np.argsort(layer.std(axis=(0, 1)))[::-1][:shown]
        for axis, channel in zip(row[1:], strongest, strict=False):
            axis.imshow(layer[:, :, channel], cmap="viridis", interpolation="nearest")
        for axis in row:
            axis.set(xticks=[], yticks=[])
            axis.grid(visible=False)
    _titled(figure, heading)
    return figure


def projections(
    train: dict[str, np.ndarray],
    train_labels: np.ndarray,
    judged: dict[str, np.ndarray],
    judged_labels: np.ndarray,
    class_names: tuple[str, ...],
    heading: str,
) -> Figure:
    """Show images the network was not fitted to on the two directions that best part the classes.

    The directions are found on the training images alone, by linear discriminant analysis with
    Ledoit and Wolf's shrinkage (2004, J. Multivariate Analysis 88:365).

    Args:
        train, judged: float (N, D) for each kind of features, by its title.
        train_labels, judged_labels: int (N,).
        class_names: one name a class.
        heading: what was found.
    """
    figure, axes = plt.subplots(1, len(train), figsize=(9, 3.7), squeeze=False)
    for axis, (title, features) in zip(axes[0], train.items(), strict=True):
        directions = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto", n_components=2)
        directions.fit(features, train_labels)
        places = directions.transform(judged[title])
        for label, name in enumerate(class_names):
            x, y = places[judged_labels == label].T
            axis.scatter(x, y, s=7, color=PALETTE[label % len(PALETTE)], label=name)
        axis.set(xticks=[], yticks=[])
        axis.set_title(title, fontweight="normal")
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, fontsize=8, ncols=4, markerscale=2, loc="outside lower center")
    _titled(figure, heading)
    return figure


def costs(bars: dict[str, tuple[float, float]], heading: str, parts: tuple[str, str]) -> Figure:
    """Show stacked horizontal bars in seconds: (paid once, paid in every epoch) of each way."""
    figure, axis = plt.subplots(figsize=(6.8, 0.55 * len(bars) + 1.5))
    table = pd.DataFrame(bars, index=parts)
    left = np.zeros(len(bars))
    for (part, seconds), colour in zip(table.iterrows(), PALETTE, strict=False):
        axis.barh(table.columns, seconds, left=left, color=colour, label=part)
        left += seconds.to_numpy()
    for place, total in enumerate(left):
        axis.text(total, place, f" {total:,.1f} s", va="center", fontsize=9)
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
    axis.margins(x=0.15)
    axis.set(xlabel="seconds")
    axis.legend(fontsize=8, loc="lower right")
    _titled(figure, heading)
    return figure


def swish(x: np.ndarray, curves: dict[str, np.ndarray], heading: str) -> Figure:
    """Show activation functions y(x), each float (N,), the first as a thick line."""
    figure, axis = plt.subplots(figsize=(6.0, 3.4))
    for index, (name, y) in enumerate(curves.items()):
        style = {"lw": 3} if index == 0 else {"lw": 1.8, "ls": "--"}
        axis.plot(x, y, color=PALETTE[index], label=name, **style)
    axis.axhline(0, color="0.3", lw=0.8)
    axis.axvline(0, color="0.3", lw=0.8)
    axis.set(xlabel="x", ylabel="f(x)", ylim=(-1, 7.5))
    axis.legend(fontsize=9, loc="upper left")
    _titled(figure, heading)
    return figure


def batch_dependence(changes: dict[str, np.ndarray], heading: str) -> Figure:
    """Show how far each image's features move when its companions in the batch change.

    Args:
        changes: float (images,) for each mode of batch normalisation, by its name.
        heading: what was found.
    """
    figure, axis = plt.subplots(figsize=(6.5, 2.6))
    for (name, change), colour in zip(changes.items(), (SHIFTED, CLEAN), strict=False):
        axis.plot(np.arange(1, len(change) + 1), change, "o", ms=5, color=colour, label=name)
    axis.set(xlabel="image", ylabel="relative change")
    axis.yaxis.set_major_formatter("{x:.0%}")
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.legend(fontsize=8)
    _titled(figure, heading)
    return figure


def block_changes(changes: dict[str, pd.Series], heading: str) -> Figure:
    """Show, block by block, how far training moved the kernels from where they started.

    Args:
        changes: the relative change (norm of the change over norm of the start) indexed by the
            block's name, for each training, by its name.
        heading: what was found.
    """
    figure, axis = plt.subplots(figsize=(7.6, 3.4))
    for (name, change), colour in zip(changes.items(), PALETTE, strict=False):
        axis.plot(change.index, change, "o-", ms=4, color=colour, label=name)
    axis.tick_params(axis="x", rotation=60, labelsize=8)
    axis.set(ylabel="relative change of kernels", ylim=(0, None))
    axis.yaxis.set_major_formatter("{x:.1%}")
    axis.legend(fontsize=8)
    _titled(figure, heading)
    return figure


def accuracy_and_cost(table: pd.DataFrame, heading: str) -> Figure:
    """Show accuracy against milliseconds an image, the marker's area by the parameters.

    Args:
        table: a row a backbone (its title the index); columns "ms an image", "parameters",
            and "value", "low", "high" of the accuracy, 0-1.
        heading: what was found.
    """
    figure, axis = plt.subplots(figsize=(6.5, 3.6))
    errors = [table["value"] - table["low"], table["high"] - table["value"]]
    axis.errorbar(table["ms an image"], table["value"], yerr=errors, fmt="none", ecolor="0.5")
    axis.scatter(table["ms an image"], table["value"], s=table["parameters"] / 3e4, alpha=0.7)
    slowest = table["ms an image"].max()
    for index, (name, row) in enumerate(table.sort_values("ms an image").iterrows()):
        place = (row["ms an image"], row["value"])
        # Towards the middle, so that no label leaves the axes.
        side, offset = ("left", 9) if place[0] < slowest / 2 else ("right", -9)
        axis.annotate(
            f"{name}, {row['parameters'] / 1e6:.1f} M",
            place,
            xytext=(offset, -14 if index % 2 else 6),
            textcoords="offset points",
            ha=side,
            fontsize=8,
        )
    axis.margins(y=0.15)
    axis.set_xlim(0, 1.1 * slowest)
    axis.set(xlabel="milliseconds an image", ylabel="accuracy")
    axis.yaxis.set_major_formatter("{x:.1%}")
    _titled(figure, heading)
    return figure


def _titled(figure: Figure, heading: str) -> None:
    """Begin the title at the figure's left edge: wide labels leave little room above the axes."""
    figure.suptitle(heading, fontsize=11, fontweight="bold", x=0.01, ha="left")
