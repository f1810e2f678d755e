"""power: what sizes of defect this configuration can show, before anything runs."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from greenlight.data.symbols import symbols_in
from greenlight.errors import UserError
from greenlight.judgement.power import Amounts, sentences
from greenlight.settings import Settings, load_settings


def amounts_of(settings: Settings, symbols: int) -> Amounts:
    """How much a configuration measures."""
    timing, evaluation = settings.timing, settings.evaluation
    return Amounts(
        symbols=symbols,
        windows=evaluation.windows,
        looks=evaluation.looks,
        pairs=timing.processes * timing.pairs,
        pair_looks=timing.looks,
        repeats=settings.trials.repeats,
    )


def power(config: dict, files: list[str]) -> str:
    """A paragraph a topic."""
    settings = load_settings(config, files)
    wanted = "all" if settings.symbols == "all" else list(settings.symbols)
    symbols = len(symbols_in(Path(settings.data_folder), wanted))
    told = sentences(amounts_of(settings, symbols), settings.rules)
    return "\n".join(f"{topic}: {sentence}." for topic, sentence in told.items())


def main() -> None:
    """Entry point: prints to standard output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=json.loads, required=True, help="merged configuration as JSON")
    parser.add_argument("--files", nargs="*", default=[], help="configuration files, for messages")
    arguments = parser.parse_args()
    try:
        print(power(arguments.config, arguments.files))
    except UserError as error:
        print(f"greenlight: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
