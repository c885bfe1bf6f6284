import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from helpers.figures import transfer_figures


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def test_feature_maps_shows_those_that_vary_most():
    rng = np.random.default_rng(0)
    layer = rng.normal(size=(6, 6, 5)) * np.array([1, 100, 0, 10, 0.1])
    image = np.zeros((96, 96, 3), np.uint8)
    figure = transfer_figures.feature_maps(image, {"6 × 6": layer}, "found", shown=2)
    drawn = [axis.images[0].get_array() for axis in figure.axes[1:]]
    assert np.allclose(drawn[0], layer[:, :, 1])
    assert np.allclose(drawn[1], layer[:, :, 3])


def test_projections_part_classes_that_a_line_can_part():
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 3
    centres = 8 * np.eye(3, 10)
    train = {"toy": centres[labels] + rng.normal(size=(120, 10))}
    judged = {"toy": centres[labels] + rng.normal(size=(120, 10))}
    figure = transfer_figures.projections(
        train, labels, judged, labels, ("one", "two", "three"), "found"
    )
    places = [np.asarray(points.get_offsets()) for points in figure.axes[0].collections]
    means = np.array([group.mean(axis=0) for group in places])
    for own, group in enumerate(places):
        distances = np.linalg.norm(group[:, None] - means, axis=2)
        assert (distances.argmin(axis=1) == own).mean() > 0.95


def test_costs_writes_the_sum_of_both_parts():
    ways = {"every epoch": (0.0, 90.0), "cached": (3.0, 1.5)}
    figure = transfer_figures.costs(ways, "found", ("once", "every epoch"))
    assert [text.get_text().strip() for text in figure.axes[0].texts] == ["90.0 s", "4.5 s"]


def test_accuracy_and_cost_keeps_every_label_inside():
    table = pd.DataFrame(
        {
            "parameters": [3.4e6, 23.6e6],
            "ms an image": [3.0, 20.0],
            "value": [0.95, 0.97],
            "low": [0.93, 0.95],
            "high": [0.96, 0.98],
        },
        index=["EfficientNet-Lite0", "MobileNetV3-Small"],
    )
    figure = transfer_figures.accuracy_and_cost(table, "found")
    figure.draw_without_rendering()
    axis = figure.axes[0]
    assert all(t.get_window_extent().x1 <= axis.get_window_extent().x1 for t in axis.texts)
