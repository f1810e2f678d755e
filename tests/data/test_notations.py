"""Random series, written in each notation of numbers and times that is understood, come back as they were."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from greenlight.data.options import ReadingOptions
from greenlight.data.reader import read_series
from greenlight.data.repair import RepairRules
from greenlight.errors import UserError

NO_BREAK, NARROW = "\xa0", "\u202f"


def grouped(comma: str, point: str) -> Callable[[float, int], str]:
    """A writer of numbers with thousands set apart."""
    return lambda value, digits: f"{value:,.{digits}f}".translate(str.maketrans({",": comma, ".": point}))


def lakh(value: float, digits: int) -> str:
    whole, _, rest = f"{value:.{digits}f}".partition(".")
    head, tail = whole[:-3], whole[-3:]
    pairs = [head[max(end - 2, 0) : end] for end in range(len(head), 0, -2)][::-1]
    return ",".join([*pairs, tail]) + (f".{rest}" if rest else "")


# How prices and volumes are written, between which delimiters.
NUMBERS: dict[str, tuple[Callable[[float, int], str], str]] = {
    "plain": (lambda value, digits: f"{value:.{digits}f}", ",;\t|"),
    "scientific": (lambda value, digits: f"{value:.12e}", ",;\t|"),
    "commas": (grouped(",", "."), ",;\t|"),
    "comma for the point": (grouped("", ","), ";\t|,"),
    "points and a comma": (grouped(".", ","), ";\t|,"),
    "spaces and a comma": (grouped(" ", ","), ";\t|"),
    "no-break spaces and a comma": (grouped(NO_BREAK, ","), ";\t|"),
    "narrow spaces and a comma": (grouped(NARROW, ","), ";\t,"),
    "apostrophes": (grouped("'", "."), ",;"),
    "typographic apostrophes": (grouped("’", "."), ",;"),
    "lakh": (lakh, ",;"),
    "dollars": (lambda value, digits: f"${value:,.{digits}f}", ",;"),
    "euros behind": (lambda value, digits: grouped(".", ",")(value, digits) + " €", ";"),
}
DAILY: dict[str, str] = {
    "ISO": "%Y-%m-%d", "slashes, year first": "%Y/%m/%d", "points, year first": "%Y.%m.%d", "compact": "%Y%m%d",
    "month first": "%m/%d/%Y", "day first": "%d/%m/%Y", "German": "%d.%m.%Y", "month first, short": "%m/%d/%y",
    "words": "%b %d, %Y", "long words": "%B %d, %Y", "day and month": "%d-%b-%Y", "day and month, short": "%d-%b-%y",
    "day month year": "%d %B %Y", "midnight": "%Y-%m-%d 00:00:00",
}  # fmt: skip
CLOCKS: dict[str, str] = {
    "ISO": "%Y-%m-%dT%H:%M:%S", "space": "%Y-%m-%d %H:%M", "fractions": "%Y-%m-%d %H:%M:%S.000",
    "compact": "%Y%m%d %H%M%S", "all digits": "%Y%m%d%H%M%S", "digits to minutes": "%Y%m%d%H%M",
    "digits to milliseconds": "%Y%m%d%H%M%S000", "half days": "%m/%d/%Y %I:%M:%S %p", "German": "%d.%m.%Y %H:%M",
    "MetaTrader": "%Y.%m.%d %H:%M",
}  # fmt: skip


def prices(seed: int, count: int, scale: float, digits: int) -> pd.DataFrame:
    """A random walk whose numbers are those that the digits can write."""
    random = np.random.default_rng(seed)
    close = scale * np.exp(np.cumsum(random.normal(0, 0.02, count)))
    opening = np.concatenate(([scale], close[:-1]))
    frame = pd.DataFrame({
        "Open": opening, "High": np.maximum(opening, close) * 1.01, "Low": np.minimum(opening, close) * 0.99,
        "Close": close,
    }).round(digits)  # fmt: skip
    return frame.assign(Volume=random.integers(1, 10**7, count).astype(float))


def written(cells: dict[str, list[str]], delimiter: str) -> str:
    lines = [list(cells), *map(list, zip(*cells.values(), strict=True))]
    quoted = [[f'"{cell}"' if delimiter in cell else cell for cell in line] for line in lines]
    return "\n".join(delimiter.join(line) for line in quoted) + "\n"


FOLDER = settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("notation", NUMBERS)
@FOLDER
@given(seed=st.integers(0, 10**6), scale=st.sampled_from([0.9, 37.0, 950.0, 16_000.0, 123_456.0]), data=st.data())
def test_numbers_come_back(tmp_path: Path, notation: str, seed: int, scale: float, data: st.DataObject) -> None:
    write, delimiters = NUMBERS[notation]
    delimiter = data.draw(st.sampled_from(delimiters))
    digits = data.draw(st.sampled_from([2, 4]))
    frame = prices(seed, 30, scale, digits)
    days = pd.bdate_range("2024-01-02", periods=30)
    cells = {"Date": [f"{day:%Y-%m-%d}" for day in days]}
    cells |= {name: [write(value, digits) for value in frame[name]] for name in ("Open", "High", "Low", "Close")}
    whole = data.draw(st.booleans())
    cells["Volume"] = [f"{value:.0f}" if whole else write(value, 0).strip("$€ ") for value in frame["Volume"]]
    path = tmp_path / "X.csv"
    path.write_text(written(cells, delimiter), encoding="utf-8")
    found = read_series(path, RepairRules()).frame
    expected = frame.rename(columns=str.lower)
    for name in ("open", "high", "low", "close", "volume"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-11, err_msg=f"{name} of {cells['Close'][:3]}")


def read_back(tmp_path: Path, times: list[str], name: str, second: dict[str, list[str]] | None = None) -> pd.DataFrame:
    frame = prices(1, len(times), 100.0, 2)
    cells = {name: times} | (second or {}) | {key: frame[key].astype(str).tolist() for key in frame}
    path = tmp_path / "X.csv"
    path.write_text(written(cells, ","), encoding="utf-8")
    return read_series(path, RepairRules()).frame


@pytest.mark.parametrize("form", DAILY)
@FOLDER
@given(start=st.dates(pd.Timestamp("1990-01-01").date(), pd.Timestamp("2024-06-30").date()), count=st.integers(40, 80))
def test_days_come_back(tmp_path: Path, form: str, start: object, count: int) -> None:
    days = pd.bdate_range(start, periods=count)
    found = read_back(tmp_path, [day.strftime(DAILY[form]) for day in days], "Date")
    assert found["wall"].tolist() == found["timestamp"].tolist() == days.tolist()
    assert found["offset"].isna().all()


@pytest.mark.parametrize("form", CLOCKS)
@FOLDER
@given(
    start=st.datetimes(pd.Timestamp("1990-01-01"), pd.Timestamp("2024-06-30")),
    step=st.sampled_from(["5min", "1h", "37min"]),
    two=st.booleans(),
)
def test_times_of_day_come_back(tmp_path: Path, form: str, start: object, step: str, two: bool) -> None:
    times = pd.date_range(pd.Timestamp(start).floor("min").replace(day=14), periods=50, freq=step)
    pattern = CLOCKS[form]
    if two and " " in pattern:
        date, _, clock = pattern.partition(" ")
        second = {"Time": [time.strftime(clock) for time in times]}
        found = read_back(tmp_path, [time.strftime(date) for time in times], "Date", second)
    else:
        found = read_back(tmp_path, [time.strftime(pattern) for time in times], "Date")
    assert found["wall"].tolist() == times.tolist() and found["offset"].isna().all()


@FOLDER
@given(
    zone=st.sampled_from(
        ["America/New_York", "Asia/Tokyo", "Europe/Berlin", "Asia/Kolkata", "Australia/Sydney", "UTC"]
    ),
    start=st.dates(pd.Timestamp("2001-01-01").date(), pd.Timestamp("2024-06-30").date()),
    step=st.sampled_from(["1D", "1h"]),
    form=st.sampled_from(["iso", "seconds", "milliseconds", "microseconds", "nanoseconds", "key", "column"]),
)
def test_wall_clock_and_instant_come_back(tmp_path: Path, zone: str, start: object, step: str, form: str) -> None:
    times = pd.date_range(start, periods=60, freq=step, tz=zone)
    utc, wall = times.tz_convert("UTC").tz_localize(None), times.tz_localize(None)
    frame = prices(1, len(times), 100.0, 2)
    seconds = utc.as_unit("s").asi8
    options, more = ReadingOptions(), {}
    if form == "iso":
        cells = [time.isoformat() for time in times]
    elif form in ("key", "column"):
        cells = [f"{time:%Y-%m-%d %H:%M:%S}" for time in wall]
        options = ReadingOptions(timezone=zone) if form == "key" else options
        more = {"Timezone": [zone] * len(times)} if form == "column" else {}
    else:
        factor = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}[form]
        cells = [str(second * factor) for second in seconds]
        wall = utc
    path = tmp_path / "X.csv"
    path.write_text(written({"timestamp": cells} | more | {key: frame[key].astype(str).tolist() for key in frame}, ","))
    found = read_series(path, RepairRules(), options=options).frame
    assert found["timestamp"].tolist() == utc.tolist()
    assert found["wall"].tolist() == wall.tolist()
    assert (found["wall"] - found["timestamp"]).dt.total_seconds().tolist() == found["offset"].tolist()


def test_unix_times_are_never_of_the_future(tmp_path: Path) -> None:
    """2024010209 is an hour of the calendar, not a second of 2034; what is neither is refused."""
    found = read_back(tmp_path, [f"20240102{hour:02d}" for hour in range(9, 21)], "Date")
    assert found["wall"].iloc[0] == pd.Timestamp("2024-01-02 09:00")
    with pytest.raises(UserError, match="integers of 10 digits"):
        read_back(tmp_path, [str(9_000_000_000 + number * 60) for number in range(9, 21)], "Date")


@pytest.mark.parametrize("cells", [
    ["157,000", "157,544"], ["1,234", "2,345"], ["12,345", "12,346"],
])  # fmt: skip
def test_a_comma_that_may_be_either_is_refused_with_the_key(tmp_path: Path, cells: list[str]) -> None:
    path = tmp_path / "X.csv"
    rows = [f"2024-01-{2 + place:02d};{cell};{cell};{cell};{cell};1000" for place, cell in enumerate(cells)]
    path.write_text("\n".join(["Date;Open;High;Low;Close;Volume", *rows]) + "\n")
    with pytest.raises(UserError, match=r"`data: \{numbers: decimal-comma\}`"):
        read_series(path, RepairRules())
    for key, factor in (("decimal-comma", 0.001), ("decimal-point", 1.0)):
        close = read_series(path, RepairRules(), options=ReadingOptions(numbers=key)).frame["close"]
        assert close.tolist() == pytest.approx([int(cell.replace(",", "")) * factor for cell in cells])
