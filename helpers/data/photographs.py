"""What a set of labelled images is, in every module of the course."""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

IMAGE_SIZE = 96
CHUNK = 512

# BloodMNIST's order, which is also the homework's.
CLASS_NAMES = (
    "basophil",
    "eosinophil",
    "erythroblast",
    "immature granulocytes",
    "lymphocyte",
    "monocyte",
    "neutrophil",
    "platelet",
)


@dataclass(frozen=True)
class Source:
    """Where images came from.

    Attributes:
        name: "homework", "mirror", "bloodmnist", "folder" or "synthetic".
        description: one line for the reader.
        are_photographs: False for synthetic cells only.
        checksum: hex digest of the file (or folder listing) the images came from.
    """

    name: str
    description: str
    are_photographs: bool
    checksum: str

    @property
    def label(self) -> str:
        """What a run's output folder is called by: one's own images have a folder for each set."""
        return f"folder-{self.checksum[:8]}" if self.name == "folder" else self.name

    @property
    def is_published(self) -> bool:
        """Whether these are the course's photographs, neither synthetic cells nor one's own."""
        return self.are_photographs and self.name != "folder"

    @property
    def caption(self) -> str:
        """What figures made from these images say: "photographs (mirror)", "synthetic cells"."""
        return f"photographs ({self.name})" if self.are_photographs else "synthetic cells"


@dataclass(frozen=True)
class Photographs:
    """Everything a source hands over, before any role is given.

    Attributes:
        images: uint8 (N, 96, 96, 3), RGB, 0-255; usually memory-mapped and read-only.
        labels: int64 (N,), index into class_names.
        class_names: one name a class.
        source: where they came from.
        official_split: str (N,) of "train", "val", "test" where the source fixes one, else None.
        file_names: str (N,), "<class folder>/<file>" where the source has a file for each image,
            else None.
    """

    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    source: Source
    official_split: np.ndarray | None = None
    file_names: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class ImageSet:
    """Labelled images: uint8 (N, 96, 96, 3), 0-255, and int64 (N,)."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, indices: np.ndarray) -> "ImageSet":
        """Return the images of these rows, in this order."""
        return ImageSet(self.images[indices], self.labels[indices])


def chunks(
    images: np.ndarray, rows: np.ndarray | None = None
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield images (or these rows of them, in this order), CHUNK at a time, each with its place.

    What was read of a memory-mapped file is given back after each chunk: reading all of a file
    then takes the memory of one chunk, and not of the file.
    """
    count = len(images) if rows is None else len(rows)
    # Windows cannot give back; a mapping that can be written to might lose what was written.
    gives_back = getattr(images, "mode", None) == "r" and hasattr(mmap, "MADV_DONTNEED")
    for start in range(0, count, CHUNK):
        place = slice(start, min(start + CHUNK, count))
        yield place, np.asarray(images[place if rows is None else rows[place]])
        if gives_back:
            images._mmap.madvise(mmap.MADV_DONTNEED)


def taken(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return images[rows], a copy, read in `chunks`."""
    copy = np.empty((len(rows), *images.shape[1:]), images.dtype)
    for place, chunk in chunks(images, rows):
        copy[place] = chunk
    return copy
