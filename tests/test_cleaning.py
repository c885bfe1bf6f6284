"""Cleaning finds what was put in, and nothing else."""

import os

import numpy as np
import pytest

from helpers.data import cleaning, homework

needs_mirror = pytest.mark.skipif(
    not os.environ.get("BLOODCELLS_MIRROR"), reason="needs a mirror's photographs"
)


def noise_images(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 96, 96, 3), np.uint8)


@pytest.fixture(scope="module")
def mirror_photographs():
    from helpers.data.sources import load_photographs

    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("BLOODCELLS_SOURCE", "mirror")
        return load_photographs()


def test_keeping_first_and_dropping_every_copy_differ_by_the_number_of_groups():
    images = noise_images(12)
    images[[5, 9]] = images[2]
    images[7] = images[1]
    ids = cleaning.duplicate_group_ids(images)
    assert [list(rows) for rows in cleaning.duplicate_groups(ids)] == [[1, 7], [2, 5, 9]]
    assert list(np.flatnonzero(~cleaning.keep_first(ids))) == [5, 7, 9]
    assert list(np.flatnonzero(~cleaning.drop_every_copy(ids))) == [1, 2, 5, 7, 9]


def test_one_changed_byte_makes_another_image():
    images = np.repeat(noise_images(1), 3, axis=0)
    images[1, 95, 95, 2] ^= 1
    hashes = cleaning.image_hashes(images)
    assert hashes[0] == hashes[2] != hashes[1]


def test_a_collision_of_hashes_joins_nothing():
    images = noise_images(6)
    images[4] = images[1]
    ids = cleaning.duplicate_group_ids(images, np.zeros(6, np.uint64))
    assert [list(rows) for rows in cleaning.duplicate_groups(ids)] == [[1, 4]]
    assert len(np.unique(ids)) == 5


def test_conflicts_are_groups_under_two_labels():
    ids = np.array([3, 3, 8, 8, 1])
    labels = np.array([0, 1, 2, 2, 1])
    assert list(cleaning.conflicting_labels(ids, labels)) == [True, True, False, False, False]


def test_similar_hashes_are_all_pairs_within_the_distance_in_every_chunk():
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, cleaning.CHUNK + 200, np.uint64)
    hashes[600] = hashes[3] ^ np.uint64(0b1111)
    hashes[601] = hashes[550] ^ np.uint64(0b11111)
    expected = [
        (i, j)
        for i in range(len(hashes))
        for j in range(cleaning.CHUNK + 100)
        if int(hashes[i] ^ hashes[j]).bit_count() <= cleaning.MAX_DISTANCE
    ]
    assert {(3, 600), (600, 3)} < set(expected)
    assert not {(550, 601), (601, 550)} & set(expected)
    found = cleaning.similar_hashes(hashes, hashes[: cleaning.CHUNK + 100])
    assert list(map(tuple, found)) == expected


def test_groups_join_chains_of_pairs():
    ids = cleaning.connected_groups(np.array([[0, 2], [2, 5], [1, 4]]), 6)
    assert [list(rows) for rows in cleaning.duplicate_groups(ids)] == [[0, 2, 5], [1, 4]]
    assert len(np.unique(cleaning.connected_groups(np.empty((0, 2), int), 6))) == 6


def test_perceptual_hash_of_the_centre_outlives_a_new_background_and_light():
    cell = homework.joke_picture("vampire", noise_images(1)[0])
    changed = np.clip(cell * 0.9 + 10, 0, 255).astype(np.uint8)
    changed[:20] = changed[-20:] = (20, 90, 200)
    images = np.stack([cell, changed, homework.joke_picture("duck", noise_images(1, seed=1)[0])])

    def distances(hashes):
        return [int(hashes[0] ^ other).bit_count() for other in hashes[1:]]

    centre = distances(cleaning.perceptual_hashes(images, cleaning.CENTRE))
    assert centre[0] <= cleaning.MAX_DISTANCE < 20 < centre[1]
    assert distances(cleaning.perceptual_hashes(images))[0] > cleaning.MAX_DISTANCE


@pytest.mark.parametrize("variant", homework.VARIANTS)
def test_planted_pictures_are_found_wherever_they_stand(variant):
    photographs = noise_images(200)
    photographs[[10, 20, 30]] = photographs[0]  # a natural group, too small to be planted
    images, _, planted = homework.plant(
        photographs,
        np.zeros(200, int),
        np.arange(200),
        class_count=3,
        variant=variant,
        copies_per_label=25,
    )
    order = np.random.default_rng(1).permutation(len(images))
    found = cleaning.planted_groups(images[order])
    np.testing.assert_array_equal(found >= 0, planted[order])
    assert sorted(np.bincount(found[found >= 0])) == [25, 75]


def test_planted_pictures_are_found_after_slight_noise():
    images, _, planted = homework.plant(
        noise_images(50), np.zeros(50, int), np.arange(50), 2, "backgrounds", 30
    )
    noise = np.random.default_rng(2).normal(0, 4, images.shape)
    images = np.clip(images + noise, 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(cleaning.find_planted(images), planted)


def test_nothing_is_planted_in_different_images():
    assert not cleaning.find_planted(noise_images(100)).any()


def test_images_of_one_shape_in_different_light_are_not_planted():
    cell = homework.joke_picture("duck", noise_images(1)[0])
    light = np.linspace(0.1, 1, 30)[:, None, None, None]
    images = np.rint(cell * light).astype(np.uint8)
    hashes = cleaning.perceptual_hashes(images, cleaning.CENTRE)
    similar = cleaning.connected_groups(cleaning.similar_hashes(hashes, hashes), len(images))
    assert len(np.unique(similar)) == 1
    assert not cleaning.find_planted(images).any()


def test_background_colour_ignores_cells_that_touch_the_border():
    images = np.full((2, 96, 96, 3), (250, 230, 200), np.uint8)
    images[1] = (225, 226, 228)
    images[:, :70, :80] = (120, 60, 140)
    np.testing.assert_array_equal(
        cleaning.background_colour(images), [[250, 230, 200], [225, 226, 228]]
    )


def warmths(*groups, seed=0):
    """Background colours whose red minus blue is normal with the given (count, mean, sd)."""
    rng = np.random.default_rng(seed)
    red_minus_blue = np.concatenate([rng.normal(mean, sd, n) for n, mean, sd in groups])
    colours = np.full((len(red_minus_blue), 3), 200.0, np.float32)
    colours[:, 0] += red_minus_blue
    return colours


def test_a_bluish_minority_is_found_despite_strays():
    colours = warmths((40, 1, 2), (960, 50, 2), (2, 30, 3), (1, -80, 1))
    expected = np.zeros(len(colours), bool)
    expected[:40] = True
    expected[-1] = True
    np.testing.assert_array_equal(cleaning.bluish(colours), expected)


@pytest.mark.parametrize(
    "groups",
    [
        [(1000, 50, 5)],
        [(500, 50, 20)],
        [(12, 20, 40)],
        [(900, 0, 2), (100, 50, 2)],
        [(100, 50, 0)],
        [(100, 50, 0), (10, 49, 0)],
    ],
    ids=[
        "one group",
        "one wide group",
        "few images",
        "the bluer are most",
        "all equal",
        "one level apart",
    ],
)
def test_no_second_acquisition_is_made_up(groups):
    assert not cleaning.bluish(warmths(*groups)).any()


@needs_mirror
@pytest.mark.parametrize("variant", homework.VARIANTS)
def test_planted_pictures_are_found_among_photographs(mirror_photographs, variant):
    contaminated = homework.homework_set(mirror_photographs, variant)
    found = cleaning.find_planted(contaminated.images)
    assert found[contaminated.planted].mean() >= 0.99
    assert contaminated.planted[found].mean() >= 0.99


@needs_mirror
def test_the_mirror_holds_408_photographs_of_a_second_acquisition(mirror_photographs):
    second = cleaning.bluish(cleaning.background_colour(mirror_photographs.images))
    counts = np.bincount(mirror_photographs.labels[second], minlength=8)
    assert second.sum() == 408
    assert counts[3] == 136
    assert counts[7] == 0
    assert set(np.delete(counts, [3, 7])) <= {45, 46, 47}


def test_thumbnail_pixel_is_the_mean_of_its_own_block():
    images = np.zeros((2, 96, 96, 3), np.uint8)
    images[1, 48:, :24, 2] = 200  # lower left quarter-column, blue only
    small = cleaning.thumbnails(images, 4)
    expected = np.zeros((2, 4, 4, 3))
    expected[1, 2:, 0, 2] = 200
    np.testing.assert_allclose(small, expected)


def test_many_chunks_give_what_one_mean_gives():
    images = np.random.default_rng(0).integers(0, 256, (1100, 8, 8, 3), np.uint8)
    np.testing.assert_allclose(cleaning.mean_colours(images), images.mean(axis=(1, 2)), rtol=1e-5)


def test_a_side_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="side 5"):
        cleaning.thumbnails(np.zeros((1, 96, 96, 3), np.uint8), 5)
