"""The charts that notebooks and the course report share, from plain arrays, dicts and tables."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from helpers.evaluation.metrics import Estimate
from helpers.figures.style import CLEAN, PALETTE

MARKERS = ("o", "s", "D", "^")


# A gap that would squeeze the other rows (a fraction: 10 points).
FAR = 0.1


def dots(
    table: Mapping[str, Mapping[str, Estimate | None]],
    heading: str,
    axis_label: str = "accuracy in %, with 95 % interval",
) -> Figure:
    """Show estimates (0-1) as dots with their intervals and values, a row for each key.

    Args:
        table: {row: {series: estimate, or None where nothing was measured}}; all rows have the
            series of the first, at most four, such as image sets or models: a colour each.
        heading: what was found.
        axis_label: what the values are, and what the intervals.
    """
    series = list(next(iter(table.values())))
    figure, (axis,) = _row_axes(table, 1, max(1.75, 1.25 * len(series)))
    for index, name in enumerate(series):
        offset = 0.8 / len(series) * (index - (len(series) - 1) / 2)
        _series(axis, [row[name] for row in table.values()], offset, _style(index, name))
    if len(series) > 1:
        figure.legend(loc="outside lower left", ncols=len(series))
    _finish_rows(figure, table, axis_label, ticks=8)
    figure.suptitle(heading)
    return figure


def dot_panels(
    table: Mapping[str, Mapping[str, Estimate | None]],
    heading: str,
    axis_label: str,
    *,
    same_scale: bool = False,
    quoted: Mapping[str, Mapping[str, float]] | None = None,
) -> Figure:
    """Show the same as `dots`, each series in a panel of its own.

    Args:
        table, heading, axis_label: see `dots`.
        same_scale: one scale for all panels, so that distances can be compared across them;
            otherwise a row far below the others is an arrow at its panel's edge.
        quoted: numbers (0-1) published elsewhere, by row and series: open diamonds.
    """
    series = list(next(iter(table.values())))
    figure, axes = _row_axes(table, len(series), 1.75, sharex=same_scale)
    for index, (axis, name) in enumerate(zip(axes, series, strict=True)):
        estimates = [row[name] for row in table.values()]
        style = _style(index, name)
        _series(axis, estimates, 0, style)
        if not same_scale:
            _leave_out_far_rows(axis, estimates, style["color"])
        elsewhere = [(quoted or {}).get(row, {}).get(name) for row in table]
        diamonds = [(value, place) for place, value in enumerate(elsewhere) if value is not None]
        if diamonds:
            look = {"color": "0.25", "marker": "D", "fillstyle": "none", "ls": "", "ms": 4}
            axis.plot(*zip(*diamonds, strict=True), **look)
        axis.set_title(style["label"])
    _finish_rows(figure, table, axis_label, ticks=4)
    figure.suptitle(heading)
    return figure


def _row_axes(
    table: Mapping, panels: int, line: float, sharex: bool = False
) -> tuple[Figure, list[Axes]]:
    """Return a figure whose height gives each row of the table `line` lines of text."""
    points = plt.rcParams["font.size"]
    size = (8.0, (line * len(table) + 7) * points / 72)
    figure, axes = plt.subplots(1, panels, figsize=size, sharey=True, sharex=sharex, squeeze=False)
    return figure, list(axes[0])


def _style(index: int, name: str) -> dict:
    label = str(name).replace("_", " ")
    return {"color": PALETTE[index], "marker": MARKERS[index], "label": label}


def _finish_rows(figure: Figure, table: Mapping, axis_label: str, ticks: int) -> None:
    for axis in figure.axes:
        axis.set(ylim=(len(table) - 0.5, -0.5), xlabel=axis_label)
        axis.xaxis.set_major_formatter(lambda value, _: f"{100 * value:g}")
        axis.locator_params(axis="x", nbins=ticks, steps=[1, 2, 5, 10])
        axis.grid(axis="y", visible=False)
        axis.tick_params(length=0)
        axis.spines[["top", "right", "left"]].set_visible(False)
    figure.axes[0].set_yticks(range(len(table)), [str(row).replace("_", " ") for row in table])


def _series(axis: Axes, estimates: Sequence[Estimate | None], offset: float, style: dict) -> None:
    found = [(place + offset, e) for place, e in enumerate(estimates) if e is not None]
    places = [place for place, _ in found]
    values, lows, highs = ([getattr(e, k) for _, e in found] for k in ("value", "low", "high"))
    axis.hlines(places, lows, highs, color=style["color"], lw=1.4)
    axis.plot(values, places, ms=0.5 * plt.rcParams["font.size"], ls="", **style)
    for place, value in zip(places, values, strict=True):
        # In a column of their own, where they cross neither intervals nor quoted numbers.
        where = {"xycoords": ("axes fraction", "data"), "va": "center", "fontsize": "small"}
        axis.annotate(f"{100 * value:.1f}", (1.02, place), color=style["color"], **where)


def _leave_out_far_rows(axis: Axes, estimates: Sequence[Estimate | None], colour: str) -> None:
    """Give the axis to the other rows where one lies far below: an arrow at the edge stands for it.

    Far is three interquartile ranges below the lower quartile (Tukey 1977, Exploratory Data
    Analysis, "far out"), and at least FAR below it, since a smaller gap fits on the axis.
    """
    values = np.array([np.nan if e is None else e.value for e in estimates])
    lower, upper = np.nanpercentile(values, [25, 75])
    far = np.flatnonzero(values < lower - max(3 * (upper - lower), FAR))
    if not far.size:
        return
    near = [e for k, e in enumerate(estimates) if e is not None and k not in far]
    low, high = min(e.low for e in near), max(e.high for e in near)
    margin = 0.08 * (high - low)
    axis.set_xlim(low - margin, high + margin)
    style = {"color": colour, "marker": "<", "ls": "", "ms": 0.55 * plt.rcParams["font.size"]}
    axis.plot(np.full(far.size, 0.03), far, transform=axis.get_yaxis_transform(), **style)


def bars(values: pd.Series | pd.DataFrame, heading: str, axis_label: str) -> Figure:
    """Show one horizontal bar per row, its value at its end; a table's columns are stacked."""
    table = values.to_frame() if isinstance(values, pd.Series) else values
    figure, axis = plt.subplots(figsize=(6.8, 0.34 * len(table) + 1.1))
    rows, left = [str(name) for name in table.index], np.zeros(len(table))
    for (name, column), colour in zip(table.items(), PALETTE, strict=False):
        drawn = axis.barh(rows, column, left=left, color=colour, label=name)
        left = left + column.to_numpy()
    axis.bar_label(drawn, labels=[f"{total:,.6g}" for total in left], padding=3, fontsize=9)
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
    axis.margins(x=0.12)
    axis.set(xlabel=axis_label)
    if table.shape[1] > 1:
        figure.legend(loc="outside lower left", ncols=table.shape[1])
    figure.suptitle(heading)
    return figure


def learning_curves(histories: dict[str, dict[str, list[float]]], heading: str) -> Figure:
    """Show loss and accuracy per epoch, training dashed and validation solid, a colour a model.

    The legend names the models where there are several.

    Args:
        histories: as Keras returns them: "loss", "accuracy", "val_loss", "val_accuracy", each a
            float per epoch; what no model has is left out.
        heading: what was found.
    """
    kept = [m for m in ("loss", "accuracy") if any(m in h for h in histories.values())]
    several = len(histories) > 1
    figure, axes = plt.subplots(1, len(kept), figsize=(4.2 * len(kept), 3.4), squeeze=False)
    for axis, measure in zip(axes[0], kept, strict=True):
        for colour, (name, history) in zip(PALETTE, histories.items(), strict=False):
            for key, line in ((measure, "--"), (f"val_{measure}", "-")):
                values = history.get(key, [])
                marker = "o" if len(values) < 20 else None
                style = {"color": colour, "marker": marker, "ms": 3}
                axis.plot(range(1, len(values) + 1), values, line, **style)
            if several:
                axis.plot([], [], color=colour, label=name)
        for key, line, label in (
            (measure, "--", "training"),
            (f"val_{measure}", "-", "validation"),
        ):
            if any(key in history for history in histories.values()):
                axis.plot([], [], line, color="0.2" if several else PALETTE[0], label=label)
        axis.set(xlabel="epoch", ylabel=measure, ylim=(0, None) if measure == "loss" else None)
        axis.xaxis.get_major_locator().set_params(integer=True)
    if "accuracy" in kept:
        axes[0, -1].yaxis.set_major_formatter(PercentFormatter(1))
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower left", ncols=4)
    figure.suptitle(heading)
    return figure


def confusion(
    matrices: Mapping[str, np.ndarray],
    class_names: Sequence[str],
    heading: str,
    width: float = 6.8,
) -> Figure:
    """Show counts, int (classes, classes) by title, coloured as a fraction of the true class."""
    size = (width, width / len(matrices) * (0.84 if len(matrices) > 1 else 0.8))
    figure, axes = plt.subplots(1, len(matrices), figsize=size, squeeze=False, sharey=True)
    style = {"fmt": "", "cmap": "Blues", "vmin": 0, "vmax": 1, "square": True, "linewidths": 0.5}
    for place, (axis, (title, matrix)) in enumerate(zip(axes[0], matrices.items(), strict=True)):
        fractions = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        sns.heatmap(
            fractions,
            annot=np.where(matrix == 0, "", matrix.astype(str)),
            **style,
            xticklabels=class_names,
            yticklabels=class_names,
            cbar=place == len(matrices) - 1,
            cbar_kws={"label": "of the true class", "format": PercentFormatter(1), "shrink": 0.7},
            annot_kws={"fontsize": "small"},
            ax=axis,
        )
        axis.set(title=title, xlabel="predicted", ylabel="" if place else "true")
        axis.tick_params(axis="x", rotation=40, length=0)
        axis.tick_params(axis="y", length=0)
        plt.setp(axis.get_xticklabels(), ha="right")
    figure.suptitle(heading)
    return figure


def labelled_points(
    points: Mapping[str, tuple[float, Estimate | float]], heading: str, x_label: str, y_label: str
) -> Figure:
    """Show {name: (x, fraction in 0-1 or its estimate)}, each name in its point's own colour."""
    figure, axis = plt.subplots(figsize=(6.8, 4.2))
    middle = np.mean([min(x for x, _ in points.values()), max(x for x, _ in points.values())])
    for index, (name, (x, y)) in enumerate(sorted(points.items(), key=lambda of: of[1][0])):
        colour = PALETTE[index % len(PALETTE)]
        value = y.value if isinstance(y, Estimate) else y
        if isinstance(y, Estimate):
            axis.vlines(x, y.low, y.high, color=colour, lw=1.2)
        axis.plot(x, value, "o", color=colour)
        side, offset = ("left", 8) if x <= middle else ("right", -8)
        style = {"textcoords": "offset points", "ha": side, "va": "center", "fontsize": 9}
        # Neighbours along the axis get their names a little above and below in turn.
        place = (offset, 6 if index % 2 else -6)
        axis.annotate(name, (x, value), xytext=place, color=colour, **style)
    axis.margins(x=0.12, y=0.15)
    axis.set(xlabel=x_label, ylabel=y_label)
    axis.yaxis.set_major_formatter(PercentFormatter(1))
    figure.suptitle(heading)
    return figure


def reliability(tables: Mapping[str, pd.DataFrame], heading: str) -> Figure:
    """Show accuracy against confidence, a panel per table; on the diagonal a model can be believed.

    Args:
        tables: with "confidence", "accuracy", "low", "high" (0-1) and "images", a row per bin, by
            the panel's title, in which its calibration error may stand; two to four.
        heading: what was found.
    """
    size = (2.3 * len(tables) + 0.7, 3.4)
    figure, axes = plt.subplots(1, len(tables), figsize=size, squeeze=False, sharey=True)
    for axis, (title, table) in zip(axes[0], tables.items(), strict=True):
        errors = [table["accuracy"] - table["low"], table["high"] - table["accuracy"]]
        axis.plot([0, 1], [0, 1], ls="--", lw=1, color="0.4")
        axis.errorbar(table["confidence"], table["accuracy"], yerr=errors, color=CLEAN, lw=1.2)
        areas = 20 + 110 * table["images"] / table["images"].sum()
        axis.scatter(table["confidence"], table["accuracy"], s=areas, color=CLEAN, zorder=3)
        axis.set(xlim=(0, 1.06), ylim=(0, 1.06), aspect="equal", xlabel="confidence", title=title)
        axis.set_xticks([0, 0.5, 1], ["0", "50%", "100%"], fontsize=9)
        axis.set_yticks([0, 0.5, 1], ["0", "50%", "100%"], fontsize=9)
    axes[0, 0].set_ylabel("accuracy, with 95 % interval")
    figure.suptitle(heading)
    return figure
