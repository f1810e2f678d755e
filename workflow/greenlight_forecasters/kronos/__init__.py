"""Kronos: a decoder-only forecaster of candles over two-part tokens (paper arXiv 2508.02739)."""

from __future__ import annotations

from greenlight.api import Forecaster
from greenlight_forecasters.kronos.static import KronosStatic
from greenlight_forecasters.kronos.upstream import KronosUpstream

IMPLEMENTATIONS: dict[str, type[Forecaster]] = {"upstream": KronosUpstream, "static": KronosStatic}
