"""Every form of CSV that the reader understands gives the same canonical series."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from greenlight.data.reader import read_series
from greenlight.data.repair import RepairRules
from greenlight.data.series import Series, series_report, write_series
from greenlight.data.stored import load_series
from greenlight.errors import UserError
from greenlight.files import json_text

DAYS = ["2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05", "2024-01-16"]
ROWS = [
    (10.0, 11.5, 9.5, 11.0, 1000.0),
    (11.0, 12.0, 10.5, 11.25, 2000.0),
    (11.25, 11.75, 10.0, 10.5, 1500.0),
    (10.5, 10.75, 9.25, 9.5, 0.0),
    (9.5, 13.0, 9.5, 12.75, 3000.0),
]
PLAIN = "Date,Open,High,Low,Close,Volume\n" + "".join(
    f"{day},{','.join(map(str, row))}\n" for day, row in zip(DAYS, ROWS, strict=True)
)
DTYPES = {"timestamp": "datetime64[ns]", "wall": "datetime64[ns]"} | dict.fromkeys(
    ("open", "high", "low", "close", "volume", "amount", "offset"), "float64"
)


def read(tmp_path: Path, text: str | bytes, name: str = "TEST.csv", **rules: str) -> Series:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_series(path, RepairRules(**rules))


def assert_canonical(series: Series, *, volume: bool = True) -> None:
    frame = series.frame
    assert dict(frame.dtypes.astype(str)) == DTYPES
    assert frame["timestamp"].tolist() == [pd.Timestamp(day) for day in DAYS]
    expected = np.array(ROWS)
    assert np.array_equal(frame[["open", "high", "low", "close"]].to_numpy(), expected[:, :4])
    if volume:
        assert np.array_equal(frame["volume"].to_numpy(), expected[:, 4])
    else:
        assert frame["volume"].isna().all()


def with_dates(dates: list[str], name: str = "Date") -> str:
    lines = [f"{date},{','.join(map(str, row))}" for date, row in zip(dates, ROWS, strict=True)]
    return "\n".join([f"{name},Open,High,Low,Close,Volume", *lines]) + "\n"


def epochs(factor: int) -> list[str]:
    return [str(int(pd.Timestamp(day).timestamp()) * factor) for day in DAYS]


def rewritten(columns: list[tuple[str, str]], delimiter: str = ",") -> str:
    """The rows with other headers, in the order given; a content is a column, `n` or a constant."""
    content = [dict(zip("ohlcv", row, strict=True)) | {"d": day, "n": n} for n, (day, row) in
               enumerate(zip(DAYS, ROWS, strict=True))]  # fmt: skip
    lines = [delimiter.join(header for header, _ in columns)]
    lines += [delimiter.join(str(row.get(key, key)) for _, key in columns) for row in content]
    return "\n".join(lines) + "\n"


def named(names: str, contents: str) -> list[tuple[str, str]]:
    return list(zip(names.split(), contents, strict=True))


OHLCV = named("Open High Low Close Volume", "ohlcv")
HEADER, BODY = PLAIN.split("\n", 1)
QUOTED = "\n".join(",".join(f'"{cell}"' for cell in line.split(",")) for line in PLAIN.strip().split("\n"))
DOLLARS = "Date,Close/Last,Volume,Open,High,Low\n" + "".join(
    f"{day},${close},{volume},${open_},${high},${low}\n"
    for day, (open_, high, low, close, volume) in zip(DAYS, ROWS, strict=True)
)

FORMS = {
    "plain": PLAIN,
    "upper case": PLAIN.replace("Date,Open,High,Low,Close,Volume", "DATE,OPEN,HIGH,LOW,CLOSE,VOLUME"),
    "other order": rewritten(named("Date close high low open volume", "dchlov")),
    "date last": rewritten([*OHLCV, ("date", "d")]),
    "nameless row number": rewritten([("", "n"), ("Date", "d"), *OHLCV]),
    "pandas row number": rewritten([("Unnamed: 0", "n"), ("Date", "d"), *OHLCV]),
    "nameless dates": rewritten([("", "d"), *OHLCV]),
    "header one short": "Open,High,Low,Close,Volume\n" + BODY,
    "trailing delimiter": HEADER + "\n" + BODY.replace("\n", ",\n"),
    "newest first": "\n".join([HEADER, *reversed(BODY.strip().split("\n"))]),
    "byte order mark": b"\xef\xbb\xbf" + PLAIN.encode(),
    "UTF-16": PLAIN.replace(",", "\t").encode("utf-16"),
    "Windows line ends": PLAIN.replace("\n", "\r\n"),
    "old Macintosh line ends": PLAIN.replace("\n", "\r"),
    "semicolons": PLAIN.replace(",", ";"),
    "tabs": PLAIN.replace(",", "\t"),
    "Excel's sep line": "sep=;\n" + PLAIN.replace(",", ";"),
    "decimal comma": PLAIN.replace(",", ";").replace(".", ","),
    "quoted": QUOTED,
    "spaces": PLAIN.replace(",", " , "),
    "blank lines": PLAIN.replace("\n", "\n\n") + "\n,,,,,\n",
    "no final line end": PLAIN.strip(),
    "preamble": "# Data by Example\n" + PLAIN,
    "dollars": DOLLARS,
    "three header lines": "Price,Open,High,Low,Close,Volume\nTicker,TEST,TEST,TEST,TEST,TEST\nDate,,,,,\n" + BODY,
    "numbered names": rewritten(named("timestamp 1.open 2.high 3.low 4.close 5.volume", "dohlcv")),
    "bracketed names": rewritten(named("<DATE> <OPEN> <HIGH> <LOW> <CLOSE> <VOL> <OPENINT>", "dohlcv0")),
    "symbol before names": rewritten([("", "d"), *((f"TEST.{name}", to) for name, to in OHLCV), ("Adjusted", "1")]),
    "symbol after names": rewritten([("Date", "d"), *((f"{name}_TEST", key) for name, key in OHLCV)]),
    "single letters": rewritten(named("t o h l c v", "dohlcv")),
    "volume of the base": rewritten([("Date", "d"), *OHLCV[:4], ("Volume BTC", "v"), ("Volume USD", "7")]),
    "adjusted close": rewritten([("Date", "d"), *OHLCV[:4], ("Adj Close", "1"), ("Volume", "v")]),
    "adjusted before plain": rewritten([("Adj. Close", "1"), ("Adj. Open", "2"), ("Date", "d"), *OHLCV]),
    "volume adjusted only": rewritten([("Date", "d"), *OHLCV[:4], ("Adj. Volume", "v"), ("Adj. Close", "1")]),
    "adjusted only": rewritten(
        [("Date", "d"), *((f"Adj. {name}", to) for name, to in OHLCV)]
    ),
    "dividends and splits": rewritten([("Date", "d"), *OHLCV, ("Dividends", "0.0"), ("Stock Splits", "0.0")]),
    "open and close time": rewritten([("Open time", "d"), *OHLCV, ("Close time", "2030-01-01")]),
    "date and time": rewritten([("Date", "d"), ("Time", "00:00"), *OHLCV]),
    "seconds": with_dates(epochs(1), "timestamp"),
    "milliseconds": with_dates(epochs(1000), "time"),
    "microseconds": with_dates(epochs(10**6), "ds"),
    "nanoseconds": with_dates(epochs(10**9), "Timestamp"),
    "seconds as float": with_dates([text + ".0" for text in epochs(1)]),
    "compact dates": with_dates([day.replace("-", "") for day in DAYS]),
    "year first with slashes": with_dates([day.replace("-", "/") for day in DAYS]),
    "year first with points": with_dates([day.replace("-", ".") for day in DAYS]),
    "no zeros": with_dates([day.replace("-0", "-") for day in DAYS]),
    "month first": with_dates([f"{day[5:7]}/{day[8:]}/{day[:4]}" for day in DAYS]),
    "day first": with_dates([f"{day[8:]}.{day[5:7]}.{day[:4]}" for day in DAYS]),
    "words": with_dates([f'"{pd.Timestamp(day):%b %d, %Y}"' for day in DAYS]),
    "midnight": with_dates([f"{day} 00:00:00" for day in DAYS]),
    "Zulu": with_dates([f"{day}T00:00:00Z" for day in DAYS], "Datetime"),
    "UTC in words": with_dates([f"{day} 00:00:00 UTC" for day in DAYS]),
    "New York": with_dates([f"{pd.Timestamp(day) - pd.Timedelta(hours=5)}-05:00" for day in DAYS]),
    "fractions of seconds": with_dates([f"{day} 09:00:00.000+0900" for day in DAYS]),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_each_form_gives_the_canonical_series(tmp_path: Path, form: str) -> None:
    assert_canonical(read(tmp_path, FORMS[form]))


@pytest.mark.parametrize(
    "name", ["Date", "date", "DATE", "timestamp", "Timestamp", "Datetime", "ds", "time", "index", ""]
)
def test_each_name_of_the_date_column(tmp_path: Path, name: str) -> None:
    assert_canonical(read(tmp_path, with_dates(DAYS, name)))


def test_missing_volume_is_null_and_said(tmp_path: Path) -> None:
    series = read(tmp_path, rewritten([("Date", "d"), *OHLCV[:4]]))
    assert_canonical(series, volume=False)
    assert series.columns["volume"] is None
    assert [finding.action for finding in series.findings if finding.kind == "volume"] == ["unknown"]


def test_empty_volume_cells_are_unknown_and_named(tmp_path: Path) -> None:
    series = read(tmp_path, PLAIN.replace(",2000.0", ","))
    assert series.frame["volume"].isna().tolist() == [False, True, False, False, False]
    assert [finding.lines for finding in series.findings if finding.kind == "volume"] == [[3]]


def test_plain_columns_win_and_the_report_says_so(tmp_path: Path) -> None:
    series = read(tmp_path, FORMS["adjusted before plain"])
    report = series_report(series)
    assert report["columns"]["close"] == "Close"
    said = [finding for finding in report["findings"] if finding["kind"] == "adjusted_prices"]
    assert len(said) == 1 and "'Adj. Close'" in said[0]["detail"] and said[0]["action"].startswith("ignore")


def test_adjusted_close_alone_scales_all_prices(tmp_path: Path) -> None:
    text = "Date,Open,High,Low,Close,Adj Close\n2024-01-02,8,12,6,10,5\n2024-01-03,10,12,8,10,10\n"
    series = read(tmp_path, text, adjusted_prices="use")
    assert series.frame.loc[0, ["open", "high", "low", "close"]].tolist() == [4, 6, 3, 5]
    assert series.frame.loc[1, ["open", "high", "low", "close"]].tolist() == [10, 12, 8, 10]


def test_a_full_set_of_adjusted_columns_is_used_by_rule(tmp_path: Path) -> None:
    header = "Date,Open,High,Low,Close,Volume,Adj. Open,Adj. High,Adj. Low,Adj. Close,Adj. Volume"
    text = f"{header}\n2024-01-02,8,12,6,10,7,1,4,1,3,70\n2024-01-03,8,12,6,10,7,2,4,1,3,70\n"
    series = read(tmp_path, text, adjusted_prices="use")
    assert series.frame.iloc[0, 1:6].tolist() == [1, 4, 1, 3, 70]
    assert (series.columns["close"], series.columns["volume"]) == ("Adj. Close", "Adj. Volume")


def test_the_rule_to_use_adjusted_columns_says_when_there_are_none(tmp_path: Path) -> None:
    series = read(tmp_path, PLAIN, adjusted_prices="use")
    assert_canonical(series)
    assert any("no adjusted columns" in finding.detail for finding in series.findings)


def test_thousands_separators_are_read_where_beyond_doubt(tmp_path: Path) -> None:
    first = '2024-01-02,"1,000.5","1,200","900.25","1,100","1,234,567"'
    series = read(tmp_path, f"{HEADER}\n{first}\n2024-01-03,1,2,1,2,3\n")
    assert series.frame.iloc[0, 1:6].tolist() == [1000.5, 1200, 900.25, 1100, 1234567]
    assert any("thousands" in finding.detail for finding in series.findings)


def test_a_lone_comma_is_ambiguous_and_refused(tmp_path: Path) -> None:
    text = "Date;Open;High;Low;Close\n2024-01-02;1,234;1,234;1,234;1,234\n2024-01-03;1,234;1,234;1,234;1,234\n"
    with pytest.raises(
        UserError,
        match=r"(?s)lines 2-3: '1,234' in column 'Open' may be 1.234 or 1234.*data: \{numbers: decimal-comma\}",
    ):
        read(tmp_path, text)


def test_ambiguous_slashed_dates_are_refused(tmp_path: Path) -> None:
    text = "Date,Open,High,Low,Close\n01/02/2024,1,1,1,1\n01/03/2024,1,1,1,1\n"
    with pytest.raises(UserError, match=r"lines 2-3: '01/02/2024'.*undecidable.*data: \{dates: day-first\}"):
        read(tmp_path, text)


def test_scientific_notation_and_tiny_prices_keep_their_digits(tmp_path: Path) -> None:
    series = read(
        tmp_path,
        "date,open,high,low,close\n2024-01-02,1.2e-05,1.30001E-5,.000011,1.25e-5\n2024-01-03,1e-5,1e-5,1e-5,1e-5\n",
    )
    assert series.frame.iloc[0, 1:5].tolist() == [1.2e-05, 1.30001e-05, 1.1e-05, 1.25e-05]


def test_offsets_that_change_with_daylight_saving_become_utc(tmp_path: Path) -> None:
    text = "Datetime,Open,High,Low,Close\n2024-03-08 00:00:00-05:00,1,1,1,1\n2024-03-11 00:00:00-04:00,1,1,1,1\n"
    series = read(tmp_path, text)
    assert series.frame["timestamp"].tolist() == [
        pd.Timestamp("2024-03-08 05:00"),
        pd.Timestamp("2024-03-11 04:00"),
    ]
    assert any(finding.kind == "time_zone" for finding in series.findings)


def test_a_plain_file_has_nothing_to_report_but_its_gap_and_no_amount(tmp_path: Path) -> None:
    assert {finding.kind for finding in read(tmp_path, PLAIN).findings} <= {"gaps", "amount"}


@pytest.mark.parametrize(("text", "words"), [
    ("", ["empty"]),
    ("\n\n", ["empty"]),
    (b"PAR1\x00\x01", ["not readable as parquet"]),
    (b"\x1f\x8b\x08\x00", ["gzip"]),
    (b"PK\x03\x04rest", ["Excel"]),
    (b"Date,Open\x00,High\n", ["binary"]),
    ("Date,Open,High,Low,Close\n2024-01-02,1,1,1,1\nMünchen,1\n".encode("latin-1"), ["line 3", "UTF-8", "0xfc"]),
    ("Wann,Open,High,Low,Close\nx,1,1,1,1\n", ["no column of dates", "'Wann'", "'Close'", "columns: {timestamp:"]),
    ("Date,Open,High,Low,Value\n2024-01-02,1,1,1,1\n", ["no column of closing prices", "'Value'"]),
    ("a,b\n1,2\n", ["no column of dates", "no column of closing prices", "'a', 'b'"]),
    ("2024-01-02,1,2,1,2\n2024-01-03,1,2,1,2\n", ["no column of dates", "Expected a header"]),
    ("Date,Open,High,Low,Close,CLOSE\n2024-01-02,1,1,1,1,1\n", ["'Close', 'CLOSE'", "expected one"]),
    ("Date,symbol,Open,High,Low,Close\n2024-01-02,A,1,1,1,1\n2024-01-02,B,1,1,1,1", ["2 symbols", "A, B"]),
    ("Price,Open,High,Low,Close\nTicker,A,A,B,B\nDate,,,,\n2024-01-02,1,1,1,1", ["several tickers", "A, B"]),
    ("Date,Open,High,Low,Close\n2024-01-02,1,1,1,1\n", ["too few rows", "1 usable of 1"]),
    ("Date,Open,High,Low,Close\n", ["too few rows", "0 usable of 0"]),
])  # fmt: skip
def test_a_file_that_is_no_series_is_one_clear_message(tmp_path: Path, text: str | bytes, words: list[str]) -> None:
    with pytest.raises(UserError) as error:
        read(tmp_path, text)
    assert "TEST.csv" in str(error.value)
    for word in words:
        assert word in str(error.value)


def test_missing_file_and_folder_are_clear(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"NONE\.csv: no such file"):
        read_series(tmp_path / "NONE.csv", RepairRules())
    with pytest.raises(UserError, match="a folder; expected a CSV file"):
        read_series(tmp_path, RepairRules())


PRICE = st.floats(min_value=1e-7, max_value=1e6)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(PRICE, PRICE), min_size=2, max_size=20),
    newest_first=st.booleans(),
    delimiter=st.sampled_from(",;\t"),
    columns=st.permutations(["Date", "Open", "High", "Low", "Close"]),
)
def test_written_prices_come_back_exactly(
    tmp_path: Path, rows: list[tuple[float, float]], newest_first: bool, delimiter: str, columns: list[str]
) -> None:
    times = pd.date_range("2024-01-01", periods=len(rows))
    table = pd.DataFrame({
        "Date": times.strftime("%Y-%m-%d"), "Open": [row[0] for row in rows], "Close": [row[1] for row in rows],
        "High": [max(row) for row in rows], "Low": [min(row) for row in rows],
    })  # fmt: skip
    written = table.iloc[::-1] if newest_first else table
    series = read(tmp_path, written[columns].to_csv(index=False, sep=delimiter))
    assert series.frame["timestamp"].tolist() == times.tolist()
    for name in ("Open", "High", "Low", "Close"):
        assert series.frame[name.lower()].tolist() == table[name].tolist()


TROUBLE = [
    "", ",", ";", '"', "\n", "\r", "\t", "0", "-1", "NaN", "inf", "1e400", "9" * 30, "2024", "2024-01-02", "Z", " ",
    "+01:00", "<b>", "\u2028", "\ufeff", "Close", "Date", "1,5", "1.234,5", "é", "12/31/2024", "32.13.2024",
]  # fmt: skip


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    form=st.sampled_from(sorted(name for name, text in FORMS.items() if isinstance(text, str))),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 12), st.sampled_from(TROUBLE)), min_size=1, max_size=4),
    rules=st.fixed_dictionaries(
        {},
        optional={name: st.sampled_from(get_args(rule.annotation)) for name, rule in RepairRules.model_fields.items()},
    ),
)
def test_a_damaged_file_is_read_whole_or_refused_in_words(
    tmp_path: Path, form: str, changes: list[tuple[float, int, str]], rules: dict[str, str]
) -> None:
    """No damage ends in another exception, or in a series that is not canonical."""
    text = FORMS[form]
    for place, removed, inserted in changes:
        at = int(place * len(text))
        text = text[:at] + inserted + text[at + removed :]
    try:
        series = read(tmp_path, text, **rules)
    except UserError as error:
        assert "TEST.csv" in str(error)
        return
    write_series(tmp_path / "series.parquet", series)
    assert len(load_series(tmp_path / "series.parquet")[0]) == len(series.frame) >= 2
    assert json_text(series_report(series))
