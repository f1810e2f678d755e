# ruff: noqa: E501
"""Which columns are times, whose clock it is, whose prices they are, and files that are not read at all."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pandas as pd
import pytest

from greenlight.data.identity import same_symbol
from greenlight.data.options import ReadingOptions
from greenlight.data.reader import read_series
from greenlight.data.repair import RepairRules
from greenlight.data.series import Series, write_series
from greenlight.data.stored import load_series
from greenlight.errors import UserError

ROWS = ["1,9,1,2,10", "2,9,1,3,20", "3,9,1,4,30", "4,9,1,5,40"]


def read(tmp_path: Path, columns: dict[str, list[str]], options: ReadingOptions | None = None, **rules: str) -> Series:
    path = tmp_path / "X.csv"
    lines = [",".join([*columns, "Open,High,Low,Close,Volume"])]
    lines += [",".join([*cells, row]) for *cells, row in zip(*columns.values(), ROWS, strict=True)]
    path.write_text("\n".join(lines) + "\n")
    return read_series(path, RepairRules(**rules), options=options)


def said(series: Series) -> str:
    return "; ".join(f"{finding.detail}: {finding.action}" for finding in series.findings)


DAYS = ["2024-03-07", "2024-03-08", "2024-03-11", "2024-03-12"]


def test_unix_times_beside_local_ones_tell_the_offset(tmp_path: Path) -> None:
    local = pd.DatetimeIndex([f"{day} 09:30" for day in DAYS]).tz_localize("America/New_York")
    series = read(tmp_path, {
        "date": [f"{time:%Y-%m-%d %H:%M}" for time in local], "unix": [str(int(time.timestamp())) for time in local],
    })  # fmt: skip
    assert series.frame["wall"].tolist() == local.tz_localize(None).tolist()
    assert series.frame["timestamp"].tolist() == local.tz_convert("UTC").tz_localize(None).tolist()
    assert series.timezone == "-05:00, -04:00"


def test_a_zone_makes_a_wall_clock_of_unix_times(tmp_path: Path) -> None:
    local = pd.DatetimeIndex(DAYS).tz_localize("Asia/Tokyo")
    cells = [str(int(time.timestamp())) for time in local]
    for columns, options in (
        ({"t": cells}, ReadingOptions(timezone="Asia/Tokyo")),
        ({"t": cells, "Timezone": ["Asia/Tokyo"] * 4}, None),
    ):
        series = read(tmp_path, columns, options)
        assert series.frame["wall"].tolist() == [pd.Timestamp(day) for day in DAYS]
        assert series.frame["timestamp"].iloc[0] == pd.Timestamp("2024-03-06 15:00")
        assert series.timezone == "Asia/Tokyo"


@pytest.mark.parametrize(("name", "zone"), [
    ("Gmt time", "UTC"), ("Date (UTC)", "UTC"), ("Datetime (UTC+2)", "+02:00"), ("Time (EET)", "unknown"),
])  # fmt: skip
def test_a_header_may_name_the_zone(tmp_path: Path, name: str, zone: str) -> None:
    series = read(tmp_path, {name: [f"{day} 10:00" for day in DAYS]})
    assert series.timezone == zone and series.frame["wall"].iloc[0] == pd.Timestamp("2024-03-07 10:00")
    assert ("zone unknown" in said(series)) == (zone == "unknown")


def test_the_time_of_the_bar_is_taken_and_the_others_are_named(tmp_path: Path) -> None:
    scraped = [str(1_700_000_000 + place) for place in range(4)]
    series = read(tmp_path, {"date": DAYS, "timestamp": scraped})
    assert series.frame["wall"].iloc[0] == pd.Timestamp("2024-03-07") and series.ignored == ("timestamp",)
    assert "'date' is used" in said(series)
    ends = [f"{day} 16:00:00" for day in DAYS]
    series = read(tmp_path, {"end": ends, "begin": [f"{day} 09:30:00" for day in DAYS]})
    assert series.columns["timestamp"] == "begin"
    series = read(tmp_path, {"Date": DAYS, "Time": ["93000", "93000", "100000", "93000"]})
    assert series.frame["wall"].iloc[2] == pd.Timestamp("2024-03-11 10:00")


def test_hours_that_daylight_saving_repeats_or_lacks(tmp_path: Path) -> None:
    key = ReadingOptions(timezone="America/New_York")
    twice = ["2024-11-03 00:30", "2024-11-03 01:30", "2024-11-03 01:30", "2024-11-03 02:30"]
    assert read(tmp_path, {"Date": twice}, key).frame["offset"].tolist() == [-14400, -14400, -18000, -18000]
    with pytest.raises(UserError, match=r"occurs twice when daylight saving ends.*timezone: America/New_York"):
        read(tmp_path, {"Date": twice})
    with pytest.raises(UserError, match=r"2024-03-10 02:30.*does not exist in America/New_York"):
        read(tmp_path, {"Date": ["2024-03-10 00:30", "2024-03-10 01:30", "2024-03-10 02:30", "2024-03-10 03:30"]}, key)


def test_filled_rows_lie_on_the_wall_clock(tmp_path: Path) -> None:
    """Ten business days of New York with the Monday after the change missing: it is at 04:00 UTC."""
    days = pd.bdate_range("2024-02-01", "2024-04-01")
    zoned = days[days != "2024-03-11"].tz_localize("America/New_York")
    path = tmp_path / "X.csv"
    path.write_text("Date,Open,High,Low,Close\n" + "".join(f"{time.isoformat()},1,1,1,1\n" for time in zoned))
    series = read_series(path, RepairRules(gaps="forward-fill"))
    assert series.frame["wall"].tolist() == days.tolist()
    assert pd.Timestamp("2024-03-11 04:00") in series.frame["timestamp"].tolist()
    assert "1 rows missing in 1 gaps" in said(series) and "1 rows added" in said(series)
    write_series(tmp_path / "series.parquet", series)
    assert load_series(tmp_path / "series.parquet").wall.tolist() == series.frame["wall"].astype("int64").tolist()


@pytest.mark.parametrize(("own", "other", "same"), [
    ("AAPL", "AAPL.US", True), ("AAPL", "aapl", True), ("AAPL", "NASDAQ:AAPL", True), ("600519", "sh.600519", True),
    ("600519", "600519.SH", True), ("BRK-B", "BRK.B", True), ("BTC-USDT", "BTC/USDT", True), ("XBTUSD", "BTCUSD", True),
    ("0700.HK", "700", True), ("EURUSD", "EURUSD=X", True), ("AAPL", "AAPL US Equity", True), ("RELIANCE", "RELIANCE-EQ", True),
    ("AAPL", "AAL", False), ("AAPL", "MSFT", False), ("BRK-A", "BRK-B", False), ("BTCUSD", "BTCUSDT", False), ("A", "AA", False),
])  # fmt: skip
def test_names_of_one_symbol(own: str, other: str, same: bool) -> None:
    assert same_symbol(own, other) is same


def test_another_symbol_than_the_names_is_refused_unless_it_is_said(tmp_path: Path) -> None:
    columns = {"Date": DAYS, "ticker": ["MSFT"] * 4}
    with pytest.raises(UserError, match=r"prices of 'MSFT'.*of X; rename.*data: \{symbol_check: off\}"):
        read(tmp_path, columns)
    assert len(read(tmp_path, columns, ReadingOptions(symbol_check=False)).frame) == 4
    with pytest.raises(UserError, match="names 2 symbols"):
        read(tmp_path, {"Date": DAYS, "ticker": ["MSFT", "MSFT", "X", "X"]}, ReadingOptions(symbol_check="off"))


def test_pipes_devices_large_files_and_bombs_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "PIPE.csv")
    (tmp_path / "ZERO.csv").symlink_to("/dev/zero")
    for name in ("PIPE.csv", "ZERO.csv"):
        with pytest.raises(UserError, match="no regular file but a pipe or a device"):
            read_series(tmp_path / name, RepairRules())
    small = ReadingOptions(largest_file_mib=0.5)
    (tmp_path / "BIG.csv").write_bytes(b"x" * 2**20)
    with pytest.raises(UserError, match=r"BIG\.csv: 1 MiB, more than the 0\.5 MiB allowed"):
        read_series(tmp_path / "BIG.csv", RepairRules(), options=small)
    (tmp_path / "BOMB.csv.gz").write_bytes(
        gzip.compress(b"Date,Open,High,Low,Close\n" + b"2024-01-02,1,1,1,1\n" * 10**5)
    )
    with pytest.raises(UserError, match=r"BOMB\.csv\.gz: unpacked, more than"):
        read_series(tmp_path / "BOMB.csv.gz", RepairRules(), options=small)
    (tmp_path / "LINE.csv").write_bytes(b"Date,Open\n" + b"1" * 3 * 2**20)
    with pytest.raises(UserError, match=r"LINE\.csv: line 2 is longer than 1 MiB|LINE\.csv: line 2 is not CSV"):
        read_series(tmp_path / "LINE.csv", RepairRules())


@pytest.mark.parametrize("wrong", [
    {"dates": "either"}, {"timezone": "Mars/Base"}, {"encoding": "zip"}, {"columns": ["timestamp", "x"]},
    {"columns": {"shut": "Close"}}, {"scale": 0}, {"header": 0}, {"symbol_check": "maybe"}, {"numbers": "comma"},
])  # fmt: skip
def test_keys_that_mean_nothing_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        ReadingOptions(**wrong)  # type: ignore[arg-type]
