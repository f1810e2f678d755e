"""The environment of a trial: a clean, listed one, so that no variable of the shell steers what is measured.

A trial gets the variables that it needs to find programs, libraries, devices and files, those that the stage sets, and
those of `trials.environment`. Whatever else the shell has is dropped; what of it would have steered torch, CUDA,
compilers, thread pools or Python is said (`steering`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

# Where programs, libraries, files and devices are, who runs, and in which language messages come.
_KEPT = re.compile(
    r"PATH|LD_LIBRARY_PATH|LIBRARY_PATH|C(PLUS)?(_INCLUDE_PATH|PATH)|CC|CXX|COMPILER_PATH|GCC_EXEC_PREFIX"
    r"|HOME|USER|LOGNAME|SHELL|TERM|LANG|LANGUAGE|LC_\w+|TZ|TZDIR|TMPDIR|TEMP|TMP|XDG_\w+"
    r"|PYTHONPATH|PYTHONHOME|PYTHONUSERBASE|PYTHONDONTWRITEBYTECODE|PYTHONPYCACHEPREFIX|PYTHONUTF8|PYTHONIOENCODING|VIRTUAL_ENV|CONDA_\w+"
    r"|HF_(HOME|HUB_CACHE|HUB_OFFLINE|ENDPOINT)|HUGGINGFACE_HUB_CACHE"
    r"|CUDA_(VISIBLE_DEVICES|DEVICE_ORDER|HOME|PATH)|NVIDIA_(VISIBLE_DEVICES|DRIVER_CAPABILITIES)"
    r"|SLURM_\w+|GREENLIGHT_\w+"
)
_STEERING = re.compile(
    r"(A?PY?TORCH|TORCH\w*|TORCHINDUCTOR|TORCHDYNAMO|INDUCTOR|AOT|FUNCTORCH|TRITON|CUDA|CUBLAS\w*|CUDNN|NVIDIA|NCCL"
    r"|OMP|GOMP|KMP|MKL|OPENBLAS|GOTO|BLIS|VECLIB|NUMEXPR|ONEDNN|DNNL|ATEN|MALLOC|PYTHON\w*|LD|GLIBC|NPY|TBB)(_\w+)?"
    r"|CFLAGS|CXXFLAGS|LDFLAGS"
)
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# What Greenlight sets itself in each trial, or needs as it is.
OWN = re.compile(
    r"OMP_NUM_THREADS|MKL_NUM_THREADS|PYTHONHASHSEED|PYTHONFAULTHANDLER|PYTHONUNBUFFERED|PYTHONPATH|PYTHONHOME|PATH"
    r"|TORCHINDUCTOR_CACHE_DIR|TRITON_CACHE_DIR|TMPDIR|TORCH_TRACE|HOME|GREENLIGHT_\w+|CUDA_VISIBLE_DEVICES|CC|CXX"
)

# What deploy.env says to the loaders of production; a trial has no need of it.
_LOADERS = re.compile(r"\w+_COMPILE(_MODE|_BACKEND)?|TORCH_COMPILED")


def kept(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of an environment that a trial inherits."""
    return {name: value for name, value in environment.items() if _KEPT.fullmatch(name)}


def steering(environment: Mapping[str, str]) -> list[str]:
    """Names of the variables that a trial does not inherit and that would have steered it."""
    return sorted(
        name
        for name in environment
        if (_STEERING.fullmatch(name) or _LOADERS.fullmatch(name)) and not _KEPT.fullmatch(name)
    )


def intruders(environment: Mapping[str, str], given: Mapping[str, str]) -> list[str]:
    """`name=value` of the variables that steer a trial and are not as its stage gave them: set within the trial.

    Args:
        environment: of the trial's process, before its work begins.
        given: what its stage set.
    """
    others = [name for name in steering(environment) if environment[name] != given.get(name)]
    return [f"{name}={environment[name]}" for name in others if name in given or not OWN.fullmatch(name)]


def problem_with(name: str, value: str) -> str:
    """Why a variable can't be set for trials, in words; empty where it can."""
    if not NAME.fullmatch(name):
        return "can't be the name of a variable; expected letters, digits and underscores, no digit first"
    if OWN.fullmatch(name):
        return "is set by Greenlight itself (threads, caches, folders); set `threads` or `device`, or leave it out"
    if _LOADERS.fullmatch(name):
        return "is a switch of production's loaders, which deploy.env sets by the decision; leave it out"
    return "" if value.isprintable() else f"has the value {value!r}; expected characters that can be printed"


def dropped_words(names: list[str], own: Mapping[str, str]) -> str:
    """What was found set and does not reach trials, as a sentence; empty where nothing is left to say."""
    # The workflow sets PYTHONUNBUFFERED and its like for itself, and threads come from the configuration.
    told = [name for name in names if name not in own and not OWN.fullmatch(name)]
    if not told:
        return ""
    return (
        f"set in this shell and not passed on to trials: {', '.join(told)}. Trials start from a clean environment; "
        "what they should have, name under trials.environment"
    )
