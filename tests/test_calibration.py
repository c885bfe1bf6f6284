"""Temperatures and errors come out as they were put in."""

import numpy as np
import pytest

from helpers.evaluation import metrics


@pytest.fixture(scope="module")
def calibrated() -> tuple[np.ndarray, np.ndarray]:
    """Return logits (4000, 4), and labels drawn with exactly the probabilities they state."""
    rng = np.random.default_rng(0)
    logits = 2 * rng.normal(size=(4000, 4))
    limits = metrics.softmax(logits).cumsum(axis=1)
    return logits, (rng.random((len(logits), 1)) > limits).sum(axis=1)


def test_softmax_stands_large_half_precision_logits():
    logits = np.array([[60_000, 0, -60_000], [1, 1, 1]], np.float16)
    shares = metrics.softmax(logits)
    np.testing.assert_allclose(shares, [[1, 0, 0], [1 / 3, 1 / 3, 1 / 3]])
    assert shares.dtype == np.float64


def test_a_temperature_divides_the_logits():
    two = metrics.softmax(np.array([[2.0, 0.0]]), temperature=2)
    assert two[0, 0] == pytest.approx(1 / (1 + np.exp(-1)))


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_a_factor_on_the_logits(calibrated, factor):
    logits, labels = calibrated
    assert metrics.fit_temperature(factor * logits, labels) == pytest.approx(factor, rel=0.05)


def test_a_network_that_is_always_right_gets_the_lowest_temperature():
    temperature = metrics.fit_temperature(np.eye(3), np.arange(3))
    assert temperature == pytest.approx(metrics.TEMPERATURES[0], rel=0.01)


def test_reliability_counts_each_image_once_and_leaves_empty_ranges_out():
    confidences = np.array([0.55, 0.58, 0.92, 0.98, 1.0])
    probabilities = np.stack([confidences, 1 - confidences], axis=1)
    table = metrics.reliability(probabilities, np.array([0, 1, 0, 0, 1]))
    assert list(table.index) == ["0.5–0.6", "0.9–1"]
    assert table["images"].tolist() == [2, 3]
    np.testing.assert_allclose(table["confidence"], [0.565, 2.9 / 3])
    np.testing.assert_allclose(table["accuracy"], [1 / 2, 2 / 3])
    assert (table["low"] < table["accuracy"]).all()
    assert (table["high"] > table["accuracy"]).all()


def test_calibration_error_is_the_gap_between_confidence_and_accuracy():
    probabilities = np.tile([0.9, 0.1], (100, 1))
    error = metrics.expected_calibration_error(probabilities, np.arange(100) % 2)
    assert error.value == pytest.approx(0.4)
    assert error.n == 100
    # The share that is right varies like that of 100 coin tosses: 1.96 * 0.05 on each side.
    assert error.low == pytest.approx(0.3, abs=0.02)
    assert error.high == pytest.approx(0.5, abs=0.02)


def test_gaps_of_both_signs_do_not_cancel():
    probabilities = np.array([[0.75, 0.25]] * 50 + [[0.95, 0.05]] * 50)
    labels = np.array([0] * 50 + [0] * 35 + [1] * 15)
    error = metrics.expected_calibration_error(probabilities, labels)
    assert error.value == pytest.approx((0.25 + 0.25) / 2)


def test_few_images_make_the_error_too_large_but_keep_it_in_its_interval(calibrated):
    logits, labels = calibrated
    few, many = (
        metrics.expected_calibration_error(metrics.softmax(logits[:n]), labels[:n])
        for n in (100, 4000)
    )
    assert many.value < 0.03
    assert few.value > 2 * many.value
    assert few.low <= few.value <= few.high
    assert many.low <= many.value <= many.high


def test_the_fitted_temperature_lowers_the_error(calibrated):
    logits, labels = 3 * calibrated[0], calibrated[1]
    temperature = metrics.fit_temperature(logits, labels)
    sure, believed = (
        metrics.expected_calibration_error(metrics.softmax(logits, t), labels).value
        for t in (1, temperature)
    )
    assert believed < 0.2 * sure
