"""Toto on static shapes and static caches: the same weights and mathematics, made to compile.

Read in this order: `network` (the weights and the blocks), `scaler`, `mixture`, `prefill` (the context, once a
window), `decode` (the paths that share it), `engine` (what production calls), `forecaster` (what the gate calls).
"""

from greenlight_forecasters.toto.static.engine import TotoEngine
from greenlight_forecasters.toto.static.forecaster import TotoStatic

__all__ = ["TotoEngine", "TotoStatic"]
