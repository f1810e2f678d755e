"""A stub of loaders as production has them: which published code they would compile, by the environment.

    python loader.py    one JSON line: {model: mode of torch.compile, or null for eager}

Toto compiles on a CUDA device unless it is told not to; Chronos-2 compiles where one switch for all models says so.
"""

import json
import os


def flag(*names):
    """True or False by the first of the variables that says anything; None where none does."""
    for name in names:
        text = os.environ.get(name, "").strip().lower()
        if text:
            return text in ("1", "true", "yes", "on")
    return None


def toto():
    enabled = True
    if flag("TOTO_DISABLE_COMPILE"):
        enabled = False
    elif (asked := flag("TOTO_COMPILE")) is not None:
        enabled = asked
    elif "TOTO_COMPILE_MODE" not in os.environ:
        enabled = True
    return (os.environ.get("TOTO_COMPILE_MODE") or "max-autotune") if enabled else None


def kronos():
    return os.getenv("KRONOS_COMPILE_MODE", "max-autotune") if flag("KRONOS_COMPILE") else None


def chronos():
    enabled = flag("CHRONOS_COMPILE", "TORCH_COMPILED")
    return os.environ.get("CHRONOS_COMPILE_MODE", "reduce-overhead") if enabled in (None, True) else None


print(json.dumps({"toto": toto(), "kronos": kronos(), "chronos-2": chronos()}))
