"""Figures as text, the same in Markdown and HTML; `–` where there is none."""

from __future__ import annotations

import math

from greenlight.report.variants import Estimate, VariantRow

NONE = "–"


def significant(value: float | None, digits: int = 3) -> str:
    """Some significant digits without an exponent where that stays short: 0.0123, 1,230, 3.1e-07."""
    if value is None or not math.isfinite(value):
        return NONE
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if not -4 <= size <= 7:
        return f"{value:.{digits - 1}e}"
    return f"{value:,.{max(0, digits - 1 - size)}f}"


def percent(share: float | None, digits: int = 1) -> str:
    """A share as a percentage without a sign: 0.031 -> 3.1%."""
    return NONE if share is None else f"{100 * share:.{digits}f}%"


def change(share: float | None) -> str:
    """A relative change with its sign: 0.0012 -> +0.12%."""
    if share is None:
        return NONE
    if share == 0:
        return "0%"
    value = 100 * share
    return f"{value:+.1f}%" if abs(value) >= 1 else f"{value:+.2f}%" if abs(value) >= 0.01 else "under 0.01%"


def interval(estimate: Estimate | None, digits: int = 3, unit: str = "") -> str:
    """An estimate with its bounds: 1.31 [1.25, 1.36]."""
    if estimate is None:
        return NONE
    text = f"{significant(estimate.value, digits)}{unit}"
    if estimate.lower is None and estimate.upper is None:
        return text
    ends = (significant(end, digits) if end is not None else "unbounded" for end in (estimate.lower, estimate.upper))
    return f"{text} [{', '.join(ends)}]"


def milliseconds(seconds: float | None) -> str:
    """Seconds as milliseconds."""
    return NONE if seconds is None else significant(1000 * seconds)


def seconds(value: float | None) -> str:
    """Seconds with their unit."""
    return NONE if value is None else f"{significant(value)} s"


def mebibytes(size: int | None) -> str:
    """Bytes as MiB."""
    return NONE if size is None else f"{size / 2**20:,.0f} MiB"


def memory_cell(row: VariantRow) -> str:
    """Peak memory of the process, and on the device where there is one."""
    text = mebibytes(row.peak_memory)
    return text if row.device_peak is None else f"{text}; device {mebibytes(row.device_peak)}"


def mae_cell(row: VariantRow) -> str:
    """MAE in percent of price, and the band's word."""
    text = significant(row.mae_percent.value) + "%" if row.mae_percent else NONE
    return f"{text} {band_word(row)}".strip()


def band_word(row: VariantRow) -> str:
    """The band that the MAE is in, or that no model at all errs less, where that is shown."""
    return "naive is better" if _naive_is_better(row) else row.band


def _naive_is_better(row: VariantRow) -> bool:
    return row.over_naive is not None and (row.over_naive.lower or 0) > 1


def mae_text(row: VariantRow) -> str:
    """MAE in a sentence: 1.67% of the mean price (excellent), 0.91 [0.84, 0.97] times that of repeating the last price.

    A small share of the price may still be worse than no model at all; then that is said in place of the band's praise.
    """
    if row.mae_percent is None:
        return "not measured"
    worse = _naive_is_better(row)
    band = f" ({row.band})" if row.band and not worse else ""
    naive = f", {interval(row.over_naive)} times that of repeating the last price" if row.over_naive else ""
    return f"{significant(row.mae_percent.value)}% of the mean price{band}{naive}{', which is better' if worse else ''}"


def against_cell(row: VariantRow) -> str:
    """Change of MAE against the paired variant and its upper bound."""
    if row.identical:
        return "equal to the bit"
    if row.against_estimate is None:
        return NONE
    if row.against_bound is None:
        return change(row.against_estimate)
    if max(abs(row.against_estimate), abs(row.against_bound)) < 1e-4:
        return "under 0.01%"
    return f"{change(row.against_estimate)}, at most {change(row.against_bound)}"


def numerics_cell(row: VariantRow) -> str:
    """Error against float64 in units of the quantity's RMS value, next to what is allowed."""
    if row.numerics is None:
        return NONE
    return f"{significant(row.numerics, 2)} of {significant(row.numerics_limit, 2)}"


def ratio(value: float | None) -> str:
    """A ratio near 1, to four decimals."""
    return NONE if value is None else f"{value:.4f}"


def speedup_cell(row: VariantRow) -> str:
    """Speedup over the reference with its interval."""
    if row.is_reference:
        return "1 (the reference)"
    return interval(row.speedup)


def latency_cell(row: VariantRow) -> str:
    """p50 and p99 in milliseconds."""
    if row.median_seconds is None:
        return NONE
    return f"{milliseconds(row.median_seconds)} / {milliseconds(row.p99_seconds)}"


def noise_cell(row: VariantRow) -> str:
    """How far from 1 the A/A pairs may be."""
    return NONE if row.noise is None else f"±{percent(row.noise)}"


def trials_cell(row: VariantRow) -> str:
    """k of n trials."""
    return NONE if row.trials is None or row.good_trials is None else f"{row.good_trials} of {row.trials}"


def blocking_cell(row: VariantRow) -> str:
    """The checks that block a variant, the first three by name."""
    more = f" and {len(row.blocking) - 3} more" if len(row.blocking) > 3 else ""
    return f"{', '.join(row.blocking[:3])}{more}"


def verdict_cell(row: VariantRow) -> str:
    """The variant's verdict, with the checks that block it."""
    return f"{row.verdict}: {blocking_cell(row)}" if row.blocking else row.verdict
