"""The catalogue: every training of the homework report and of the course, with its title.

Names, titles, seeds and settings stand here and nowhere else; each training can be run alone with
`python -m helpers train run NAME`. No TensorFlow: the course report reads this catalogue too.
"""

from helpers.course import CourseError
from helpers.models.backbones import default_backbone
from helpers.training.experiment import Experiment

SEEDS = (0, 1, 2)

# The homework's final network; the course's final model is `final()`.
HOMEWORK_FINAL = "fine_tuned_rand_augment"

# The models of the course report's first table, in the homework report's order.
MODELS = {
    "small_cnn": "CNN 1",
    "vgg_like": "CNN 2",
    "mobilenet_v3_small_frozen": "MobileNetV3-Small, frozen",
    "efficientnet_lite0_frozen": "Lite0, frozen",
    "fine_tuned": "Lite0, fine-tuned",
    "fine_tuned_mild": "the same, mild augmentation",
    "fine_tuned_rand_augment": "the same, RandAugment, Adam",
    "fine_tuned_rand_augment_lion": "the same, RandAugment, Lion",
}
# Of MODELS and ABLATION, those trained with every seed of SEEDS; the others with the first.
THREE_SEEDS = (
    *("small_cnn", "mobilenet_v3_small_frozen", "efficientnet_lite0_frozen"),
    *("fine_tuned", HOMEWORK_FINAL, "ladder_strong", "ladder_all_layers", "ladder_batch_norm"),
)

# The homework's full-size fine-tunings, by what they differ in.
FINE_TUNED = {
    "fine_tuned": "no augmentation",
    "fine_tuned_mild": "mild",
    "fine_tuned_rand_augment": "RandAugment, Adam",
    "fine_tuned_rand_augment_lion": "RandAugment, Lion",
}

# The fine-tuning of each backbone on the subset.
SUBSET_OF_NETWORK = {
    "efficientnet_lite0": "subset_fine_tuned",
    "efficientnet_lite1": "subset_efficientnet_lite1",
    "efficientnet_lite2": "subset_efficientnet_lite2",
    "mobilenet_v3_small": "subset_mobilenet_v3_small",
}

# Groups of variants: the title of each, and what it changes in the group's baseline.
Variants = dict[str, tuple[str, dict]]

# The homework report's tuning list. The baseline is its final setting, RandAugment's copies and
# Adam at 0.0001; its earlier rate of 0.001, at which it tried the first seven, is a trial too.
_TUNING: Variants = {
    "tuning_adam_1e-4": ("Adam at 1e-4 (reference)", {}),
    "tuning_batch_64": ("batch of 64", {"batch_size": 64}),
    "tuning_batch_32": ("batch of 32", {"batch_size": 32}),
    "tuning_magnitude_0.6": ("RandAugment: magnitude 0.6", {"offline_options": {"magnitude": 0.6}}),
    "tuning_deviation_0.2": (
        "RandAugment: deviation 0.2",
        {"offline_options": {"magnitude_stddev": 0.2}},
    ),
    "tuning_2_operations": ("2 operations", {"offline_options": {"augmentations_per_image": 2}}),
    "tuning_3_operations": ("3 operations", {"offline_options": {"augmentations_per_image": 3}}),
    "tuning_rate_0.7": ("RandAugment: rate 0.7", {"offline_options": {"rate": 0.7}}),
    "tuning_extra_dense": ("extra dense layer of 128", {"extra_dense": 128}),
    "tuning_adam_1e-3": ("Adam at 1e-3", {"learning_rate": 1e-3}),
    "tuning_adam_1e-4_over_3": ("Adam at 1e-4/3", {"learning_rate": 1e-4 / 3}),
    "tuning_lion_1e-3": ("Lion at 1e-3", {"optimizer": "lion", "learning_rate": 1e-3}),
    "tuning_lion_1e-4": ("Lion at 1e-4", {"optimizer": "lion", "learning_rate": 1e-4}),
    "tuning_lion_5e-5": ("Lion at 5e-5", {"optimizer": "lion", "learning_rate": 5e-5}),
    "tuning_lion_1e-4_over_3": ("Lion at 1e-4/3", {"optimizer": "lion", "learning_rate": 1e-4 / 3}),
}
# How the trials of the search after that list begin; each has one seed.
SEARCH = "search_"

# Answers to class imbalance; the copies come from `ImageDataGenerator`, as in the homework report,
# or from Keras' layers.
_REMEDIES: Variants = {
    "subset_fine_tuned": ("none", {}),
    "subset_class_weights": ("class weights", {"class_weights": True}),
    "subset_generator": ("copies by ImageDataGenerator", {"offline": "balance_with_generator"}),
    "subset_layers": ("copies by Keras layers", {"offline": "balance_with_layers"}),
}

_WAYS: Variants = {
    "subset_fine_tuned": ("head first, batch normalisation frozen", {}),
    "subset_both_at_once": ("head and backbone at once", {"head_first": False}),
    "subset_batch_norm_trained": ("batch normalisation trained", {"freeze_batch_norm": False}),
}

# Two rates, batch normalisation in inference mode or trained: does 1e-3 fail for the rate's sake?
_RATES: Variants = {
    "subset_fine_tuned": ("frozen, 1e-4", {}),
    "subset_1e-3": ("frozen, 1e-3", {"learning_rate": 1e-3}),
    "subset_batch_norm_trained": ("trained, 1e-4", {"freeze_batch_norm": False}),
    "subset_batch_norm_1e-3": (
        "trained, 1e-3",
        {"freeze_batch_norm": False, "learning_rate": 1e-3},
    ),
}

_FAMILIES: Variants = {
    "subset_fine_tuned": ("none", {}),
    "subset_mild": ("mild", {"augmentation": "mild"}),
    "subset_geometry": ("geometry", {"augmentation": "geometry"}),
    "subset_colour": ("colour", {"augmentation": "colour"}),
    "subset_occlusion": ("occlusion", {"augmentation": "occlusion"}),
    "subset_composed": ("composed", {"augmentation": "composed"}),
    "subset_rand_augment": ("RandAugment, each epoch", {"augmentation": "rand_augment"}),
    "subset_rand_augment_copies": ("RandAugment, once", {"offline": "rand_augment"}),
    "subset_rand_augment_3_copies": (
        "RandAugment, once, 3 operations",
        {"offline": "rand_augment", "offline_options": {"augmentations_per_image": 3}},
    ),
}

# Composed augmentation with one family left out, to be judged under that family alone.
_ALL_BUT_ONE: Variants = {
    f"subset_without_{family}": (f"without {family}", {"augmentation": f"without_{family}"})
    for family in ("geometry", "colour", "occlusion")
}

_COSINE = {"schedule": "cosine", "learning_rate": 3e-4, "patience": None}
# Most of what the steps towards the final model change, each alone. The average is shorter than
# theirs, as these trainings are; their momentum would leave a third of the first weights in it.
_ALONE: Variants = {
    "subset_composed": ("composed augmentation", {}),
    "subset_strong": ("strong chain", {"augmentation": "strong"}),
    "subset_composed_schedule": ("cosine schedule from 3e-4", _COSINE),
    "subset_composed_averaged": ("averaged weights", {"ema": 0.95}),
    "subset_composed_smoothed": ("smoothed labels", {"label_smoothing": 0.1}),
    "subset_composed_larger": ("images of 112 px", {"image_size": 112}),
    "subset_composed_cutmix": ("CutMix", {"mix": "cutmix"}),
}

# What else may have brought the steps' gain under shift: RandAugment, or nothing at all, with the
# rest of what the steps change; and batch normalisation trained at the schedule's rate.
_LONGER = {"budget": "subset_longer", "patience": None}
_CONTROLS: Variants = {
    "subset_longer": ("no augmentation, three times as long", _LONGER),
    "subset_rand_augment_longer": (
        "RandAugment, three times as long",
        {"augmentation": "rand_augment"} | _LONGER,
    ),
    "subset_rand_augment_schedule": (
        "RandAugment, cosine schedule",
        {"augmentation": "rand_augment"} | _COSINE,
    ),
    "subset_composed_batch_norm": (
        "composed, schedule, batch normalisation trained",
        {"augmentation": "composed", "freeze_batch_norm": False} | _COSINE,
    ),
}


def _titles(variants: Variants) -> dict[str, str]:
    return {name: title for name, (title, _) in variants.items()}


TRIALS, REMEDIES = map(_titles, (_TUNING, _REMEDIES))
RATES, FAMILIES = map(_titles, (_RATES, _FAMILIES))
ALONE, CONTROLS = map(_titles, (_ALONE, _CONTROLS))
REFERENCE = next(iter(TRIALS))

# From the homework report's fine-tuning to the course's final model.
ABLATION = {
    "fine_tuned": "fine-tuned, no augmentation",
    "fine_tuned_rand_augment": "RandAugment, once",
    "ladder_strong": "strong chain, new schedule",
    "ladder_all_layers": "all layers trained",
    "ladder_batch_norm": "batch normalisation too",
    "ladder_longer": "averaged, smoothed, longer",
    "final": "larger, heavier",
}

# The homework froze 'the first 30 layers' of EfficientNetB0; its layer 30 lies in block2a.
FROZEN_THROUGH = dict.fromkeys(
    ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2", "efficientnet_b0"), "block2a"
)
# Of other networks, as many layers.
FROZEN_LAYERS = 30


def model_seeds(name: str) -> tuple[int, ...]:
    """Return the seeds that a model of MODELS or a step of ABLATION was trained with."""
    return SEEDS if name in THREE_SEEDS else SEEDS[:1]


def custom_cnns() -> dict[str, Experiment]:
    """Return the homework report's two networks of its own, trained from random weights."""
    return _by_name(
        Experiment("small_cnn", "small_cnn", budget="scratch"),
        Experiment("vgg_like", "vgg_like", budget="deep_scratch"),
    )


def frozen(network: str) -> Experiment:
    """Return a head on a frozen backbone's features: dense layer, dropout 0.3."""
    return Experiment(f"{network}_frozen", network, budget="head", freeze="all")


def fine_tuned() -> Experiment:
    """Return the homework report's fine-tuning of the default backbone, at full size.

    Head first, then all layers behind the homework's thirtieth, batch normalisation in inference
    mode; Adam at 1e-4, dropout 0.3, L2 on the head.
    """
    return _fine_tuning("fine_tuned", "finetune", default_backbone())


def fine_tunings() -> dict[str, Experiment]:
    """Return the full-size fine-tunings of FINE_TUNED."""
    plain = fine_tuned()
    rand_augment = plain.variant("fine_tuned_rand_augment", offline="rand_augment")
    lion = {"optimizer": "lion", "learning_rate": 1e-4 / 3}
    return _by_name(
        plain,
        plain.variant("fine_tuned_mild", augmentation="mild"),
        rand_augment,
        rand_augment.variant("fine_tuned_rand_augment_lion", **lion),
    )


def fine_tuned_on_subset(network: str | None = None) -> Experiment:
    """Return the fine-tuning on the fixed subset: the baseline of every comparison of variants.

    Args:
        network: name in `backbones.BACKBONES`; None for the default one.
    """
    if network is None or network == default_backbone():
        return _fine_tuning("subset_fine_tuned", "subset", default_backbone())
    return _fine_tuning(f"subset_{network}", "subset", network)


def tuning() -> dict[str, Experiment]:
    """Return the trials of TRIALS, on the fixed subset with RandAugment's copies."""
    return _variants(fine_tuned_on_subset().variant("", offline="rand_augment"), _TUNING)


def steps() -> dict[str, Experiment]:
    """Return what was tried between the homework's fine-tuning and the course's final model.

    Each begins at the one before; ALONE holds what they change, one thing at a time.
    """
    composed = fine_tuned().variant(
        "ladder_composed",
        budget="ladder",
        augmentation="composed",
        learning_rate=3e-4,
        schedule="cosine",
        patience=None,
    )
    strong = composed.variant("ladder_strong", augmentation="strong")
    all_layers = strong.variant("ladder_all_layers", freeze=None)
    batch_norm = all_layers.variant(
        "ladder_batch_norm", freeze_batch_norm=False, learning_rate=1e-3
    )
    return _by_name(
        composed,
        strong,
        all_layers,
        batch_norm,
        batch_norm.variant("ladder_averaged", ema=0.995, label_smoothing=0.1),
    )


def longer() -> Experiment:
    """Return the first part of the final model's training: the last of `steps`, for longer."""
    return steps()["ladder_averaged"].variant("ladder_longer", budget="longer")


def final() -> Experiment:
    """Return the course's final model: on from `longer` with larger images and heavier changes.

    Small images first and larger ones later: Tan & Le 2021, EfficientNetV2, ICML, section 4.
    """
    return longer().variant(
        "final",
        budget="final",
        augmentation="heavy",
        learning_rate=5e-4,
        # Fewer at a time, since larger images take more memory.
        batch_size=96,
        image_size=128,
        starts_from=longer(),
    )


def wide() -> Experiment:
    """Return a third part after `final`, of generic changes in a wide range."""
    return final().variant(
        "ladder_wide", budget="wide", augmentation="wide", learning_rate=7e-4, starts_from=final()
    )


def larger_network() -> Experiment:
    """Return EfficientNet-Lite2, trained from ImageNet on with changes in a wide range."""
    return longer().variant(
        "ladder_lite2", network="efficientnet_lite2", budget="larger", augmentation="wide"
    )


def larger_final() -> Experiment:
    """Return the last part of the larger network's training: larger images, the same changes."""
    return larger_network().variant(
        "ladder_lite2_larger",
        budget="wide",
        learning_rate=5e-4,
        # Fewer at a time, since a larger network takes more memory.
        batch_size=64,
        image_size=128,
        starts_from=larger_network(),
    )


def ablation() -> dict[str, Experiment]:
    """Return the steps of ABLATION."""
    return {name: find(name) for name in ABLATION}


def catalogue() -> dict[str, Experiment]:
    """Return every named experiment with seed 0, in the order of the homework report."""
    subset = fine_tuned_on_subset()
    return {
        **custom_cnns(),
        **_by_name(frozen("mobilenet_v3_small"), frozen(default_backbone())),
        **fine_tunings(),
        **tuning(),
        **_by_name(*map(fine_tuned_on_subset, SUBSET_OF_NETWORK)),
        **_variants(subset, _WAYS | _RATES | _REMEDIES | _FAMILIES | _ALL_BUT_ONE | _CONTROLS),
        **_variants(subset.variant("", augmentation="composed"), _ALONE),
        **steps(),
        **_by_name(longer(), final(), wide(), larger_network(), larger_final()),
    }


def find(name: str) -> Experiment:
    """Return the experiment of that name.

    Raises:
        CourseError: if there is none.
    """
    experiments = catalogue()
    if name not in experiments:
        raise CourseError(
            f"There is no experiment {name!r}: `python -m helpers train list` names them all."
        )
    return experiments[name]


def _fine_tuning(name: str, budget: str, network: str) -> Experiment:
    depth = FROZEN_THROUGH.get(network, FROZEN_LAYERS)
    return Experiment(name, network, budget, freeze=depth, learning_rate=1e-4, l2=1e-4)


def _variants(baseline: Experiment, variants: Variants) -> dict[str, Experiment]:
    return {name: baseline.variant(name, **changes) for name, (_, changes) in variants.items()}


def _by_name(*experiments: Experiment) -> dict[str, Experiment]:
    return {experiment.name: experiment for experiment in experiments}
