"""First measurements of a set of images."""

import numpy as np
import pytest

from helpers.data.cleaning import changes, mean_colours, stretches, thumbnails


def test_thumbnail_pixel_is_the_mean_of_its_own_block():
    images = np.zeros((2, 96, 96, 3), np.uint8)
    images[1, 48:, :24, 2] = 200  # lower left quarter-column, blue only
    small = thumbnails(images, 4)
    expected = np.zeros((2, 4, 4, 3))
    expected[1, 2:, 0, 2] = 200
    np.testing.assert_allclose(small, expected)


def test_many_chunks_give_what_one_mean_gives():
    images = np.random.default_rng(0).integers(0, 256, (1100, 8, 8, 3), np.uint8)
    np.testing.assert_allclose(mean_colours(images), images.mean(axis=(1, 2)), rtol=1e-5)


def test_a_side_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="side 5"):
        thumbnails(np.zeros((1, 96, 96, 3), np.uint8), 5)


def test_stretches_report_first_and_last_row_and_skip_single_rows():
    found = stretches(np.array([7, 7, 1, 2, 2, 2, 7]))
    assert found.to_numpy().tolist() == [[0, 1, 2], [3, 5, 3]]
    assert stretches(np.array([7, 7, 1, 2, 2, 2, 7]), shortest=3)["first"].tolist() == [3]


def test_the_last_stretch_reaches_the_last_row_and_no_rows_give_none():
    assert stretches(np.array([1, 5, 5]))["last"].tolist() == [2]
    assert stretches(np.array([])).empty


def test_a_copy_does_not_change_from_the_row_before():
    small = np.zeros((4, 2, 2, 3), np.float32)
    small[2:, 0, 0] = 8
    assert changes(small).tolist() == [np.inf, 0, 2, 0]
