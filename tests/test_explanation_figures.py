"""Plots show what they were given: every value in its place, nothing outside the figure."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from helpers.evaluation.explanation import SEEN, UNALTERED, UNSEEN
from helpers.evaluation.metrics import Estimate
from helpers.figures import explanation_figures


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def values_of(line) -> list[float]:
    return np.asarray(line.get_xdata(), float).tolist()


def test_a_ladder_shows_every_step_and_leaves_a_gap_where_nothing_was_measured():
    table = pd.DataFrame(
        {
            "minutes": [0.4, 12.0, 1100.0],
            "test": [Estimate(v, v - 0.02, v + 0.01, 100) for v in (0.9, 0.95, 0.97)],
            "MedMNIST-C": [Estimate(0.5, 0.4, 0.6, 50), None, Estimate(0.8, 0.7, 0.9, 50)],
        },
        index=["head alone", "fine-tuned", "composed"],
    )
    axis = explanation_figures.ladder(table, "found").axes[0]
    drawn = {bars.get_label(): bars.lines[0] for bars in axis.containers}
    assert values_of(drawn["test"]) == [0.9, 0.95, 0.97]
    np.testing.assert_array_equal(values_of(drawn["MedMNIST-C"]), [0.5, np.nan, 0.8])
    assert [tick.get_text() for tick in axis.get_yticklabels()] == list(table.index)
    beside = {text.get_text(): text.get_position()[1] for text in axis.texts}
    assert [beside["< 1 min"], beside["12 min"], beside["1,100 min"]] == [0, 1, 2]


def operation_table(accuracies: list[float]) -> pd.DataFrame:
    names = ["stripes", "blur", "flip", UNALTERED]
    values = np.array(accuracies)
    kinds = [UNSEEN, SEEN, SEEN, UNALTERED]
    columns = {"kind": kinds, "accuracy": values, "low": values - 0.1, "high": values + 0.05}
    return pd.DataFrame(columns, index=names)


def test_operations_are_sorted_by_the_first_model_and_match_across_models():
    before, after = operation_table([0.5, 0.2, 0.7, 0.9]), operation_table([0.6, 0.8, 0.75, 0.95])
    # The second model's table has its own order.
    figure = explanation_figures.operations({"before": before, "after": after[::-1]}, "found")
    axis = figure.axes[0]
    rows = [tick.get_text() for tick in axis.get_yticklabels()]
    assert rows == ["blur", "stripes", "flip", UNALTERED]
    shown = [
        (rows[round(y)], x)
        for bars in axis.containers
        for x, y in zip(*bars.lines[0].get_data(), strict=True)
    ]
    expected = [*before["accuracy"].items(), *after["accuracy"].items()]
    assert sorted(shown) == sorted(expected)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["before", "after", SEEN, UNSEEN, UNALTERED]


def test_grad_cam_pairs_stand_in_columns_and_only_high_places_are_coloured():
    images = np.full((3, 8, 8, 3), (200, 100, 60), np.uint8)
    maps = np.zeros((3, 8, 8), np.float32)
    maps[:, 2, 2] = 1
    titles = [("monocyte, 98 %", "taken for immature granulocytes, 71 %")] * 3
    figure = explanation_figures.grad_cam_pairs(images, images, maps, 0 * maps, titles, "found")
    panels = np.array(figure.axes, object).reshape(4, 3)
    clean, marked, shifted, unmarked = (row[0].images[0].get_array() for row in panels)
    assert (clean == images[0]).all()
    assert (shifted == images[0]).all()
    assert (unmarked == 120).all()
    assert (marked[2, 2] != 120).all()
    assert (np.delete(marked.reshape(-1, 3), 18, axis=0) == 120).all()
    assert panels[0, 1].get_title() == "monocyte, 98 %"
    assert panels[2, 1].get_title() == "taken for immature\ngranulocytes, 71 %"


def test_reliability_draws_a_panel_a_table():
    table = pd.DataFrame(
        {
            "confidence": [0.55, 0.95],
            "accuracy": [0.4, 0.9],
            "low": [0.2, 0.85],
            "high": [0.6, 0.93],
            "images": [10, 90],
        }
    )
    figure = explanation_figures.reliability({"clean, 2 %": table, "shifted, 9 %": table}, "found")
    assert [axis.get_title(loc="left") or axis.get_title() for axis in figure.axes] == [
        "clean, 2 %",
        "shifted, 9 %",
    ]
    for axis in figure.axes:
        dots = axis.collections[-1]
        np.testing.assert_allclose(dots.get_offsets(), [[0.55, 0.4], [0.95, 0.9]])
        assert dots.get_sizes()[1] > dots.get_sizes()[0]


def test_embeddings_draw_every_point_once_with_the_colour_of_its_class():
    rng = np.random.default_rng(0)
    labels, shifted = np.arange(30) % 3, np.arange(30) >= 15
    points = {name: rng.normal(size=(30, 2)) for name in ("before", "after")}
    figure = explanation_figures.embeddings(points, labels, shifted, ("a", "b", "c"), "found")
    for axis, places in zip(figure.axes, points.values(), strict=True):
        drawn = [group for group in axis.collections if len(group.get_offsets())]
        offsets = np.concatenate([group.get_offsets() for group in drawn])
        assert sorted(map(tuple, offsets)) == sorted(map(tuple, places))
        colours = {}
        for group in drawn:
            rows = [np.flatnonzero((places == at).all(axis=1))[0] for at in group.get_offsets()]
            assert len({(labels[row], shifted[row]) for row in rows}) == 1
            colours.setdefault(int(labels[rows[0]]), set()).add(tuple(group.get_facecolor()[0]))
        assert all(len(of_class) == 1 for of_class in colours.values())
        assert len(set.union(*colours.values())) == 3
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["a", "b", "c", "clean", "shifted"]


def test_error_sheet_says_what_was_taken_for_what():
    images = np.zeros((2, 8, 8, 3), np.uint8)
    confidences = np.array([0.974, 0.6])
    figure = explanation_figures.error_sheet(
        images, ["monocyte", "platelet"], ["neutrophil", "monocyte"], confidences, "found"
    )
    titles = [axis.get_title() for axis in figure.axes[:2]]
    assert titles == ["monocyte\n→ neutrophil 97 %", "platelet\n→ monocyte 60 %"]
