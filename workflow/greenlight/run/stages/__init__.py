"""The stages: a module each, a pure function of plain arguments, and a thin `python -m` entry."""
