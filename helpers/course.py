"""Where the course keeps its files, and how much a run does (its profile)."""

import os
from dataclasses import dataclass
from pathlib import Path


class CourseError(Exception):
    """Something a reader can mend: one sentence that says what was wrong, where, and what to do."""


@dataclass(frozen=True)
class Profile:
    """How much one run does.

    Attributes:
        name: "quick" or "full".
        train_images: most images a network trains on; None for all of them.
        evaluation_images: most images in each evaluation set; None for all of them.
        max_epochs: cap on epochs of a network trained from scratch.
        head_epochs: cap on epochs of a head on cached features.
        finetune_epochs: cap on epochs of a fine-tuning.
        subset_images: size of the fixed subset on which variants are compared.
        subset_epochs: epochs of each of those comparisons.
        seeds: seeds of every cheap experiment.
        training_minutes: cap on one training's wall-clock time, in minutes.
    """

    name: str
    train_images: int | None
    evaluation_images: int | None
    max_epochs: int
    head_epochs: int
    finetune_epochs: int
    subset_images: int
    subset_epochs: int
    seeds: tuple[int, ...]
    training_minutes: float


PROFILES = {
    "quick": Profile("quick", 1200, 400, 6, 30, 2, 400, 1, (0,), 1.5),
    "full": Profile("full", None, None, 1000, 200, 15, 3000, 8, (0, 1, 2), 60.0),
}


def profile() -> Profile:
    """Return the profile named by the environment variable COURSE_PROFILE (default "quick").

    Raises:
        CourseError: if no profile has that name.
    """
    name = os.environ.get("COURSE_PROFILE", "quick")
    if name not in PROFILES:
        raise CourseError(
            f"COURSE_PROFILE is {name!r}, which is no profile: set it to 'quick' or 'full'."
        )
    return PROFILES[name]


def root() -> Path:
    """Return the course's folder: the checkout that holds this package, else the working folder.

    In Colab the package is installed without its checkout, and files go to the working folder.
    """
    checkout = Path(__file__).resolve().parent.parent
    return checkout if (checkout / "notebooks").is_dir() else Path.cwd()


def data_folder() -> Path:
    """Return the git-ignored folder of downloaded and decoded images, made if missing."""
    return _made(root() / "data")


def build_folder() -> Path:
    """Return the git-ignored folder of everything a run leaves behind, made if missing."""
    return _made(root() / "build")


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CourseError(
            f"The folder {folder} cannot be made ({error.strerror}): "
            "run the course from a folder you may write to."
        ) from error
    return folder
