"""The images every network of the course is trained and judged on, by role."""

from dataclasses import dataclass

import numpy as np

from helpers import course
from helpers.changes import shifts
from helpers.data import splits
from helpers.data.photographs import ImageSet, Source, taken
from helpers.data.sources import load_photographs
from helpers.files import read_cache, replaced, short_hash

# Raised by hand whenever shifts.competition_like draws other images from the same seed.
SHIFT_VERSION = 1
SHIFT_SEVERITY = 1.0
SHIFT_SEEDS = {"shifted_validation": 11, "shifted_test": 12}


@dataclass(frozen=True)
class PartialShift:
    """A shifted set in which only some of the shift's operations occur.

    Attributes:
        role: the set of `CourseData` whose photographs are changed.
        seed: of the chains of operations, see `shifts.competition_like`.
        operations: names in `shifts.OPERATIONS`.
    """

    role: str
    seed: int
    operations: tuple[str, ...]

    def of(self, images: np.ndarray) -> np.ndarray:
        """Return uint8 (N, 96, 96, 3), the images changed."""
        return shifts.competition_like(images, self.seed, SHIFT_SEVERITY, self.operations)


# Sets that no model trained for, made on the fly (`commands.train`), by group and name: under the
# operations that no augmentation of the course practises, and under those of one family alone.
_UNSEEN = tuple(name for name, operation in shifts.OPERATIONS.items() if not operation.seen)
PARTIAL_SHIFTS = {
    "unseen_only": {
        "unseen_only_validation": PartialShift("validation", 15, _UNSEEN),
        "unseen_only": PartialShift("test", 14, _UNSEEN),
    },
    "family_only": {
        f"{family}_only": PartialShift("validation", seed, shifts.of_family(family))
        for seed, family in enumerate(("geometry", "colour", "occlusion", "degradation"), start=16)
    },
}


@dataclass(frozen=True)
class CourseData:
    """Every image set of one run.

    Attributes:
        sets: "train"; "validation" (chooses); "shifted_validation" (chooses, under shift); "test",
            "shifted_test" and "second_acquisition" (report, once a model).
        class_names: one name a class.
        source: where the images came from.
        profile: what the run was allowed to use.
        fingerprint: hex digest of the roles of all images, the source and the profile's sizes.
    """

    sets: dict[str, ImageSet]
    class_names: tuple[str, ...]
    source: Source
    profile: course.Profile
    fingerprint: str

    def __getitem__(self, name: str) -> ImageSet:
        return self.sets[name]

    @property
    def evaluation_sets(self) -> dict[str, ImageSet]:
        """Every set but the training images."""
        return {name: images for name, images in self.sets.items() if name != "train"}

    def train_rows(self, count: int | None) -> np.ndarray:
        """Return the rows of a fixed subset of `count` training images, class proportions kept.

        None, or more than there are, means all of them. Every experiment with the same count sees
        the same images.
        """
        labels = self.sets["train"].labels
        return splits.subset(np.arange(len(labels)), labels, count)

    def train_subset(self, count: int | None) -> ImageSet:
        """Return the images of `train_rows`."""
        rows = self.train_rows(count)
        train = self["train"]
        return train if len(rows) == len(train) else train.rows(rows)

    def sample(self, name: str, count: int) -> ImageSet:
        """Return at most `count` images of a set, the same each time, class shares kept.

        Sets may lie sorted by class, so that their first images are of one or two classes.
        """
        images = self[name]
        rows = splits.subset(np.arange(len(images)), images.labels, count)
        return images.rows(np.random.default_rng(0).permutation(rows))


def load_course_data() -> CourseData:
    """Return the image sets of the current profile, from the source that `sources` chooses.

    Validation and test are the same photographs in every profile, up to `evaluation_images`. The
    shifted sets are drawn from photographs that no other set holds (validation) and from the test
    photographs (test).

    Raises:
        CourseError: if the images cannot be had or split.
    """
    photographs = load_photographs()
    roles = splits.load_roles(photographs)
    profile = course.profile()

    def images_of(role: str) -> ImageSet:
        rows = roles.indices(role)
        count = profile.train_images if role == "train" else profile.evaluation_images
        rows = splits.subset(rows, photographs.labels[rows], count)
        return ImageSet(taken(photographs.images, rows), photographs.labels[rows])

    fingerprint = short_hash(
        roles.hash,
        photographs.source.checksum,
        profile.train_images,
        profile.evaluation_images,
        SHIFT_VERSION,
    )
    sets = {role: images_of(role) for role in ("train", "validation", "test")}
    sets["shifted_validation"] = _shifted(
        images_of("reserved_for_shift"), "shifted_validation", fingerprint
    )
    sets["shifted_test"] = _shifted(sets["test"], "shifted_test", fingerprint)
    second = images_of("second_acquisition")
    if len(second):
        sets["second_acquisition"] = second
    return CourseData(sets, photographs.class_names, photographs.source, profile, fingerprint)


def _shifted(clean: ImageSet, name: str, fingerprint: str) -> ImageSet:
    path = course.build_folder() / "cache" / "shifted" / f"{name}-{fingerprint}.npy"

    def read() -> np.ndarray:
        images = np.load(path, allow_pickle=False)
        if (images.dtype, images.shape) != (np.uint8, clean.images.shape):
            raise ValueError("other images")
        return images

    images = read_cache(path, read)
    if images is None:
        images = shifts.competition_like(clean.images, SHIFT_SEEDS[name], SHIFT_SEVERITY)
        with replaced(path) as temporary:
            np.save(temporary, images, allow_pickle=False)
    return ImageSet(images, clean.labels)
