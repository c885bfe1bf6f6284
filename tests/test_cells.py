"""Cells on photographs: found, enlarged to the size that the networks know, never reduced."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from commands import cells

BACKGROUND, RED_CELL, NUCLEUS, PLATELET = (
    *((250, 225, 205), (225, 160, 150), (90, 50, 140), (190, 150, 190)),
)


def photograph(size, nuclei, others=()) -> Image.Image:
    """Return a smear: red cells, and discs (x, y, diameter) as dark as nuclei; others are paler."""
    image = Image.new("RGB", size, BACKGROUND)
    draw = ImageDraw.Draw(image)
    rng = np.random.default_rng(0)
    for left, top in rng.uniform(0, size, (6, 2)):
        draw.ellipse((left, top, left + size[0] / 10, top + size[0] / 10), fill=RED_CELL)
    for discs, colour in ((nuclei, NUCLEUS), (others, PLATELET)):
        for x, y, d in discs:
            draw.ellipse((x - d / 2, y - d / 2, x + d / 2, y + d / 2), fill=colour)
    return image


@pytest.mark.parametrize("diameter", [20, 40, 60, 120])
def test_the_nucleus_is_found_where_and_as_large_as_it_is(diameter):
    (found,) = cells.find_cells(photograph((240, 200), [(130, 90, diameter)]))
    assert found.left == pytest.approx(130, abs=3)
    assert found.top == pytest.approx(90, abs=3)
    assert found.diameter == pytest.approx(diameter, rel=0.1)


@pytest.mark.parametrize("diameter", [30, 40, 60])
def test_a_small_cell_is_enlarged_to_the_sizes_that_the_networks_know(diameter):
    image = photograph((200, 200), [(120, 90, diameter)])
    pictures = cells.views(image, cells.squares(image, *cells.find_cells(image)))
    dark = pictures[:2, ..., 0] < 120
    sizes = 2 * np.sqrt(dark.sum(axis=(1, 2)) / np.pi) / 96
    np.testing.assert_allclose(sizes, cells.NUCLEUS_SIZES, rtol=0.1)
    rows, columns = np.nonzero(dark[1])
    assert abs(rows.mean() - 47.5) < 3
    assert abs(columns.mean() - 47.5) < 3


@pytest.mark.parametrize("diameter", [75, 110])
def test_a_large_cell_is_left_as_it_is(diameter):
    image = photograph((200, 200), [(100, 100, diameter)])
    assert cells.squares(image, *cells.find_cells(image)) == [(0, 0, 200)]


def test_nothing_is_enlarged_beyond_sense():
    image = photograph((96, 96), [(48, 48, 5)])
    sides = [side for *_, side in cells.squares(image, cells.Cell(48, 48, 5))]
    assert sides == [96 / cells.LARGEST_ZOOM]


def test_squares_stay_inside():
    image = photograph((300, 200), [(280, 15, 30)])
    for left, top, side in cells.squares(image, *cells.find_cells(image)):
        assert left >= 0
        assert top >= 0
        assert left + side <= 300 + 1e-9
        assert top + side <= 200 + 1e-9


def test_the_lobes_of_one_nucleus_are_one_cell():
    lobes = [(292, 300, 26), (322, 296, 26), (308, 322, 26)]
    (found,) = cells.find_cells(photograph((640, 480), lobes))
    assert (found.left, found.top) == (pytest.approx(307, abs=4), pytest.approx(306, abs=4))


def test_every_cell_of_a_field_is_found_but_platelets_and_what_is_cut():
    nuclei = [(120, 100, 60), (420, 300, 66), (560, 80, 54), (300, 478, 60)]
    platelets = [(250, 200, 20), (350, 120, 22)]
    found = cells.find_cells(photograph((640, 480), nuclei, platelets))
    places = sorted((round(c.left, -1), round(c.top, -1)) for c in found)
    assert places == [(120, 100), (420, 300), (560, 80)]


def test_a_small_dense_nucleus_hides_no_larger_and_paler_one():
    image = photograph((640, 480), [(120, 100, 90), (300, 300, 36)])
    pixels = np.asarray(image).copy()
    red = pixels[:200, :220, 0]
    red[red == NUCLEUS[0]] = 110
    found = cells.find_cells(Image.fromarray(pixels))
    assert sorted(round(cell.left, -1) for cell in found) == [120, 300]


def test_a_small_photograph_has_one_cell_the_middle_one():
    image = photograph((200, 200), [(95, 105, 40), (180, 20, 44)])
    (found,) = cells.find_cells(image)
    assert (found.left, found.top) == (pytest.approx(95, abs=3), pytest.approx(105, abs=3))


@pytest.mark.parametrize("value", [0, 128, 255])
def test_where_nothing_is_dark_no_cell_is_found(value):
    image = Image.new("RGB", (100, 80), (value,) * 3)
    assert cells.find_cells(image) == []
    assert cells.squares(image, None) == [(10, 0, 80)]


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (3, 2), (2000, 5)])
def test_odd_sizes_are_no_trouble(size):
    pixels = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    for cell in cells.find_cells(image) or [None]:
        assert cells.views(image, cells.squares(image, cell)).shape[1:] == (96, 96, 3)


def test_a_bluish_background_gets_the_trainings_colour_in_views_of_their_own():
    warm = photograph((200, 200), [(100, 100, 110)])
    gains = np.array([0.8, 0.95, 1.2])
    blue = Image.fromarray(np.clip(np.asarray(warm) * gains, 0, 255).astype(np.uint8))
    as_it_is, mended = cells.views(blue, [(0, 0, 200)])
    reference = cells.views(warm, [(0, 0, 200)])[0].astype(float)
    before = np.abs(as_it_is - reference).mean()
    assert np.abs(mended - reference).mean() < before / 3
