"""The whole campaign, at most so many minutes: `python -m tests.campaign --minutes 30` (`make campaign`).

Faults made at random in this process, and whole small runs that are killed at random moments, started several times at
once, short of disk space, moved in time, or in another locale; each is then run to its end and compared with an
undisturbed run. Ends with a table, and with exit code 1 if anything was not so.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from tests.campaign.faults import Faults, Outcome
from tests.campaign.runs import Runs


def table(outcomes: list[Outcome]) -> str:
    """Tried, fine, said clearly, not so, by kind, as Markdown."""
    lines = ["| kind | tried | fine | said clearly | not so | not tried |", "|---|---|---|---|---|---|"]
    kinds = list(dict.fromkeys(one.kind for one in outcomes))
    for kind in (*kinds, None):
        own = [one for one in outcomes if kind in (None, one.kind)]
        ended = Counter(one.ended if one.ended in ("fine", "said", "not tried") else "not so" for one in own)
        tried = len(own) - ended["not tried"]
        cells = (kind or "**all**", tried, ended["fine"], ended["said"], ended["not so"], ended["not tried"])
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main() -> int:
    """Entry point; prints each case that is not so, and the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--faults", type=int, default=800, help="faults in this process")
    parser.add_argument("--workers", type=int, default=2, help="runs beside each other, a core each")
    parser.add_argument("--verbose", action="store_true", help="tell every case")
    arguments = parser.parse_args()
    begin = time.monotonic()
    end = begin + 60 * arguments.minutes
    outcomes: list[Outcome] = []
    print(f"seed {arguments.seed}", flush=True)

    def tell(found: list[Outcome]) -> None:
        outcomes.extend(found)
        for one in found:
            if arguments.verbose or one.ended not in ("fine", "said"):
                print(f"{one.kind}: {one.tried}: {one.ended}", flush=True)

    def work() -> None:
        for found in runs.run():
            tell(found)
            if time.monotonic() + runs.compiled.seconds > end:
                return

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        runs = Runs(Path(folder) / "runs", arguments.seed)
        workers = [threading.Thread(target=work) for _ in range(arguments.workers)]
        for worker in workers[1:]:
            worker.start()
        for outcome in Faults(Path(folder) / "faults", arguments.seed).run(arguments.faults):
            tell([outcome])
            if time.monotonic() > end - 30 * arguments.minutes:
                break
        workers[0].start()
        for worker in workers:
            worker.join()
    print(f"{(time.monotonic() - begin) / 60:.1f} minutes, {arguments.workers} at a time")
    print(table(outcomes))
    return int(any(one.ended.startswith("not so") for one in outcomes))


if __name__ == "__main__":
    sys.exit(main())
