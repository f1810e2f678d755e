"""Everything that ships in trainingdata/, made again by one command: `python -m tools.shipped`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from greenlight.files import write_text
from tools.simulate import write_simulated


def write_google(folder: Path) -> Path:
    """Write GOOG.csv: daily prices from 2004-08-19 to 2008-10-14, from matplotlib's bundled sample data.

    Source: `matplotlib.cbook.get_sample_data("goog.npz")`, which matplotlib took from Yahoo Finance.
    """
    import matplotlib.cbook

    with matplotlib.cbook.get_sample_data("goog.npz") as sample:
        rows = sample["price_data"]
    lines = ["Date,Open,High,Low,Close,Adj Close,Volume"]
    lines += [
        f"{row['date']},{row['open']:.2f},{row['high']:.2f},{row['low']:.2f},{row['close']:.2f},"
        f"{row['adj_close']:.2f},{row['volume']:d}"
        for row in rows
    ]
    path = Path(folder) / "GOOG.csv"
    write_text(path, "\n".join(lines) + "\n")
    return path


def main(arguments: list[str] | None = None) -> int:
    """Write every CSV that ships; the same bytes each time."""
    parser = argparse.ArgumentParser(prog="python -m tools.shipped", description=main.__doc__)
    parser.add_argument("--folder", type=Path, default=Path("trainingdata"), help="where the CSVs go")
    options = parser.parse_args(arguments)
    paths = [write_google(options.folder), *write_simulated(options.folder)]
    sys.stdout.write(f"wrote {', '.join(path.name for path in paths)} to {options.folder}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
