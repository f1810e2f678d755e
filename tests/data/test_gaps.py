"""Frequency and missing rows, by the week that a series has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from greenlight.data.gaps import find_missing, infer_frequency
from greenlight.data.reader import read_series
from greenlight.data.repair import RepairRules
from greenlight.data.series import Series
from greenlight.errors import UserError


def session(days: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """Hourly bars from 09:30 to 15:30 on each day."""
    return pd.DatetimeIndex([day + pd.Timedelta(hours=9.5 + hour) for day in days for hour in range(7)])


BUSINESS = pd.bdate_range("2023-01-02", "2023-06-30")
YEAR_HALF = pd.date_range("2023-01-01", "2023-06-29")
SUNDAY_TO_THURSDAY = YEAR_HALF[~YEAR_HALF.day_of_week.isin([4, 5])]
TIMES = {
    "business days": (BUSINESS, "business days", 86_400),
    "seven days": (pd.date_range("2023-01-01", periods=200), "daily", 86_400),
    "Sunday to Thursday": (SUNDAY_TO_THURSDAY, "daily on Mon Tue Wed Thu Sun", 86_400),
    "one week": (pd.bdate_range("2023-01-02", "2023-01-11"), "business days", 86_400),
    "hourly": (pd.date_range("2023-01-01", periods=800, freq="h"), "hourly", 3600),
    "session": (session(BUSINESS), "hourly", 3600),
    "short session": (session(BUSINESS[:8]), "hourly", 3600),
    "five minutes": (pd.date_range("2023-01-01", periods=3000, freq="5min"), "5 minutes", 300),
    "four hours": (pd.date_range("2023-01-01", periods=300, freq="4h"), "4 hours", 14_400),
    "weekly": (pd.date_range("2023-01-01", periods=80, freq="W-FRI"), "weekly", 7 * 86_400),
    "monthly": (pd.date_range("2015-01-31", periods=80, freq="ME"), "monthly", 31 * 86_400),
}


@pytest.mark.parametrize("name", TIMES)
def test_a_whole_series_has_its_frequency_and_no_gap(name: str) -> None:
    times, label, step = TIMES[name]
    values = times.to_numpy().astype("datetime64[ns]")
    frequency = infer_frequency(values)
    assert (frequency.label, frequency.step_seconds) == (label, step)
    assert len(find_missing(values, frequency).after) == 0


@pytest.mark.parametrize("name", [name for name in TIMES if name != "one week"])
@pytest.mark.parametrize("lost", [[30], [30, 31], [20, 40]])
def test_lost_rows_are_found_where_they_were(name: str, lost: list[int]) -> None:
    values = TIMES[name][0].to_numpy().astype("datetime64[ns]")
    left = np.delete(values, lost)
    missing = find_missing(left, infer_frequency(left))
    found = left[missing.after] + missing.offset
    if name == "monthly":
        assert len(found) == len(lost)
    else:
        assert found.tolist() == values[lost].tolist()
    assert (left[missing.after] < values[lost]).all() and (left[missing.after + 1] > values[lost]).all()


@pytest.mark.parametrize("times", [
    pd.to_datetime(["2023-01-01", "2023-01-02"]),
    pd.to_datetime(["2023-01-01", "2023-01-04", "2023-02-01", "2023-02-03", "2023-07-01"]),
    pd.DatetimeIndex([*pd.date_range("1990-01-01", periods=9, freq="s"), pd.Timestamp("2023-07-01")]),
])  # fmt: skip
def test_no_common_step_is_irregular_and_without_gaps(times: pd.DatetimeIndex) -> None:
    values = times.to_numpy().astype("datetime64[ns]")
    frequency = infer_frequency(values)
    assert (frequency.label, frequency.step_seconds) == ("irregular", None)
    assert len(find_missing(values, frequency).after) == 0


def zoned(tmp_path: Path, local: pd.DatetimeIndex, zone: str, **rules: str) -> Series:
    path = tmp_path / "ZONED.csv"
    times = [time.isoformat() for time in local.tz_localize(zone)]
    path.write_text("Datetime,Open,High,Low,Close\n" + "".join(f"{time},1,1,1,1\n" for time in times))
    return read_series(path, RepairRules(**rules))


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo", "Europe/Berlin"])
@pytest.mark.parametrize("days", [BUSINESS, session(BUSINESS)], ids=["daily", "session"])
def test_daylight_saving_and_far_zones_make_no_gaps(tmp_path: Path, zone: str, days: pd.DatetimeIndex) -> None:
    series = zoned(tmp_path, days, zone)
    assert not [finding for finding in series.findings if finding.kind == "gaps"]
    assert series.frequency.days == ("Mon", "Tue", "Wed", "Thu", "Fri")


def test_a_gap_in_local_time_is_filled_at_the_instant_it_belongs_to(tmp_path: Path) -> None:
    series = zoned(tmp_path, BUSINESS.delete(80), "America/New_York", gaps="forward-fill")
    expected = BUSINESS.tz_localize("America/New_York").tz_convert("UTC").tz_localize(None)
    assert series.frame["timestamp"].tolist() == expected.tolist()


def test_holidays_are_gaps_that_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "HOLIDAYS.csv"
    days = BUSINESS.delete([10, 50, 51])
    path.write_text("Date,Open,High,Low,Close\n" + "".join(f"{day:%Y-%m-%d},1,1,1,1\n" for day in days))
    (gap,) = [finding for finding in read_series(path, RepairRules()).findings if finding.kind == "gaps"]
    assert gap.lines == [11, 50] and gap.count == 2
    assert "3 rows missing in 2 gaps" in gap.detail and "the longest of 2 rows after 2023-03-10" in gap.detail


def test_a_rule_for_gaps_refuses_a_series_whose_gaps_cannot_be_told(tmp_path: Path) -> None:
    path = tmp_path / "IRREGULAR.csv"
    days = ["2023-01-01", "2023-01-04", "2023-02-01", "2023-02-03", "2023-07-01"]
    path.write_text("Date,Open,High,Low,Close\n" + "".join(f"{day},1,1,1,1\n" for day in days))
    assert [finding.kind for finding in read_series(path, RepairRules()).findings] == ["volume", "irregular"]
    for rule in ("refuse", "forward-fill"):
        with pytest.raises(UserError, match=r"no common step.*set data\.repair\.gaps to report"):
            read_series(path, RepairRules(gaps=rule))


def test_a_few_rows_on_weekends_make_no_gaps_of_the_other_weekends() -> None:
    values = BUSINESS.append(pd.to_datetime(["2023-02-04", "2023-04-15"])).sort_values().to_numpy()
    values = values.astype("datetime64[ns]")
    frequency = infer_frequency(values)
    assert frequency.label == "business days"
    assert len(find_missing(values, frequency).after) == 0
