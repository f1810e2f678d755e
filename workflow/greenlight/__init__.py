"""Greenlight: the gate in front of a deploy of compiled forecasting models."""

__version__ = "0.1.0"
