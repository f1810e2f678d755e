"""Chronos-2: the published pipeline, and the same weights on few static shapes.

Read in this order: `checkpoint`, `network` (the weights and the blocks), `buckets` (the shapes), `engine` (what
production calls), `predictor` (the same, called as the published pipeline is), `upstream` and `static` (what the gate
calls), `plugin`.
"""

LEVELS = (0.01, *(round(0.05 * number, 2) for number in range(1, 20)), 0.99)
"""Levels of the published quantiles."""
