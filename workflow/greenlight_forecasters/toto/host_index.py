"""The published code with the repair of its KV cache."""

from __future__ import annotations

from greenlight_forecasters.toto.published import Toto
from greenlight_forecasters.toto.repair import repair_kv_cache
from greenlight_forecasters.toto.upstream import TotoUpstream


class TotoHostIndex(TotoUpstream):
    """`upstream` with `repair_kv_cache` applied to the loaded model; the settings are the same."""

    def prepare(self, toto: Toto) -> Toto:
        """Repair the KV cache of the loaded model."""
        return repair_kv_cache(toto)
