"""Every photograph has one role, and no photograph is on two sides of a split."""

import io
import os

import numpy as np
import pytest
from PIL import Image

from helpers import course
from helpers.course import CourseError
from helpers.data import cleaning, homework, splits
from helpers.data.photographs import Photographs, Source
from helpers.data.splits import ROLES, assign_roles, load_roles

needs_mirror = pytest.mark.skipif(
    not os.environ.get("BLOODCELLS_MIRROR"), reason="needs a mirror's photographs"
)
NAMES = ("round", "square", "star")


def photographs(counts=(100, 60, 20), source="folder", split=None, seed=0):
    """Noise in the middle of warm backgrounds."""
    labels = np.arange(len(counts)).repeat(counts)
    rng = np.random.default_rng(seed)
    images = np.full((len(labels), 96, 96, 3), (250, 225, 200), np.uint8)
    images[:, 10:86, 10:86] = rng.integers(0, 200, (len(labels), 76, 76, 3), np.uint8)
    return Photographs(images, labels, NAMES, Source(source, "", True, "ab" * 32), split)


def names(codes):
    return np.array(ROLES)[codes]


def make_bluish(images, rows):
    images[rows, :10] = images[rows, -10:] = (225, 226, 228)
    images[rows, :, :10] = images[rows, :, -10:] = (225, 226, 228)


@pytest.fixture
def data_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(course, "data_folder", lambda: tmp_path)
    return tmp_path


def test_roles_have_their_shares_in_every_class():
    given = photographs((200, 100, 60))
    roles = names(assign_roles(given))
    for label, count in enumerate((200, 100, 60)):
        members = roles[given.labels == label]
        shares = {role: (members == role).sum() / count for role in ROLES}
        expected = {"train": 0.63, "validation": 0.07, "test": 0.15, "reserved_for_shift": 0.15}
        assert shares == pytest.approx({**dict.fromkeys(ROLES, 0), **expected}, abs=0.02)


def test_no_image_is_on_two_sides():
    given = photographs()
    for row in range(0, 60, 3):
        given.images[row + 1 : row + 3] = given.images[row]
    codes = assign_roles(given)
    ids = cleaning.duplicate_group_ids(given.images)
    used = codes != ROLES.index("dropped")
    assert len(np.unique(ids[used])) == used.sum()
    inside = np.isin(np.arange(len(given)), homework.choose_homework_rows(given))
    triples = np.arange(len(given)) < 60
    assert not used[triples & inside].any()
    assert used[triples & ~inside].sum() == (triples & ~inside).sum() / 3 > 0


def test_held_out_copies_of_the_homework_and_conflicts_are_dropped():
    split = np.array(["test", "val", "train"] * 60)
    given = photographs((60, 60, 60), split=split)
    given.images[[2, 3, 6]] = given.images[0]  # train, test, test and a copy first in the order
    given.images[[90, 120]] = given.images[90]  # test and test, labels 1 and 2
    given.images[[150, 151]] = given.images[150]  # test and val, one label
    roles = names(assign_roles(given))
    assert list(roles[[0, 2, 3, 6]]) == ["dropped", "train", "dropped", "dropped"]
    assert list(roles[[90, 120]]) == ["dropped", "dropped"]
    assert list(roles[[150, 151]]) == ["test", "dropped"]


def test_official_splits_keep_their_meaning():
    split = np.array(["test", "val", "train"] * 60)
    roles = names(assign_roles(photographs((60, 60, 60), split=split)))
    assert set(roles[split == "test"]) == {"test"}
    assert set(roles[split == "val"]) == {"reserved_for_shift"}
    assert set(roles[split == "train"]) == {"train", "validation"}


def test_the_second_acquisition_is_taken_out_of_every_split():
    given = photographs()
    bluish = np.array([3, 30, 40, 70, 110, 130, 170])
    make_bluish(given.images, bluish)
    given.images[41] = given.images[40]
    roles = names(assign_roles(given))
    assert list(np.flatnonzero(roles == "second_acquisition")) == list(bluish)
    assert roles[41] == "dropped"


def test_a_background_that_tells_a_class_is_no_acquisition():
    given = photographs()
    make_bluish(given.images, np.flatnonzero(given.labels == 2))
    assert "second_acquisition" not in names(assign_roles(given))


def test_the_homeworks_own_file_loses_its_planted_pictures_and_a_test_set():
    clean = photographs((100, 100, 100))
    images, labels, planted = homework.plant(
        clean.images, clean.labels, np.arange(len(clean)), 3, "backgrounds", 30
    )
    given = Photographs(images, labels, NAMES, Source("homework", "", True, "cd" * 32))
    roles = names(assign_roles(given))
    np.testing.assert_array_equal(roles == "dropped", planted)
    counts = {role: (roles == role).sum() for role in ROLES[:4]}
    assert counts == {"train": 231, "validation": 24, "test": 24, "reserved_for_shift": 21}


def test_a_class_of_one_image_is_named():
    with pytest.raises(CourseError, match=r"'square' has too few images \(1,.*remove the class"):
        assign_roles(photographs((30, 1, 30)))


def test_copies_do_not_make_a_class_large_enough():
    given = photographs((30, 12, 30))
    given.images[30:42] = given.images[30]
    with pytest.raises(CourseError, match=r"'square' has too few images \(12,"):
        assign_roles(given)


def test_roles_are_written_once_and_read_back(data_folder, monkeypatch):
    given = photographs()
    first = load_roles(given)
    assert [path.name for path in data_folder.iterdir()] == ["split-folder-abababababab.npz"]
    monkeypatch.setattr(splits, "assign_roles", None)
    again = load_roles(given)
    np.testing.assert_array_equal(first.codes, again.codes)
    assert first.hash == again.hash
    assert sum(len(first.indices(role)) for role in ROLES) == len(given)


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty"])
def test_a_damaged_split_file_is_made_anew(data_folder, damage):
    given = photographs()
    expected = load_roles(given)
    path = next(data_folder.iterdir())
    whole = path.read_bytes()
    path.write_bytes({"truncated": whole[:500], "garbage": b"<html>", "empty": b""}[damage])
    np.testing.assert_array_equal(load_roles(given).codes, expected.codes)
    assert path.read_bytes()[:2] == b"PK"


def test_other_images_or_another_version_get_roles_of_their_own(data_folder, monkeypatch):
    given = photographs()
    before = load_roles(given)
    given.images[0] = given.images[1]
    changed = load_roles(given)
    assert changed.hash != before.hash
    assert len(before.indices("dropped")) == 0 < len(changed.indices("dropped"))
    monkeypatch.setattr(splits, "SPLIT_VERSION", splits.SPLIT_VERSION + 1)
    monkeypatch.setattr(splits, "assign_roles", lambda *_: np.zeros(len(given), np.uint8))
    assert len(load_roles(given).indices("train")) == len(given)


def test_subset_keeps_shares_order_and_lies_within_a_larger_one():
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [700, 290, 10]))
    indices = np.arange(1000) * 3
    small, large = (splits.subset(indices, labels, count) for count in (50, 200))
    assert list(np.bincount(labels[small // 3])) == [35, 14, 1]
    assert list(np.bincount(labels[large // 3])) == [140, 58, 2]
    assert (np.diff(small) > 0).all()
    assert set(small) <= set(large)
    assert len(splits.subset(indices, labels, 997)) == 997
    for count in (1000, 1001, None):
        np.testing.assert_array_equal(splits.subset(indices, labels, count), indices)
    assert list(np.bincount(labels[splits.subset(indices, labels, 4) // 3])) == [2, 1, 1]


def test_processed_file_holds_the_kept_rows(tmp_path):
    contaminated = homework.homework_set(photographs())
    keep = ~contaminated.planted
    acquisition = np.arange(len(contaminated)) % 5 == 0
    splits.write_processed(tmp_path / "data_processed.npz", contaminated, keep, acquisition)
    with np.load(tmp_path / "data_processed.npz", allow_pickle=False) as stored:
        assert sorted(stored.files) == ["acquisition", "images", "labels"]
        np.testing.assert_array_equal(stored["images"], contaminated.images[keep])
        np.testing.assert_array_equal(stored["labels"], contaminated.labels[keep])
        np.testing.assert_array_equal(stored["acquisition"], acquisition[keep])


@pytest.mark.parametrize(
    "damage",
    [
        {"roles": np.zeros(3, np.uint8)},
        {"roles": np.full(180, 99, np.uint8)},
        {"roles": np.zeros(180)},
        {"roles": np.array(7, np.uint8)},
        {"version": np.arange(3)},
    ],
    ids=["short", "no role", "floats", "one number", "versions"],
)
def test_a_split_file_with_other_contents_is_made_anew(data_folder, damage, capsys):
    given = photographs()
    expected = load_roles(given)
    path = next(data_folder.glob("split-*"))
    with np.load(path) as stored:
        arrays = dict(stored)
    np.savez(path, **(arrays | damage))
    np.testing.assert_array_equal(load_roles(given).codes, expected.codes)
    assert "is damaged or incomplete and is made anew" in capsys.readouterr().out


def test_a_handful_of_bluish_pictures_is_no_acquisition():
    given = photographs()
    make_bluish(given.images, np.array([3]))
    assert "second_acquisition" not in names(assign_roles(given))


def smooth(count, seed=0):
    """Blobs, which survive a JPEG as cells do: uint8 (N, 96, 96, 3)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 6, 6, 3), np.uint8)
    large = [Image.fromarray(image).resize((96, 96), Image.BICUBIC) for image in coarse]
    return np.stack([np.asarray(image) for image in large])


def recompressed(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=40)
    return np.asarray(Image.open(buffer))


def test_near_copies_that_cross_the_split_are_told(data_folder, capsys):
    labels = np.arange(3).repeat(40)
    images = smooth(120)
    given = Photographs(images, labels, NAMES, Source("folder", "", True, "ef" * 32))
    roles = load_roles(given)
    assert "near-copies" not in capsys.readouterr().out
    train, test = roles.indices("train"), roles.indices("test")
    images[test[0]] = recompressed(images[train[0]])
    images[test[1]] = np.rot90(images[train[1]])
    images[test[2]] = recompressed(np.ascontiguousarray(images[train[2]][:, ::-1]))
    found = splits.training_copies(given, roles)
    assert list(found["test"]) == list(test[:3])
    assert sum(map(len, found.values())) == 3
    load_roles(given)
    assert "near-copies" in capsys.readouterr().out  # of other roles by now, but told


@needs_mirror
def test_roles_of_the_mirror(monkeypatch):
    from helpers.data.sources import load_photographs

    monkeypatch.setenv("BLOODCELLS_SOURCE", "mirror")
    given = load_photographs()
    counts = np.bincount(assign_roles(given), minlength=len(ROLES))
    sizes = dict(zip(ROLES, counts, strict=True))
    assert sizes["second_acquisition"] == 408
    # Both rows of eight pairs in the homework set; one row of the nine pairs outside it.
    assert sizes["dropped"] == 8 * 2 + 9
    assert abs(sizes["test"] - sizes["reserved_for_shift"]) <= 8
    assert sizes["validation"] / (sizes["train"] + sizes["validation"]) == pytest.approx(0.1, 0.01)
