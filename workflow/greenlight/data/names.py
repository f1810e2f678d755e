"""The names that exports give to their columns, and what each is."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

# By canonical column, in order of preference: where a file has two of them, the first named here is used.
_NAMES: dict[str, tuple[str, ...]] = {
    "open": (
        "open", "o", "open price", "price open", "opening price", "openprice", "px open", "opn prc", "opn pric",
        "eroffnung", "eroffn", "eroffnungskurs", "ouverture", "ouv", "apertura", "aper", "otwarcie", "open rate",
        "opening", "abertura", "oppning", "apning", "oppningskurs", "otkrytie", "открытие", "откр", "цена откр",
        "开盘", "开盘价", "今开", "開盤", "開盤價", "開盤価格", "始値", "시가", "acilis", "öffnung", "offnung",
        "erster", "opningskurs", "apningskurs", "open indicative quotes", "oppen", "primo", "kurs otwarcia", "openprc",
        "prcod", "tdd opnprc", "aben", "avaus", "avauskurssi", "ανοιγμα", "nyito", "otevrit", "otevreni", "pembukaan",
        "mo", "mo cua", "gia mo cua", "פתיחה", "افتتاح", "เปิด", "deschidere", "a abrir", "preabe",
    ),
    "high": (
        "high", "h", "high price", "price high", "max", "maximum", "highest", "highprice", "px high", "high rate",
        "hgh prc", "hgh pric", "hoch", "tageshoch", "hochst", "hochstkurs", "hochst kurs", "plus haut", "haut",
        "plus haut jour", "massimo", "max price", "maximo", "najwyzszy", "maks", "hogsta", "hogst", "hogstkurs",
        "hoyeste", "hojeste", "hogkurs", "макс", "максимум", "макс цена", "最高", "最高价", "最高價", "高値", "고가",
        "yuksek", "day high", "bid high indicative", "hoy", "高", "hoog", "maxima", "kurs max", "kurs maksymalny",
        "askhi", "prchd", "tdd hgprc", "hoj", "ylin", "ylin hinta", "υψηλο", "max", "nejvyssi", "tertinggi", "cao",
        "cao nhat", "גבוה", "الاعلى", "الأعلى", "สูงสุด", "premax",
    ),
    "low": (
        "low", "l", "low price", "price low", "min", "minimum", "lowest", "lowprice", "px low", "low rate", "lw prc",
        "low pric", "tief", "tagestief", "tiefst", "tiefstkurs", "tiefst kurs", "plus bas", "bas", "plus bas jour",
        "minimo", "min price", "najnizszy", "lagsta", "lagst", "lagstkurs", "laveste", "lagkurs", "мин", "минимум",
        "мин цена", "最低", "最低价", "最低價", "安値", "저가", "dusuk", "day low", "lav", "低", "laag", "minima",
        "kurs min", "kurs minimalny", "bidlo", "prcld", "tdd lwprc", "alin", "alin hinta", "χαμηλο", "nejnizsi",
        "terendah", "thap", "thap nhat", "נמוך", "الادنى", "الأدنى", "ต่ำสุด", "premin",
    ),
    "close": (
        "close", "c", "close price", "price close", "closing price", "close last", "closeprice", "px last",
        "px close", "close rate", "cls prc", "cls pric", "schluss", "schlusskurs", "schlusspreis", "cloture", "clot",
        "dernier cours", "fermeture", "cierre", "chiusura", "zamkniecie", "fechamento", "stangning", "slutkurs",
        "sluttkurs", "stangningskurs", "closing", "закрытие", "закр", "цена закр", "收盘", "收盘价", "收盤",
        "收盤價", "終値", "종가", "kapanis", "settle", "settlement", "settlement price", "settle price",
        "sett price", "price", "last", "last price", "last traded price", "ltp", "zuletzt", "letzter", "kurs",
        "dernier", "ultimo", "ult", "cena", "цена", "simdi", "现价", "senaste", "siste", "latest", "last trade",
        "closing price last", "ostatnio", "laatste", "legal close price", "kurs zamkniecia", "prc", "prccd",
        "tdd clsprc", "senest", "viimeisin", "paatoskurssi", "τελευταια", "utolso", "posledni", "terakhir", "lan cuoi",
        "gia dong cua", "שער", "שער סגירה", "الاخير", "الأخير", "ล่าสุด", "preult", "trade price",
    ),
    "volume": (
        "volume", "vol", "v", "real volume", "total volume", "share volume", "volume traded", "traded volume",
        "trade volume", "total traded quantity", "total traded qty", "ttl trd qnty", "tottrdqty",
        "total trade quantity", "ttl trad g vol", "ttltradgvol", "traded quantity", "quantity traded",
        "shares traded", "number of shares", "no of shares", "no shares", "shares", "quantity", "qty", "volumefrom",
        "volume from", "base volume", "volume base", "base asset volume", "volumen", "volume in shares",
        "volume shares", "volume stk", "volumen stuck", "umsatz stuck", "umsatz in stuck", "umsatz stk", "stuck",
        "stucke", "gehandelte stucke", "gehandelte stuck", "volume titres", "quantite", "titres", "wolumen", "volym",
        "total volym", "omsatt antall", "antal aktier", "volumi", "volumetto", "volume totale", "quantita", "объем",
        "об ем", "объём", "成交量", "成交股数", "成交量 手", "成交量 股", "成交股數", "出来高", "거래량", "hacim",
        "hac", "tick volume", "tickvol", "tickvolume", "tick qty", "tickqty", "obem", "umsatze stuck", "tick vol",
        "交易量", "wol", "stuecke", "成交量股", "px volume", "total vol", "share vol", "contracts", "売買高", "cshtrd",
        "acc trdvol", "candle acc trade volume", "ογκος", "obj", "kl", "khoi luong", "נפח", "الحجم", "ปริมาณ", "volyymi",
        "quatot",
    ),
    "amount": (
        "amount", "amt", "turnover", "total turnover", "turnover value", "turnover lacs", "turnover rs",
        "total turnover rs", "turn over", "traded value", "trade value", "total traded value", "value traded",
        "tottrdval", "ttl trf val", "ttltrfval", "turnover in lacs", "value", "money", "quote volume",
        "quote asset volume", "quote av", "volume quote", "volumeto", "volume to", "vol ccy quote", "volccyquote",
        "quote vol", "dollar volume", "notional", "notional value", "umsatz", "umsatz in eur", "umsatz eur",
        "kurswert", "capitaux", "obrot", "omsattning", "omsatning", "omsetning", "oms", "controvalore", "efectivo",
        "成交额", "成交金额", "成交額", "成交金額", "売買代金", "거래대금", "total value", "总成交额", "成交额 千元",
        "成交额 元", "acc trdval", "candle acc trade price", "cost", "vol quote", "turnover gbp", "turnover eur",
        "turnover usd", "turnover chf", "px turnover", "voltot",
    ),
}  # fmt: skip
# Times; what may also be a time of day beside a date is in _TIMES_OF_DAY as well.
TIMES = (
    "time open", "timeopen", "timestamp", "timestamps", "datetime", "date time", "ts event", "date", "ds",
    "open time", "opentime", "start time", "starttime", "start", "begin", "begins at", "window start", "time", "ts",
    "snapped at", "trade date", "trading date", "trading day", "tradedate", "trade time", "business date",
    "bar time", "candle time", "local time", "gmt time", "utc time", "time utc", "date utc", "datetime utc",
    "timestamp utc", "observation date", "quote date", "price date", "session date", "day", "period", "period start",
    "dtyyyymmdd", "date timestamp", "epoch", "unix", "unix time", "unixtime", "unix timestamp", "mts",
    "open timestamp", "t", "month", "week", "candle date time kst", "candle date time utc", "candle begin time",
    "kline open time", "opening time", "market date", "as of date", "asofdate", "datum", "zeit", "datum zeit",
    "date heure", "data", "fecha", "pvm", "dato", "tarih", "дата", "время", "время начала", "日期", "交易日期",
    "时间", "交易时间", "日期时间", "交易日", "成交日期", "日付", "日時", "年月日", "날짜", "일자", "시간", "일시",
    "dag", "tid", "trade dt", "traddt", "trad dt", "bizdt", "biz dt", "ts recv", "timestamp ms", "time period start",
    "open time ms", "dates", "time period", "exchange date", "pricing date", "datadate", "bas dd", "trd dd",
    "paivamaara", "ημερομηνια", "tanggal", "ngay", "תאריך", "التاريخ", "วันที่", "日付け", "ticks", "datetrd",
)  # fmt: skip
TIMES_OF_DAY = (
    "time", "hour", "time of day", "bar time", "minute", "zeit", "uhrzeit", "heure", "hora", "ora", "czas",
    "godzina", "время", "时间", "交易时间", "時刻", "時間", "시간", "trade time", "saat", "tid", "klokkeslett",
    "local time", "gmt time",
)  # fmt: skip
# A second time of a bar: its end, its writing; used only where there is no other.
ENDS = (
    "close time", "closetime", "end", "end time", "endtime", "time close", "time end", "time period end",
    "kline close time", "close timestamp", "window end", "ts recv", "last updated", "last update", "updated",
    "updated at", "fetched at", "created at", "downloaded at", "time high", "time low",
)  # fmt: skip
ZONES = (
    "timezone", "time zone", "tz", "utc offset", "gmt offset", "gmtoffset", "offset", "zone", "exchange timezone",
    "zeitzone",
)  # fmt: skip
SYMBOLS = (
    "symbol", "ticker", "tic", "instrument", "code", "ts code", "name", "股票代码", "证券代码", "代码", "종목코드",
    "secid", "stock code", "stock", "security", "sc code", "sc name", "pair", "symbol name", "act symbol", "isin",
    "ric", "root symbol", "instrument name", "tckr symb", "tckrsymb", "銘柄コード", "market", "product id", "instid",
    "inst id", "code name", "permno",
)  # fmt: skip
# What a symbol's name can't be told by; only that there is one of them.
NOT_NAMES = (
    "isin", "name", "security", "market", "sc name", "code name", "instrument name", "symbol name", "permno", "stock",
    "sc code", "instrument", "instid",
)  # fmt: skip
CURRENCIES = (
    "usd", "eur", "gbp", "jpy", "chf", "cny", "krw", "inr", "aud", "cad", "hkd", "sgd", "sek", "nok", "dkk", "pln",
    "brl", "try", "rub", "mxn", "zar", "twd", "thb", "idr", "usdt", "usdc", "busd", "tusd", "dai", "fdusd", "ust",
    "usdp",
)  # fmt: skip
COINS = (
    "btc", "xbt", "eth", "bnb", "xrp", "ltc", "ada", "sol", "doge", "dot", "trx", "bch", "xlm", "link", "eos", "etc",
    "xmr", "dash", "zec", "avax", "matic", "atom", "uni", "shib", "xtz", "neo", "algo", "fil", "near", "ton",
)  # fmt: skip
ADJUSTED = ("adj {}", "adjusted {}", "{} adj", "{} adjusted", "split adjusted {}", "adj {} price", "adjusted {} price")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_UNIT = re.compile(r"[(\[（]([^)\]）]*)[)\]）]")
_UNIT_WORDS = ("lacs", "lakhs", "crores", "thousands", "000s", "millions", "mn")
# What may stand in brackets behind a price without changing what it is.
_HARMLESS = re.compile(
    r"(?i)(in )?([a-z]{3,4}|rs\.?|₹|\$|€|£|¥|元|円|원|美元|港元|lacs|adjusted for splits|local|last)?"
)
# Yahoo's site explains its names within them: Close Close price adjusted for splits.
_EXPLAINED = re.compile(r"(?i)^(adj close|close)\s+(?:adjusted )?close price adjusted for .*")


@lru_cache(maxsize=4096)
def normal_name(name: str) -> str:
    """A name in lower case without accents, camel case as words, single spaces for all but letters and digits."""
    name = re.split(r"\s{2,}|\n", name.strip())[0]
    name = _CAMEL.sub(" ", _EXPLAINED.sub(r"\1", name))
    name = unicodedata.normalize("NFKD", name.casefold().replace("ł", "l").replace("ø", "o").replace("ı", "i"))
    name = unicodedata.normalize("NFC", "".join(letter for letter in name if not unicodedata.combining(letter)))
    name = re.sub(r"[\W_]+", " ", name).strip()
    return re.sub(r"^\d+ (?=\D)", "", name)


_BY_NAME = {normal_name(name): canonical for canonical, names in _NAMES.items() for name in names}
_PLACES = {canonical: [normal_name(name) for name in names] for canonical, names in _NAMES.items()}
_TIMES = frozenset(normal_name(name) for name in TIMES)


@lru_cache(maxsize=4096)
def without_unit(name: str) -> tuple[str, str]:
    """(normal name without what stands in brackets, what stands there)."""
    head = re.split(r"\s{2,}|\n", name.strip())[0]
    found = _UNIT.search(head)
    base = normal_name(_UNIT.sub(" ", head))
    if not found or not base:
        return normal_name(head), ""
    return base, found[1].strip()


def unit_of(name: str) -> str:
    """The unit that a name says, in brackets or as its last word; "" for none."""
    last = normal_name(name).split(" ")[-1]
    return without_unit(name)[1] or (last if last in _UNIT_WORDS else "")


def canonical_of(name: str) -> str | None:
    """Which of open, high, low, close, volume, amount a column's name says; None for others."""
    full = normal_name(name)
    if "%" in name:
        return None  # a change or a share of what its name says
    if full in _BY_NAME:
        return _BY_NAME[full]
    base, unit = without_unit(name)
    found = _BY_NAME.get(base)
    if found in ("open", "high", "low", "close") and not _HARMLESS.fullmatch(unit):
        return None
    return found


def rank(canonical: str, name: str) -> int:
    """Place of a name among those of a canonical column; lower ones are preferred."""
    names = _PLACES[canonical]
    base, _ = without_unit(name)
    return min(names.index(form) for form in (normal_name(name), base) if form in names)


def is_time(name: str) -> bool:
    """Whether a name is that of a column of times."""
    return normal_name(name) in _TIMES or without_unit(name)[0] in _TIMES


def known(name: str) -> str | None:
    """What a name is, times included; for finding the header."""
    return "timestamp" if is_time(name) else canonical_of(name) or adjusted_of(name)


def adjusted_of(name: str) -> str | None:
    """Which price or volume an adjusted column's name says."""
    full = normal_name(name)
    return _ADJUSTED_NAMES.get(full) or _ADJUSTED_NAMES.get(without_unit(name)[0])


_ADJUSTED_NAMES = {
    form.format(name): name for form in ADJUSTED for name in ("open", "high", "low", "close", "volume")
} | {"adjusted": "close", "adj": "close", "复权收盘价": "close", "修正後終値": "close", "조정종가": "close"}
