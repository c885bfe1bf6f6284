"""The plate names parts of the photographs that were looked at, and of no others."""

import itertools

import numpy as np

from helpers.data.photographs import CLASS_NAMES, Photographs, Source
from helpers.figures import plate

FILES = np.array([f"{name}/{plate.PLATE[name][0]}.jpg" for name in reversed(CLASS_NAMES)])


def photographs(name="mirror", files=FILES):
    images = np.zeros((len(FILES), 96, 96, 3), np.uint8)
    labels = np.arange(len(FILES))[::-1].copy()
    source = Source(name, "", name != "synthetic", "0" * 64)
    return Photographs(images, labels, CLASS_NAMES, source, file_names=files)


def test_each_class_has_its_photograph_and_pointers_that_stay_inside():
    found = plate.find(photographs())
    assert [row for row, _ in found] == list(range(len(FILES)))[::-1]
    for _, pointers in found:
        assert 2 <= len(pointers) <= 3
        for x, y in itertools.chain.from_iterable(places for _, *places in pointers):
            assert 0 <= x < 96
            assert 0 <= y < 96


def test_other_images_are_not_pointed_at():
    assert plate.find(photographs("synthetic", None)) is None
    assert plate.find(photographs("folder")) is None
    assert plate.find(photographs(files=np.array([*FILES[:-1], "basophil/BA_1.jpg"]))) is None
