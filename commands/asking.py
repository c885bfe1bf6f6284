"""Asks a released model about the cells on photographs (`models.released`).

What a network is shown of a cell (`looks`): the photograph as it is, and the cell enlarged to the
size that the model knows, if it is small. What counts of that is averaged into one answer; one that
is unlike all that the model was trained on is told as such (`familiarity`).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from PIL import Image
from scipy import special

from commands import cells, familiarity
from helpers.course import CourseError
from helpers.data import reading
from helpers.data.photographs import CLASS_NAMES
from helpers.models import released

# Width and height of the PBC photographs: as published, and as a mirror may hold them. Those of
# the second acquisition have other sizes.
PBC_SIZES = {(360, 363), (208, 208)}

# Images that are read before the network is asked; no more are held at once.
BATCH = 16

# An enlarged or recoloured picture counts if it is hardly less familiar than the photograph as it
# is: what looks like a small nucleus may be a bubble, a stripe or a speck.
FARTHER, BESIDE = 1.5, 1.0


class Network(NamedTuple):
    """A released model, ready to be asked.

    Attributes:
        card: as `released.card` returns it.
        model: gives logits; before them pooled features, if there is a reference.
        reference: how its training's features lie, or None.
        allowed: bool (classes,), which classes can occur.
    """

    card: dict
    model: keras.Model
    reference: familiarity.Reference | None
    allowed: np.ndarray

    @property
    def finds_cells(self) -> bool:
        """Whether its classes are the course's: a leaf has no nucleus to look for."""
        return set(self.card["class_names"]) <= set(CLASS_NAMES)

    def asked(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return float64 (N, classes), each row of sum 1, and distances from the training, (N,).

        Without a reference all distances are 1.

        Args:
            images: uint8 (N, 96, 96, 3), RGB.
        """
        *features, logits = released.outputs(self.model, images)
        temperature = np.full(len(images), self.card["temperature"])
        distances = np.ones(len(images))
        if self.reference:
            distances = self.reference.distances(features[0])
            settings = self.card["familiarity"]["temperature"]
            temperature = familiarity.temperatures(settings, distances)
        scaled = np.where(self.allowed, logits / temperature[:, None], -np.inf)
        return special.softmax(scaled, axis=1), distances

    def knows(self, distances: np.ndarray) -> bool:
        """Return whether pictures of one cell are familiar, by their geometric mean distance."""
        limit = self.card["familiarity"]["limit"] if self.reference else np.inf
        return np.exp(np.log(distances).mean()) <= limit


class Answer(NamedTuple):
    """What is said of one cell of an image.

    Attributes:
        path: of the image.
        number: of the cell on it, from 1.
        count: of cells on it.
        square: left, top and side, in pixels, of what was looked at.
        picture: uint8 (96, 96, 3), the same.
        probabilities: float (classes,), the mean over the pictures that count.
        known: whether it is familiar.
    """

    path: Path
    number: int
    count: int
    square: tuple[int, int, int]
    picture: np.ndarray
    probabilities: np.ndarray
    known: bool


class Look(NamedTuple):
    """What a network is shown of one cell.

    Attributes:
        path, number, count: as in `Answer`.
        squares: left, top and side, in pixels, of the photograph as it is; where the cell is small
            also of the larger enlarged square.
        views: uint8 (1 or more, 96, 96, 3) for each of `squares`.
    """

    path: Path
    number: int
    count: int
    squares: list[tuple[int, int, int]]
    views: list[np.ndarray]


def load_network(name: str, allowed: str | None = None) -> Network:
    """Return a released model, ready to be asked.

    Args:
        name: of a folder in models/.
        allowed: names of the classes that can occur, separated by commas; None for all.

    Raises:
        CourseError: if the model cannot be loaded, or has no such class.
    """
    card, model = released.card(name), released.load(name)
    reference = familiarity.load(name, card)
    if reference:
        model = familiarity.with_features(model)
    return Network(card, model, reference, _allowed(allowed, card["class_names"]))


def _allowed(names: str | None, class_names: Sequence[str]) -> np.ndarray:
    if names is None:
        return np.ones(len(class_names), bool)
    wanted = {name.strip() for name in names.split(",")} - {""}
    unknown = sorted(wanted - set(class_names))
    if unknown or len(wanted) < 2:
        fault = f"has no class {unknown[0]!r}" if unknown else "needs two classes or more"
        raise CourseError(
            f"The model {fault}: give --classes some of {', '.join(class_names)}, separated by "
            "commas."
        )
    return np.array([name in wanted for name in class_names])


def looks(path: Path, image: Image.Image, pbc: bool = False, whole: bool = False) -> list[Look]:
    """Return what a network is shown of each cell of an image.

    Args:
        path: of the image.
        image: RGB, any size.
        pbc: the central 200 pixels, whatever its size; else only if that is in PBC_SIZES.
        whole: the central square, otherwise; else the cells are looked for.
    """
    if pbc or image.size in PBC_SIZES:
        square = reading.central_square(image, reading.PBC_CROP)
        return [Look(path, 1, 1, [square], [reading.resized_square(image, *square)[None]])]
    found = ([] if whole else cells.find_cells(image)) or [None]
    shown = [[cells.squares(image, cell)] for cell in found]
    as_it_is = cells.squares(image, None)
    # A field as a whole shows no cell.
    if len(found) == 1 and shown[0][0][0][2] < as_it_is[0][2]:
        shown[0].insert(0, as_it_is)
    return [
        Look(
            path,
            number,
            len(found),
            [squares[0] for squares in own],
            [cells.views(image, squares) for squares in own],
        )
        for number, own in enumerate(shown, 1)
    ]


def named(shown: list[Look], network: Network) -> Iterator[Answer]:
    """Yield what is said of each cell; the network is asked about all of them at once.

    Args:
        shown: one or more, as `looks` returns them.
        network: which is asked.
    """
    pictures = [np.concatenate(look.views) for look in shown]
    probabilities, distances = network.asked(np.concatenate(pictures))
    ends = np.cumsum([len(own) for own in pictures])
    for look, own, end in zip(shown, pictures, ends, strict=True):
        rows = slice(end - len(own), end)
        counts = _counting(distances[rows], len(look.views[0]))
        first = int(np.argmax(counts))
        yield Answer(
            look.path,
            look.number,
            look.count,
            look.squares[first >= len(look.views[0])],
            own[first],
            probabilities[rows][counts].mean(axis=0),
            network.knows(distances[rows][counts]),
        )


def _counting(distances: np.ndarray, as_it_is: int) -> np.ndarray:
    """Return bool (N,): which views of a cell count, the first being the photograph as it is.

    Those that are not much farther from the training than that one; of these the enlarged ones
    alone, if there are any, for a small cell is taken for another class as it is.
    """
    counts = distances <= FARTHER * distances[0] + BESIDE
    if counts[as_it_is:].any():
        counts[:as_it_is] = False
    return counts


def judged(
    pictures: Sequence[np.ndarray], network: Network, whole: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return the probabilities, float (N, classes), and bool (N,): which pictures are familiar.

    Args:
        pictures: uint8 (H, W, 3) each, one cell on each.
        network: which is asked.
        whole: take each as it is, instead of looking for its cell.
    """
    answers: list[Answer] = []
    for start in range(0, len(pictures), BATCH):
        part = enumerate(pictures[start : start + BATCH], start)
        shown = [looks(Path(str(n)), Image.fromarray(p), whole=whole)[0] for n, p in part]
        answers += named(shown, network)
    return np.stack([a.probabilities for a in answers]), np.array([a.known for a in answers])
