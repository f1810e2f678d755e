"""Windows tile the end of a series, and their seeds belong to them alone."""

from __future__ import annotations

import numpy as np
import pytest

from greenlight.data.windows import (
    CLOSE,
    FEATURES,
    Window,
    cut_windows,
    practice_windows,
    same_shape,
    window_seed,
)

TIMES = np.datetime64("2024-01-01", "ns") + np.arange(50) * np.timedelta64(1, "D")
VALUES = np.arange(250, dtype=float).reshape(50, 5)


def cut(**changes: object) -> list[Window]:
    return cut_windows("X", TIMES, VALUES, **({"context_length": 20, "horizon": 5, "count": 3} | changes))


def test_targets_tile_the_last_rows_and_contexts_end_where_they_begin() -> None:
    windows = cut()
    assert [window.index for window in windows] == [0, 1, 2] and windows[2].key == "X/2"
    assert np.concatenate([window.target for window in windows]).tolist() == VALUES[-15:, CLOSE].tolist()
    for window in windows:
        assert (window.context_length, window.horizon) == (20, 5) and len(FEATURES) == window.context.shape[1]
        both = np.concatenate([window.context, window.future])
        start = int(np.searchsorted(TIMES, window.timestamps[0]))
        assert np.array_equal(both, VALUES[start : start + 25])
        assert window.first_target == TIMES[start + 20]


def test_a_short_series_gives_the_windows_that_fit() -> None:
    assert len(cut(context_length=40)) == 2
    assert len(cut(context_length=45)) == 1
    assert cut(context_length=46) == []


@pytest.mark.parametrize(("row", "left"), [(34, 3), (35, 2), (39, 2), (40, 1), (45, 0), (49, 0)])
def test_no_target_begins_at_or_before_what_was_trained_on(row: int, left: int) -> None:
    windows = cut(not_before=TIMES[row])
    assert len(windows) == left and [window.index for window in windows] == list(range(left))
    assert all(window.first_target > TIMES[row] for window in windows)


def test_a_seed_depends_on_symbol_time_and_replicate_only() -> None:
    few, many = cut(count=2), cut(count=3)
    assert [window_seed(1, window) for window in few] == [window_seed(1, window) for window in many[1:]]
    other = cut_windows("Y", TIMES, VALUES, context_length=20, horizon=5, count=1)[0]
    seeds = {window_seed(1, window) for window in many} | {window_seed(2, many[0]), window_seed(1, many[0], 1)}
    seeds.add(window_seed(1, other))
    assert len(seeds) == 6 and all(0 <= seed < 2**63 for seed in seeds)
    assert window_seed(1, many[0]) == 7281485803215600929, "stored baselines depend on it"


def test_windows_of_one_call_share_their_shape() -> None:
    assert same_shape(cut()) == (20, 5)
    with pytest.raises(ValueError, match="must share context length and horizon"):
        same_shape([*cut(), *cut(horizon=4)])
    with pytest.raises(ValueError, match="must share"):
        same_shape([])


def test_practice_windows_are_seeded_and_plausible() -> None:
    first, again = practice_windows(2, 30, 5, 0), practice_windows(2, 30, 5, 0)
    assert same_shape(first) == (30, 5) and np.array_equal(first[1].context, again[1].context)
    assert not np.array_equal(first[0].context, first[1].context)
    open_, high, low, close = first[0].context.T[:4]
    assert (high >= np.maximum(open_, close)).all() and (low <= np.minimum(open_, close)).all() and (low > 0).all()
