"""Every training of the report and of the course, by name; each can be run alone.

Commands:
    python -m helpers train list
    python -m helpers train run NAME [NAME ...] [--seeds 0 1 2] [--force]
"""

import argparse

from helpers import course
from helpers.course import CourseError
from helpers.models.backbones import default_backbone
from helpers.training.run import Experiment, run

# The report froze 'the first 30 layers' of EfficientNetB0; its layer 30 lies in block2a.
EFFICIENTNETS = (
    "efficientnet_lite0",
    "efficientnet_lite1",
    "efficientnet_lite2",
    "efficientnet_b0",
)
FROZEN_THROUGH = dict.fromkeys(EFFICIENTNETS, "block2a")
# Of other networks, as many layers.
FROZEN_LAYERS = 30

# The report's tuning list: what each trial changes in its final setting, RandAugment's copies and
# Adam at 0.0001. Its earlier rate of 0.001, at which it tried the first seven, is a trial too.
TRIALS = {
    "magnitude_0.6": {"offline_options": {"magnitude": 0.6}},
    "deviation_0.2": {"offline_options": {"magnitude_stddev": 0.2}},
    "2_operations": {"offline_options": {"augmentations_per_image": 2}},
    "3_operations": {"offline_options": {"augmentations_per_image": 3}},
    "rate_0.7": {"offline_options": {"rate": 0.7}},
    "batch_64": {"batch_size": 64},
    "batch_32": {"batch_size": 32},
    "adam_1e-4": {},
    "extra_dense": {"extra_dense": 128},
    "adam_1e-3": {"learning_rate": 1e-3},
    "adam_1e-4_over_3": {"learning_rate": 1e-4 / 3},
    "lion_1e-3": {"optimizer": "lion", "learning_rate": 1e-3},
    "lion_1e-4": {"optimizer": "lion", "learning_rate": 1e-4},
    "lion_5e-5": {"optimizer": "lion", "learning_rate": 5e-5},
    "lion_1e-4_over_3": {"optimizer": "lion", "learning_rate": 1e-4 / 3},
}

FAMILIES = ("mild", "geometry", "colour", "occlusion", "composed", "rand_augment")


def custom_cnns() -> dict[str, Experiment]:
    """Return the report's two networks of its own, trained from random weights."""
    return _by_name(
        Experiment("small_cnn", "small_cnn", budget="scratch"),
        Experiment("vgg_like", "vgg_like", budget="deep_scratch"),
    )


def frozen(network: str) -> Experiment:
    """Return a head on a frozen backbone's features: dense layer, dropout 0.3."""
    return Experiment(f"{network}_frozen", network, budget="head", freeze="all")


def fine_tuned() -> Experiment:
    """Return the report's fine-tuning of the default backbone, at full size.

    Head first, then all layers behind the report's thirtieth, batch normalisation in inference
    mode; Adam at 1e-4, dropout 0.3, L2 on the head.
    """
    return _fine_tuning("fine_tuned", "finetune", default_backbone())


def fine_tunings() -> dict[str, Experiment]:
    """Return the full-size fine-tunings: no augmentation, mild, RandAugment with Adam and Lion."""
    plain = fine_tuned()
    rand_augment = plain.variant("fine_tuned_rand_augment", offline="rand_augment")
    return _by_name(
        plain,
        plain.variant("fine_tuned_mild", augmentation="mild"),
        rand_augment,
        rand_augment.variant(
            "fine_tuned_rand_augment_lion", optimizer="lion", learning_rate=1e-4 / 3
        ),
    )


def report_steps() -> dict[str, Experiment]:
    """Return the report's way up by title: frozen, then the full-size fine-tunings in its order."""
    titles = ("no augmentation", "mild", "RandAugment, Adam", "RandAugment, Lion")
    names = ("", "_mild", "_rand_augment", "_rand_augment_lion")
    trainings = fine_tunings()
    steps = {t: trainings[f"fine_tuned{name}"] for t, name in zip(titles, names, strict=True)}
    return {"frozen": frozen(default_backbone()), **steps}


def fine_tuned_on_subset(network: str | None = None) -> Experiment:
    """Return the fine-tuning on the fixed subset: the baseline of every comparison of variants.

    Args:
        network: name in `backbones.BACKBONES`; None for the default one.
    """
    if network is None or network == default_backbone():
        return _fine_tuning("subset_fine_tuned", "subset", default_backbone())
    return _fine_tuning(f"subset_{network}", "subset", network)


def tuning() -> dict[str, Experiment]:
    """Return the report's tuning list on the fixed subset, each trial with RandAugment's copies."""
    reference = fine_tuned_on_subset().variant("tuning", offline="rand_augment")
    return _by_name(
        *(reference.variant(f"tuning_{name}", **changes) for name, changes in TRIALS.items())
    )


def remedies() -> dict[str, Experiment]:
    """Return the report's two answers to class imbalance on the fixed subset, and plain training.

    Copies to balance with come from `ImageDataGenerator`, as in the report, or from layers.
    """
    plain = fine_tuned_on_subset()
    return _by_name(
        plain,
        plain.variant("subset_class_weights", class_weights=True),
        plain.variant("subset_generator", offline="balance_with_generator"),
        plain.variant("subset_layers", offline="balance_with_layers"),
    )


def ways_of_fine_tuning() -> dict[str, Experiment]:
    """Return fine-tuning on the fixed subset: as it is, without head first, batch norm trained."""
    plain = fine_tuned_on_subset()
    return _by_name(
        plain,
        plain.variant("subset_both_at_once", head_first=False),
        plain.variant("subset_batch_norm_trained", freeze_batch_norm=False),
    )


def augmentations() -> dict[str, Experiment]:
    """Return trainings on the fixed subset: plain, each family of changes, RandAugment's copies."""
    plain = fine_tuned_on_subset()
    copies = plain.variant("subset_rand_augment_copies", offline="rand_augment")
    return _by_name(
        plain,
        copies,
        copies.variant(
            "subset_rand_augment_3_copies", offline_options={"augmentations_per_image": 3}
        ),
        *(plain.variant(f"subset_{name}", augmentation=name) for name in FAMILIES),
    )


def ladder() -> dict[str, Experiment]:
    """Return the steps from the report's best model to the final one.

    Each changes one thing of the one before, but for the last three, which all begin at trained
    batch normalisation.
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
    averaged = batch_norm.variant("ladder_averaged", ema=0.995, label_smoothing=0.1)
    return _by_name(
        composed,
        strong,
        all_layers,
        batch_norm,
        batch_norm.variant("ladder_cutmix", mix="cutmix"),
        batch_norm.variant("ladder_larger", image_size=112),
        averaged,
    )


def longer() -> Experiment:
    """Return the first part of the final model's training: the ladder's last step, for longer."""
    return ladder()["ladder_averaged"].variant("ladder_longer", budget="longer")


def final() -> Experiment:
    """Return the second part: on from there with larger images and heavier changes.

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


def ladder_steps() -> dict[str, Experiment]:
    """Return the steps from the report's fine-tuning to the final model, by title."""
    steps = ladder()
    return {
        "report: fine-tuned": fine_tuned(),
        "report: RandAugment": fine_tunings()["fine_tuned_rand_augment"],
        "composed augmentation": steps["ladder_strong"],
        "all layers trained": steps["ladder_all_layers"],
        "batch normalisation too": steps["ladder_batch_norm"],
        "averaged, longer": longer(),
        "final: larger, heavier": final(),
    }


def catalogue() -> dict[str, Experiment]:
    """Return every named experiment with seed 0, in the order of the report."""
    frozen_heads = (frozen("mobilenet_v3_small"), frozen(default_backbone()))
    networks = ("mobilenet_v3_small", "efficientnet_lite1", "efficientnet_lite2")
    return {
        **custom_cnns(),
        **_by_name(*frozen_heads),
        **fine_tunings(),
        **tuning(),
        **_by_name(*(fine_tuned_on_subset(network) for network in networks)),
        **ways_of_fine_tuning(),
        **remedies(),
        **augmentations(),
        **ladder(),
        **_by_name(longer(), final()),
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
    return Experiment(
        name,
        network,
        budget,
        freeze=FROZEN_THROUGH.get(network, FROZEN_LAYERS),
        learning_rate=1e-4,
        l2=1e-4,
    )


def _by_name(*experiments: Experiment) -> dict[str, Experiment]:
    return {experiment.name: experiment for experiment in experiments}


def main() -> None:
    """Read the command line and list or run experiments under COURSE_PROFILE."""
    from helpers.data.sets import load_course_data
    from helpers.evaluation import metrics, records

    parser = argparse.ArgumentParser(description="Run experiments of the course by name.")
    parser.add_argument("command", choices=("list", "run"))
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--force", action="store_true", help="train again what is cached")
    arguments = parser.parse_args()
    if arguments.command == "list":
        print("\n".join(catalogue()))
        return
    if not arguments.names:
        parser.error("run needs the NAME of an experiment; list prints them all")
    experiments = {name: find(name) for name in arguments.names}
    data = load_course_data()
    for seed in arguments.seeds:
        for name in arguments.names:
            experiment = experiments[name].variant(name, seed=seed)
            outcome = run(experiment, data, force=arguments.force)
            records.record_outcome(outcome, data)
            accuracy = metrics.accuracy(data["validation"].labels, outcome.logits["validation"])
            print(
                f"{name}, seed {seed}: validation {accuracy}, {outcome.seconds:.0f} s", flush=True
            )


if __name__ == "__main__":
    course.run_command(main)
