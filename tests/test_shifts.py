import numpy as np
import pytest

from helpers.changes import shifts
from helpers.course import CourseError


@pytest.fixture(scope="module")
def images():
    """Return uint8 (24, 96, 96, 3): smooth random colours with a dark disc in the middle."""
    rng = np.random.default_rng(5)
    coarse = rng.integers(90, 230, (24, 6, 6, 3)).astype(np.uint8)
    pictures = coarse.repeat(16, axis=1).repeat(16, axis=2)
    rows, columns = np.indices((96, 96)) - 48
    pictures[:, rows**2 + columns**2 < 500] //= 2
    return pictures


def mean_change(changed, images):
    return np.abs(changed.astype(float) - images).mean(axis=(1, 2, 3))


def test_an_image_depends_on_seed_and_place_not_on_the_others(images):
    whole = shifts.competition_like(images, seed=3)
    assert whole.shape == images.shape
    assert whole.dtype == np.uint8
    np.testing.assert_array_equal(shifts.competition_like(images[:5], seed=3), whole[:5])
    others = images.copy()
    others[:5] = 0
    np.testing.assert_array_equal(shifts.competition_like(others, seed=3)[5:], whole[5:])
    assert not np.array_equal(shifts.competition_like(images, seed=4), whole)


def test_equal_images_are_shifted_differently(images):
    shifted = shifts.competition_like(np.repeat(images[:1], 20, axis=0), seed=0)
    assert len({image.tobytes() for image in shifted}) == 20


def test_inputs_are_left_alone_and_may_be_read_only(images):
    before = images.copy()
    images.setflags(write=False)
    for name in shifts.OPERATIONS:
        shifts.apply_operation(images, name)
    np.testing.assert_array_equal(images, before)


def test_severity_scales_the_shift(images):
    assert mean_change(shifts.competition_like(images, 1, severity=0), images).max() < 6
    weak, usual = (
        mean_change(shifts.competition_like(images, 1, severity), images).mean()
        for severity in (0.3, 1.0)
    )
    assert 2 < weak < usual


def test_chains_are_two_to_four_operations_of_different_families():
    chains = shifts.chains(400, seed=1)
    assert {len(chain) for chain in chains} == {2, 3, 4}
    for chain in chains:
        families = [shifts.OPERATIONS[name].family for name in chain]
        assert len(set(families)) == len(chain)
    assert {name for chain in chains for name in chain} == set(shifts.OPERATIONS)
    assert shifts.chains(7, seed=1) == chains[:7]


def test_chains_name_what_was_done_to_each_image(images, monkeypatch):
    done = []
    for name, operation in shifts.OPERATIONS.items():

        def spy(image, strength, rng, name=name, function=operation.function):
            done.append(name)
            return function(image, strength, rng)

        spied = shifts.Operation(name, operation.family, spy, operation.counterpart)
        monkeypatch.setitem(shifts.OPERATIONS, name, spied)
    shifts.competition_like(images, seed=9)
    assert done == [name for chain in shifts.chains(len(images), seed=9) for name in chain]


def test_chains_can_be_kept_to_some_operations():
    seen = [name for name, operation in shifts.OPERATIONS.items() if operation.seen]
    chains = shifts.chains(100, seed=0, operations=seen)
    assert all(shifts.seen_only(chain) for chain in chains)
    assert not all(shifts.seen_only(chain) for chain in shifts.chains(100, seed=0))


@pytest.mark.parametrize("name", list(shifts.OPERATIONS))
def test_an_operation_does_nothing_at_strength_0_and_something_at_1(images, name):
    # JPEG, hue and gamma may round; nothing may change a pixel by more than that.
    untouched = shifts.apply_operation(images, name, strength=0)
    assert np.abs(untouched.astype(int) - images).max() <= 1
    for strength in (1.0, 2.0):
        changed = shifts.apply_operation(images, name, strength)
        assert changed.dtype == np.uint8
        assert changed.shape == images.shape
        assert mean_change(changed, images).min() > 0.5


@pytest.mark.parametrize("name", ["translation", "rotation", "zoom", "perspective"])
def test_geometry_leaves_no_black_corners(name):
    plain = np.full((8, 96, 96, 3), (250, 220, 190), np.uint8)
    np.testing.assert_array_equal(shifts.apply_operation(plain, name, 1.0), plain)


def test_an_impossible_request_is_refused_in_one_sentence(images):
    with pytest.raises(CourseError, match="no operation 'fog'"):
        shifts.apply_operation(images, "fog")
    with pytest.raises(CourseError, match="No operation was named"):
        shifts.chains(3, seed=0, operations=[])
    with pytest.raises(CourseError, match="severity"):
        shifts.competition_like(images, seed=0, severity=-1)
