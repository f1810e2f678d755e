"""Scores by hand and by GluonTS; nothing that is missing is averaged away."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from greenlight.measures.accuracy import METRICS, WindowContext, score_windows, summarise, window_context
from greenlight.measures.forecasts import QUANTILE_COLUMNS, QUANTILES
from greenlight.measures.points import COLUMN, with_point

HORIZON = 4


def forecasts(symbols=("A", "B"), windows=3, seed=0):
    """A table of plausible forecasts, and the arrays that it holds: actual, mean, quantiles."""
    rng = np.random.default_rng(seed)
    count = len(symbols) * windows
    actual = 100 + rng.standard_normal((count, HORIZON)).cumsum(axis=1)
    mean = actual + rng.standard_normal((count, HORIZON))
    quantiles = np.sort(mean[None] + rng.standard_normal((9, count, HORIZON)), axis=0)
    columns = {
        "model": ["toto"] * actual.size,
        "variant": ["upstream-eager"] * actual.size,
        "symbol": np.repeat(symbols, windows * HORIZON).tolist(),
        "window": np.tile(np.repeat(np.arange(windows, dtype=np.int32), HORIZON), len(symbols)),
        "step": np.tile(np.arange(1, HORIZON + 1, dtype=np.int32), count),
        "actual": actual.ravel(),
        "mean": mean.ravel(),
    }
    columns |= {name: values.ravel() for name, values in zip(QUANTILE_COLUMNS, quantiles, strict=True)}
    return with_point(pa.table(columns), "median"), actual, mean, quantiles


def contexts(symbols=("A", "B"), windows=3, scale=2.0):
    return {(symbol, window): WindowContext(100.0, 0.5, scale) for symbol in symbols for window in range(windows)}


def column(scores, name):
    return scores.column(name).to_numpy(zero_copy_only=False)


def test_scores_are_those_of_their_definitions():
    table, actual, mean, quantiles = forecasts()
    scores, problems = score_windows(table, contexts(), HORIZON)
    median = quantiles[QUANTILES.index(0.5)]
    error = np.abs(actual - median)

    assert problems == []
    assert scores.column("symbol").to_pylist() == ["A"] * 3 + ["B"] * 3
    np.testing.assert_allclose(column(scores, "mae"), error.mean(axis=1))
    np.testing.assert_allclose(column(scores, "mae_percent"), 100 * error.mean(axis=1) / actual.mean(axis=1))
    np.testing.assert_allclose(column(scores, "mape"), 100 * (error / actual).mean(axis=1))
    np.testing.assert_allclose(column(scores, "rmse"), np.sqrt(((actual - mean) ** 2).mean(axis=1)))
    np.testing.assert_allclose(column(scores, "mase"), error.mean(axis=1) / 2.0)
    np.testing.assert_allclose(column(scores, "naive_mae"), np.abs(actual - 100).mean(axis=1))
    drift = 100 + 0.5 * np.arange(1, HORIZON + 1)
    np.testing.assert_allclose(column(scores, "drift_mae"), np.abs(actual - drift).mean(axis=1))
    of_means = with_point(table.drop_columns(COLUMN), "mean")
    np.testing.assert_allclose(
        column(score_windows(of_means, contexts(), HORIZON)[0], "mae"), np.abs(actual - mean).mean(axis=1)
    )
    inside = (quantiles[0] <= actual) & (actual <= quantiles[-1])
    np.testing.assert_allclose(column(scores, "coverage_80"), inside.mean(axis=1))


def test_weighted_quantile_loss_is_that_of_gluonts():
    from gluonts.evaluation.metrics import quantile_loss

    table, actual, _, quantiles = forecasts(seed=3)
    scores, _ = score_windows(table, contexts(), HORIZON)
    for row, value in enumerate(column(scores, "weighted_quantile_loss")):
        losses = [quantile_loss(actual[row], q[row], level) for level, q in zip(QUANTILES, quantiles, strict=True)]
        assert value == pytest.approx(np.mean(losses) / np.abs(actual[row]).sum())


def test_the_order_of_rows_does_not_matter():
    table, *_ = forecasts()
    shuffled = table.take(np.random.default_rng(0).permutation(len(table)))
    assert score_windows(shuffled, contexts(), HORIZON)[0].equals(score_windows(table, contexts(), HORIZON)[0])


def without(table, row):
    return pa.concat_tables([table.slice(0, row), table.slice(row + 1)])


def with_nan(table, row, name):
    values = table.column(name).to_numpy().copy()
    values[row] = np.nan
    return table.set_column(table.column_names.index(name), name, pa.array(values))


BROKEN = {
    "a step missing": lambda table: without(table, 5),
    "a step doubled": lambda table: pa.concat_tables([table, table.slice(5, 1)]),
    "a step in place of another": lambda table: pa.concat_tables([without(table, 5), table.slice(6, 1)]),
    "a quantile that is NaN": lambda table: with_nan(table, 5, "q30"),
    "an outcome that is NaN": lambda table: with_nan(table, 5, "actual"),
    "a mean that is NaN": lambda table: with_nan(table, 5, "mean"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_window_is_reported_and_has_no_score(how):
    table, *_ = forecasts()
    scores, problems = score_windows(BROKEN[how](table), contexts(), HORIZON)

    assert len(problems) == 1 and problems[0].startswith("A/1 ")
    finite = np.isfinite(np.stack([column(scores, name) for name in METRICS]))
    assert finite.all(axis=0).tolist() == [True, False, True, True, True, True]
    assert not finite[:, 1].any()


def test_a_window_that_the_data_does_not_have_is_reported():
    table, *_ = forecasts()
    known = contexts()
    del known["B", 2]
    scores, problems = score_windows(table, known, HORIZON)
    assert problems == ["B/2 has no context: the data has no such window"]
    assert np.isnan(column(scores, "mae")[5])


def test_mase_is_undefined_not_nan_where_the_context_never_moves():
    table, *_ = forecasts()
    scores, problems = score_windows(table, contexts(scale=0.0), HORIZON)
    assert problems == [] and scores.column("mase").null_count == 6
    assert np.isfinite(column(scores, "mae")).all()


def test_several_variants_at_once_are_refused():
    table, *_ = forecasts()
    names = pa.array(["a"] * 5 + ["b"] * (len(table) - 5))
    mixed = table.set_column(table.column_names.index("variant"), "variant", names)
    with pytest.raises(ValueError, match="one variant"):
        score_windows(mixed, contexts(), HORIZON)


def test_context_figures():
    context = window_context(np.array([10.0, 12.0, 11.0]))
    assert context == WindowContext(11.0, 0.5, 1.5)
    with pytest.raises(ValueError, match="at least two"):
        window_context(np.array([1.0]))


def metrics_of(count, seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.uniform(1, 2, count) for name in METRICS}


def test_symbols_weigh_the_same_whatever_their_number_of_windows():
    metrics = metrics_of(6)
    metrics["mae"] = np.array([1.0, 1.0, 1.0, 1.0, 3.0, 3.0])
    summary = summarise(metrics, np.array(["A"] * 4 + ["B"] * 2))

    assert summary["overall"]["mae"]["value"] == pytest.approx(2.0)
    assert summary["symbols"]["A"]["mae"]["value"] == 1.0 and summary["symbols"]["B"]["mae"]["value"] == 3.0
    assert summary["counts"] == {"symbols": 2, "windows": 6, "unscored": 0, "undefined_mase": 0}
    ratio = np.sqrt(1.0 / metrics["naive_mae"][:4].mean() * 3.0 / metrics["naive_mae"][4:].mean())
    assert summary["overall"]["mae_over_naive"]["value"] == pytest.approx(ratio)


def test_a_window_without_a_score_is_never_averaged_away():
    metrics = metrics_of(6)
    for name in METRICS:
        metrics[name][4] = np.nan
    summary = summarise(metrics, np.array(["A"] * 3 + ["B"] * 3))

    assert summary["counts"]["unscored"] == 1
    assert all(np.isnan(entry["value"]) and np.isnan(entry["lower"]) for entry in summary["overall"].values())
    assert np.isfinite(summary["symbols"]["A"]["mae"]["value"]) and np.isnan(summary["symbols"]["B"]["mase"]["value"])


def test_only_an_undefined_mase_is_left_out_and_counted():
    metrics = metrics_of(6)
    metrics["mase"] = np.array([1.0, 2.0, np.nan, 4.0, 4.0, 4.0])
    summary = summarise(metrics, np.array(["A"] * 3 + ["B"] * 3))

    assert summary["symbols"]["A"]["mase"]["value"] == 1.5
    assert summary["overall"]["mase"]["value"] == pytest.approx(2.75)
    assert summary["counts"]["undefined_mase"] == 1


def test_intervals_are_seeded_hold_the_value_and_cover_at_their_rate():
    symbols = np.repeat([f"S{number}" for number in range(40)], 3)
    first, again = (summarise(metrics_of(120), symbols, seed=5) for _ in range(2))
    assert first == again

    covered = 0
    for seed in range(200):
        entry = summarise(metrics_of(120, seed), symbols, rate=0.05, each_symbol=False)["overall"]["mae"]
        assert entry["lower"] <= entry["value"] <= entry["upper"]
        covered += entry["lower"] <= 1.5 <= entry["upper"]
    assert 165 <= covered <= 195


def test_one_symbol_of_one_window_has_a_value_and_no_interval():
    entry = summarise(metrics_of(1), np.array(["A"]))["overall"]["mae"]
    assert np.isfinite(entry["value"]) and np.isnan(entry["lower"]) and np.isnan(entry["upper"])
