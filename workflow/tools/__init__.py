"""Benchmarks, training of the embedded checkpoints, simulated prices; not installed."""
