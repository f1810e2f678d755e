"""The canonical series on disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from greenlight.data.gaps import Frequency
from greenlight.data.series import Series, series_arrays, series_report, write_series
from greenlight.data.stored import SCHEMA, load_series
from greenlight.data.windows import CLOSE, FEATURES

VOLUME = FEATURES.index("volume")


def series(rows: int = 5, volume: float = 7.0) -> Series:
    close = np.arange(1.0, rows + 1)
    frame = pd.DataFrame({
        "timestamp": pd.date_range("2024-01-01", periods=rows, unit="ns"),
        "open": close, "high": close + 1, "low": close / 2, "close": close, "volume": np.full(rows, volume),
        "amount": np.full(rows, volume) * close, "wall": pd.date_range("2024-01-01 09:00", periods=rows, unit="ns"),
        "offset": np.full(rows, 9 * 3600.0),
    })  # fmt: skip
    return Series(frame, (), {"timestamp": "Date"}, Frequency("daily", 86_400), "X.csv", "0" * 64)


def test_a_written_series_comes_back_the_same(tmp_path: Path) -> None:
    path = tmp_path / "symbol=X" / "series.parquet"
    write_series(path, series())
    for found, written in zip(load_series(path), series_arrays(series().frame), strict=True):
        assert found.dtype == written.dtype
        np.testing.assert_array_equal(found, written)
    schema = pyarrow.parquet.read_schema(path)
    assert schema.remove_metadata().equals(SCHEMA)
    assert schema.metadata[b"source_sha256"] == b"0" * 64


def test_unknown_volume_is_null_on_disk_and_nan_when_loaded(tmp_path: Path) -> None:
    path = tmp_path / "series.parquet"
    write_series(path, series(volume=np.nan))
    assert pyarrow.parquet.ParquetFile(path).read()["volume"].null_count == 5
    values = load_series(path).values
    assert np.isnan(values[:, VOLUME]).all() and values.dtype == np.float64


def test_the_same_series_gives_the_same_bytes(tmp_path: Path) -> None:
    write_series(tmp_path / "a.parquet", series())
    write_series(tmp_path / "b.parquet", series())
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_a_hive_folder_above_adds_no_column(tmp_path: Path) -> None:
    path = tmp_path / "model=m" / "symbol=X" / "series.parquet"
    write_series(path, series())
    assert load_series(path).values.shape == (5, len(FEATURES))


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_truncated_file_is_refused(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "series.parquet"
    write_series(path, series())
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"series\.parquet: not readable as parquet"):
        load_series(path)


def test_another_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "series.parquet"
    pyarrow.parquet.write_table(pa.table({"close": [1.0]}), path)
    with pytest.raises(ValueError, match=r"not a canonical series; its columns are close: double"):
        load_series(path)


@pytest.mark.parametrize(("column", "row", "value", "words"), [
    ("close", 2, np.nan, "not a positive number"),
    ("low", 2, 0.0, "not a positive number"),
    ("high", 2, np.inf, "not a positive number"),
    ("volume", 2, -1.0, "a volume is negative"),
    ("wall", 2, pd.Timestamp("2024-01-03 10:00"), "its wall clock is not the instant and the offset"),
    ("amount", 2, -1.0, "an amount is negative"),
    ("timestamp", 2, pd.Timestamp("2024-01-02"), "not ascending and unique"),
    ("timestamp", 0, pd.Timestamp("2024-02-02"), "not ascending and unique"),
])  # fmt: skip
def test_impossible_values_are_refused(tmp_path: Path, column: str, row: int, value: object, words: str) -> None:
    path = tmp_path / "series.parquet"
    broken = series().frame.rename(columns={"offset": "offset_seconds"})
    broken.loc[row, column] = value
    # Written with NaN kept as NaN, since a null would not pass the schema.
    table = pa.table({name: pa.array(broken[name].to_numpy(), SCHEMA.field(name).type) for name in broken}, SCHEMA)
    pyarrow.parquet.write_table(table, path)
    with pytest.raises(ValueError, match=words):
        load_series(path)


def test_no_rows_and_no_file_are_refused(tmp_path: Path) -> None:
    empty = replace(series(), frame=series().frame.iloc[:0])
    write_series(tmp_path / "series.parquet", empty)
    with pytest.raises(ValueError, match="no rows"):
        load_series(tmp_path / "series.parquet")
    with pytest.raises(FileNotFoundError, match=r"none\.parquet"):
        load_series(tmp_path / "none.parquet")


def test_arrays_are_what_windows_take() -> None:
    times, values, wall, amount = series_arrays(series().frame)
    assert wall.tolist() == (times + np.timedelta64(9, "h")).tolist() and amount.tolist() == [7, 14, 21, 28, 35]
    assert times.dtype == "datetime64[ns]" and values.shape == (5, 5) and values.dtype == np.float64
    assert values[:, CLOSE].tolist() == [1, 2, 3, 4, 5]


def test_the_report_says_what_was_read() -> None:
    report = series_report(series(volume=np.nan))
    assert report["volume_known"] is False and report["frequency"]["label"] == "daily"
    assert (report["first_close"], report["last_close"]) == (1.0, 5.0)
