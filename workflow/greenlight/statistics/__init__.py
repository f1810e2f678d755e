"""Tests, intervals, looks: measuring stops by them, judging goes by them."""
