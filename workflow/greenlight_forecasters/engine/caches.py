"""How often torch.compile found compiled code in its caches on disk, in this process."""

from __future__ import annotations

from typing import NamedTuple


class Lookups(NamedTuple):
    """Graphs that Inductor looked up in its cache: found, and not found."""

    hits: int
    misses: int


def lookups() -> Lookups:
    """All lookups of this process so far; torch's own counters, as of 2.9 to 2.13."""
    from torch._dynamo.utils import counters

    found = counters["inductor"]
    return Lookups(found["fxgraph_cache_hit"], found["fxgraph_cache_miss"] + found["fxgraph_cache_bypass"])
