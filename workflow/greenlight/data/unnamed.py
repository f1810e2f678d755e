"""Tables without a header: what each column is, where what they hold leaves no doubt."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from greenlight.data.numbers import read_numbers
from greenlight.data.options import paste
from greenlight.data.times import read_times, read_times_of_day
from greenlight.errors import UserError

_SAMPLE = 5000
# How many columns may follow open, high, low, close. Behind the volume Binance has close time, amount, trades, taker
# volumes and a zero; OKX two amounts, of which the last is in the quoted currency, and a flag.
_TAILS = (0, 1, 2, 3, 4, 7)
# How often a column must not fall from row to row to be a running total.
_RISING = 0.95
_ROWS_TO_TELL = 20


def infer_columns(path: str, columns: Sequence[pa.Array]) -> tuple[dict[str, int], dict[str, int]]:
    """({open, high, low, close, volume, amount: column}, {timestamp, time: column}) of a table without names.

    High and low are the columns that are so in every row; of the two others, the close is followed by the next open.

    Raises:
        UserError: anything that leaves a doubt, with the keys that say it.
    """
    sample = [column[:_SAMPLE] for column in columns]
    first = 0
    # A symbol, or one and the length of a bar, may stand first.
    while first < min(2, len(sample)) and _is_word(sample[first]):
        first += 1
    if first == 1 and len(sample) > 2 and _is_bar_length(sample[1]):
        first = 2
    if first == 0 and is_row_number(sample[0]):
        first = 1
    while len(sample) > first + 5 and _is_word(sample[-1]):
        sample = sample[:-1]
    times = {"timestamp": first}
    if first >= len(sample) or read_times(sample[first]).bad.sum() * 10 > len(sample[first]):
        doubt = read_times(sample[first]).doubt if first < len(sample) else ""
        if not doubt:
            raise _doubt(path, columns, "its first column holds no times")
    start = first + 1
    if start < len(sample) and not read_times(sample[first]).of_day and _is_clock(sample[start]):
        times["time"] = start
        start += 1
    at = (first, len(times))
    values = []
    for cells in sample[start:]:
        numbers = read_numbers({"x": cells}, {"x": "volume"})
        if numbers.bad["x"].any() or numbers.doubt:
            break
        values.append(numbers.values["x"])
    if len(values) < len(sample) - start or len(values) < 4:
        raise _doubt(path, columns, "not all of its further columns hold numbers, or they are fewer than four", *at)
    wall = read_times(sample[first]).wall
    newest_first = len(wall) > 1 and wall[-1] < wall[0]
    order = _prices([column[::-1] for column in values[:4]] if newest_first else values[:4])
    if order is None:
        raise _doubt(path, columns, "which columns are open, high, low and close is not beyond doubt", *at)
    used = {name: start + place for name, place in order.items()}
    tail = values[4:]
    if len(tail) not in _TAILS or (len(tail) == 4 and not np.isin(tail[3], (0, 1)).all()):
        raise _doubt(path, columns, f"{len(tail)} columns follow the prices", *at)
    if tail:
        low, high = values[order["low"]], values[order["high"]]
        if _is_price(tail[0], low, high):
            if len(tail) == 1 or not (len(tail) == 3 and _is_count(tail[2])):
                raise _doubt(path, columns, "the column behind the prices looks like one more price", *at)
            return used | {"volume": start + 5}, times  # Kraken's API: average price, volume, count
        if len(tail) > 1 and only_rises(tail[0]) and not only_rises(tail[1]):
            raise _doubt(path, columns, "the column behind the prices rises as a running total does", *at)
        used["volume"] = start + 4
    if len(tail) == 2 and not _is_count(tail[1]):
        used["amount"] = start + 5
    if len(tail) in (4, 7):
        used["amount"] = start + 6
    return used, times


def _is_word(cells: pa.Array) -> bool:
    text = pa.types.is_string(cells.type)
    return text and bool(pc.all(pc.match_substring_regex(cells, r"^[A-Za-z][\w.^=/-]*$")).as_py())


def is_row_number(cells: pa.Array) -> bool:
    """Whether a column counts the rows, as the index of pandas does."""
    return cells.to_pylist() in ([str(n) for n in range(len(cells))], [str(n) for n in range(1, len(cells) + 1)])


def _is_bar_length(cells: pa.Array) -> bool:
    """The PER column of Stooq and Finam: D, or minutes, the same in each row."""
    return len(pc.unique(cells)) == 1 and str(cells[0].as_py()) in ("1", "5", "15", "30", "60", "240", "1440")


def _is_clock(cells: pa.Array) -> bool:
    if pa.types.is_string(cells.type):
        if not pc.all(pc.match_substring_regex(cells, r":|^\d{3,6}$")).as_py():
            return False
        if not pc.any(pc.match_substring_regex(cells, r":|^\d{4,6}$")).as_py():
            return False  # 930 is half past nine only beside 1000
    return read_times_of_day(cells) is not None


def _prices(values: Sequence[np.ndarray]) -> dict[str, int] | None:
    """Place of open, high, low, close among four columns, oldest first; None where it is not beyond doubt."""
    rows = np.stack(values, axis=1)
    rows = rows[np.isfinite(rows).all(axis=1)]
    if not len(rows) or (rows <= 0).any():
        return None
    highs = [at for at in range(4) if (rows[:, at] >= rows.max(axis=1) * (1 - 1e-9)).all()]
    lows = [at for at in range(4) if (rows[:, at] <= rows.min(axis=1) * (1 + 1e-9)).all()]
    if len(highs) != 1 or len(lows) != 1 or highs == lows:
        return None
    first, second = (at for at in range(4) if at not in (highs[0], lows[0]))
    # Every format known has the open before the close; the next open must not be nearer to what would be the open.
    logs = np.log(rows)
    forward, backward = 0.0, 0.0
    if len(rows) > 1:
        forward = float(np.median(np.abs(logs[1:, first] - logs[:-1, second])))
        backward = float(np.median(np.abs(logs[1:, second] - logs[:-1, first])))
    usual = (first, highs[0], lows[0], second) == (0, 1, 2, 3)
    if forward > backward * (1.5 if usual else 1.0):
        return None
    return {"open": first, "high": highs[0], "low": lows[0], "close": second}


def _is_count(values: np.ndarray) -> bool:
    return bool((np.nan_to_num(values) == np.rint(np.nan_to_num(values))).all() and np.nanmax(values, initial=0) < 1e9)


def only_rises(volume: np.ndarray) -> bool:
    """Whether a column of volumes looks like a running total, begun anew at most now and then."""
    steps = np.diff(volume[np.isfinite(volume)])
    return len(steps) >= _ROWS_TO_TELL and bool((steps >= 0).mean() >= _RISING) and bool((steps > 0).mean() > 0.5)


def _is_price(values: np.ndarray, low: np.ndarray, high: np.ndarray) -> bool:
    return bool(((values >= low * 0.999) & (values <= high * 1.001)).mean() > 0.9)


def _doubt(path: str, columns: Sequence[pa.Array], why: str, before: int = 0, times: int = 1) -> UserError:
    """The refusal, with a list of the columns to mend; before: columns before the times; times: how many these are."""
    usual = ["-"] * before + ["timestamp", "time"][:times] + ["open", "high", "low", "close", "volume"]
    names = list(itertools.islice(itertools.chain(usual, itertools.repeat("-")), len(columns)))
    listed = ", ".join(repr(str(column[0].as_py())[:24]) for column in columns[:12] if len(column))
    return UserError(
        f"{path}: line 1 is no header (no column of dates and no column of closing prices has a name), and {why}; "
        f"found {listed}. Expected a header such as Date,Open,High,Low,Close,Volume, or its order: "
        f"{paste('header', 'none, columns: [' + ', '.join(names) + ']')}"
    )
