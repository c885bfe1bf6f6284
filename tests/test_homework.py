"""The contaminated set is laid out as the homework's was."""

import os
from pathlib import Path

import numpy as np
import pytest

from helpers.course import CourseError
from helpers.data import cleaning, homework
from helpers.data.photographs import CHUNK, CLASS_NAMES, Photographs, Source, chunks, taken

needs_mirror = pytest.mark.skipif(
    not os.environ.get("BLOODCELLS_MIRROR"), reason="needs a mirror's photographs"
)


def photographs(labels, class_names=CLASS_NAMES, source="folder", split=None, seed=0):
    labels = np.asarray(labels, np.int64)
    images = np.random.default_rng(seed).integers(0, 256, (len(labels), 96, 96, 3), np.uint8)
    return Photographs(images, labels, class_names, Source(source, "", True, "0" * 64), split)


@pytest.fixture(scope="module")
def mirror_photographs():
    from helpers.data.sources import load_photographs

    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("BLOODCELLS_SOURCE", "mirror")
        return load_photographs()


def planted_into(given, *how):
    return homework.plant(given.images, given.labels, np.arange(len(given)), *how)


def test_a_memory_mapped_file_is_read_whole_and_given_back(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (CHUNK + 9, 96, 96, 3), np.uint8)
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    order = np.random.default_rng(1).permutation(len(images))[: CHUNK + 2]
    np.testing.assert_array_equal(taken(mapped, order), images[order])
    places, parts = zip(*chunks(mapped), strict=True)
    assert [place.stop for place in places] == [CHUNK, CHUNK + 9]
    np.testing.assert_array_equal(np.concatenate([part.copy() for part in parts]), images)


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="Linux tells what is held")
def test_what_was_read_of_a_memory_mapped_file_is_not_held(tmp_path):
    path = tmp_path / "images.npy"
    np.save(path, np.ones((2 * CHUNK, 96, 96, 3), np.uint8))
    mapped = np.load(path, mmap_mode="r")

    def held():
        _, _, after = Path("/proc/self/smaps").read_text().partition(str(path))
        return int(after.partition("\nRss:")[2].split()[0]) / 1024

    assert mapped[::100].sum()
    assert held() > 0
    hashes = cleaning.image_hashes(mapped)
    assert held() < 1
    assert len(np.unique(hashes)) == 1


def test_first_picture_stands_under_every_label_in_order_and_second_under_5():
    originals = photographs(np.arange(8).repeat(3))
    images, labels, planted = planted_into(originals, 8, "identical", 4)
    np.testing.assert_array_equal(images[:24], originals.images)
    np.testing.assert_array_equal(labels[24:], [*np.arange(8).repeat(4), 5, 5, 5, 5])
    assert list(np.flatnonzero(planted)) == list(range(24, 60))
    ids = cleaning.duplicate_group_ids(images)
    groups = cleaning.duplicate_groups(ids)
    assert [list(rows) for rows in groups] == [list(range(24, 56)), list(range(56, 60))]


def test_second_picture_takes_the_last_of_few_classes():
    originals = photographs([0, 1, 2])
    _, labels, _ = planted_into(originals, 3, "identical", 2)
    assert list(labels[3:]) == [0, 0, 1, 1, 2, 2, 2, 2]


def test_new_backgrounds_defeat_exact_hashing_and_leave_the_centre():
    originals = photographs(np.arange(8).repeat(3))
    images, _, planted = planted_into(originals, 8, "backgrounds", 20)
    copies = images[planted]
    assert len(np.unique(cleaning.image_hashes(copies))) == len(copies) == 180
    centres = cleaning.image_hashes(copies[:, 32:64, 32:64])
    assert [len(np.unique(part)) for part in (centres[:160], centres[160:])] == [1, 1]
    corners = copies[:, :8, :8].reshape(180, -1).astype(float)
    assert corners.std(axis=0).min() > 20


def test_joke_is_translucent():
    dark, light = (np.full((96, 96, 3), value, np.uint8) for value in (40, 220))
    for which in homework.JOKES:
        on_dark, on_light = (homework.joke_picture(which, cell) for cell in (dark, light))
        joke = (on_dark != dark).any(axis=2)
        assert 0.15 < joke.mean() < 0.6
        assert (on_light[joke] > on_dark[joke]).all()


def test_unknown_variant_is_one_sentence():
    with pytest.raises(CourseError, match="no variant 'altered'"):
        homework.homework_set(photographs(np.arange(8).repeat(10)), "altered")


def test_the_homeworks_own_file_is_returned_as_it_is():
    given = photographs([3, 1, 2], source="homework")
    contaminated = homework.homework_set(given)
    assert contaminated.images is given.images
    assert contaminated.planted is None


def test_an_official_training_split_keeps_its_order():
    split = np.array(["test", "train", "val", "train", "train"])
    contaminated = homework.homework_set(photographs([0, 1, 1, 0, 1], ("a", "b"), split=split))
    assert list(contaminated.photograph_index) == [1, 3, 4, *[-1] * 6]


def test_the_set_is_the_same_each_time_and_its_order_random():
    given = photographs(np.arange(8).repeat(10))
    one, same = (homework.homework_set(given, "backgrounds") for _ in range(2))
    np.testing.assert_array_equal(one.images, same.images)
    assert (np.diff(one.labels[~one.planted]) < 0).any()
    rows, other = (homework.choose_homework_rows(given, seed) for seed in (homework.SEED, 1))
    np.testing.assert_array_equal(one.photograph_index[~one.planted], rows)
    assert not np.array_equal(rows, other)


def test_other_sets_give_70_percent_of_each_class_with_copies_together():
    given = photographs(np.repeat([0, 1], [100, 40]), ("a", "b"))
    for row in range(0, 20, 2):
        given.images[row + 1] = given.images[row]
    rows = homework.choose_homework_rows(given)
    inside = np.isin(np.arange(140), rows)
    np.testing.assert_array_equal(inside[0:20:2], inside[1:20:2])
    assert inside[:20].any()
    assert not inside[:20].all()
    assert inside[100:].sum() == 28
    assert abs(inside[:100].sum() - 70) <= 10


def test_enough_photographs_give_the_homeworks_counts_and_duplicates(monkeypatch):
    counts = np.array([6, 12, 8, 10, 6, 8, 14, 10])
    monkeypatch.setattr(homework, "CLASS_COUNTS", counts)
    given = photographs(np.arange(8).repeat(30))
    for label in range(8):  # two pairs a class, and one triple that must stay out
        for first in (30 * label, 30 * label + 2):
            given.images[first + 1] = given.images[first]
    given.images[[35, 36, 37]] = given.images[35]
    given.images[200] = given.images[50]  # labels 6 and 1
    for seed in range(5):
        rows = homework.choose_homework_rows(given, seed)
        np.testing.assert_array_equal(np.bincount(given.labels[rows]), counts)
        assert len(np.unique(rows)) == len(rows)
        ids = cleaning.duplicate_group_ids(given.images[rows])
        assert [len(group) for group in cleaning.duplicate_groups(ids)] == [2] * 8
        assert cleaning.conflicting_labels(ids, given.labels[rows]).sum() == 2
        outside = np.setdiff1d(np.arange(len(given)), rows)
        hashes = cleaning.image_hashes(given.images)
        assert not np.isin(hashes[outside], hashes[rows]).any()


@needs_mirror
def test_the_set_of_the_mirror_has_every_number_of_the_homework(mirror_photographs):
    contaminated = homework.homework_set(mirror_photographs)
    assert contaminated.images.shape == (13759, 96, 96, 3)
    assert list(np.flatnonzero(contaminated.planted)) == list(range(11959, 13759))
    labels = contaminated.labels[:11959]
    assert list(np.bincount(labels)) == [852, 2181, 1085, 2026, 849, 993, 2330, 1643]
    ids = cleaning.duplicate_group_ids(contaminated.images)
    assert cleaning.drop_every_copy(ids).sum() == 11943
    assert cleaning.keep_first(ids[:11959]).sum() == 11951
    groups = cleaning.duplicate_groups(ids[:11959])
    assert [len(rows) for rows in groups] == [2] * 8
    conflicts = cleaning.conflicting_labels(ids[:11959], labels)
    assert sorted(labels[conflicts]) == [1, 6]


@pytest.mark.parametrize("each", [1, 2])
def test_too_few_images_are_one_sentence(each):
    with pytest.raises(CourseError, match="too few for a homework set"):
        homework.homework_set(photographs(np.arange(3).repeat(each), ("a", "b", "c")))


def test_duplicates_found_before_are_not_searched_again(monkeypatch):
    given = photographs(np.arange(3).repeat(20), ("a", "b", "c"))
    ids = cleaning.duplicate_group_ids(given.images)
    rows = homework.choose_homework_rows(given)
    monkeypatch.setattr(cleaning, "duplicate_group_ids", None)
    np.testing.assert_array_equal(homework.choose_homework_rows(given, group_ids=ids), rows)
