import ast
from pathlib import Path

import numpy as np
import pytest

from helpers.changes import corruptions
from helpers.changes.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from helpers.course import CourseError

HELPERS = Path(corruptions.__file__).parent.parent
BLURS = ("pixelate", "defocus_blur", "motion_blur")
DRAWN = ("stain_deposit", "bubble")


@pytest.fixture(scope="module")
def images():
    """Return uint8 (12, 96, 96, 3): noisy discs of random colours on a pale ground, like cells."""
    rng = np.random.default_rng(5)
    pictures = np.full((12, 96, 96, 3), (235, 215, 190), np.float64)
    rows, columns = np.indices((96, 96)) - 48
    inside = rows**2 + columns**2 < 900
    pictures[:, inside] = rng.integers(60, 160, (12, 1, 3))
    pictures += rng.normal(0, 12, pictures.shape)
    return np.clip(pictures, 0, 255).astype(np.uint8)


def mean_change(changed, images):
    return np.abs(changed.astype(float) - images).mean()


def of_each_severity(images, name):
    return [corrupt(images, name, severity) for severity in SEVERITIES]


def test_the_corruptions_are_those_of_the_paper_in_its_order():
    assert CORRUPTIONS == (
        "pixelate",
        "jpeg_compression",
        "defocus_blur",
        "motion_blur",
        "brightness_up",
        "brightness_down",
        "contrast_up",
        "contrast_down",
        "saturate",
        "stain_deposit",
        "bubble",
    )


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_every_image_is_changed_and_stays_an_image(images, name):
    for corrupted in of_each_severity(images, name):
        assert corrupted.shape == images.shape
        assert corrupted.dtype == np.uint8
        assert (corrupted != images).any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_an_image_depends_on_seed_and_place_not_on_the_others(images, name):
    whole = corrupt(images, name, 3, seed=2)
    np.testing.assert_array_equal(corrupt(images[:4], name, 3, seed=2), whole[:4])
    others = images.copy()
    others[:4] = 7
    np.testing.assert_array_equal(corrupt(others, name, 3, seed=2)[4:], whole[4:])


@pytest.mark.parametrize("name", ["motion_blur", *DRAWN])
def test_what_is_drawn_differs_by_image_seed_and_severity(images, name):
    equal = np.repeat(images[:1], 8, axis=0)
    corrupted = corrupt(equal, name, 4, seed=0)
    assert len({image.tobytes() for image in corrupted}) == 8
    assert not np.array_equal(corrupt(equal, name, 4, seed=1), corrupted)
    # Severities 3 and 4 of the deposits have the same parameters, yet other places.
    assert not np.array_equal(corrupt(equal, name, 3, seed=0), corrupted)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_inputs_are_left_alone_and_may_be_read_only(images, name):
    before = images.copy()
    images.setflags(write=False)
    corrupt(images, name, 5)
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize("name", [name for name in CORRUPTIONS if name not in DRAWN])
def test_a_higher_severity_changes_more(images, name):
    changes = [mean_change(corrupted, images) for corrupted in of_each_severity(images, name)]
    assert (np.diff(changes) > 0).all()


@pytest.mark.parametrize("name", DRAWN)
def test_marks_cover_more_at_the_highest_severity(name):
    # Neighbouring severities differ too little to tell on a few images.
    grey = np.full((60, 96, 96, 3), 128, np.uint8)
    changes = [mean_change(corrupted, grey) for corrupted in of_each_severity(grey, name)]
    assert 1.5 * changes[0] < changes[4]


@pytest.mark.parametrize("name", BLURS)
def test_a_blur_leaves_a_flat_image_flat(name):
    grey = np.full((3, 96, 96, 3), (128, 77, 201), np.uint8)
    for corrupted in of_each_severity(grey, name):
        np.testing.assert_array_equal(corrupted, grey)


def test_defocus_spreads_a_point_evenly_over_a_disc_of_the_scaled_radius():
    point = np.zeros((1, 96, 96, 3), np.uint8)
    point[0, 48, 48] = 255
    spreads = of_each_severity(point, "defocus_blur")
    for radius, corrupted in zip((2, 3, 4, 5, 6), spreads, strict=True):
        spread = corrupted[0, ..., 0].astype(float)
        np.testing.assert_array_equal(spread, spread.T)
        np.testing.assert_array_equal(spread[1:, 1:], spread[:0:-1, :0:-1])
        assert spread.sum() == pytest.approx(255, rel=0.05)
        rows, columns = np.nonzero(spread)
        # Bilinear shares reach up to a pixel further than the disc.
        reach = np.hypot(rows - 48, columns - 48).max()
        assert radius * 96 / 224 <= reach <= radius * 96 / 224 + 1


def test_motion_drags_a_point_to_one_side_within_45_degrees_of_the_rows():
    points = np.zeros((40, 96, 96, 3), np.uint8)
    points[:, 48, 48] = 255
    spread = corrupt(points, "motion_blur", 5)[..., 0].astype(float)
    rows, columns = np.indices((96, 96)) - 48
    down = (spread * rows).sum(axis=(1, 2)) / spread.sum(axis=(1, 2))
    right = (spread * columns).sum(axis=(1, 2)) / spread.sum(axis=(1, 2))
    assert (right < -1.5).all()
    assert (np.abs(down) <= np.abs(right) * 1.1).all()
    assert down.min() < -1
    assert down.max() > 1


def test_at_224_pixels_lengths_are_the_originals():
    point = np.zeros((1, 224, 224, 3), np.uint8)
    point[0, 100, 100] = 255
    rows, columns = np.indices((224, 224)) - 100
    np.testing.assert_array_equal(
        corrupt(point, "defocus_blur", 2)[0, ..., 0] > 0, rows**2 + columns**2 <= 9
    )
    white = np.full((20, 224, 224, 3), 255, np.uint8)
    blots = corrupt(white, "stain_deposit", 1)
    assert set(np.unique(blots)) == {0, 255}
    areas = (blots[..., 0] == 0).sum(axis=(1, 2))
    assert areas.min() >= 0.47 * 24**2 - 1
    assert areas.max() <= 0.78 * 24**2 + 1
    black = np.zeros((1, 224, 224, 3), np.uint8)
    assert set(np.unique(corrupt(black, "bubble", 1))) == {0, 100, 130}


def test_brightness_and_contrast_go_the_way_of_their_names(images):
    for severity in SEVERITIES:
        assert corrupt(images, "brightness_up", severity).mean() > images.mean()
        assert corrupt(images, "brightness_down", severity).mean() < images.mean()
        assert corrupt(images, "contrast_up", severity).std() > images.std()
        assert corrupt(images, "contrast_down", severity).std() < images.std()


def test_saturate_adds_to_the_saturation_and_keeps_hue_and_value():
    # Value 200; saturation 0.2, then 0.9, which the clip holds at 1; grey has hue 0, red.
    colours = np.array([[200, 180, 160], [20, 110, 200], [200, 200, 200], [0, 0, 0]], np.uint8)
    picture = np.tile(colours, (1, 4, 1, 1))
    expected = [[200, 160, 120], [0, 100, 200], [200, 160, 160], [0, 0, 0]]
    np.testing.assert_array_equal(corrupt(picture, "saturate", 5)[0, 0], expected)


def test_an_unknown_name_or_severity_is_refused_in_one_sentence(images):
    with pytest.raises(CourseError, match=r"There is no corruption 'fog': choose from .*bubble"):
        corrupt(images, "fog", 1)
    for severity in (0, 6, "3"):
        with pytest.raises(CourseError, match=r"severity of bubble is .*: choose .* from 1 to 5\."):
            corrupt(images, "bubble", severity)


@pytest.mark.parametrize(
    "module", ["changes/augment", "changes/families", "training/loop", "training/run"]
)
def test_nothing_that_trains_imports_the_corruptions(module):
    tree = ast.parse((HELPERS / f"{module}.py").read_text(encoding="utf-8"))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported |= {f"{node.module}.{alias.name}" for alias in node.names}
    assert any(name.startswith("helpers") for name in imported)
    assert not [name for name in imported if "corruptions" in name]
