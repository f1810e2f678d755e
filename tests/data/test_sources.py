"""Further sources, sites and tongues: the same rows as each writes them, read as the same series, or said what is odd."""

# ruff: noqa: E501
from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from greenlight.data.look import look, parsed_settings
from greenlight.data.reader import read_series
from greenlight.data.repair import RepairRules
from tests.data.test_formats import (
    AMOUNT,
    CLOSE,
    COUNT,
    DAYS,
    HIGH,
    ISO,
    LOW,
    MS,
    OHLCV,
    OPEN,
    SLASH,
    VOLUME,
    comma,
    days,
    table,
)

LOCAL = DAYS + pd.Timedelta(hours=9)  # of Seoul, where the instants are midnight in UTC
# Name of the file, its content, what is known of volume and amount, wall times where they are not the days.
SOURCES: dict[str, tuple[str, str | bytes, str]] = {
    "columns that pandas numbered": ("BTC-USDT.csv", table(",0,1,2,3,4,5", [list(range(COUNT)), "ms", *OHLCV]), "v"),
    "Huobi, volume and amount the other way round": ("btcusdt.csv", table("id,open,close,low,high,amount,vol,count", [[m // 1000 for m in MS], "o", "c", "l", "h", "v", "a", "9"]), "va"),
    "Deribit": ("BTC-PERPETUAL.csv", table("ticks,open,high,low,close,volume,cost", ["ms", *OHLCV, "a"]), "va"),
    "Bloomberg": ("AAPL.csv", "AAPL US Equity,,,,,\n" + table("Dates,PX_OPEN,PX_HIGH,PX_LOW,PX_LAST,PX_VOLUME", [SLASH, *OHLCV]), "v"),
    "LSEG": ("VOD.L.csv", table("Exchange Date,Close,Net,%Chg,Open,Low,High,Volume,Turnover - GBP", [days("%d-%b-%Y"), "c", "1", "1%", "o", "l", "h", "v", "a"], newest_first=True), "va"),
    "CRSP": ("AAPL.csv", table("PERMNO,date,TICKER,BIDLO,ASKHI,PRC,VOL,OPENPRC", ["14593", ISO, "AAPL", "l", "h", "c", "v", "o"]), "v"),
    "Compustat": ("AAPL.csv", table("gvkey,datadate,tic,cshtrd,prccd,prchd,prcld,prcod", ["001690", days("%Y%m%d"), "AAPL", "v", "c", "h", "l", "o"]), "v"),
    "Capital IQ, in millions": ("AAPL.csv", table("Pricing Date,Open,High,Low,Close,Volume (mm)", [SLASH, "o", "h", "l", "c", [f"{v / 1e6:.6f}" for v in VOLUME]]), "v"),
    "KRX": ("005930.csv", table("BAS_DD,ISU_CD,TDD_CLSPRC,TDD_OPNPRC,TDD_HGPRC,TDD_LWPRC,ACC_TRDVOL,ACC_TRDVAL", [days("%Y%m%d"), "005930", "c", "o", "h", "l", "v", "a"]), "va"),
    "J-Quants, codes of five digits": ("7203.csv", table("Date,Code,Open,High,Low,Close,Volume,TurnoverValue", [ISO, "72030", *OHLCV, "a"]), "va"),
    "Wind": ("600519.SH.csv", table("代码,日期,开盘价(元),最高价(元),最低价(元),收盘价(元),成交量(股),成交额(万元)", ["600519.SH", ISO, *OHLCV, [f"{a / 1e4:.6f}" for a in AMOUNT]]), "va"),
    "Tongdaxin": ("SH600519.txt", ("600519 贵州茅台 日线 不复权\n" + table("日期\t开盘\t最高\t最低\t收盘\t成交量\t成交额", [days("%Y/%m/%d"), *OHLCV, "a"], "\t") + "数据来源:通达信\n").encode("gbk"), "va"),
    "GPW": ("CDR.csv", table("Data;Nazwa;ISIN;Kurs otwarcia;Kurs max;Kurs min;Kurs zamknięcia;Wolumen;Obrót", [ISO, "CDPROJEKT", "PLOPTTC00011", *(comma(v) for v in (OPEN, HIGH, LOW, CLOSE)), "v", comma(AMOUNT)], ";"), "va"),
    "Yahoo, names that explain themselves": ("AAPL.csv", table("Date,Open,High,Low,Close Close price adjusted for splits.,Adj Close Adjusted close price adjusted for splits and dividends.,Volume", [ISO, *OHLCV[:4], "1", "v"]), "v"),
    "symbol last": ("AAPL.csv", table("", [ISO, *OHLCV, "AAPL"]), "v"),
    "end of file of DOS": ("AAPL.csv", table("Date,Open,High,Low,Close,Volume", [ISO, *OHLCV]) + "\x1a", "v"),
    "SAS": ("AAPL.csv", table("Date,Open,High,Low,Close,Volume", [[day.upper() for day in days("%d%b%Y")], *OHLCV]), "v"),
    "year, month in words": ("AAPL.csv", table("Date,Open,High,Low,Close,Volume", [days("%Y-%b-%d"), *OHLCV]), "v"),
    "Unix times with fractions": ("AAPL.csv", table("time,Open,High,Low,Close,Volume", [[f"{m / 1000:.3f}" for m in MS], *OHLCV]), "v"),
    "Go": ("AAPL.csv", table("time,Open,High,Low,Close,Volume", [days("%Y-%m-%d 00:00:00 +0000 UTC"), *OHLCV]), "v"),
}  # fmt: skip
# Investing.com: date, last, open, high, low, volume.
TONGUES = {
    "Danish": ("Dato,Senest,Åben,Høj,Lav,Vol.", "%d.%m.%Y"), "Finnish": ("Päivämäärä,Viimeisin,Avaus,Ylin,Alin,Vol.", "%d.%m.%Y"),
    "Greek": ("Ημερομηνία,Τελευταία,Άνοιγμα,Υψηλό,Χαμηλό,Όγκος", "%d.%m.%Y"), "Hungarian": ("Dátum,Utolsó,Nyitó,Max.,Min.,Vol.", "%Y.%m.%d."),
    "Czech": ("Datum,Poslední,Otevřít,Nejvyšší,Nejnižší,Obj.", "%d. %m. %Y"), "Indonesian": ("Tanggal,Terakhir,Pembukaan,Tertinggi,Terendah,Vol.", "%d/%m/%Y"),
    "Vietnamese": ("Ngày,Lần cuối,Mở,Cao,Thấp,KL", "%d/%m/%Y"), "Hebrew": ("תאריך,שער,פתיחה,גבוה,נמוך,נפח", "%d.%m.%Y"),
    "Arabic": ("التاريخ,الأخير,افتتاح,الأعلى,الأدنى,الحجم", "%d/%m/%Y"), "Thai": ("วันที่,ล่าสุด,เปิด,สูงสุด,ต่ำสุด,ปริมาณ", "%d/%m/%Y"),
    "Korean": ("날짜,종가,시가,고가,저가,거래량", "%Y- %m- %d"), "Dutch": ("Datum,Laatste,Open,Hoog,Laag,Vol.", "%d-%m-%Y"),
    "Turkish": ("Tarih,Şimdi,Açılış,Yüksek,Düşük,Hac.", "%d.%m.%Y"), "Russian": ("Дата,Цена,Откр.,Макс.,Мин.,Объём", "%d.%m.%Y"),
}  # fmt: skip
SOURCES |= {
    f"Investing.com, {tongue}": ("X.csv", table(names, [days(form), "c", "o", "h", "l", "v"], newest_first=True), "v")
    for tongue, (names, form) in TONGUES.items()
}


def frame_of(tmp_path: Path, file: str, content: str | bytes, *keys: str) -> pd.DataFrame:
    path = tmp_path / file
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    rules, options = parsed_settings(keys)
    return read_series(path, rules, options=options).frame


def assert_same(frame: pd.DataFrame, known: str = "v", wall: pd.DatetimeIndex = DAYS) -> None:
    assert frame["wall"].tolist() == wall.tolist()
    for column, values in (("open", OPEN), ("high", HIGH), ("low", LOW), ("close", CLOSE)):
        assert frame[column].tolist() == values.tolist(), column
    for column, letter, values in (("volume", "v", VOLUME), ("amount", "a", AMOUNT)):
        assert np.allclose(frame[column], values, rtol=1e-12) if letter in known else frame[column].isna().all()


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_is_the_same_series(tmp_path: Path, name: str) -> None:
    file, content, known = SOURCES[name]
    assert_same(frame_of(tmp_path, file, content), known)


def test_local_dates_beside_unix_times_are_the_wall_clock(tmp_path: Path) -> None:
    """Whatever comes first in the file, and over a change of daylight saving."""
    text = table(
        "timestamp,datetime,Open,High,Low,Close,Volume", ["ms", LOCAL.strftime("%Y-%m-%d %H:%M:%S").tolist(), *OHLCV]
    )
    frame = frame_of(tmp_path, "A.csv", text)
    assert_same(frame, wall=LOCAL)
    assert frame["timestamp"].tolist() == DAYS.tolist() and set(frame["offset"]) == {9 * 3600.0}
    hours = pd.date_range("2024-11-02 12:00", periods=COUNT, freq="h", tz="America/New_York")
    text = table(
        "timestamp,datetime,Open,High,Low,Close",
        [[int(hour.timestamp()) for hour in hours], hours.strftime("%Y-%m-%d %H:%M:%S").tolist(), "o", "h", "l", "c"],
    )
    frame = frame_of(tmp_path, "A.csv", text)
    assert frame["wall"].tolist() == hours.tz_localize(None).tolist()
    assert frame["timestamp"].tolist() == hours.tz_convert("UTC").tz_localize(None).tolist()


def test_the_time_of_a_last_trade_is_not_that_of_its_bar(tmp_path: Path) -> None:
    """Upbit: dates in UTC and of Seoul, and when the last trade was."""
    last = [m + 86_399_000 - 7 * n for n, m in enumerate(MS)]
    text = table(
        "market,candle_date_time_utc,candle_date_time_kst,opening_price,high_price,low_price,trade_price,timestamp,candle_acc_trade_price,candle_acc_trade_volume",
        [
            "KRW-BTC",
            days("%Y-%m-%dT00:00:00"),
            LOCAL.strftime("%Y-%m-%dT%H:%M:%S").tolist(),
            *OHLCV[:4],
            last,
            "a",
            "v",
        ],
    )
    frame = frame_of(tmp_path, "KRW-BTC.csv", text)
    assert_same(frame, "va", LOCAL)
    assert frame["timestamp"].tolist() == DAYS.tolist()


UNKNOWN = table("aa,bb,cc,dd,ee,ff", [ISO, *OHLCV])


@pytest.mark.parametrize("keys", [
    ["columns={timestamp: aa, open: bb, high: cc, low: dd, close: ee, volume: ff}"],
    ["columns={timestamp: 1, open: 2, high: 3, low: 4, close: 5, volume: 6}"],
    ["header=1", "columns={timestamp: aa, open: bb, high: cc, low: dd, close: ee, volume: ff}"],
])  # fmt: skip
def test_columns_of_any_names_are_read_as_the_configuration_says(tmp_path: Path, keys: list[str]) -> None:
    assert_same(frame_of(tmp_path, "A.csv", UNKNOWN, *keys))


def test_a_time_of_day_can_be_named_alone(tmp_path: Path) -> None:
    text = table(
        "Date,Bar,Open,High,Low,Close,Volume", [["2024-01-02"] * COUNT, [f"09:{n:02d}" for n in range(COUNT)], *OHLCV]
    )
    frame = frame_of(tmp_path, "A.csv", text, "columns={time: Bar}")
    assert_same(frame, wall=pd.date_range("2024-01-02 09:00", periods=COUNT, freq="min"))


# What a file that can't be told offers to paste, and that it then is read.
PASTED = {
    "names of no tongue": (UNKNOWN, "{columns: {timestamp: aa, open: bb, high: cc, low: dd, close: ee, volume: ff}}"),
    "one price": (table("DATE,SP500", [ISO, "c"]), "{columns: {close: SP500}, repair: {missing_prices: use-close}}"),
    "no close by name": (table("Date,Open,High,Low,Foo,Bar %,Volume", [ISO, *OHLCV[:4], "1", "v"]), "{columns: {close: Foo}}"),
    "ECB": (table("KEY,FREQ,TIME_PERIOD,OBS_VALUE,OBS_STATUS", ["EXR.D.USD.EUR.SP00.A", "D", ISO, "c", "A"]), "{columns: {close: OBS_VALUE}, repair: {missing_prices: use-close}}"),
    "a time behind a time": (table("", [days("%Y%m%d"), ["930", "1000"] * (COUNT // 2), *OHLCV, "1", "2", "3"]), "{header: none, columns: [timestamp, time, open, high, low, close, volume, -, -, -]}"),
    "prices in billionths": (table("ts,open,high,low,close,volume", ["ms", *([f"{x * 5e5:.0f}0" for x in v] for v in (OPEN, HIGH, LOW, CLOSE)), "v"]), "{scale: 1e-9}"),
}  # fmt: skip


@pytest.mark.parametrize("name", PASTED)
def test_what_a_refusal_offers_to_paste_is_read(tmp_path: Path, name: str) -> None:
    import yaml

    text, line = PASTED[name]
    (tmp_path / "A.csv").write_text(text)
    seen = look(tmp_path / "A.csv")
    assert seen["status"] == "refused" and f"`data: {line}`" in seen["message"], seen["message"]
    keys = yaml.safe_load(line.replace("-,", "'-',").replace("-]", "'-']"))
    repair = keys.pop("repair", {})
    given = [f"{key}={yaml.safe_dump(value, default_flow_style=True).strip()}" for key, value in keys.items()]
    given += [f"repair.{key}={value}" for key, value in repair.items()]
    assert look(tmp_path / "A.csv", *parsed_settings(given))["status"] == "read"


def test_a_close_is_never_offered_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "A.csv").write_text(table("Date,Open,High,Low,Trades,Volume", [ISO, "o", "h", "l", "7", "v"]))
    assert "{close: NAME}" in look(tmp_path / "A.csv")["message"]


SAID = {
    "lots": (table("Date,Open,High,Low,Close,Volume,Amount", [ISO, *OHLCV[:4], [v / 100 for v in VOLUME], "a"]), "times 'Volume' times the price"),
    "a total": (table("Date,Open,High,Low,Close,Volume", [ISO, *OHLCV[:4], np.cumsum(VOLUME)]), "rises from row to row"),
    "contracts": (table("Date,Contract,Open,High,Low,Close,Volume", [ISO, ["ESH4"] * 9 + ["ESM4"] * (COUNT - 9), *OHLCV]), "changes from ESH4 to ESM4"),
    "ten-thousandths": (table("", [days("%Y%m%d 00:00"), *([round(x * 1e4) for x in v] for v in (OPEN, HIGH, LOW, CLOSE)), "v"]), "all whole hundreds"),
}  # fmt: skip


@pytest.mark.parametrize("name", SAID)
def test_what_is_odd_is_said(tmp_path: Path, name: str) -> None:
    text, words = SAID[name]
    (tmp_path / "A.csv").write_text(text)
    seen = look(tmp_path / "A.csv")
    assert seen["status"] == "read" and any(words in finding["detail"] for finding in seen["findings"]), seen
    (tmp_path / "A.csv").write_text(table("Date,Open,High,Low,Close,Volume,Amount", [ISO, *OHLCV, "a"]))
    assert look(tmp_path / "A.csv")["findings"] == []


@pytest.mark.parametrize("file, text, words", [
    ("MSFT.csv", "AAPL US Equity,,,,,\n" + table("Date,Open,High,Low,Close,Volume", [ISO, *OHLCV]), "prices of 'AAPL US Equity'"),
    ("MSFT.csv", "Symbol: AAPL\n" + table("Date,Open,High,Low,Close,Volume", [ISO, *OHLCV]), "prices of 'AAPL'"),
    ("MSFT.csv", table("", [ISO, *OHLCV, "AAPL"]), "prices of 'AAPL'"),
    ("A.csv", table("", [ISO, "h", "l", "o", "c", np.cumsum(VOLUME), "v", "9"]), "rises as a running total"),
    ("A.csv", table("Date,Time,Open,High,Low,Close,Volume", [["2024-01-02"] * COUNT, [f"{n:02d}h" for n in range(COUNT)], *OHLCV]), "'Time' tells them apart ('00h', '01h'"),
], ids=["Bloomberg's line", "a line", "last column", "IQFeed", "hours"])  # fmt: skip
def test_another_symbol_or_meaning_is_refused(tmp_path: Path, file: str, text: str, words: str) -> None:
    (tmp_path / file).write_text(text)
    seen = look(tmp_path / file, RepairRules())
    assert seen["status"] == "refused" and words in seen["message"], seen
