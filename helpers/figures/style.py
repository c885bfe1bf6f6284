"""Figures: one look, one way to save, and the plots that several notebooks share.

Plot functions take plain arrays, dicts and data frames, and return a matplotlib Figure. A title
says what was found; the caption, added on saving, says from which images and in which profile.
"""

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import display
from matplotlib.figure import Figure

from helpers import course
from helpers.data.photographs import Source
from helpers.evaluation import records
from helpers.evaluation.metrics import Estimate
from helpers.files import replaced

PALETTE = ("#4053d3", "#b51d14", "#ddb310", "#00b25d", "#00beff", "#fb49b0", "#8c6d31", "#7d7d7d")
CLEAN, SHIFTED = PALETTE[0], PALETTE[1]


def use_course_style() -> None:
    """Set fonts, grid and colours (colour-blind safe) for every figure that follows."""
    sns.set_theme(style="whitegrid", context="notebook", palette=PALETTE)
    plt.rcParams.update(
        {
            "figure.dpi": 80,
            "savefig.dpi": 150,
            "figure.constrained_layout.use": True,
            "axes.titlesize": 11,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "pdf.fonttype": 42,
            "svg.fonttype": "none",
        }
    )


def save(figure: Figure, name: str, source: Source) -> None:
    """Add the caption, write the figure as PNG and vector PDF, and show it.

    Full runs on photographs write to report/figures/, others to build/<source>-<profile>/figures/.
    The PDF is byte-identical for the same figure.

    Args:
        figure: the figure; it is shown in a notebook and closed.
        name: file name without ending, "02_leakage".
        source: where its images came from.
    """
    alternative = _heading(figure)
    _wrap_titles(figure)
    caption = f"{source.caption} · {course.profile().name} profile"
    figure.supxlabel(caption, fontsize=7, color="0.45", x=0.995, ha="right")
    folder = records.folder(source) / "figures"
    for ending, metadata in ((".png", {"Software": None}), (".pdf", {"CreationDate": None})):
        with replaced(folder / f"{name}{ending}") as temporary:
            figure.savefig(temporary, metadata=metadata)
    # Not plt.show(): a notebook stores the heading with the image, for readers who cannot see it.
    display(figure, metadata={"image/png": {"alt": f"{alternative} ({caption})"}})
    plt.close(figure)


def _heading(figure: Figure) -> str:
    """Return what the figure's headings say, those of its single images left out."""
    titles = [figure.get_suptitle(), *(axis.get_title(loc="left") for axis in figure.axes)]
    return "; ".join(title for title in titles if title)


def _wrap_titles(figure: Figure) -> None:
    """Break titles that are wider than what they stand over; a title says more than a few words."""
    inches_per_character = 0.6 * plt.rcParams["axes.titlesize"] / 72
    figure.draw_without_rendering()
    for axis in figure.axes:
        width = axis.get_window_extent().width / figure.dpi
        title = axis.get_title(loc="left")
        axis.set_title(textwrap.fill(title, max(10, int(width / inches_per_character))), loc="left")
    if figure.get_suptitle():
        width = 0.98 * figure.get_figwidth() / inches_per_character
        wrapped = textwrap.fill(figure.get_suptitle(), int(width))
        figure.suptitle(wrapped, fontsize=11, fontweight="bold", x=0.01, ha="left")


def contact_sheet(
    images: np.ndarray, titles: list[str] | None, columns: int, heading: str, scale: float = 1.0
) -> Figure:
    """Show images (N, H, W, 3) uint8 in rows of `columns`, each with its own short title."""
    rows = -(-len(images) // columns)
    titled = 0.2 if titles else 0.0
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(columns * scale, rows * (scale + titled) + 0.5),
        squeeze=False,
    )
    for axis in axes.flat:
        axis.axis("off")
    for position, (axis, image) in enumerate(zip(axes.flat, images, strict=False)):
        axis.imshow(image, interpolation="nearest")
        if titles:
            axis.set_title(titles[position], fontsize=7, fontweight="normal", loc="center", pad=2)
    figure.suptitle(heading)
    return figure


def bars(values: pd.Series, heading: str, axis_label: str, colour: str = PALETTE[0]) -> Figure:
    """Show one horizontal bar a row, its value written at its end."""
    figure, axis = plt.subplots(figsize=(6.5, 0.34 * len(values) + 1.1))
    drawn = axis.barh([str(name) for name in values.index], values, color=colour)
    axis.bar_label(drawn, fmt=lambda value: f"{value:,.6g}", padding=3, fontsize=9)
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
    axis.margins(x=0.12)
    axis.set(title=heading, xlabel=axis_label)
    return figure


def learning_curves(histories: dict[str, dict[str, list[float]]], heading: str) -> Figure:
    """Show training (dashed) and validation (solid) accuracy by epoch, one colour a model."""
    figure, axis = plt.subplots(figsize=(6.5, 3.6))
    for colour, (name, history) in zip(PALETTE, histories.items(), strict=False):
        epochs = np.arange(1, len(history["accuracy"]) + 1)
        marker = "o" if len(epochs) < 20 else None
        axis.plot(epochs, history["accuracy"], "--", color=colour, marker=marker, ms=3)
        axis.plot(epochs, history["val_accuracy"], color=colour, marker=marker, ms=3, label=name)
    axis.plot([], [], "k--", label="on its training images")
    axis.legend(fontsize=8, loc="lower right")
    axis.set(title=heading, xlabel="epoch", ylabel="accuracy")
    axis.yaxis.set_major_formatter("{x:.0%}")
    axis.xaxis.get_major_locator().set_params(integer=True)
    return figure


def training_curve(accuracy: list[float], heading: str) -> Figure:
    """Show accuracy (0-1) on the training images by epoch."""
    figure, axis = plt.subplots(figsize=(6.5, 2.8))
    axis.plot(np.arange(1, len(accuracy) + 1), accuracy, "--", color=PALETTE[1])
    axis.set(title=heading, xlabel="epoch", ylabel="training accuracy", ylim=(0, 1.02))
    axis.yaxis.set_major_formatter("{x:.0%}")
    return figure


def accuracies(
    estimates: dict[str, dict[str, Estimate]],
    heading: str,
    axis_label: str = "accuracy, with 95 % interval",
) -> Figure:
    """Show shares (0-1) with 95 % intervals side by side: {model: {image set: estimate}}."""
    models, sets = list(estimates), list(next(iter(estimates.values())))
    figure, axis = plt.subplots(figsize=(6.8, 0.24 * len(models) * len(sets) + 1.5))
    height = 0.8 / len(sets)
    for index, (name, colour) in enumerate(zip(sets, PALETTE, strict=False)):
        shown = [estimates[model][name] for model in models]
        values = np.array([estimate.value for estimate in shown])
        errors = np.array([[e.value - e.low, e.high - e.value] for e in shown]).T
        places = np.arange(len(models)) + (index - (len(sets) - 1) / 2) * height
        axis.barh(places, values, height, xerr=errors, color=colour, label=name.replace("_", " "))
        for place, estimate in zip(places, shown, strict=True):
            fits = estimate.value > 0.12
            start, colour_of_text = (0.01, "white") if fits else (estimate.high + 0.01, "0.2")
            text = f"{estimate.value:.1%}"
            axis.text(start, place, text, va="center", color=colour_of_text, fontsize=8)
    axis.set_yticks(range(len(models)), [str(model).replace("_", " ") for model in models])
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
    axis.set(title=heading, xlabel=axis_label, xlim=(0, 1))
    axis.xaxis.set_major_formatter("{x:.0%}")
    if len(sets) > 1:
        figure.legend(fontsize=8, loc="outside lower left", ncols=len(sets))
    return figure


def size_and_recall(report: pd.DataFrame, heading: str) -> Figure:
    """Show each class's recall (0-1) against its training images, from `evaluation.per_class`."""
    figure, axis = plt.subplots(figsize=(6.5, 3.8))
    axis.scatter(report["training images"], report["recall"], color=PALETTE[0])
    # Neighbours along the axis get their names above and below in turn.
    for index, (name, row) in enumerate(report.sort_values("training images").iterrows()):
        place, offset = (row["training images"], row["recall"]), 6 if index % 2 else -13
        style = {"xytext": (0, offset), "textcoords": "offset points", "ha": "center"}
        axis.annotate(name, place, fontsize=8, **style)
    axis.margins(x=0.2, y=0.15)
    axis.set(title=heading, xlabel="training images of the class", ylabel="recall")
    axis.yaxis.set_major_formatter("{x:.0%}")
    return figure


def confusion(matrix: np.ndarray, class_names: tuple[str, ...], heading: str) -> Figure:
    """Show int (classes, classes) counts, coloured by the share of each true class's images."""
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    figure, axis = plt.subplots(figsize=(6.8, 5.4))
    sns.heatmap(
        shares,
        annot=matrix,
        fmt="d",
        cmap="Blues",
        vmin=0,
        vmax=1,
        xticklabels=class_names,
        yticklabels=class_names,
        cbar_kws={"label": "share of the true class", "format": "{x:.0%}"},
        annot_kws={"fontsize": 8},
        ax=axis,
    )
    axis.set(title=heading, xlabel="predicted", ylabel="true")
    axis.tick_params(axis="x", rotation=40)
    plt.setp(axis.get_xticklabels(), ha="right")
    return figure
