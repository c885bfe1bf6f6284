import json
import os

import numpy as np
import pytest

from helpers import course
from helpers.commands import frozen_sets
from helpers.data.photographs import ImageSet
from helpers.data.sets import load_course_data

FROZEN = json.loads(frozen_sets.path().read_text())


def test_the_digest_tells_one_pixel_and_one_label():
    images = ImageSet(np.zeros((2, 4, 4, 3), np.uint8), np.array([0, 1]))
    pixel, label = images.images.copy(), images.labels.copy()
    pixel[1, 3, 3, 2] = 1
    label[1] = 2
    digests = {frozen_sets.digest(ImageSet(i, k)) for i in (images.images, pixel)
               for k in (images.labels, label)}  # fmt: skip
    assert len(digests) == 4


def test_every_full_record_is_of_the_frozen_images():
    records = json.loads((course.root() / "report" / "results.json").read_text())
    named = [record for record in records if "images_sha256" in record]
    assert named
    for record in named:
        name = record["key"].split("/")[1].removesuffix("_seen").removesuffix("_unseen")
        assert record["images_sha256"] == FROZEN["sets"][name]["sha256"], record["key"]


def test_a_third_of_the_operations_have_no_counterpart_in_training():
    seen, unseen = FROZEN["seen_operations"], FROZEN["unseen_operations"]
    assert len(unseen) >= (len(seen) + len(unseen)) / 3


@pytest.mark.skipif("BLOODCELLS_MIRROR" not in os.environ, reason="needs the mirror's photographs")
def test_the_sets_are_made_again_as_they_were_frozen(monkeypatch):
    monkeypatch.setenv("COURSE_PROFILE", "full")
    monkeypatch.delenv("BLOODCELLS_SOURCE", raising=False)
    assert frozen_sets.freeze(load_course_data()) == FROZEN
