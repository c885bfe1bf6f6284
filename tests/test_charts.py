"""Charts show what they were given: every value in its place, nothing outside the figure."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from helpers.evaluation.metrics import Estimate
from helpers.figures import charts, style


@pytest.fixture(autouse=True)
def _style():
    style.use_course_style()
    yield
    plt.close("all")


def estimate(value):
    return Estimate(value, value - 0.02, value + 0.01, 100)


def dots_of(axis):
    """Return {label: [(row, value)]} of the dots of one axis."""
    rows = [tick.get_text() for tick in axis.get_yticklabels()]
    return {
        line.get_label(): [(rows[round(y)], x) for x, y in zip(*line.get_data(), strict=True)]
        for line in axis.lines
        if not line.get_label().startswith("_")
    }


def test_dots_leave_a_gap_where_nothing_was_measured():
    table = {
        "head alone": {"test": estimate(0.9), "medmnist_c": estimate(0.5)},
        "fine_tuned": {"test": estimate(0.95), "medmnist_c": None},
    }
    figure = charts.dots(table, "found")
    assert dots_of(figure.axes[0]) == {
        "test": [("head alone", 0.9), ("fine tuned", 0.95)],
        "medmnist c": [("head alone", 0.5)],
    }
    assert [text.get_text() for text in figure.axes[0].texts] == ["90.0", "95.0", "50.0"]
    (intervals, _) = figure.axes[0].collections
    assert [ends[:, 0].tolist() for ends in intervals.get_segments()] == [
        pytest.approx([0.88, 0.91]),
        pytest.approx([0.93, 0.96]),
    ]


def test_a_row_far_below_the_others_is_an_arrow_at_the_edge():
    values = (0.95, 0.94, 0.96, 0.95, 0.2)
    table = {str(k): {"clean": estimate(v), "shifted": estimate(0.5)} for k, v in enumerate(values)}
    clean, shifted = charts.dot_panels(table, "found", "accuracy").axes
    assert clean.get_xlim()[0] > 0.9
    assert [line.get_marker() for line in clean.lines].count("<") == 1
    assert [line.get_marker() for line in shifted.lines].count("<") == 0
    same = charts.dot_panels(table, "found", "accuracy", same_scale=True).axes
    assert same[0].get_xlim() == same[1].get_xlim()
    assert same[0].get_xlim()[0] < 0.2
    table["4"] = {"clean": estimate(0.9), "shifted": estimate(0.5)}
    clean = charts.dot_panels(table, "found", "accuracy").axes[0]
    assert clean.get_xlim()[0] < 0.9
    assert [line.get_marker() for line in clean.lines].count("<") == 0


def test_quoted_numbers_are_open_diamonds_in_their_row():
    table = {name: {"clean": estimate(0.9), "shifted": estimate(0.6)} for name in ("a", "b")}
    axis = charts.dot_panels(table, "found", "accuracy", quoted={"b": {"shifted": 0.77}}).axes[1]
    (diamonds,) = (line for line in axis.lines if line.get_marker() == "D")
    assert (list(diamonds.get_xdata()), list(diamonds.get_ydata())) == ([0.77], [1])


def test_stacked_bars_write_the_sum_of_their_parts():
    table = pd.DataFrame({"once": [0.0, 3.0], "every epoch": [90.0, 1.5]}, index=["a", "b"])
    figure = charts.bars(table, "found", "seconds")
    assert [text.get_text() for text in figure.axes[0].texts] == ["90", "4.5"]
    assert [p.get_width() for p in figure.axes[0].patches] == [0.0, 3.0, 90.0, 1.5]


def test_learning_curves_show_loss_and_accuracy_or_what_there_is():
    history = {name: [0.5, 0.7] for name in ("loss", "accuracy", "val_loss", "val_accuracy")}
    loss, accuracy = charts.learning_curves({"a": history}, "found").axes
    assert [axis.get_ylabel() for axis in (loss, accuracy)] == ["loss", "accuracy"]
    assert [line.get_linestyle() for line in accuracy.lines[:2]] == ["--", "-"]
    (only,) = charts.learning_curves({"a": {"accuracy": [0.1, 1.0]}}, "found").axes
    assert only.lines[0].get_ydata().tolist() == [0.1, 1.0]


def test_learning_curves_name_networks_where_there_are_several():
    history = {name: [0.5, 0.7] for name in ("loss", "val_loss")}
    for names in ("a", "ab"):
        figure = charts.learning_curves(dict.fromkeys(names, history), "found")
        words = [text.get_text() for text in figure.legends[0].get_texts()]
        named = list(names) if len(names) > 1 else []
        assert words == [*named, "training", "validation"]


def test_a_confusion_matrix_prints_counts_and_leaves_zeros_empty():
    matrix = np.array([[9, 1], [0, 4]])
    figure = charts.confusion({"clean": matrix, "shifted": matrix.T}, ("a", "b"), "found")
    texts = [[text.get_text() for text in axis.texts] for axis in figure.axes[:2]]
    assert texts == [["9", "1", "", "4"], ["9", "", "1", "4"]]


def test_every_name_of_labelled_points_stays_inside_and_has_its_points_colour():
    points = {"EfficientNet-Lite0, 3.4 M": (3.0, estimate(0.95)), "MobileNetV3-Small": (20.0, 0.97)}
    figure = charts.labelled_points(points, "found", "ms", "accuracy")
    figure.draw_without_rendering()
    axis = figure.axes[0]
    assert all(t.get_window_extent().x1 <= axis.get_window_extent().x1 for t in axis.texts)
    dots = {line.get_xdata()[0]: line.get_color() for line in axis.lines}
    assert {t.xy[0]: t.get_color() for t in axis.texts} == dots


def test_reliability_draws_a_panel_per_table():
    columns = {"confidence": [0.55, 0.95], "accuracy": [0.4, 0.9]}
    columns |= {"low": [0.2, 0.85], "high": [0.6, 0.93], "images": [10, 90]}
    table = pd.DataFrame(columns)
    figure = charts.reliability({"clean, 2 %": table, "shifted, 9 %": table}, "found")
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert titles == ["clean, 2 %", "shifted, 9 %"]
    for axis in figure.axes:
        dots = axis.collections[-1]
        np.testing.assert_allclose(dots.get_offsets(), [[0.55, 0.4], [0.95, 0.9]])
        assert dots.get_sizes()[1] > dots.get_sizes()[0]
