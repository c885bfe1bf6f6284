"""A training as plain data: what is trained, how, on how many images, and its identity.

No TensorFlow: whatever lists, counts or reports trainings imports this without waiting for it.
"""

import dataclasses
import json
from dataclasses import dataclass, field

from helpers.course import Budget, CourseError, Profile
from helpers.data.photographs import IMAGE_SIZE
from helpers.data.sets import CourseData
from helpers.evaluation import records
from helpers.files import short_hash

# Raised by hand whenever training, networks or augment change what an experiment computes.
CACHE_VERSION = 2

REQUIRED = ("name", "network", "budget")


@dataclass(frozen=True)
class Experiment:
    """One training, described completely.

    Attributes:
        name: snake_case, unique within the course; the key of its records.
        network: "small_cnn", "vgg_like" or the name of a backbone in `backbones.BACKBONES`.
        budget: which of the profile's `budgets` caps images and epochs.
        freeze: for a backbone, "all" (only the head is trained, on pooled features), an int (that
            many first layers), the name of the last frozen block, or None (nothing is frozen).
        freeze_batch_norm: keep batch normalisation in inference mode while fine-tuning.
        head_first: train the head alone before fine-tuning (else both at once).
        augmentation: name in `augment.AUGMENTATIONS`, drawn anew in every epoch.
        offline: name in `run.OFFLINE`, applied once to the training images before training.
        offline_options: its keyword arguments.
        class_weights: weight each image by the inverse frequency of its class.
        optimizer: "adam" or "lion".
        learning_rate: of the optimizer, constant.
        batch_size: images per training step.
        dropout: fraction of pooled features dropped before the output.
        l2: the homework report's lambda, on the head's kernels.
        extra_dense: units of a dense layer with batch normalisation before the output, or None.
        patience: epochs without a better validation loss before early stopping; None to train
            through the budget and keep the last epoch's weights.
        image_size: height and width to which images are resized before the backbone.
        mix: "cutmix", "mixup" or None (see `augment.mixer`).
        label_smoothing: fraction of each label that is spread over all classes.
        schedule: "constant", or "cosine" (the learning rate falls to 0 over the budget's epochs).
        ema: momentum of a moving average of the weights, which is judged and kept; or None.
        starts_from: the experiment whose trained weights are the first ones, or None.
        seed: of initialisation, order, dropout and augmentation.
    """

    name: str
    network: str
    budget: str
    freeze: str | int | None = None
    freeze_batch_norm: bool = True
    head_first: bool = True
    augmentation: str = "none"
    offline: str | None = None
    # Not hashed, for an experiment is the key of what is cached of it.
    offline_options: dict = field(default_factory=dict, hash=False)
    class_weights: bool = False
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    batch_size: int = 128
    dropout: float = 0.3
    l2: float = 0.0
    extra_dense: int | None = None
    patience: int | None = 5
    image_size: int = IMAGE_SIZE
    mix: str | None = None
    label_smoothing: float = 0.0
    schedule: str = "constant"
    ema: float | None = None
    starts_from: "Experiment | None" = None
    seed: int = 0

    @property
    def run_name(self) -> str:
        """Name and seed, as records and predictions are filed."""
        return records.run_name(self.name, self.seed)

    @property
    def head_only(self) -> bool:
        """Whether the backbone stays as it is, so that its features are computed only once."""
        return self.freeze == "all"

    @property
    def soft_labels(self) -> bool:
        """Whether labels are fractions per class instead of class numbers."""
        return self.mix is not None or self.label_smoothing > 0

    @property
    def head_settings(self) -> dict:
        """The settings of the layers behind the backbone, as `networks.head` takes them."""
        return {"dropout": self.dropout, "l2": self.l2, "extra_dense": self.extra_dense}

    def variant(self, name: str, **changes: object) -> "Experiment":
        """Return a copy under another name with some settings changed."""
        return dataclasses.replace(self, name=name, **changes)

    def first_head(self) -> "Experiment":
        """Return the training of the head alone with which fine-tuning begins (`head_first`)."""
        return Experiment(
            name=f"{self.network}_head_{self.budget}",
            network=self.network,
            budget=self.budget,
            freeze="all",
            image_size=self.image_size,
            seed=self.seed,
            **self.head_settings,
        )


def budget(experiment: Experiment, profile: Profile) -> Budget:
    """Return the caps of an experiment under a profile, its minutes a number.

    A head alone may train for as many epochs as any head, on the images of its own budget.

    Raises:
        CourseError: if the profile has no budget of that name.
    """
    budgets = profile.budgets
    if experiment.budget not in budgets:
        raise CourseError(
            f"{experiment.name} asks for the budget {experiment.budget!r}, which is none of the "
            f"{profile.name} profile: choose from {', '.join(budgets)}."
        )
    named = budgets[experiment.budget]
    epochs = budgets["head"].max_epochs if experiment.head_only else named.max_epochs
    return Budget(named.train_images, epochs, named.minutes or profile.training_minutes)


def identity(experiment: Experiment, data: CourseData) -> str:
    """Return the experiment's name and a hash of all that its result depends on.

    That is its settings, CACHE_VERSION, the profile's caps, the images, and what it starts from.
    """
    caps = budget(experiment, data.profile)
    before = experiment.starts_from
    first = () if before is None else (identity(before, data),)
    key = short_hash(
        CACHE_VERSION,
        _description(experiment),
        caps.train_images,
        caps.max_epochs,
        caps.minutes,
        data.fingerprint,
        *first,
    )
    return f"{experiment.name}-{key}"


def _description(experiment: Experiment) -> str:
    """Return the settings that are not the defaults: a setting added later changes no key.

    The experiment it starts from has a description of its own.
    """
    default = Experiment(experiment.name, experiment.network, experiment.budget)
    settings = dataclasses.asdict(experiment.variant(experiment.name, starts_from=None))
    kept = {n: v for n, v in settings.items() if n in REQUIRED or v != getattr(default, n)}
    return json.dumps(kept, sort_keys=True)
