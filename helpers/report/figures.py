"""The report's figures, as vectors, from plain arrays and dicts; the same bytes in every build."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from helpers.evaluation.metrics import Estimate
from helpers.figures.style import CLEAN, SHIFTED
from helpers.files import replaced

# Widths of one column and of the whole page of the two-column report, inches.
COLUMN, PAGE = 3.3, 6.9

STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 7,
    "axes.titlesize": 7.5,
    "axes.titleweight": "bold",
    "axes.labelsize": 7,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "axes.edgecolor": "0.6",
    "axes.linewidth": 0.6,
    "grid.color": "0.88",
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    "figure.constrained_layout.use": True,
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "report",
}


@dataclass(frozen=True)
class Panel:
    """One column of dots beside the others.

    Attributes:
        title: what the dots are measured on.
        estimates: one a row: value, low and high in 0-1.
        quoted: one a row: a number published elsewhere (0-1), or None.
    """

    title: str
    estimates: Sequence[Estimate]
    quoted: Sequence[float | None] = ()


def side_by_side(
    rows: Sequence[str],
    panels: Sequence[Panel],
    heading: str,
    width: float,
    same_scale: bool = False,
) -> Figure:
    """Show one row a model and one panel an image set: a dot, its interval and its value.

    Args:
        rows: names of the models.
        panels: at least one; the first is drawn in the colour of clean images.
        heading: what was found.
        width: inches.
        same_scale: give all panels one axis, so that distances can be compared across them.
    """
    # A bold character of 8 points is about two thirds of them wide.
    heading = textwrap.fill(heading, int(width * 72 / (8 * 0.66)))
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            1,
            len(panels),
            figsize=(width, 0.175 * len(rows) + 0.75 + 0.13 * heading.count("\n")),
            sharey=True,
            sharex=same_scale,
            squeeze=False,
        )
        for axis, panel, colour in zip(axes[0], panels, (CLEAN, SHIFTED), strict=True):
            _dots(axis, panel, colour)
            if not same_scale:
                _leave_out_far_rows(axis, panel, colour)
        axes[0, 0].set_yticks(range(len(rows)), rows)
        axes[0, 0].invert_yaxis()
        figure.suptitle(heading, x=0.01, ha="left", fontsize=8, fontweight="bold")
        figure.draw_without_rendering()
    return figure


def _dots(axis: Axes, panel: Panel, colour: str) -> None:
    places = np.arange(len(panel.estimates))
    values = np.array([e.value for e in panel.estimates])
    lows, highs = (np.array([getattr(e, end) for e in panel.estimates]) for end in ("low", "high"))
    axis.hlines(places, lows, highs, color=colour, linewidth=1.4)
    axis.plot(values, places, "o", color=colour, markersize=3.4)
    for place, value in zip(places, values, strict=True):
        # In a column of their own, where they cross neither intervals nor quoted numbers.
        style = {"xycoords": ("axes fraction", "data"), "va": "center", "fontsize": 6.5}
        axis.annotate(f"{100 * value:.1f}", (1.02, place), color=colour, **style)
    quoted = [(value, place) for place, value in enumerate(panel.quoted) if value is not None]
    if quoted:
        style = {"color": "0.25", "fillstyle": "none", "markersize": 4, "linestyle": ""}
        axis.plot(*zip(*quoted, strict=True), marker="D", **style)
    axis.set_title(panel.title, loc="left")
    axis.grid(axis="x")
    axis.tick_params(length=0)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.margins(x=0.08, y=0.06)
    axis.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f}")
    axis.locator_params(axis="x", nbins=4, steps=[1, 2, 5, 10])
    axis.set_xlabel("right, %")


def _leave_out_far_rows(axis: Axes, panel: Panel, colour: str) -> None:
    """Give the axis to the other rows where one lies far below: an arrow at the edge stands for it.

    Far is three interquartile ranges below the lower quartile (Tukey 1977, Exploratory Data
    Analysis, "far out").
    """
    values = np.array([estimate.value for estimate in panel.estimates])
    lower, upper = np.percentile(values, [25, 75])
    far = values < lower - 3 * (upper - lower)
    if not far.any():
        return
    low = min(e.low for e, is_far in zip(panel.estimates, far, strict=True) if not is_far)
    high = max(e.high for e in panel.estimates)
    margin = 0.08 * (high - low)
    axis.set_xlim(low - margin, high + margin)
    edges = np.full(far.sum(), 0.03)
    places = np.flatnonzero(far)
    style = {"color": colour, "marker": "<", "markersize": 4, "linestyle": ""}
    axis.plot(edges, places, transform=axis.get_yaxis_transform(), **style)


def confusions(matrices: dict[str, np.ndarray], class_names: Sequence[str], heading: str) -> Figure:
    """Show int (classes, classes) counts beside each other, by title; colour is the row's share."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, len(matrices), figsize=(PAGE, 3.3), sharey=True)
        for axis, (title, matrix) in zip(axes, matrices.items(), strict=True):
            _matrix(axis, matrix)
            axis.set(title=title, xlabel="predicted")
            axis.title.set_horizontalalignment("center")
            axis.set_xticks(range(len(class_names)), class_names, rotation=40, ha="right")
        axes[0].set_yticks(range(len(class_names)), class_names)
        axes[0].set_ylabel("true")
        axes[0].invert_yaxis()
        figure.suptitle(heading, x=0.01, ha="left", fontsize=8, fontweight="bold")
        figure.draw_without_rendering()
    return figure


def _matrix(axis: Axes, matrix: np.ndarray) -> None:
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    places = np.arange(len(matrix))
    style = {"cmap": "Blues", "vmin": 0, "vmax": 1, "edgecolor": "white", "linewidth": 0.6}
    axis.pcolormesh(places, places, shares, shading="nearest", **style)
    for (true, predicted), count in np.ndenumerate(matrix):
        if count:
            colour = "white" if shares[true, predicted] > 0.5 else "0.15"
            style = {"ha": "center", "va": "center", "color": colour, "fontsize": 6.5}
            axis.annotate(f"{count}", (predicted, true), **style)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    axis.set_aspect("equal")


def write(figure: Figure, folder: Path, name: str) -> None:
    """Write a figure as name.pdf and name.svg, without dates, and close it."""
    with plt.rc_context(STYLE):
        for ending, metadata in (("pdf", {"CreationDate": None}), ("svg", {"Date": None})):
            with replaced(folder / f"{name}.{ending}") as temporary:
                figure.savefig(temporary, format=ending, metadata=metadata)
    plt.close(figure)
