"""why: for each stale job, in words, what has changed since it last ran; nothing is run."""

from __future__ import annotations

import argparse
import json
import sys

from greenlight.errors import UserError, shown
from greenlight.run.planning import make_plan
from greenlight.run.staleness import stale_jobs


def why(config: dict, files: list[str]) -> str:
    """One paragraph a stale job, in the order of the workflow."""
    plan, layout = make_plan(config, files)
    lines = []
    for name, reasons in stale_jobs(plan, layout).items():
        lines += [name, *(f"    {reason}" for reason in reasons)]
    return "\n".join(lines) if lines else "Nothing is stale."


def main() -> None:
    """Entry point: prints to standard output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=json.loads, required=True, help="merged configuration as JSON")
    parser.add_argument("--files", nargs="*", default=[], help="configuration files, for messages")
    arguments = parser.parse_args()
    try:
        print(shown(why(arguments.config, arguments.files)))
    except UserError as error:
        print(f"greenlight: {shown(error)}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
