"""Begins a trial: `python -m greenlight.trials.begin <module> <request.json> <result.json>`.

The module is run as `python -m` would run it, with the collector of garbage off until its imports are done
(`child.serve` turns it on): torch makes hundreds of thousands of objects that stay, and looking through them again and
again took a quarter of the import's processor time.
"""

from __future__ import annotations

import gc
import runpy
import sys

if __name__ == "__main__":
    gc.disable()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
