"""Photographs for measuring `predict`: cells as large as they are said to be, and strangers."""

import numpy as np
import pytest

from commands import photographs

IMAGE = np.full((96, 96, 3), 200, np.uint8)
IMAGE[30:66, 30:66] = 40  # a dark square of 36 pixels in the middle


@pytest.mark.parametrize("scale", photographs.SCALES)
def test_a_rescaled_cell_has_that_fraction_of_its_size(scale):
    dark = photographs.rescaled(IMAGE, scale)[..., 0] < 120
    assert dark.any(axis=1).sum() / dark.shape[0] == pytest.approx(scale * 36 / 96, abs=0.03)
    rows = np.flatnonzero(dark.any(axis=1))
    assert (rows[0] + rows[-1]) / 2 == pytest.approx((dark.shape[0] - 1) / 2, abs=1)


def test_a_field_has_each_photograph_in_its_place():
    images = np.stack([np.full((96, 96, 3), 10 * k, np.uint8) for k in range(7)])
    (field,) = photographs.fields(images)
    assert field.shape == (480, 720, 3)
    assert field[120::240, 120::240, 0].tolist() == [[0, 10, 20], [30, 40, 50]]


def test_found_are_the_cells_in_the_middle_of_their_places():
    one = np.full((96, 96, 3), 200, np.uint8)
    one[28:68, 28:68] = 40
    images = np.stack([one, one, np.full_like(one, 200), one, one, one])
    (field,) = photographs.fields(images)
    field[30:60, 490:520] = 40  # dark, and in no middle
    found, more = photographs.found_on(field)
    assert found.tolist() == [True, True, False, True, True, True]
    assert more == 1


def test_strangers_hold_no_corner_with_a_nucleus():
    images = np.stack([IMAGE, IMAGE])
    images[1, :10, :10] = 20  # a nucleus lies in the corner
    found = photographs.strangers(images)
    assert [len(pictures) for pictures in found.values()] == [1, 120, 2, 2]
    (mask, _) = found["masks"]
    assert set(np.unique(mask)) == {0, 255}
    assert (mask[31:65, 31:65] == 255).all()
