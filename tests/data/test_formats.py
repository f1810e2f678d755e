"""Formats beside those in `exports/`: the same rows as each source would write them, read as the same series."""

# ruff: noqa: E501
from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from greenlight.data.reader import read_series
from greenlight.data.repair import RepairRules
from greenlight.errors import UserError

COUNT = 40
_random = np.random.default_rng(7)
DAYS = pd.bdate_range("2024-01-02", periods=COUNT)
CLOSE = np.round(185 * np.exp(np.cumsum(_random.normal(0, 0.01, COUNT))), 2)
OPEN = np.r_[185.0, CLOSE[:-1]]
HIGH, LOW = np.round(np.maximum(OPEN, CLOSE) * 1.004, 2), np.round(np.minimum(OPEN, CLOSE) * 0.996, 2)
VOLUME = _random.integers(500_000, 2_000_000, COUNT)
AMOUNT = np.round(VOLUME * CLOSE, 2)
MS = [int(day.timestamp() * 1000) for day in DAYS]
CONTENT = {"o": OPEN, "h": HIGH, "l": LOW, "c": CLOSE, "v": VOLUME, "a": AMOUNT, "ms": MS}


def days(form: str) -> list[str]:
    return [day.strftime(form) for day in DAYS]


def comma(values: np.ndarray) -> list[str]:
    return [f"{value:,.2f}".translate(str.maketrans({",": ".", ".": ","})) for value in values]


def table(columns: str, contents: list[object], mark: str = ",", newest_first: bool = False) -> str:
    """Lines of cells; a content is a key of CONTENT, a list, or one cell for all rows. No names: no header."""
    cells = []
    for content in contents:
        known = CONTENT.get(content, content) if isinstance(content, str) else content
        cells.append([str(known)] * COUNT if isinstance(known, str) else [str(cell) for cell in known])  # type: ignore
    quoted = [[f'"{cell}"' if mark in cell else cell for cell in row] for row in zip(*cells, strict=True)]
    lines = [mark.join(row) for row in quoted]
    return "\n".join(([columns] if columns else []) + (lines[::-1] if newest_first else lines)) + "\n"


ISO, SLASH = days("%Y-%m-%d"), days("%m/%d/%Y")
OHLCV = ["o", "h", "l", "c", "v"]
YF = table(",Close,High,Low,Open,Volume", [ISO, "c", "h", "l", "o", "v"])
HEADER, BODY = YF.split("\n", 1)
BINANCE = ["ms", *OHLCV, [each + 86_399_999 for each in MS], "a", "v", "v", "a", "0"]
# Name of the file, its content, what is known of volume and amount.
FORMATS: dict[str, tuple[str, str | bytes, str]] = {
    "gzip": ("AAPL.csv.gz", gzip.compress(table("Date,Open,High,Low,Close,Volume", [ISO, *OHLCV]).encode()), "v"),
    "yfinance, two lines": ("AAPL.csv", f"{HEADER}\n,AAPL,AAPL,AAPL,AAPL,AAPL\nDate,,,,,\n{BODY}", "v"),
    "yfinance, by ticker": ("AAPL.csv", f",AAPL,AAPL,AAPL,AAPL,AAPL\n{HEADER}\nDate,,,,,\n{BODY}", "v"),
    "yfinance, reset": ("AAPL.csv", f"Date{HEADER}\n,AAPL,AAPL,AAPL,AAPL,AAPL\n{BODY}", "v"),
    "yfinance, tuples": (
        "AAPL.csv",
        table(",".join(["Date", *(f"\"('{n}', 'AAPL')\"" for n in ["Open", "High", "Low", "Close", "Volume"])]), [ISO, *OHLCV]),
        "v",
    ),
    "Binance": ("BTCUSDT.csv", table("", BINANCE), "va"),
    "Binance, both units": ("BTCUSDT.csv", table("", [[m * (1000 if m > MS[9] else 1) for m in MS], *BINANCE[1:]]), "va"),
    "Bitfinex": ("BTCUSD.csv", table("", ["ms", "o", "c", "h", "l", "v"], newest_first=True), "v"),
    "Coinbase": ("BTC-USD.csv", table("", [[m // 1000 for m in MS], "l", "h", "o", "c", "v"], newest_first=True), "v"),
    "OKX": ("BTC-USDT.csv", table("", ["ms", *OHLCV, "v", "a", "1"], newest_first=True), "va"),
    "Bybit": ("BTCUSDT.csv", table("", ["ms", *OHLCV, "a"], newest_first=True), "va"),
    "KuCoin": ("BTC-USDT.csv", table("", [[m // 1000 for m in MS], "o", "c", "h", "l", "v", "a"]), "va"),
    "histdata": ("EURUSD.csv", table("", [days("%Y%m%d 000000"), *OHLCV], ";"), "v"),
    "Kibot": ("IBM.txt", table("", [SLASH, "00:00", *OHLCV]), "v"),
    "MetaStock": ("AAPL.txt", table("", ["AAPL", days("%Y%m%d"), *OHLCV]), "v"),
    "ABC Bourse": (
        "FR0000120073.csv",
        table("", ["FR0000120073", days("%d/%m/%y"), *(comma(CONTENT[k]) for k in "ohlc"), "v"], ";"),  # type: ignore
        "v",
    ),
    "MetaTrader 5, UTF-16": (
        "EURUSD.csv",
        table("<DATE>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>", [days("%Y.%m.%d"), *OHLCV, "0"], "\t")
        .encode("utf-16"),
        "v",
    ),
    "Stooq": (
        "aapl.us.txt",
        table(
            "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>",
            ["AAPL.US", "D", days("%Y%m%d"), "000000", *OHLCV, "0"],
        ),
        "v",
    ),
    "Stooq, Polish": ("cdr.csv", table("Data,Otwarcie,Najwyzszy,Najnizszy,Zamkniecie,Wolumen", [ISO, *OHLCV]), "v"),
    "Finam": (
        "SBER.csv",
        table("<TICKER>;<PER>;<DATE>;<TIME>;<OPEN>;<HIGH>;<LOW>;<CLOSE>;<VOL>",
              ["SBER", "D", days("%d/%m/%y"), "00:00:00", *OHLCV], ";"),
        "v",
    ),
    "akshare, GBK": (
        "600519.csv",
        table("日期,股票代码,开盘,收盘,最高,最低,成交量,成交额,换手率", [ISO, "600519", "o", "c", "h", "l", "v", "a", "1.2"])
        .encode("gbk"),
        "va",
    ),
    "tushare": (
        "600519.SH.csv",
        table("ts_code,trade_date,open,high,low,close,pre_close,vol,amount",
              ["600519.SH", days("%Y%m%d"), "o", "h", "l", "c", "c", "v", "a"], newest_first=True),
        "va",
    ),
    "Japanese, Shift JIS": (
        "7203.csv", table("日付,始値,高値,安値,終値,出来高", [days("%Y/%m/%d"), *OHLCV]).encode("cp932"), "v"
    ),
    "Investing.com, Japanese": (
        "7203.csv", table("日付,終値,始値,高値,安値,出来高", [days("%Y年%m月%d日"), "c", "o", "h", "l", "v"]), "v"
    ),
    "Investing.com, Spanish": (
        "SAN.csv",
        table('"Fecha","Último","Apertura","Máximo","Mínimo","% var."',
              [days("%d.%m.%Y"), *(comma(CONTENT[k]) for k in "cohl"), "0,13%"]),  # type: ignore
        "",
    ),
    "Barchart": (
        "AAPL.csv",
        table("Time,Open,High,Low,Last,Change,%Chg,Volume", [SLASH, "o", "h", "l", "c", "0.1", "0.13%", "v"])
        + '"Downloaded from Barchart.com as of 03-25-2024 05:12pm CDT"\n',
        "v",
    ),
    "BSE": (
        "RELIANCE.csv",
        table("Date,Open Price,High Price,Low Price,Close Price,WAP,No.of Shares,No. of Trades,Total Turnover (Rs.)",
              [days("%d-%B-%Y"), "o", "h", "l", "c", "c", "v", "7", "a"]),
        "va",
    ),
    "MOEX": (
        "SBER.csv",
        "history\n\n" + table("BOARDID;TRADEDATE;SECID;VALUE;OPEN;LOW;HIGH;LEGALCLOSEPRICE;CLOSE;VOLUME",
                              ["TQBR", ISO, "SBER", "a", "o", "l", "h", "c", "c", "v"], ";"),
        "va",
    ),
    "ARIVA": (
        "BMW.csv",
        table("Datum;Erster;Hoch;Tief;Schlusskurs;Stuecke;Volumen",
              [ISO, *(comma(CONTENT[k]) for k in "ohlc"), [f"{v:,}".replace(",", ".") for v in VOLUME],  # type: ignore
               comma(AMOUNT)], ";", newest_first=True),
        "va",
    ),
    "Nordic": (
        "ERIC.csv",
        "sep=;\n" + table("Date;Bid;Ask;Opening price;High price;Low price;Closing price;Total volume;Turnover",
                          [ISO, "1", "2", *(comma(CONTENT[k]) for k in "ohlc"), "v", comma(AMOUNT)], ";"),  # type: ignore
        "va",
    ),
    "CoinMarketCap": (
        "BTC.csv",
        table("timeOpen;timeClose;name;open;high;low;close;volume;marketCap;timestamp",
              [days("%Y-%m-%dT00:00:00.000Z"), days("%Y-%m-%dT23:59:59.999Z"), "2781", *OHLCV, "9",
               days("%Y-%m-%dT23:59:59.999Z")], ";", newest_first=True),
        "v",
    ),
    "CryptoDataDownload": (
        "BTCUSDT.csv",
        "https://www.CryptoDataDownload.com\n"
        + table("Unix,Date,Symbol,Open,High,Low,Close,Volume USDT,Volume BTC", ["ms", ISO, "BTC/USDT", *OHLCV[:4], "a", "v"]),
        "va",
    ),
    "volumes beside the volume": (
        "AAPL.csv",
        table("Date,Open,High,Low,Close,Volume MA,Volume %,Avg Volume,Volume",
              [ISO, "o", "h", "l", "c", "3", "4", "5", "v"]),
        "v",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_the_same_series(tmp_path: Path, name: str) -> None:
    file, content, known = FORMATS[name]
    (tmp_path / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    frame = read_series(tmp_path / file, RepairRules()).frame
    assert frame["wall"].tolist() == DAYS.tolist()
    for column, values in (("open", OPEN), ("high", HIGH), ("low", LOW), ("close", CLOSE)):
        assert frame[column].tolist() == values.tolist(), column
    assert frame["volume"].tolist() == VOLUME.tolist() if "v" in known else frame["volume"].isna().all()
    assert frame["amount"].tolist() == AMOUNT.tolist() if "a" in known else frame["amount"].isna().all()


def test_parquet_as_pandas_writes_it(tmp_path: Path) -> None:
    index = DAYS.tz_localize("America/New_York")
    frame = pd.DataFrame({"Open": OPEN, "High": HIGH, "Low": LOW, "Close": CLOSE, "Volume": VOLUME}, index=index)
    for path, written in (
        (tmp_path / "A.parquet", frame),
        (tmp_path / "B.parquet", frame.rename_axis("Date").reset_index()),
    ):
        written.to_parquet(path)
        series = read_series(path, RepairRules())
        assert series.frame["wall"].tolist() == DAYS.tolist() and series.timezone == "-05:00"
        assert series.frame["close"].tolist() == CLOSE.tolist()
        assert series.frame["volume"].tolist() == VOLUME.tolist()


@pytest.mark.parametrize(("file", "content", "words"), [
    ("BTC.csv", table("", [[m // 1000 for m in MS], "a", "c", "h", "l", "o", "v"]), r"no header.*columns: \[timestamp, open"),
    ("A.csv", table("Time,Open,High,Low,Close", [[638397504000000000 + 864000000000 * n for n in range(COUNT)],
                                                 "o", "h", "l", "c"]), "integers of 18 digits"),
    ("A.csv", table("Date,Open,High,Low,Close", [[45293 + n for n in range(COUNT)], "o", "h", "l", "c"]), "spreadsheet"),
    ("A.csv", table("ts,open,high,low,close", ["ms", *([f"{x * 1e9:.0f}" for x in CONTENT[k]] for k in "ohlc")]),  # type: ignore
     r"data: \{scale: 1e-9\}"),
    ("A.csv", table("Date;Open;High;Low;Close", [days("%d.%m.%Y"), *([f"{x / 10:.3f}" for x in CONTENT[k]] for k in "ohlc")],  # type: ignore
                    ";"), r"may be 18\.\d+ or 18\d+, and nothing.*data: \{numbers: decimal-point\}"),
    ("A.csv", table("Date,Time,Open,High,Low,Close", [ISO, [f"bar {n}" for n in range(COUNT)], "o", "h", "l", "c"]).replace(ISO[3], ISO[2]),
     "the column 'Time' tells them apart"),
    ("A.csv", table("Date,Open,High,Low,Close", [days("%d/%m/2024 09:00"), "o", "h", "l", "c"])[:400].rsplit("\n", 1)[0],
     r"data: \{dates: day-first\}"),
], ids=["Gate.io", "ticks of .NET", "spreadsheet days", "billionths", "points", "texts", "days or months"])  # fmt: skip
def test_what_stays_in_doubt_is_refused_with_what_helps(tmp_path: Path, file: str, content: str, words: str) -> None:
    (tmp_path / file).write_text(content)
    with pytest.raises(UserError, match=f"(?s){words}"):
        read_series(tmp_path / file, RepairRules())


def test_bytes_of_no_encoding_are_refused_in_words(tmp_path: Path) -> None:
    """A damaged UTF-8 header is not taken for Windows text, whose table has holes."""
    path = tmp_path / "A.csv"
    path.write_bytes("날짜,시가,고가,저가,종가\n".encode()[1:] + b"2024-01-02,1,1,1,1\n" * 3)
    with pytest.raises(UserError, match=r"line 1 is not UTF-8 text.*data: \{encoding: cp1252\}"):
        read_series(path, RepairRules())
    path.write_bytes(
        "Date,Open,High,Low,Close,Veränderung\n".encode("cp1252") + b"2024-01-02,1,1,1,1,0\n2024-01-03,1,1,1,1,0\n"
    )
    assert len(read_series(path, RepairRules()).frame) == 2
