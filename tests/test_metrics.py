"""Metrics, their intervals, and calibration."""

import numpy as np
import pytest

from helpers.evaluation import metrics


def logits_for(predictions: np.ndarray, classes: int = 3) -> np.ndarray:
    return np.eye(classes, dtype=np.float32)[predictions]


def test_wilson_interval_matches_the_published_formula():
    labels = np.zeros(100, int)
    predictions = np.array([0] * 90 + [1] * 10)
    estimate = metrics.accuracy(labels, logits_for(predictions))
    z, p, n = 1.959964, 0.9, 100
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert estimate.value == 0.9
    assert estimate.low == pytest.approx(centre - half, abs=1e-6)
    assert estimate.high == pytest.approx(centre + half, abs=1e-6)


def test_an_interval_at_100_percent_is_not_a_point():
    estimate = metrics.accuracy(np.zeros(50, int), logits_for(np.zeros(50, int)))
    assert estimate.value == 1.0
    assert estimate.low < 0.94


def test_macro_f1_gives_every_class_the_same_weight():
    labels = np.array([0] * 98 + [1, 2])
    found, *redrawn = metrics.macro_f1_samples(labels, np.zeros((1, 100), int), 3)
    assert found == pytest.approx((2 * 98 / (98 + 100)) / 3)
    assert np.percentile(redrawn, 2.5) <= found <= np.percentile(redrawn, 97.5)


def test_two_images_of_1194_are_no_evidence():
    # The homework report's 98.58 % and 98.74 % are 1177 and 1179 of 1194 images.
    labels = np.zeros(1194, int)
    first, second = np.zeros(1194, int), np.zeros(1194, int)
    first[:17] = 1
    second[:15] = 1
    test = metrics.compare(labels, logits_for(first), logits_for(second))
    assert (test.only_first, test.only_second) == (0, 2)
    assert test.verdict == "the difference could be chance"


def test_a_large_difference_names_the_better_model():
    labels = np.zeros(100, int)
    good, bad = np.zeros(100, int), np.ones(100, int)
    assert metrics.compare(labels, logits_for(good), logits_for(bad)).verdict == (
        "the first is better"
    )
    assert metrics.compare(labels, logits_for(bad), logits_for(good)).verdict == (
        "the second is better"
    )


def test_rows_of_a_confusion_matrix_are_true_classes():
    matrix = metrics.confusion(np.array([0, 0, 1]), logits_for(np.array([2, 0, 1])))
    assert matrix.tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]


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
    # The fraction that is right varies like that of 100 coin tosses: 1.96 * 0.05 on each side.
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


def test_differences_over_seeds_are_judged_by_their_interval():
    rng = np.random.default_rng(0)
    right = rng.random((3, 400)) < 0.7
    better = right | (rng.random((3, 400)) < 0.5)
    assert metrics.accuracy_difference(better, right, 0.0).verdict == "better"
    assert metrics.accuracy_difference(right, better, 0.0).verdict == "worse"
    shuffled = rng.permuted(right, axis=1)
    found = metrics.accuracy_difference(right, shuffled, 0.0)
    assert found.verdict == "could be chance"
    assert found.value == pytest.approx(0, abs=1e-9)


def test_what_seeds_differ_by_is_no_finding():
    # Many pairs of the same method: each seed has its own fraction of right answers.
    rng = np.random.default_rng(0)
    shares = rng.normal(0.7, 0.03, (200, 2, 3, 1))
    right = rng.random((200, 2, 3, 1000)) < shares
    variance = metrics.seed_variance(list(right.mean(axis=-1).reshape(400, 3)))
    assert variance == pytest.approx(0.03**2 + 0.7 * 0.3 / 1000, rel=0.2)
    found = [metrics.accuracy_difference(*pair, variance).sign != 0 for pair in right]
    assert np.mean(found) < 0.08
    blind = [metrics.accuracy_difference(*pair, 0.0).sign != 0 for pair in right]
    assert np.mean(blind) > 0.2


def test_the_spread_of_seeds_is_pooled_and_one_seed_tells_nothing():
    several = [np.array([0.70, 0.72]), np.array([0.3, 0.3, 0.3]), np.array([0.9])]
    assert metrics.seed_variance(several) == pytest.approx(0.0002 / 3)


def test_the_seeds_of_the_same_networks_count_once():
    rng = np.random.default_rng(3)
    labels = np.arange(400) % 8
    first = np.where(rng.random((3, 400)) < 0.8, labels, rng.integers(0, 8, (3, 400)))
    unchanged = metrics.macro_f1_difference(labels, first, first, 8, 0.0, paired=True)
    assert (unchanged.value, unchanged.low, unchanged.high) == (0, 0, 0)
    paired, apart = (
        metrics.macro_f1_difference(labels, first, first, 8, 0.03, paired=both)
        for both in (True, False)
    )
    assert paired.high == pytest.approx(1.96 * np.sqrt(0.03 / 3), rel=1e-3)
    assert apart.high == pytest.approx(paired.high * np.sqrt(2))


def test_macro_f1_of_seeds_is_the_mean_of_each():
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 8
    predicted = np.where(rng.random((3, 200)) < 0.8, labels, rng.integers(0, 8, (3, 200)))
    each = [metrics.macro_f1_samples(labels, p[None], 8)[0] for p in predicted]
    resampled = metrics.macro_f1_samples(labels, predicted, 8)
    assert resampled[0] == pytest.approx(np.mean(each), abs=1e-6)
    assert np.abs(resampled[1:].mean() - np.mean(each)) < 0.02
