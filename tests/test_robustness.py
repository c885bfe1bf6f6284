import numpy as np

from helpers.changes.corruptions import CORRUPTIONS, SEVERITIES
from helpers.commands import robustness


def test_estimates_average_over_corruptions_and_count_photographs_once():
    labels = np.arange(40) % 8
    predictions = np.tile(labels, (len(CORRUPTIONS), len(SEVERITIES), 1)).astype(np.uint8)
    predictions[0] = (labels + 1) % 8
    estimates = robustness.estimates(predictions, labels)
    assert estimates["medmnist_c"].n == 40
    assert np.isclose(estimates["medmnist_c"].value, 1 - 1 / len(CORRUPTIONS))
    assert estimates[f"medmnist_c/{CORRUPTIONS[0]}"].value == 0
    assert estimates[f"medmnist_c/{CORRUPTIONS[1]}"].value == 1
