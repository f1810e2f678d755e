"""What prices, volumes and amounts are counted in: billionths, thousands, lots, money."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd

from greenlight.data.columns import PRICES, Layout
from greenlight.data.names import CURRENCIES, normal_name, unit_of
from greenlight.data.options import ReadingOptions, paste
from greenlight.data.repair import Findings
from greenlight.data.table import Table
from greenlight.data.unnamed import only_rises
from greenlight.errors import UserError

# Prices in billionths, as Databento writes them: whole, huge, and round in the last digits.
_BILLIONTHS = 1e-9
_HUGE = 1e9
_FACTORS = {
    1e3: r"'?000'?s?|k|thousands?|thou|tsd|千",
    1e4: "万|萬|만",
    1e5: "lacs?|lakhs?",
    1e6: "m|mm|mn|mln|mio|millions?|百万",
    1e7: "cr|crores?",
    1e8: "亿|億|억",
    1e9: "b|bn|mrd|billions?|十亿",
}
_MONEY = rf"rs\.?|inr|₹|\$|€|£|¥|{'|'.join(CURRENCIES)}"
_COUNTED = r"shares?|stk|st(?:ü|u)ck|lots?|contracts?|units?|coins?|股|元|手|주|株|円|원|美元|港元"
_WHOLE = re.compile(
    rf"(?i)(?:in )?(?:{_MONEY})?\s*(?:of )?(?:"
    + "|".join(f"(?P<e{len(str(int(factor))) - 1}>{words})" for factor, words in _FACTORS.items())
    + rf")\.?\s*(?:{_MONEY}|{_COUNTED})?"
)


def factor_of(unit: str) -> float:
    """1e3 for `K`, `000s` or `千股`, 1e7 for `₹ Cr`; 1 for what is no multiple."""
    found = _WHOLE.fullmatch(unit.strip())
    return next((10.0 ** int(name[1:]) for name, value in found.groupdict().items() if value), 1.0) if found else 1.0


def scale(path: Path, table: Table, values: dict[str, np.ndarray], options: ReadingOptions, findings: Findings) -> None:
    """Prices in their unit: by the configuration, or by the columns of a format whose unit is known."""
    factor = options.scale
    if factor is None:
        prices = np.concatenate([values[name] for name in PRICES if name in values])
        prices = prices[np.isfinite(prices)]
        if not len(prices) or (prices != np.rint(prices)).any():
            return
        middle = float(np.median(prices))
        if middle >= _HUGE / 10 and _of_databento(table):
            findings.note("scale", "whole prices in billionths, as Databento writes them", "divided by 1e9", [])
            factor = _BILLIONTHS
        elif middle >= _HUGE / 100 and not (prices % (1e3 if middle >= _HUGE else 1e4)).any():
            raise UserError(
                f"{path}: prices such as {prices[0]:.0f}, all whole and round, look like prices in billionths; "
                f"{paste('scale', '1e-9')}, or {paste('scale', '1')} where they are right"
            )
        else:
            if middle >= 1e5 and not (prices % 100).any() and not any(table.header):
                text = f"prices such as {prices[0]:.0f}, all whole hundreds"
                findings.note("scale", text, "read as they are; data.scale: 1e-4 where they are ten-thousandths", [])
            return
    divisor = 1 / factor
    for name in PRICES:
        if name in values:
            # Dividing by a whole number rounds once: 185640400000 / 1e9 is 185.6404.
            near = abs(divisor - round(divisor)) < 1e-6 * divisor and divisor >= 1
            values[name] = values[name] / round(divisor) if near else values[name] * factor


def _of_databento(table: Table) -> bool:
    return len({"rtype", "publisher id", "instrument id"} & {normal_name(name) for name in table.header}) >= 2


def settle_units(frame: pd.DataFrame, table: Table, layout: Layout, findings: Findings) -> None:
    """Volumes and amounts in the unit that their names say, held against each other and against the prices."""
    for name in ("volume", "amount"):
        if name in layout.used:
            written = table.header[layout.used[name]]
            factor = factor_of(unit_of(written))
            if factor != 1:
                frame[name] *= factor
                findings.note("units", f"{written!r} counts in {factor:,.0f}", f"multiplied by {factor:,.0f}", [])
    volume = frame["volume"].to_numpy()
    if only_rises(volume):
        findings.note("volume", "the volume rises from row to row, as a running total does", "read as it is", [])
    if not {"volume", "amount"} <= set(layout.used):
        return
    names = [table.header[layout.used[name]] or f"column {layout.used[name] + 1}" for name in ("volume", "amount")]
    price = frame[list(PRICES)].mean(axis=1).to_numpy()
    forward = _ratio(frame["amount"].to_numpy(), volume * price)
    if (
        not 0.8 < forward < 1.25
        and 0.8 < _ratio(volume, frame["amount"].to_numpy() * price) < 1.25
        and not layout.chosen
    ):
        frame[["volume", "amount"]] = frame[["amount", "volume"]].to_numpy()
        layout.used["volume"], layout.used["amount"] = layout.used["amount"], layout.used["volume"]
        text = f"{names[0]!r} is {names[1]!r} times the price: money, and the other counts pieces"
        findings.note("columns", text, f"{names[1]!r} is the volume, {names[0]!r} the amount", [])
    elif not 0.5 < forward < 2 and np.isfinite(forward):
        text = f"{names[1]!r} is {forward:.3g} times {names[0]!r} times the price"
        findings.note("amount", text, "both are read as they are: lots, or other units", [])


def _ratio(values: np.ndarray, others: np.ndarray) -> float:
    """The median of values over others where both are above 0; NaN where they are so nowhere."""
    known = (values > 0) & (others > 0)
    return float(np.median(values[known] / others[known])) if known.any() else float("nan")
