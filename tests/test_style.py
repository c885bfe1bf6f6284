"""Figures are stamped, saved the same every time, and show images large enough to be judged."""

import itertools
import subprocess
import sys
from io import BytesIO

import matplotlib.pyplot as plt
import numpy as np
import PIL.Image
import pytest

from helpers import course
from helpers.data.photographs import Source
from helpers.figures import style

SOURCE = Source("toy", "toy images", False, "0" * 8)
CELLS = np.random.default_rng(0).integers(0, 256, (16, 96, 96, 3), np.uint8)


@pytest.fixture(autouse=True)
def _style(monkeypatch, tmp_path):
    monkeypatch.setattr(course, "build_folder", lambda: tmp_path)
    style.use_course_style()
    yield
    plt.close("all")


def side_on_screen(figure):
    """Return the side in pixels of the first image of a sheet, as a notebook shows it."""
    figure.draw_without_rendering()
    axis, picture = figure.axes[0], figure.axes[0].images[0]
    left, right, bottom, top = picture.get_extent()
    corners = axis.transData.transform([(left, bottom), (right, top)])
    return np.abs(np.diff(corners, axis=0)).ravel()


@pytest.mark.parametrize("columns", [2, 3, 4, 5, 8, 10])
def test_a_sheet_shows_each_image_at_its_own_pixels_or_more(columns):
    titles = ["immature\ngranulocytes"] * len(CELLS)
    heading = "A heading that is long enough to be broken into two lines, or three of them"
    figure = style.contact_sheet(CELLS, titles, columns, heading)
    style.wrap_titles(figure)
    side = side_on_screen(figure).min()
    assert side >= (96 if columns > 4 else 130)
    assert all(text.get_fontsize() == 8 for text in figure.axes[0].texts)
    assert figure.get_figwidth() * figure.dpi <= max(600, 105 * columns)
    assert len(figure.axes[0].images) == len(CELLS)
    assert len(figure.axes) == 1


def test_rows_have_their_label_and_may_hold_maps_of_any_size():
    rows = {"a cell": CELLS[:3], "maps": [np.eye(12), np.eye(3)]}
    figure = style.image_rows(rows, "found", [["x", "y", "z"], ["", ""]])
    axis = figure.axes[0]
    assert [tick.get_text() for tick in axis.get_yticklabels()] == ["a cell", "maps"]
    assert [picture.get_array().shape[0] for picture in axis.images] == [96, 96, 96, 12, 3]
    assert side_on_screen(figure).min() >= 96


def test_a_saved_figure_is_stamped_and_has_the_same_bytes_again(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(style, "display", lambda _, metadata: shown.append(metadata))
    monkeypatch.setenv("COURSE_PROFILE", "full")
    found = []
    for _ in range(2):
        figure = style.contact_sheet(CELLS[:4], None, 4, "Four cells")
        style.save(figure, "toy", SOURCE)
        folder = tmp_path / "toy-full" / "figures"
        found.append([(folder / f"toy{ending}").read_bytes() for ending in (".png", ".pdf")])
        assert f"{SOURCE.caption} · full" in figure.texts[-1].get_text()
    assert found[0] == found[1]
    assert shown[0]["image/png"]["alt"].startswith(f"Four cells ({SOURCE.caption}")


def test_a_legend_below_the_axes_does_not_cover_the_stamp(monkeypatch):
    monkeypatch.setattr(style, "display", lambda *_, **__: None)
    figure, axis = plt.subplots(figsize=(5, 3))
    for k in range(4):
        axis.plot([0, 1], [0, k], label=f"a rather long name of the line {k}")
    legend = figure.legend(loc="outside lower left", ncols=1)
    style.save(figure, "toy", SOURCE)
    figure.draw_without_rendering()
    stamp = figure.texts[-1].get_window_extent()
    assert stamp.y0 >= 0
    assert stamp.y1 <= legend.get_window_extent().y0
    assert axis.get_tightbbox().y0 >= legend.get_window_extent().y1


def test_figures_need_neither_tensorflow_nor_the_images():
    code = (
        "import sys, helpers.figures.charts; "
        "heavy = {'tensorflow', 'helpers.data.sources', 'helpers.data.sets'}; "
        "sys.exit(len(heavy & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=course.root())
    assert done.returncode == 0


def test_a_notebook_shows_the_whole_figure_with_its_stamp(monkeypatch):
    shown = []
    monkeypatch.setattr(style, "display", lambda picture, metadata: shown.append(picture))
    figure, _ = plt.subplots(figsize=(4, 2), layout="constrained")
    style.save(figure, "toy", SOURCE)
    pixels = plt.imread(BytesIO(shown[0].data))
    size = figure.get_size_inches() * figure.dpi
    assert pixels.shape[1::-1] == pytest.approx(size, abs=1)
    assert pixels[-12:, -100:].min() < 0.9, "the stamp is cut off"


def test_a_notebook_keeps_a_photograph_s_colours_and_saves_on_a_chart_s(monkeypatch):
    shown = []
    monkeypatch.setattr(style, "display", lambda picture, metadata: shown.append(picture))
    chart, axis = plt.subplots()
    axis.plot([0, 1], [0, 1])
    for figure in (chart, style.image_rows({"cells": CELLS[:2]}, "noise")):
        style.save(figure, "toy", SOURCE)
    modes = [PIL.Image.open(BytesIO(picture.data)).mode for picture in shown]
    assert modes == ["P", "RGB"]


def test_long_names_beside_each_other_do_not_overlap():
    names = ["immature granulocytes\nImmature_granulocytes_of_mine\ncorrect, 100%"] * 8
    figure = style.contact_sheet(CELLS[:8], names, 8, "")
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))


def test_arrows_end_where_they_should_in_the_image_s_own_pixels():
    images = np.full((3, 96, 96, 3), 255, np.uint8)
    images[1, 60:66, 20:26] = 0
    figure = style.contact_sheet(images, ["a", "b", "c"], 3, "found")
    style.point_at(figure, 1, [("a square", (50, 10), (23, 63), (80, 80))])
    axis = figure.axes[0]
    tips = [text.xy for text in axis.texts if hasattr(text, "xy")]
    left, right, bottom, top = axis.images[1].get_extent()
    found = [(96 * (x - left) / (right - left), 96 * (y - top) / (bottom - top)) for x, y in tips]
    assert np.allclose(found, [(23, 63), (80, 80)])


@pytest.mark.parametrize(("profile", "endings"), [("quick", [".png"]), ("full", [".pdf", ".png"])])
def test_a_full_run_alone_writes_vectors(profile, endings, tmp_path, monkeypatch):
    monkeypatch.setattr(style, "display", lambda *_, **__: None)
    monkeypatch.setenv("COURSE_PROFILE", profile)
    style.save(style.contact_sheet(CELLS[:4], None, 4, "Four cells"), "toy", SOURCE)
    written = (tmp_path / f"toy-{profile}" / "figures").iterdir()
    assert sorted(path.suffix for path in written) == endings
