"""The course's image sets: fixed by their fingerprint, and healed where a cache is damaged."""

import numpy as np
import pytest

from helpers import course
from helpers.data import sets
from helpers.data.photographs import ImageSet, Source

CLEAN = ImageSet(np.full((4, 96, 96, 3), 99, np.uint8), np.arange(4))


@pytest.fixture
def cached(tmp_path, monkeypatch):
    monkeypatch.setattr(course, "build_folder", lambda: tmp_path)
    sets._shifted(CLEAN, "shifted_test", "f00d")
    (path,) = tmp_path.rglob("shifted_test-f00d.npy")
    return path


@pytest.mark.parametrize("damage", ["short", "empty", "other", "header"])
def test_a_damaged_cache_is_made_anew_and_it_is_said(cached, damage, capsys):
    whole = cached.read_bytes()
    if damage == "other":
        np.save(cached, np.zeros(3))
    else:
        altered = {"short": whole[:1000], "empty": b"", "header": whole.replace(b"3)", b"3(", 1)}
        cached.write_bytes(altered[damage])
    sets._shifted(CLEAN, "shifted_test", "f00d")
    assert "shifted/shifted_test-f00d.npy is damaged" in capsys.readouterr().out
    assert cached.read_bytes() == whole
    sets._shifted(CLEAN, "shifted_test", "f00d")
    assert capsys.readouterr().out == ""


def test_outputs_of_one_s_own_images_have_a_folder_for_each_set():
    own = [Source("folder", "", True, digit * 64) for digit in "ab"]
    assert own[0].label != own[1].label
    assert not own[0].is_published
    mirror = Source("mirror", "", True, "c" * 64)
    assert (mirror.label, mirror.is_published) == ("mirror", True)
    assert not Source("synthetic", "", False, "d" * 64).is_published


def test_a_sample_of_a_sorted_set_holds_every_class_and_is_the_same_each_time():
    labels = np.repeat(np.arange(4), 30)
    images = np.arange(120, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    data = sets.CourseData(
        {"validation": ImageSet(images, labels)}, tuple("abcd"), None, course.profile(), ""
    )
    sample = data.sample("validation", 20)
    assert list(np.bincount(sample.labels)) == [5, 5, 5, 5]
    assert (np.diff(sample.labels) < 0).any()
    assert list(sample.images[:, 0, 0, 0] // 30) == list(sample.labels)
    assert np.array_equal(sample.images, data.sample("validation", 20).images)
    assert len(data.sample("validation", 500)) == 120
