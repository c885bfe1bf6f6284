"""Plots of the notebooks on inspecting and cleaning; see `figures` for their rules."""

import matplotlib.pyplot as plt
import numpy as np
import scipy.fft
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from helpers.data.cleaning import CENTRE, LUMA, thumbnails
from helpers.figures.style import PALETTE


def changes_by_row(
    changes: dict[str, dict[str, np.ndarray]], first_row: int, heading: str
) -> Figure:
    """Show by how much each image differs from the one before it, one panel a set of images.

    Args:
        changes: {set: {part of the image: float (N,) grey levels}}.
        first_row: rows before it are left out.
        heading: what was found.
    """
    figure, axes = plt.subplots(len(changes), 1, figsize=(7.2, 1.9 * len(changes) + 0.6))
    for axis, (name, parts) in zip(np.atleast_1d(axes), changes.items(), strict=True):
        for colour, (part, values) in zip(PALETTE, parts.items(), strict=False):
            rows = np.arange(first_row, len(values))
            axis.plot(rows, values[first_row:], ".", ms=2, color=colour, label=part)
        axis.set_title(name, fontweight="normal", fontsize=10, loc="center")
        axis.set(ylabel="grey levels", ylim=(-4, None))
        axis.xaxis.set_major_formatter("{x:,.0f}")
    axis.set_xlabel("row of the set")
    axis.legend(fontsize=9, markerscale=5, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.38))
    figure.suptitle(heading, fontsize=11, fontweight="bold", x=0.01, ha="left")
    return figure


def hash_steps(image: np.ndarray, crop: int = CENTRE) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what `cleaning.perceptual_hashes` computes on its way to one image's hash.

    Args:
        image: uint8 (96, 96, 3).
        crop: side in pixels of the centre that is hashed, 32, 64 or 96.

    Returns:
        grey: float32 (32, 32), 0-255, the centre.
        frequencies: float32 (8, 8), the lowest of its cosine transform.
        bits: bool (8, 8), which frequencies are above their median; row by row, they are the hash.
    """
    margin = (len(image) - crop) // 2
    centre = image[margin : margin + crop, margin : margin + crop]
    grey = thumbnails(centre[None], 32)[0] @ LUMA
    frequencies = scipy.fft.dctn(grey, norm="ortho")[:8, :8]
    return grey, frequencies, frequencies > np.median(frequencies.ravel()[1:])


def hash_step_figure(
    images: np.ndarray, titles: list[str], heading: str, crop: int = CENTRE
) -> Figure:
    """Show how each image (N, 96, 96, 3) becomes 64 bits, one row an image."""
    figure, axes = plt.subplots(len(images), 4, figsize=(7.2, 1.75 * len(images) + 0.5))
    margin = (images.shape[1] - crop) / 2 - 0.5
    for row, image, title in zip(axes, images, titles, strict=True):
        grey, frequencies, bits = hash_steps(image, crop)
        # Brightness, the first frequency, is far larger than all others.
        range_shown = np.abs(frequencies.ravel()[1:]).max() / 2
        row[0].imshow(image)
        row[0].add_patch(Rectangle((margin, margin), crop, crop, fill=False, ec="k", lw=1.5))
        row[0].set_ylabel(title, fontsize=9)
        row[1].imshow(grey, cmap="gray", vmin=0, vmax=255)
        row[2].imshow(frequencies, cmap="RdBu_r", vmin=-range_shown, vmax=range_shown)
        row[3].imshow(bits, cmap="gray", vmin=0, vmax=1)
        for axis in row:
            axis.set(xticks=[], yticks=[])
            axis.grid(visible=False)
    steps = ("image and its centre", "32 × 32 grey levels", "64 frequencies", "64 bits")
    for axis, step in zip(axes[0], steps, strict=True):
        axis.set_title(step, fontsize=9, fontweight="normal", loc="center")
    figure.suptitle(heading, fontsize=11, fontweight="bold", x=0.01, ha="left")
    return figure


def distance_histograms(distances: dict[str, dict[str, np.ndarray]], heading: str) -> Figure:
    """Show how many of 64 bits differ between pairs of hashes, one panel a way of hashing.

    Args:
        distances: {way of hashing: {kind of pair: int (N,), 0-64}}.
        heading: what was found.
    """
    figure, axes = plt.subplots(1, len(distances), figsize=(7.6, 2.9), sharey=True)
    # Two bits wide: nearly all distances are even, because half of the bits are set.
    bins = np.arange(-1, 66, 2)
    for axis, (name, kinds) in zip(axes, distances.items(), strict=True):
        for colour, (kind, values) in zip(PALETTE[1::-1], kinds.items(), strict=False):
            weights = np.full(len(values), 1 / len(values))
            axis.hist(values, bins, weights=weights, color=colour, alpha=0.6, label=kind)
        axis.set_title(name, fontweight="normal", fontsize=10, loc="center")
        axis.set(xlabel="bits that differ, of 64", xlim=(-2, 60))
        axis.yaxis.set_major_formatter("{x:.0%}")
    axes[0].set_ylabel("share of the pairs")
    axes[-1].legend(fontsize=9)
    figure.suptitle(heading, fontsize=11, fontweight="bold", x=0.01, ha="left")
    return figure


def pairs_sheet(
    first: np.ndarray, second: np.ndarray, titles: list[tuple[str, str]], heading: str
) -> Figure:
    """Show pairs of images (N, 96, 96, 3), one a column, each image with its own title."""
    figure, axes = plt.subplots(2, len(first), figsize=(1.1 * len(first), 3.2), squeeze=False)
    for column, images, names in zip(axes.T, zip(first, second, strict=True), titles, strict=True):
        for axis, image, name in zip(column, images, names, strict=True):
            axis.imshow(image)
            axis.set_title(name, fontsize=7.5, fontweight="normal", loc="center", pad=3)
            axis.axis("off")
    figure.suptitle(heading, fontsize=11, fontweight="bold", x=0.01, ha="left")
    return figure


def nearest_differences(differences: dict[str, np.ndarray], heading: str) -> Figure:
    """Show how far images are from the most similar other one: {kind: float (N,) grey levels}."""
    figure, axis = plt.subplots(figsize=(6.8, 3.0))
    bins = np.arange(-0.5, max(values.max() for values in differences.values()) + 1)
    for colour, (kind, values) in zip(PALETTE[1::-1], differences.items(), strict=False):
        axis.hist(values, bins, color=colour, alpha=0.7, label=kind)
    axis.set_yscale("log")
    axis.set(title=heading, ylabel="images (log scale)")
    axis.set_xlabel("difference from the most similar other centre, grey levels")
    figure.legend(fontsize=9, loc="outside lower left", ncols=2)
    return figure
