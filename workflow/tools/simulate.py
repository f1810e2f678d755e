"""Simulated OHLCV series from named seeds: what the shipped real prices do not cover, and tests of scale."""

from __future__ import annotations

import argparse
import hashlib
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from greenlight.files import write_text

_STEPS_IN_A_BAR = 16


@dataclass(frozen=True)
class Process:
    """A log price that wanders around a trend, with GARCH(1,1) volatility, Student-t innovations and jumps.

    Bollerslev, "Generalized autoregressive conditional heteroskedasticity", 1986, for the volatility; Merton,
    "Option pricing when underlying stock returns are discontinuous", 1976, for the jumps.

    Attributes:
        price: price at the start, in the symbol's unit.
        drift: log return of the trend per bar.
        volatility: unconditional standard deviation of the log return per bar.
        alpha, beta: GARCH(1,1) coefficients; their sum is below 1.
        tail: degrees of freedom of the innovations, above 2.
        momentum: weight of the previous bar's innovation (MA(1)).
        reversion: share of the distance to the trend that a bar takes back.
        jump_rate: probability of a jump in a bar.
        jump_size: standard deviation of a jump's log return.
        opening_gap: standard deviation of the move between close and next open, in units of volatility.
        day_cycle: amplitude of the volatility's cycle over the hours of the day, 0 to 1.
        volume: typical volume of a bar; None leaves the volume unknown.
    """

    price: float
    drift: float = 0.0
    volatility: float = 0.02
    alpha: float = 0.06
    beta: float = 0.9
    tail: float = 6.0
    momentum: float = 0.05
    reversion: float = 0.01
    jump_rate: float = 0.0
    jump_size: float = 0.0
    opening_gap: float = 0.3
    day_cycle: float = 0.0
    volume: float | None = 1e6


@dataclass(frozen=True)
class Export:
    """How a file looks: the header, the order of its rows, the form of dates and numbers.

    Attributes:
        columns: pairs of header and content; a content is a canonical column, `adjusted <column>`, `index`,
            or a constant written as it is.
        dates: a strftime pattern, or `iso` for ISO 8601 with offset.
        time_zone: zone in which times are written.
        decimals: digits after the point; None writes the shortest text, such as 1.2345e-05.
        digits: significant digits that prices are rounded to.
    """

    columns: tuple[tuple[str, str], ...]
    dates: str = "%Y-%m-%d"
    time_zone: str = "UTC"
    decimals: int | None = 2
    digits: int = 7
    delimiter: str = ","
    line_end: str = "\n"
    newest_first: bool = False


@dataclass(frozen=True)
class Simulation:
    """A named series: its process, its bars and the look of its file."""

    process: Process
    start: str
    frequency: str
    rows: int
    export: Export = field(default_factory=lambda: Export(_plain("Date", "Open", "High", "Low", "Close", "Volume")))


def _plain(*headers: str) -> tuple[tuple[str, str], ...]:
    content = {"date": "timestamp", "datetime": "timestamp", "": "timestamp", "adj close": "close"}
    return tuple((header, content.get(header.lower(), header.lower())) for header in headers)


SIMULATIONS: dict[str, Simulation] = {
    "SIM_CALM": Simulation(
        Process(price=25.0, drift=1e-4, volatility=0.006, alpha=0.03, beta=0.94, tail=8.0, volume=None),
        "2021-06-01", "B", 1100,
        Export(_plain("", "Open", "High", "Low", "Close"), decimals=3, delimiter=";", line_end="\r\n"),
    ),
    "SIM_DAILY7": Simulation(
        Process(price=95_000.0, drift=1.5e-4, volatility=0.024, opening_gap=0.02, volume=2.5e10),
        "2021-09-01", "D", 1400,
        Export(_plain("Date", "Open", "High", "Low", "Close", "Adj Close", "Volume"), decimals=2, digits=9),
    ),
    "SIM_HOURLY": Simulation(
        Process(price=180.0, drift=2e-5, volatility=0.005, opening_gap=0.05, day_cycle=0.5, volume=4e4),
        "2025-02-10", "h", 1500,
        Export(
            _plain("Datetime", "Open", "High", "Low", "Close", "Volume"),
            dates="iso", time_zone="Europe/Berlin", decimals=4,
        ),
    ),
    "SIM_JUMPS": Simulation(
        Process(
            price=60.0, drift=2e-4, volatility=0.018, alpha=0.11, beta=0.86, tail=4.0, reversion=0.004,
            jump_rate=0.012, jump_size=0.08, volume=3e6,
        ),
        "2019-08-01", "B", 1500,
        Export(
            (
                ("", "index"),
                *_plain("Date", "Open", "High", "Low", "Close", "Volume"),
                ("Ex-Dividend", "0.0"),
                ("Split Ratio", "1.0"),
                *((f"Adj. {name.title()}", f"adjusted {name}") for name in ("open", "high", "low", "close")),
            ),
            newest_first=True,
        ),
    ),
    "SIM_TINY": Simulation(
        Process(price=1.1e-5, drift=-1e-4, volatility=0.035, tail=5.0, opening_gap=0.1, volume=8e11),
        "2020-03-02", "B", 1250,
        Export(_plain("date", "close", "high", "low", "open", "volume"), decimals=None, digits=6),
    ),
}  # fmt: skip


def named_generator(name: str, seed: int = 0) -> np.random.Generator:
    """A random generator that belongs to a name and a seed."""
    return np.random.default_rng(list(hashlib.sha256(f"{name}|{seed}".encode()).digest()))


def simulate(name: str, simulation: Simulation, seed: int = 0) -> pd.DataFrame:
    """The series of a name and seed: timestamp (UTC, naive), open, high, low, close, volume (NaN if unknown).

    Prices are rounded to the export's significant digits; high and low enclose open and close.
    """
    process, rows = simulation.process, simulation.rows
    random = named_generator(name, seed)
    times = pd.date_range(simulation.start, periods=rows, freq=simulation.frequency, unit="ns")
    shock, deviation = _innovations(process, random, times)
    close = math.log(process.price) + process.drift * np.arange(rows) + _around_trend(process, shock)
    before = np.concatenate([[math.log(process.price)], close[:-1]])
    open_ = before + process.opening_gap * deviation * random.standard_normal(rows)
    path = _bridges(open_, close, deviation, random)
    columns = {"open": open_, "high": path.max(axis=1), "low": path.min(axis=1), "close": close}
    frame = pd.DataFrame({"timestamp": times} | {key: np.exp(value) for key, value in columns.items()})
    for key in columns:
        frame[key] = [float(f"{price:.{simulation.export.digits}g}") for price in frame[key]]
        if simulation.export.decimals is not None:
            frame[key] = frame[key].round(simulation.export.decimals)
    frame["volume"] = _volume(process, np.abs(shock) / deviation, random)
    return frame


def _innovations(
    process: Process, random: np.random.Generator, times: pd.DatetimeIndex
) -> tuple[np.ndarray, np.ndarray]:
    """Innovations and their conditional standard deviations, each [rows]."""
    rows = len(times)
    unit = random.standard_t(process.tail, rows) * math.sqrt((process.tail - 2) / process.tail)
    variance = np.empty(rows)
    long_run = process.volatility**2
    current = long_run
    for row, value in enumerate(unit.tolist()):
        variance[row] = current
        current = long_run * (1 - process.alpha - process.beta) + current * (
            process.alpha * value * value + process.beta
        )
    hours = times.hour.to_numpy()
    deviation = np.sqrt(variance) * (1 + process.day_cycle * np.sin((hours - 9) * 2 * math.pi / 24))
    jumps = (random.random(rows) < process.jump_rate) * random.standard_normal(rows) * process.jump_size
    return unit * deviation + jumps, deviation


def _around_trend(process: Process, shock: np.ndarray) -> np.ndarray:
    """Distance of the log price from its trend, [rows]."""
    distance = np.empty(len(shock))
    current = previous = 0.0
    for row, value in enumerate(shock.tolist()):
        current = (1 - process.reversion) * current + value + process.momentum * previous
        previous = value
        distance[row] = current
    return distance


def _bridges(start: np.ndarray, end: np.ndarray, deviation: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Brownian bridges from open to close within each bar, [rows, steps + 1]."""
    steps = random.standard_normal((len(start), _STEPS_IN_A_BAR)) * (deviation / math.sqrt(_STEPS_IN_A_BAR))[:, None]
    walk = np.concatenate([np.zeros((len(start), 1)), np.cumsum(steps, axis=1)], axis=1)
    share = np.linspace(0, 1, _STEPS_IN_A_BAR + 1)
    bridges = walk - walk[:, -1:] * share + start[:, None] + (end - start)[:, None] * share
    bridges[:, 0], bridges[:, -1] = start, end
    return bridges


def _volume(process: Process, size: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Volumes that rise with the size of the move, whole numbers, [rows]; NaN where the process has none."""
    noise = random.standard_normal(len(size)) * 0.25
    if process.volume is None:
        return np.full(len(size), np.nan)
    return np.round(process.volume * np.exp(0.35 * np.minimum(size, 5.0) + noise))


def csv_text(frame: pd.DataFrame, export: Export) -> str:
    """The text of a file of this look."""
    ordered = frame.iloc[::-1] if export.newest_first else frame
    columns = [_cells(ordered, content, export) for _, content in export.columns]
    lines = [export.delimiter.join(header for header, _ in export.columns)]
    lines += [export.delimiter.join(cells) for cells in zip(*columns, strict=True)]
    return export.line_end.join(lines) + export.line_end


def _cells(frame: pd.DataFrame, content: str, export: Export) -> list[str]:
    content = content.removeprefix("adjusted ")
    if content == "index":
        return [str(row) for row in range(len(frame))]
    if content == "timestamp":
        times = frame["timestamp"].dt.tz_localize("UTC").dt.tz_convert(export.time_zone)
        if export.dates == "iso":
            return [time.isoformat() for time in times]
        return times.dt.strftime(export.dates).tolist()
    if content == "volume":
        return [f"{value:.0f}" for value in frame["volume"]]
    if content in frame:
        if export.decimals is None:
            return [repr(float(value)) for value in frame[content]]
        return [f"{value:.{export.decimals}f}" for value in frame[content]]
    return [content] * len(frame)


def write_simulated(folder: Path, seed: int = 0) -> list[Path]:
    """Write the shipped simulated symbols, one atomically written CSV each; returns their paths."""
    return [_write(folder, name, simulation, seed) for name, simulation in SIMULATIONS.items()]


def simulate_universe(count: int, rows: int, seed: int) -> Iterator[tuple[str, Simulation]]:
    """Names SIM_00000, SIM_00001, ... and their simulations: business days, prices from 1e-2 to 1e4.

    Each depends on its own name and the seed only; `simulate(name, simulation, seed)` gives its series.
    """
    for number in range(count):
        name = f"SIM_{number:05d}"
        random = named_generator(f"{name} process", seed)
        process = Process(
            price=float(10 ** random.uniform(-2, 4)),
            drift=float(random.normal(0, 2e-4)),
            volatility=float(random.uniform(0.006, 0.03)),
            jump_rate=float(random.choice([0.0, 0.01])),
            jump_size=0.05,
        )
        export = Export(_plain("Date", "Open", "High", "Low", "Close", "Volume"), decimals=None, digits=6)
        yield name, Simulation(process, "2015-01-01", "B", rows, export)


def write_universe(folder: Path, count: int, rows: int = 1500, seed: int = 0) -> list[Path]:
    """Write `count` simulated symbols for tests of scale; returns their paths."""
    return [_write(folder, name, simulation, seed) for name, simulation in simulate_universe(count, rows, seed)]


def _write(folder: Path, name: str, simulation: Simulation, seed: int) -> Path:
    path = Path(folder) / f"{name}.csv"
    write_text(path, csv_text(simulate(name, simulation, seed), simulation.export))
    return path


def main(arguments: list[str] | None = None) -> int:
    """Write the shipped simulated symbols, or with --symbols as many as asked for."""
    parser = argparse.ArgumentParser(prog="python -m tools.simulate", description=main.__doc__)
    parser.add_argument("--folder", type=Path, default=Path("trainingdata"), help="where the CSVs go")
    parser.add_argument("--symbols", type=int, help="write this many symbols SIM_00000, ... instead")
    parser.add_argument("--rows", type=int, default=1500, help="rows a symbol, with --symbols")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other series")
    options = parser.parse_args(arguments)
    if options.symbols is None:
        paths = write_simulated(options.folder, options.seed)
    else:
        paths = write_universe(options.folder, options.symbols, options.rows, options.seed)
    sys.stdout.write(f"wrote {len(paths)} CSV files to {options.folder}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
