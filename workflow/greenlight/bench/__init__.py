"""Benchmarks of the implementations against what is published: ratios, interleaved in one process."""
