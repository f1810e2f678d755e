"""The contestants: forecasters behind the gate's door, which production can use without the gate."""

from pathlib import Path

CHECKPOINTS = Path(__file__).parent / "checkpoints"
"""Folder of the embedded checkpoints."""
