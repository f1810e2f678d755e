"""Kronos: a decoder-only forecaster of candles over two-part tokens (paper arXiv 2508.02739)."""

from __future__ import annotations

from greenlight.models.base import Forecaster
from greenlight.models.kronos.static import KronosStatic
from greenlight.models.kronos.upstream import KronosUpstream

IMPLEMENTATIONS: dict[str, type[Forecaster]] = {"upstream": KronosUpstream, "static": KronosStatic}
