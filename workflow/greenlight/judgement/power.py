"""What the evidence of a configuration can show, in sentences, before anything runs.

For one variant; the p-values of several are corrected together (Holm), which asks for a little more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from greenlight.judgement.drawn_pooled import shown_sizes
from greenlight.judgement.drawn_windows import SHARE_OF_ALARMS, shown_size, shown_width
from greenlight.judgement.expected import Expected
from greenlight.judgement.rules import Rules
from greenlight.statistics.looks import rate_at
from greenlight.statistics.power import excluded_share, largest_scatter, shown_shift

# Standard deviations of the log ratio of a pair of calls: a quiet machine, a usual one, a shared one.
JITTERS = (0.03, 0.05, 0.10)
USUAL_JITTER = 0.05


@dataclass(frozen=True)
class Amounts:
    """How much is measured: symbols, windows of each, samples and rows of each, looks at further seeds; pairs and A/A
    pairs of a variant in all processes, looks at further pairs; calls looked at for slow ones, pairs included; fresh
    processes that must succeed; forecasts that a probe draws beside the reference's, and of how many windows.
    """

    symbols: int
    windows: int
    samples: int
    horizon: int
    looks: int
    pairs: int
    pair_looks: int
    calls: int
    repeats: int
    replicates: int = 0
    drawn_windows: int = 0


def amounts_of(expected: Expected, model: str, calls: int) -> Amounts:
    """How much a run was to measure of a model, of the variant that is planned with the most.

    Args:
        calls: of a variant, looked at for slow ones; 0 where none was timed.
    """
    jobs = [entry.jobs for entry in expected.models[model].variants.values()]
    timed = [own["time"] for own in jobs if "time" in own]
    further = [own["replicate"].looks for own in jobs if "replicate" in own]
    probed = [own["probe"] for own in jobs if "probe" in own]
    return Amounts(
        symbols=len(expected.symbols),
        windows=min((entry.windows for entry in expected.symbols.values()), default=0),
        samples=expected.samples,
        horizon=expected.horizon,
        looks=max(further, default=1),
        pairs=max((job.trials * job.pairs for job in timed), default=0),
        pair_looks=max((job.looks for job in timed), default=1),
        calls=calls,
        repeats=expected.repeats or 1,
        replicates=max((job.replicates for job in probed), default=0),
        drawn_windows=max((job.drawn_windows for job in probed), default=0),
    )


def line(amounts: Amounts, rules: Rules) -> str:
    """The sizes of defect that a run could show, in one line, for beside the verdict."""
    accuracy, speed = rules.accuracy, rules.speed
    what = f"{amounts.symbols} symbols of {amounts.windows} windows and {amounts.samples} samples: an MAE worse by "
    what += f"{accuracy.margin:.0%} in all, by {accuracy.series_margin:.0%} in one symbol"
    if not amounts.pairs:
        return what
    rate = rate_at(speed.alpha, 1, amounts.pair_looks)
    shift = shown_shift(amounts.pairs, USUAL_JITTER, math.log(speed.slower_shown), rate, speed.power)
    what += (
        f"; {amounts.pairs} pairs: a slowdown of {_percent(shift)} with {speed.power:.0%} power at {USUAL_JITTER:.0%} "
    )
    return what + f"jitter; {amounts.calls} calls: a share of slow ones above {excluded_share(amounts.calls):.1%}"


def sentences(amounts: Amounts, rules: Rules) -> dict[str, str]:
    """What can be shown, by topic, with the power that the rules name."""
    return {
        "forecasts": _forecasts(amounts, rules),
        "one symbol": _one_symbol(amounts, rules),
        "draws": _draws(amounts, rules),
        "own random numbers": _own_random_numbers(amounts, rules),
        "speed": _speed(amounts, rules),
        "slow calls": _slow_calls(amounts),
        "failures": _failures(amounts),
    }


def _forecasts(amounts: Amounts, rules: Rules) -> str:
    accuracy = rules.accuracy
    series = amounts.symbols >= accuracy.minimum_series
    units = amounts.symbols if series else amounts.symbols * amounts.windows
    unit = "symbols" if series else "windows"
    margin = f"{accuracy.margin:.1%}"
    if units < accuracy.minimum_units:
        return (
            f"{units} {unit} are fewer than the {accuracy.minimum_units} that a comparison needs: only forecasts that "
            "are equal to the bit can pass; evaluate more symbols or windows"
        )
    rate = rate_at(accuracy.alpha, 1, amounts.looks)
    scatter = math.expm1(largest_scatter(units, accuracy.margin, rate, accuracy.power))
    return (
        f"an MAE worse by {margin} passes in at most {accuracy.alpha:.1%} of runs; an equal one passes at the first "
        f"seed in {accuracy.power:.0%} of runs if the {units} {unit} differ from the partner by up to {scatter:.2%} "
        "(standard deviation), and asks for further seeds if by more"
    )


def _one_symbol(amounts: Amounts, rules: Rules) -> str:
    limit = rules.accuracy.series_margin
    hidden = math.expm1(math.log1p(limit) / max(1, amounts.symbols))
    return (
        f"one symbol whose MAE moves by more than {limit:.0%} is named, whatever the others do; in the mean of "
        f"{amounts.symbols} symbols it would be {hidden:.2%}"
    )


def _draws(amounts: Amounts, rules: Rules) -> str:
    units = amounts.symbols * amounts.windows + (amounts.symbols if amounts.windows > 1 else 0)

    def shown(windows: int) -> str:
        alarm = rules.accuracy.alarm * SHARE_OF_ALARMS
        size = shown_size(amounts.samples, windows, units, amounts.horizon, alarm, rules.accuracy.power)
        return f"{size:.2f} band widths" if math.isfinite(size) else "no size"

    return (
        f"where a variant draws random numbers of its own, with {amounts.samples} samples, a median moved by "
        f"{shown(amounts.windows)} in each window of a symbol, or by {shown(1)} in one window, is shown in "
        f"{rules.accuracy.power:.0%} of runs"
    )


def _own_random_numbers(amounts: Amounts, rules: Rules) -> str:
    """What the probe's draws show at their first look."""
    samples, windows = amounts.replicates * amounts.samples, amounts.drawn_windows
    if not samples:
        return "no variant draws paths beside the reference's, or they have its random numbers"
    accuracy = rules.accuracy
    rate = rate_at(accuracy.alarm, 1, amounts.looks)
    found = shown_sizes(samples, windows, amounts.horizon, rate / 2, accuracy.power)
    each = max(1, windows // max(1, amounts.symbols))
    units = windows + (amounts.symbols if each > 1 else 0)
    floor = accuracy.draws_difference / 2
    width = shown_width(samples, each, units, amounts.horizon, rate, accuracy.power, floor)
    told = [
        ("few values", f"first steps of fewer than {found.values:,.0f} values", found.values > 0),
        ("cut tails", f"the outermost {found.tail:.1%} on a side of each step missing", math.isfinite(found.tail)),
        ("shared draws", f"windows correlated by {found.together:.2f}", math.isfinite(found.together)),
        ("a wider symbol", f"one symbol's steps (normal, independent) wider by {width:.0%}", math.isfinite(width)),
    ]
    unseen = [what for what, _, shown in told if not shown]
    return (
        f"{samples:,} draws of {windows} windows beside the reference's show in {accuracy.power:.0%} of runs "
        f"{'; '.join(words for _, words, shown in told if shown) or 'none of these'}; smaller ones pass"
        + (f", and of any size {', '.join(unseen)}" if unseen else "")
    )


def _speed(amounts: Amounts, rules: Rules) -> str:
    speed = rules.speed
    rate = rate_at(speed.alpha, 1, amounts.pair_looks)
    found = [shown_shift(amounts.pairs, jitter, math.log(speed.slower_shown), rate, speed.power) for jitter in JITTERS]
    shown = ", ".join(f"{_percent(shift)} at {jitter:.0%}" for shift, jitter in zip(found, JITTERS, strict=True))
    return (
        f"a variant slower by {speed.slower - 1:.0%} passes in at most {speed.alpha:.1%} of runs; with {amounts.pairs} "
        f"pairs a slowdown is shown in {speed.power:.0%} of runs from {shown} jitter of a pair"
    )


def _percent(log_ratio: float) -> str:
    return f"{math.expm1(log_ratio):.1%}" if math.isfinite(log_ratio) else "no size"


def _slow_calls(amounts: Amounts) -> str:
    share = excluded_share(amounts.calls)
    return f"{amounts.calls} timed calls without a slow one leave up to {share:.1%} of slow calls possible (95%)"


def _failures(amounts: Amounts) -> str:
    share = excluded_share(amounts.repeats)
    return (
        f"{amounts.repeats} of {amounts.repeats} processes that succeed leave up to {share:.0%} of failing ones "
        "possible (95%)"
    )
