"""The experiments that more than one notebook uses, so that each is trained once."""

from helpers.experiments import Experiment
from helpers.weights import default_backbone

# The report froze 'the first 30 layers' of EfficientNetB0; its layer 30 lies in block2a.
FROZEN_THROUGH = {"efficientnet_lite0": "block2a", "efficientnet_b0": "block2a"}


def fine_tuned() -> Experiment:
    """Return the report's fine-tuning of the default backbone, at full size.

    Head first, then all layers behind the report's thirtieth, batch normalisation in inference
    mode; Adam at 1e-4, dropout 0.3, L2 on the head.
    """
    return _fine_tuning("fine_tuned", "finetune")


def fine_tuned_on_subset() -> Experiment:
    """Return the same on the fixed subset: the baseline of every comparison of variants."""
    return _fine_tuning("subset_fine_tuned", "subset")


def _fine_tuning(name: str, budget: str) -> Experiment:
    network = default_backbone()
    return Experiment(
        name,
        network,
        budget,
        freeze=FROZEN_THROUGH.get(network, 30),
        learning_rate=1e-4,
        l2=1e-4,
    )
