"""Kronos: a decoder-only forecaster of candles over two-part tokens (paper arXiv 2508.02739)."""
