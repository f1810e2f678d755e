"""One module a rule: a pure function of plain arguments, and a thin `python -m` entry."""
