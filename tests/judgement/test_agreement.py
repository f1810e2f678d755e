"""What is delivered is what is compared: sample paths against the partner's, by size and by symbol."""

from __future__ import annotations

import numpy as np
import pytest

from greenlight.judgement.baseline import Baselines
from greenlight.judgement.evidence import load_evidence
from greenlight.judgement.expected import load_expected
from greenlight.judgement.judge import judge
from greenlight.judgement.rules import Rules
from tests.judgement.evidence_builder import HORIZON, KRONOS, SAMPLES, TOTO, Effects, Run

MODELS = {"toto": (TOTO, "static-default"), "kronos": (KRONOS, "upstream-default")}


def check_of(folder, model, effects, windows=5, variant=None, **run):
    variants, compiled = MODELS[model]
    variant = variant or compiled
    symbols = {f"SYM{number}": windows for number in range(6)}
    Run(models={model: variants}, symbols=symbols, effects={(model, variant): effects}, **run).write(folder)
    verdict = judge(load_evidence(folder, load_expected(folder / "expected.json")), Rules(), Baselines())
    return next(c for c in verdict.checks if (c.name, c.variant) == ("forecasts-agree", variant))


def of_one(symbol, change):
    return lambda name, paths: change(paths) if name == symbol else paths


def one_sample(value):
    """One of the sample paths is `value` times the price throughout."""

    def change(_, paths):
        paths = paths.copy()
        paths[:, 5] = value * np.abs(paths).mean()
        return paths

    return change


def shuffled(_, paths):
    return np.random.default_rng(0).permuted(paths, axis=1)


def wider(paths):
    middle = np.median(paths, axis=1, keepdims=True)
    return middle + 1.25 * (paths - middle)


def one_window(paths):
    paths = paths.copy()
    paths[2] *= 1.2
    return paths


def with_window(paths, other):
    """Another third window."""
    paths = paths.copy()
    paths[2] = other
    return paths


def with_sample(paths, other):
    """Another last sample of each window."""
    paths = paths.copy()
    paths[:, -1] = other
    return paths


DEFECTS = {
    "a sample of 0": (one_sample(0.0), "at step"),
    "a sample of ten times the price": (one_sample(10.0), "of the price"),
    "samples sorted at each step": (lambda _, paths: np.sort(paths, axis=1), "6 of 6 symbols differ"),
    "samples shuffled at each step": (shuffled, "6 of 6 symbols differ"),
    "paths in another order": (lambda _, paths: paths[:, ::-1], "6 of 6 symbols differ"),
    "one path in place of all others": (lambda _, paths: np.repeat(paths[:, :1], SAMPLES, axis=1), "symbols differ"),
    "the first half in place of the second": (
        lambda _, paths: np.concatenate([paths[:, : SAMPLES // 2]] * 2, axis=1),
        "more than 5% of the paths differ",
    ),
    "antithetic": (
        lambda _, paths: np.concatenate([p := paths[:, : SAMPLES // 2], 2 * paths.mean(1, keepdims=True) - p], axis=1),
        "more than 5% of the paths differ",
    ),
    "a symbol off by 1% of the price": (of_one("SYM4", lambda paths: 1.01 * paths), "1 of 6 symbols differ (SYM4)"),
    "a symbol off by a quarter of its spread": (of_one("SYM1", wider), "1 of 6 symbols differ (SYM1)"),
    "all off by 0.1% of the price": (lambda _, paths: 1.001 * paths, "6 of 6 symbols differ"),
    "one window of thirty": (of_one("SYM3", one_window), "farthest SYM3/2 at step"),
    "one window of thirty, a quarter wider": (
        of_one("SYM3", lambda paths: with_window(paths, wider(paths[2:3])[0])),
        "the paths of SYM3/2 are its partner's own, moved by",
    ),
    "one window of thirty, sorted at each step": (
        of_one("SYM3", lambda paths: with_window(paths, np.sort(paths[2], axis=0))),
        "the paths of SYM3/2 change from step to step by",
    ),
    "the last sample of each window a step late": (
        lambda _, paths: with_sample(paths, np.roll(paths[:, -1], 1, axis=-1)),
        f"sample {SAMPLES} of {SAMPLES} is another in 30 of 30 windows",
    ),
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", DEFECTS)
def test_paths_that_are_not_the_partners_are_stopped(tmp_path, model, name):
    change, words = DEFECTS[name]
    check = check_of(tmp_path, model, Effects(paths=change, latency=0.7))

    assert check.status == "fail" and check.blocking
    assert words in check.reason
    assert "of the price" in check.reason and "SYM" in check.reason


@pytest.mark.parametrize("windows", [1, 2])
def test_one_symbol_is_seen_with_as_little_as_a_window(tmp_path, windows):
    change = of_one("SYM2", lambda paths: 1.01 * paths)
    check = check_of(tmp_path, "toto", Effects(paths=change, latency=0.7), windows)

    assert check.status == "fail"
    assert check.details["symbol"] == "SYM2" and check.details["share_of_price"] == pytest.approx(0.01, rel=0.1)


def test_rounding_and_a_window_whose_draws_went_another_way_are_no_alarm(tmp_path):
    def redrawn(name, paths):
        paths = paths * (1 + 1e-6 * np.random.default_rng(0).standard_normal(paths.shape))
        if name == "SYM0":
            paths[0] = paths[0][np.random.default_rng(1).permutation(SAMPLES)]
        return paths

    check = check_of(tmp_path, "kronos", Effects(paths=redrawn, latency=0.7))
    assert check.status == "pass" and 0 < check.figure < 0.05
    assert check.details["symbol"] == "SYM0"


def test_a_tie_now_and_then_is_no_alarm_but_the_same_path_in_each_window_is(tmp_path):
    def flipped(always):
        def change(name, paths):
            rng = np.random.default_rng(int(name[3:]))
            paths = paths.copy()
            for window in range(len(paths)):
                if always:
                    paths[window, 3, -1] += 6 * paths[window, :, -1].std()
                elif rng.random() < 0.3:
                    paths[window, rng.integers(SAMPLES)] = paths[window, rng.integers(SAMPLES)]
            return paths

        return change

    assert check_of(tmp_path / "now and then", "kronos", Effects(paths=flipped(False), latency=0.7)).status == "pass"
    always = check_of(tmp_path / "always", "kronos", Effects(paths=flipped(True), latency=0.7))
    assert always.status == "fail" and "in the same direction" in always.reason


REDUCED = {**TOTO, "static-eager-bf16": {"coupled_with_reference": False}}


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (lambda _, paths: paths * (1 + 2e-4 * np.random.default_rng(0).standard_normal(paths.shape)), "pass"),
        (of_one("SYM2", lambda paths: 1.01 * paths), "fail"),
        (lambda _, paths: np.sort(paths, axis=1), "fail"),
    ],
)
def test_a_reduced_precision_is_held_to_its_own_rounding(tmp_path, monkeypatch, change, status):
    monkeypatch.setitem(MODELS, "toto", (REDUCED, "static-eager-bf16"))
    assert check_of(tmp_path, "toto", Effects(paths=change)).status == status


def test_a_mean_that_is_not_that_of_the_paths_is_no_evidence(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet

    from greenlight.judgement.evidence import forecast_file

    Run(models={"kronos": KRONOS}).write(tmp_path)
    path = tmp_path / forecast_file("kronos", "upstream-default", "SYM3")
    table = pyarrow.parquet.read_table(path, partitioning=None)
    place = table.column_names.index("mean")
    wrong = pa.array(table.column("mean").to_numpy() * 1.001)
    pyarrow.parquet.write_table(table.set_column(place, "mean", wrong), path)
    evidence = load_evidence(tmp_path, load_expected(tmp_path / "expected.json"))

    told = [p.message for p in evidence.problems if p.symbol == "SYM3"]
    assert any("a mean and quantiles that are not those of its sample paths" in text for text in told)
    assert len(told) > HORIZON // 2


def test_forecasts_of_no_rows_as_after_a_failed_trial_are_missing_not_an_error(tmp_path):
    import pyarrow.parquet

    from greenlight.judgement.evidence import forecast_file

    Run(models={"kronos": KRONOS}).write(tmp_path)
    for symbol in (f"SYM{number}" for number in range(6)):
        path = tmp_path / forecast_file("kronos", "upstream-default", symbol)
        pyarrow.parquet.write_table(pyarrow.parquet.read_table(path, partitioning=None).slice(0, 0), path)
    evidence = load_evidence(tmp_path, load_expected(tmp_path / "expected.json"))

    assert any("0 of 8 steps" in problem.message for problem in evidence.problems)
    assert evidence.variants["kronos", "upstream-default"].paths is None
