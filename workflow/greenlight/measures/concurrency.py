"""One loaded object called by several threads at the same time, against the same calls one by one."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

# Threads change places this often, in seconds; Python's own interval hides races that take less.
_SWITCH = 1e-5


@dataclass(frozen=True)
class Together:
    """What threads got, and when.

    Attributes:
        outputs: by (thread, call), what a call gave; None where it raised.
        errors: by (thread, call), what it raised, `Type: message`.
        seconds: by (thread, call), how long it took its caller.
        wall: seconds from the first call's begin to the last one's end.
    """

    outputs: dict[tuple[int, int], Any]
    errors: dict[tuple[int, int], str]
    seconds: dict[tuple[int, int], float]
    wall: float


def call_together(
    call: Callable[[int, int], Any], threads: int, rounds: int, *, one_by_one: bool = False
) -> Together:  # fmt: skip
    """Have `threads` threads make `rounds` calls each; all threads begin each round together.

    Args:
        call: makes the call of a thread (from 0) and a round (from 0), and returns what no later call changes.
        one_by_one: make the same calls in the thread of the caller, one after the other.
    """
    outputs: dict[tuple[int, int], Any] = {}
    errors: dict[tuple[int, int], str] = {}
    seconds: dict[tuple[int, int], float] = {}
    start = threading.Barrier(threads)

    def make(thread: int, number: int) -> None:
        began = time.perf_counter()
        try:
            outputs[thread, number] = call(thread, number)
        except Exception as error:
            outputs[thread, number] = None
            errors[thread, number] = f"{type(error).__name__}: {error}"[:500]
        seconds[thread, number] = time.perf_counter() - began

    def work(thread: int) -> None:
        for number in range(rounds):
            start.wait()
            make(thread, number)

    if one_by_one:
        began = time.perf_counter()
        for number in range(rounds):
            for thread in range(threads):
                make(thread, number)
        return Together(outputs, errors, seconds, time.perf_counter() - began)
    workers = [threading.Thread(target=work, args=(thread,), daemon=True) for thread in range(threads)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH)
    try:
        began = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        wall = time.perf_counter() - began
    finally:
        sys.setswitchinterval(interval)
    return Together(outputs, errors, seconds, wall)


def chance_of_ends(outside: np.ndarray, others: int) -> float:
    """How likely draws of a call end as often beyond all others of their window, or oftener, by chance.

    Whatever the distribution, how many of n draws do is beta-binomial (2, others - 1); Fisher's method over windows.

    Args:
        outside: [windows, samples] bool, whether a path ends beyond all others of its window.
        others: how many those are.
    """
    if others < 2:
        return 1.0
    from scipy import special  # here: few trials ask

    draws = outside.shape[1]
    count = np.arange(draws + 1)
    ways = -np.log(draws + 1) - special.betaln(draws - count + 1, count + 1)
    logs = ways + special.betaln(count + 2, draws - count + others - 1) - special.betaln(2, others - 1)
    at_least = np.minimum(1.0, np.cumsum(np.exp(logs[::-1]))[::-1])
    each = at_least[outside.sum(axis=1)]
    return float(special.chdtrc(2 * len(each), -2 * np.log(np.maximum(each, 1e-300)).sum()))
