"""What every child does first: pin the process, load the forecaster, find its windows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from greenlight.api import Forecaster, LoadOptions
from greenlight.code import check_code_run
from greenlight.data.given import called_by_settings, given_returns
from greenlight.data.returns import rows_for
from greenlight.data.stored import load_series
from greenlight.data.windows import FEATURES, Window, cut_windows, practice_windows, with_missing
from greenlight.plugins import load_forecaster
from greenlight.process import any_attention, process_of
from greenlight.variants import WEIGHT_FORMATS, Variant
from greenlight.watch.precision import State, allowed_tf32, called_in
from greenlight.weights import MODEL, check_contents

Request = dict[str, Any]

# Folders of weights that held what was planned after this process loaded them, with the hashes of that.
_AS_PLANNED: dict[str, dict[str, str]] = {}


def pin_process(request: Request) -> None:
    """Pin what results depend on: threads, full float32 precision, options of torch, seed of the global generators.

    What is so already is not set: torch tells a precision that was set from one that is the default, and a compile
    cache that was filled under the one misses under the other, as in production's process.
    """
    torch.set_num_threads(request["threads"])
    if torch.get_float32_matmul_precision() != "highest":
        torch.set_float32_matmul_precision("highest")
    built = torch.backends.cuda.is_built()  # type: ignore[no-untyped-call]
    backends: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn) if built else ()
    for backend in backends:
        if backend.allow_tf32:
            backend.allow_tf32 = False
    process_of(request["torch_state"], "float32").set_up()
    torch.manual_seed(request["seed"])
    np.random.seed(request["seed"] % 2**32)


def worked(request: Request) -> float:
    """Seconds that this process has worked, by a clock that others on the machine do not move: for time budgets.

    On a CPU processor time over the threads of torch; on a GPU the wall, for the processor mostly waits there.
    """
    return time.process_time() / request["threads"] if request["device"] == "cpu" else time.perf_counter()


def load(request: Request, variant: str, dtype: str | None = None, **settings: Any) -> Forecaster:
    """A variant of the request's model, not yet compiled, from the folders that the weights stage found.

    Its calls are made as the process of production makes them (`evaluation.call.process`), in its precision; windows
    are of prices, whatever the model is given of them (`evaluation.call.input`).

    Args:
        dtype: the number format of its weights where it is not that of the variant's precision.
        settings: settings of the model in place of the request's.

    Raises:
        NotAsPlanned: weights or code are not those that the run was planned with.
    """
    chosen = Variant.parse(variant)
    own = dict(request["settings"]) | settings
    for role, folder in request["folders"].items():
        if role != MODEL:
            own |= {role: folder, f"{role}_revision": None}
    for role, folder in request["folders"].items():
        # What was as planned after an earlier load is not hashed before this one: what has changed is seen after it.
        if _AS_PLANNED.get(folder) != request["checkpoints"][role]:
            check_contents(role, Path(folder), request["checkpoints"][role])
    options = LoadOptions(
        source=request["folders"].get(MODEL, ""),
        revision=None,
        device=request["device"],
        dtype=dtype or WEIGHT_FORMATS.get(chosen.precision, "float32"),
        settings=own,
        code=request["folders_of_code"].get(f"code.{chosen.implementation}", ""),
    )
    target = request["targets"][chosen.implementation]
    forecaster = load_forecaster(request["model"], chosen.implementation, options, request["plugin"], target)
    for role, folder in request["folders"].items():  # nor while they were read
        check_contents(role, Path(folder), request["checkpoints"][role])
        _AS_PLANNED[folder] = request["checkpoints"][role]
    check_code_run(request["code_run"], request["folders_of_code"])
    forecaster = called_by_settings(given_returns(forecaster, request["input"]))
    return called_in(forecaster, *_states(request, chosen.precision if dtype is None else "float32", dtype))


def _states(request: Request, precision: str, dtype: str | None) -> Iterator[State]:
    """In which states of torch a forecaster is called: the process' own, and what its precision adds.

    What is loaded in a number format of its own stands for float32 or for the truth, and takes no other precision.
    """
    process = process_of(request["torch_state"], precision)
    if process.stated():
        yield lambda: process.calling(request["device"])
    if precision == "tf32":
        yield allowed_tf32
    if dtype == "float64" and process.sdpa is not None:  # which a GPU's kernels for half precision don't compute in
        yield any_attention


def truth_settings(request: Request) -> dict[str, Any]:
    """Settings that the reference is loaded with where its numerics are the truth for the request's variant.

    None where the variant is of the reference's own implementation, or of a copy of it: the truth is then that
    implementation as it runs, so that the figure is what compiling or copying changed and nothing else.
    """
    same = Variant.parse(request["reference"]).implementation in (request["implementation"], request["copies"])
    return {} if same else dict(request["truth"])


def windows_of(request: Request, symbol: str) -> list[Window]:
    """The evaluation windows of a symbol."""
    prices = load_series(Path(request["series"][symbol]))
    until = request["not_before"].get(symbol)
    windows = cut_windows(
        symbol,
        prices.timestamps,
        prices.values,
        wall=prices.wall,
        amount=prices.amount,
        context_length=rows_for(request["context_length"], request["input"]),
        horizon=request["horizon"],
        count=request["windows"],
        not_before=np.datetime64(until) if until else None,
        column=FEATURES.index(request["target"]),
        settings=tuple(sorted(request["by_symbol"].get(symbol, {}).items())),
    )
    return [with_missing(window, request["missing"], request["seed"]) for window in windows]


def made_windows(request: Request, count: int, context: int, horizon: int, seed: int) -> list[Window]:
    """`count` windows of seeded random walks of which the model sees `context` rows, for calls without any data."""
    column = FEATURES.index(request["target"])
    windows = practice_windows(count, rows_for(context, request["input"]), horizon, seed, column)
    return [with_missing(window, request["missing"], seed) for window in windows]


def one_window_a_symbol(request: Request, count: int) -> list[Window]:
    """`count` windows, each of another symbol as long as there are symbols, then the next of each."""
    by_symbol = [windows_of(request, symbol) for symbol in sorted(request["series"])]
    ordered = [own[i] for i in range(request["windows"]) for own in by_symbol if i < len(own)]
    return ordered[:count]


def practice(request: Request) -> list[Window]:
    """The windows of the first call of a process that forecasts: real ones, in the size of all later calls."""
    size = request["windows_per_call"]
    windows = one_window_a_symbol(request, size)
    return next(calls_of(windows, size, fill=request["mode"] != "eager"))[0]


def calls_of(windows: list[Window], size: int, fill: bool) -> Iterator[tuple[list[Window], int]]:
    """(windows of one call, how many of them count): `size` at a time, the last filled up where `fill` is set.

    A compiled variant then sees one shape only.
    """
    for start in range(0, len(windows), size):
        part = windows[start : start + size]
        filled = [part[i % len(part)] for i in range(size)] if fill else part
        yield filled, len(part)
