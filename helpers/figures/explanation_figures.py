"""Plots of the notebook on the final model and what still fails; see `figures` for their rules."""

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from helpers.evaluation import explanation
from helpers.evaluation.metrics import Estimate
from helpers.figures.style import CLEAN, PALETTE, SHIFTED, contact_sheet

MARKERS = ("o", "s", "D", "^")
COLOUR_OF_KIND = {
    explanation.SEEN: CLEAN,
    explanation.UNSEEN: SHIFTED,
    explanation.UNALTERED: "0.35",
}


def ladder(table: pd.DataFrame, heading: str) -> Figure:
    """Show a ladder's steps from top to bottom, each with its accuracies and minutes of training.

    Args:
        table: a row a step in order, its title the index; "minutes" of training, and for each
            image set, at most four, a column of `Estimate`s. A set that was not measured is None.
        heading: what was found.
    """
    sets = [column for column in table.columns if column != "minutes"]
    figure, axis = plt.subplots(figsize=(8.6, 0.62 * len(table) + 1.4))
    for place in range(0, len(table), 2):
        axis.axhspan(place - 0.5, place + 0.5, color="0.955", zorder=0)
    for index, name in enumerate(sets):
        places = np.arange(len(table)) + 0.17 * (index - (len(sets) - 1) / 2)
        found = pd.DataFrame([_numbers(estimate) for estimate in table[name]])
        errors = [found["value"] - found["low"], found["high"] - found["value"]]
        style = {"color": PALETTE[index], "marker": MARKERS[index], "ms": 6, "capsize": 2}
        label = name.replace("_", " ")
        axis.errorbar(
            found["value"], places, xerr=errors, ls=":", lw=1, elinewidth=1.5, label=label, **style
        )
    for place, minutes in enumerate(table["minutes"]):
        _beside(axis, place, f"{minutes:,.0f} min" if minutes >= 1 else "< 1 min")
    _beside(axis, -0.75, "training")
    axis.set_yticks(range(len(table)), table.index, fontsize=9)
    axis.set_ylim(len(table) - 0.5, -0.5)
    axis.grid(axis="y", visible=False)
    axis.set(xlabel="accuracy, with 95 % interval")
    axis.xaxis.set_major_formatter("{x:.0%}")
    figure.legend(fontsize=8.5, loc="outside lower left", ncols=len(sets))
    _titled(figure, heading)
    return figure


def operations(tables: dict[str, pd.DataFrame], heading: str) -> Figure:
    """Show the accuracy under each operation of up to two models, the first's hardest at the top.

    Args:
        tables: for each model, by its title, in order of time ("before", "after"): a row an
            operation with "kind", "accuracy", "low" and "high", as
            `explanation.single_operation_accuracy` returns them; all of the same operations.
        heading: what was found.
    """
    first = next(iter(tables.values())).sort_values("accuracy", kind="stable")
    places = np.arange(len(first))
    figure, axis = plt.subplots(figsize=(7.6, 0.3 * len(first) + 1.6))
    for index, (title, table) in enumerate(tables.items()):
        table = table.loc[first.index]
        offset = 0.3 * (index - (len(tables) - 1) / 2)
        # The last model's markers are full, an earlier one's are open.
        full = index == len(tables) - 1
        style = {"marker": MARKERS[index], "ms": 5.5, "lw": 1.2, "ls": ""}
        for kind, colour in COLOUR_OF_KIND.items():
            of_kind = (table["kind"] == kind).to_numpy()
            rows = table[of_kind]
            errors = [rows["accuracy"] - rows["low"], rows["high"] - rows["accuracy"]]
            style |= {"color": colour, "mfc": colour if full else "white"}
            axis.errorbar(rows["accuracy"], places[of_kind] + offset, xerr=errors, **style)
        # In the legend a model is grey: the colours are the operations'.
        style |= {"color": "0.35", "mfc": "0.35" if full else "white"}
        axis.plot([], [], label=title, **style)
    for kind, colour in COLOUR_OF_KIND.items():
        if kind in set(first["kind"]):
            axis.plot([], [], lw=5, color=colour, label=kind)
    axis.set_yticks(places, first.index, fontsize=9)
    axis.set_ylim(len(first) - 0.5, -0.5)
    axis.set(xlabel="accuracy, with 95 % interval")
    axis.xaxis.set_major_formatter("{x:.0%}")
    figure.legend(fontsize=8.5, loc="outside lower left", ncols=3)
    _titled(figure, heading)
    return figure


def grad_cam_pairs(
    clean: np.ndarray,
    shifted: np.ndarray,
    cam_clean: np.ndarray,
    cam_shifted: np.ndarray,
    titles: list[tuple[str, str]],
    heading: str,
) -> Figure:
    """Show, a column a cell, its clean and its shifted picture, each above its own map.

    Args:
        clean, shifted: uint8 (N, H, W, 3), the same cells, about six.
        cam_clean, cam_shifted: float (N, H, W) in 0-1, their maps.
        titles: for each cell what stands over the clean and over the shifted picture, such as
            ("monocyte, 98 %", "taken for platelet, 71 %").
        heading: what was found.
    """
    rows = (
        ("clean", clean),
        ("where it looked", _overlaid(clean, cam_clean)),
        ("shifted", shifted),
        ("where it looked", _overlaid(shifted, cam_shifted)),
    )
    size = (1.4 * len(clean) + 0.4, 4 * 1.4 + 1.3)
    figure, axes = plt.subplots(4, len(clean), figsize=size, squeeze=False)
    for row, (name, pictures) in zip(axes, rows, strict=True):
        row[0].set_ylabel(name, fontsize=9)
        for axis, picture in zip(row, pictures, strict=True):
            axis.imshow(picture, interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            axis.grid(visible=False)
    for column, over in enumerate(titles):
        for row, title in zip((0, 2), over, strict=True):
            text = textwrap.fill(title, 20)
            style = {"fontsize": 8, "fontweight": "normal", "loc": "center", "pad": 3}
            axes[row, column].set_title(text, **style)
    _titled(figure, heading)
    return figure


def reliability(tables: dict[str, pd.DataFrame], heading: str) -> Figure:
    """Show accuracy against confidence, a panel a table; on the diagonal a model can be believed.

    Args:
        tables: from `calibration.reliability`, by the panel's title, in which its calibration error
            may stand; two to four.
        heading: what was found.
    """
    size = (2.2 * len(tables) + 0.7, 3.5)
    figure, axes = plt.subplots(1, len(tables), figsize=size, squeeze=False, sharey=True)
    for axis, (title, table) in zip(axes[0], tables.items(), strict=True):
        errors = [table["accuracy"] - table["low"], table["high"] - table["accuracy"]]
        axis.plot([0, 1], [0, 1], ls="--", lw=1, color="0.4")
        axis.errorbar(table["confidence"], table["accuracy"], yerr=errors, color=CLEAN, lw=1.2)
        areas = 10 + 120 * table["images"] / table["images"].sum()
        axis.scatter(table["confidence"], table["accuracy"], s=areas, color=CLEAN, zorder=3)
        axis.set(xlim=(0, 1.06), ylim=(0, 1.06), aspect="equal", xlabel="confidence")
        axis.set(xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
        axis.xaxis.set_major_formatter("{x:.0%}")
        axis.yaxis.set_major_formatter("{x:.0%}")
        axis.tick_params(labelsize=9)
        axis.set_title(title)
    axes[0, 0].set_ylabel("right, with 95 % interval")
    _titled(figure, heading)
    return figure


def embeddings(
    points: dict[str, np.ndarray],
    labels: np.ndarray,
    shifted_mask: np.ndarray,
    class_names: tuple[str, ...],
    heading: str,
) -> Figure:
    """Show images as points, a panel a model: colour is the class, a cross is a shifted image.

    Args:
        points: float (N, 2) for each model, by its title.
        labels: int (N,), the same in every panel.
        shifted_mask: bool (N,), which images are shifted.
        class_names: one name a class.
        heading: what was found.
    """
    size = (4.5 * len(points), 5.3)
    figure, axes = plt.subplots(1, len(points), figsize=size, squeeze=False)
    kinds = {"clean": (~shifted_mask, "o", 9), "shifted": (shifted_mask, "x", 15)}
    for axis, (title, places) in zip(axes[0], points.items(), strict=True):
        for mask, marker, area in kinds.values():
            for label in range(len(class_names)):
                x, y = places[mask & (labels == label)].T
                colour = PALETTE[label % len(PALETTE)]
                axis.scatter(x, y, s=area, marker=marker, color=colour, lw=0.9, alpha=0.8)
        axis.set(xticks=[], yticks=[])
        axis.set_title(title)
    for name, colour in zip(class_names, PALETTE, strict=False):
        axes[0, 0].scatter([], [], s=30, color=colour, label=name)
    for kind, (_, marker, area) in kinds.items():
        axes[0, 0].scatter([], [], s=2 * area, marker=marker, color="0.2", label=kind)
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, fontsize=8.5, ncols=5, loc="outside lower left")
    _titled(figure, heading)
    return figure


def error_sheet(
    images: np.ndarray,
    true_names: list[str],
    predicted_names: list[str],
    confidences: np.ndarray,
    heading: str,
) -> Figure:
    """Show wrongly classified images, uint8 (N, H, W, 3), with both classes above them.

    Args:
        images: uint8 (N, H, W, 3).
        true_names, predicted_names: of each image's classes.
        confidences: float (N,) in 0-1, of the predictions.
        heading: what was found.
    """
    captions = [
        f"{true}\n→ {predicted} {100 * confidence:.0f} %"
        for true, predicted, confidence in zip(
            true_names, predicted_names, confidences, strict=True
        )
    ]
    return contact_sheet(images, captions, columns=5, heading=heading, scale=1.55)


def _overlaid(images: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Return uint8 (N, H, W, 3): the images in grey, in colour where a map (0-1) is high."""
    grey = images.mean(axis=-1, keepdims=True) / 255
    opacity = 0.65 * maps[..., None]
    heat = plt.get_cmap("inferno")(maps)[..., :3]
    return np.rint(255 * (grey * (1 - opacity) + heat * opacity)).astype(np.uint8)


def _numbers(estimate: Estimate | None) -> dict[str, float]:
    """Return value, low and high, NaN where nothing was measured: the line has a gap there."""
    if isinstance(estimate, Estimate):
        return {"value": estimate.value, "low": estimate.low, "high": estimate.high}
    return dict.fromkeys(("value", "low", "high"), np.nan)


def _beside(axis: plt.Axes, place: float, text: str) -> None:
    """Write a text at the right of the axes, at a height in data."""
    style = {"va": "center", "fontsize": 8.5, "color": "0.35", "clip_on": False}
    axis.text(1.015, place, text, transform=axis.get_yaxis_transform(), **style)


def _titled(figure: Figure, heading: str) -> None:
    """Begin the title at the figure's left edge: wide labels leave little room above the axes."""
    figure.suptitle(heading, fontsize=11, fontweight="bold", x=0.01, ha="left")
