"""power: what sizes of defect this configuration can show, before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from greenlight.data.symbols import symbols_in
from greenlight.judgement.power import Amounts, sentences
from greenlight.run.command import run_target
from greenlight.settings import Settings, load_settings
from greenlight.statistics.looks import calls_to_bound, rate_at, slow_rate


def amounts_of(settings: Settings, symbols: int) -> Amounts:
    """How much a configuration measures."""
    timing, evaluation, speed = settings.timing, settings.evaluation, settings.rules.speed
    pairs = timing.processes * timing.pairs
    # Calls alone end where none was slow among so many.
    rate = slow_rate(rate_at(speed.alpha, 1, timing.looks), timing.steady_calls)
    enough = max(pairs, calls_to_bound(speed.slow_share, rate))
    return Amounts(
        symbols=symbols,
        windows=evaluation.windows,
        samples=evaluation.samples,
        horizon=evaluation.horizon,
        looks=evaluation.looks,
        pairs=pairs,
        pair_looks=timing.looks,
        calls=int(min(pairs + timing.steady_calls, enough)),
        repeats=settings.trials.repeats,
        replicates=evaluation.replicates,
        drawn_windows=min(evaluation.replicate_windows, symbols * evaluation.windows),
    )


def power(config: dict[str, Any], files: list[str]) -> str:
    """A paragraph a topic."""
    settings = load_settings(config, files)
    wanted = "all" if settings.symbols == "all" else list(settings.symbols)
    symbols = len(symbols_in(Path(settings.data_folder), wanted))
    told = sentences(amounts_of(settings, symbols), settings.rules)
    return "\n".join(f"{topic}: {sentence}." for topic, sentence in told.items())


if __name__ == "__main__":
    run_target(__doc__, power, beside_a_run=True)
