"""Figures: one look, one way to save them, and sheets of images.

Plot functions take plain arrays, dicts and data frames, and return a matplotlib Figure. A title
says what was found; the stamp, added on saving, says from which images and in which profile.
"""

import textwrap
from collections.abc import Sequence
from contextlib import AbstractContextManager
from io import BytesIO
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import PIL.Image
import seaborn as sns
from IPython.display import Image, display
from matplotlib import patheffects
from matplotlib.figure import Figure

from helpers import course
from helpers.data.photographs import Source
from helpers.files import replaced

PALETTE = ("#4053d3", "#b51d14", "#ddb310", "#00b25d", "#00beff", "#fb49b0", "#8c6d31", "#7d7d7d")
CLEAN, SHIFTED = PALETTE[0], PALETTE[1]
# Inches between the images of a sheet: on the screen (80 dots per inch) each has its own 96 pixels.
PITCH = 1.27
GAP = 0.05
# Sheets of few columns are enlarged to this width, up to so many times.
WIDTH = 7.0
MOST_ENLARGED = 1.6
# Without dates, the same figure gives the same bytes.
METADATA = {".png": {"Software": None}, ".pdf": {"CreationDate": None}, ".svg": {"Date": None}}
# A name, its place, and where its arrows end, (x, y) each.
Pointer = tuple[str, tuple[float, float], *tuple[tuple[float, float], ...]]
SHARED = {
    "figure.constrained_layout.use": True,
    "figure.titleweight": "bold",
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "pdf.fonttype": 42,
}
ON_SCREEN = {"figure.dpi": 80, "savefig.dpi": 150, "svg.fonttype": "none", "legend.fontsize": 9}
ON_SCREEN |= {"figure.titlesize": 11, "axes.titlesize": 11}
PRINTED = {"font.family": "DejaVu Sans", "font.size": 7, "axes.titlesize": 7.5}
PRINTED |= {"axes.edgecolor": "0.6", "axes.linewidth": 0.6, "axes.axisbelow": True}
PRINTED |= {"axes.grid": True, "grid.color": "0.88", "grid.linewidth": 0.5}
PRINTED |= {"svg.fonttype": "path", "svg.hashsalt": "report"}


def use_course_style() -> None:
    """Set fonts, grid and colours (colour-blind safe) for every figure that follows."""
    sns.set_theme(style="whitegrid", context="notebook", palette=PALETTE)
    plt.rcParams.update(SHARED | ON_SCREEN)


def print_style() -> AbstractContextManager:
    """Return a context in which figures have the small fonts of the course report's columns."""
    return plt.rc_context(SHARED | PRINTED)


def save(figure: Figure, name: str, source: Source, stamp: str | None = None) -> None:
    """Stamp a figure with its source, write it as PNG, show it, and close it.

    Full runs on photographs write to report/figures/, others to build/<source>-<profile>/figures/;
    a full run also writes a vector PDF, which takes as long as all the rest.

    Args:
        figure: any matplotlib figure in the course's style.
        name: file name without ending, "02_balance".
        source: where this run's images come from.
        stamp: what the figure was made from, where that is not this run: `Records.stamp`.
    """
    alternative = _heading(figure)
    profile = course.profile().name
    stamp = stamp or f"{source.caption} · {profile} profile"
    wrap_titles(figure)
    _stamp(figure, stamp)
    folder = course.output_folder(profile, source.label, source.is_published) / "figures"
    write(figure, folder / name, (".png", ".pdf") if profile == "full" else (".png",))
    # Neither plt.show() nor the figure: a notebook would crop it to its layout, stamp lost.
    # The heading goes with the image, for readers who cannot see it.
    alternative = {"alt": f"{alternative} ({stamp})"}
    display(Image(_for_screen(figure)), metadata={"image/png": alternative})
    plt.close(figure)


def _for_screen(figure: Figure) -> bytes:
    """Return a small PNG; a figure without photographs makes do with 256 colours."""
    drawn, small = BytesIO(), BytesIO()
    figure.savefig(drawn, format="png", dpi=figure.dpi)
    picture = PIL.Image.open(drawn).convert("RGB")
    if not any(axis.images for axis in figure.axes):
        picture = picture.quantize(256, dither=PIL.Image.Dither.NONE)
    picture.save(small, "PNG", optimize=True)
    return small.getvalue()


def write(figure: Figure, path: Path, endings: Sequence[str]) -> None:
    """Write a figure as path + each of the endings of METADATA; the same bytes every time."""
    for ending in endings:
        with replaced(path.with_name(path.name + ending)) as temporary:
            figure.savefig(temporary, format=ending[1:], metadata=METADATA[ending])


def _broken(text: str, width: int, **options: bool) -> str:
    """Return a text whose lines are broken where they are longer than the width."""
    return "\n".join(textwrap.fill(line, width, **options) for line in text.split("\n"))


def wrap_titles(figure: Figure) -> None:
    """Break titles that are wider than what they stand over; begin the heading at the left edge."""
    figure.draw_without_rendering()
    for axis in figure.axes:
        width = axis.get_window_extent().width / figure.dpi
        width = _characters(width, plt.rcParams["axes.titlesize"])
        axis.set_title(_broken(axis.get_title(loc="left"), width), loc="left")
    if heading := figure.get_suptitle():
        size = plt.rcParams["figure.titlesize"]
        lines = textwrap.wrap(heading, _characters(figure.get_figwidth(), size))
        figure.suptitle("\n".join(lines), x=0.01, ha="left")
        figure.set_figheight(figure.get_figheight() + 1.2 * size / 72 * (len(lines) - 1))


def _characters(inches: float, size: float) -> int:
    """Return how many bold characters of a size in points stand beside each other."""
    return max(10, int(inches / (0.6 * size / 72)))


def _stamp(figure: Figure, text: str) -> None:
    """Write a line below everything, in a strip of its own that no legend reaches."""
    strip = 0.2
    height = figure.get_figheight() + strip
    figure.set_figheight(height)
    figure.get_layout_engine().set(rect=(0, strip / height, 1, 1 - strip / height))
    for legend in figure.legends:
        # From the figure's edge, which the layout's rectangle does not move.
        legend.borderaxespad = (72 * strip + 4) / legend.get_texts()[0].get_fontsize()
    style = {"fontsize": 7, "color": "0.45", "ha": "right", "va": "bottom"}
    figure.text(0.995, 0.03 / height, text, **style)


def _heading(figure: Figure) -> str:
    """Return what the figure's headings say, those of its single images left out."""
    titles = [figure.get_suptitle(), *(axis.get_title(loc="left") for axis in figure.axes)]
    return "; ".join(" ".join(title.split()) for title in titles if title)


def contact_sheet(
    images: np.ndarray, titles: Sequence[str] | None, columns: int, heading: str
) -> Figure:
    """Show images (N, H, W, 3) uint8 in rows of `columns`, each with its own short title.

    The fewer columns, the larger are images and titles. Titles are broken where they are wider
    than their image.
    """
    starts = range(0, len(images), columns)
    rows = [("", images[start : start + columns]) for start in starts]
    titled = [titles[start : start + columns] for start in starts] if titles else None
    enlarged = np.clip(WIDTH / (PITCH * columns), 1, MOST_ENLARGED)
    return _sheet(rows, titled, heading, PITCH * enlarged)


def point_at(sheet: Figure, number: int, pointers: Sequence[Pointer]) -> None:
    """Name parts of one image of a sheet, with arrows.

    Args:
        sheet: a `contact_sheet`.
        number: of the image, from 0.
        pointers: for each name its place and where its arrows end, (x, y) in the image's pixels.
    """
    axis = sheet.axes[0]
    image = axis.images[number]
    left, right, bottom, top = image.get_extent()
    height, width = image.get_array().shape[:2]
    to_sheet = [(right - left) / width, (bottom - top) / height]
    halo = [patheffects.withStroke(linewidth=2.2, foreground="white")]
    line = {"arrowstyle": "-|>,head_length=0.3,head_width=0.12", "linewidth": 0.8}
    line |= {"color": "black", "shrinkA": 0, "shrinkB": 0, "path_effects": halo}
    words = {"fontsize": 7, "ha": "center", "va": "center", "path_effects": halo}
    words["bbox"] = {"boxstyle": "square,pad=0.1", "visible": False}  # where its arrows begin
    for name, place, *ends in pointers:
        place = np.array(place) * to_sheet + (left, top)
        for end in ends:
            tip = np.array(end) * to_sheet + (left, top)
            axis.annotate(name, tip, place, arrowprops=line, **words)


def image_rows(
    rows: dict[str, Sequence[np.ndarray]],
    heading: str,
    titles: Sequence[Sequence[str]] | None = None,
) -> Figure:
    """Show one row of images for each key, which stands at its left.

    Args:
        rows: uint8 (H, W, 3) in colour, or (H, W) of any numbers, which get colours from their
            lowest to their highest; all square and drawn at one size, rows may differ in length.
        heading: what was found.
        titles: for each row, in order, a short text over each image.
    """
    return _sheet(list(rows.items()), titles, heading, PITCH)


def _sheet(
    rows: Sequence[tuple[str, Sequence[np.ndarray]]],
    titles: Sequence[Sequence[str]] | None,
    heading: str,
    side: float,
) -> Figure:
    """Draw all images into one axis: an axis for each would take seconds to lay out.

    Args:
        side: inches from one image to the next.
    """
    columns = max(len(images) for _, images in rows)
    # Beside each other 14 characters of 8 points have room in an inch.
    room = int(14 * side)
    titles = [[_broken(text, room, break_long_words=False) for text in row] for row in titles or ()]
    lines = [text.split("\n") for row in titles for text in row]
    longest = max((len(line) for text in lines for line in text), default=0)
    points = min(8, 8 * room / max(longest, 1))
    pitch = 1 + 0.021 * points / side * max(map(len, lines), default=0)
    labels = [textwrap.fill(label, 16) for label, _ in rows]
    margin = 0.085 * max(len(line) for label in labels for line in label.split("\n")) + 0.2
    size = (side * columns + margin, side * pitch * len(rows) + 0.4)
    figure, axis = plt.subplots(figsize=size)
    for row, (_, images) in enumerate(rows):
        for column, image in enumerate(images):
            top = pitch * (row + 1) - 1
            extent = (column, column + 1 - GAP, top + 1 - GAP, top)
            axis.imshow(image, extent=extent, interpolation="nearest", cmap="viridis")
            if titles:
                place = (column + (1 - GAP) / 2, top - 0.03)
                axis.text(*place, titles[row][column], fontsize=points, ha="center", va="bottom")
    axis.set(xlim=(0, columns - GAP), ylim=(pitch * len(rows), 0), aspect="equal", xticks=[])
    axis.set_yticks(pitch * (np.arange(len(rows)) + 1) - 0.5, labels, fontsize=9)
    axis.tick_params(length=0)
    axis.grid(visible=False)
    axis.spines[:].set_visible(False)
    figure.suptitle(heading)
    return figure
