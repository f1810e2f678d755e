"""OpenMP's threads, where several threads of a process compute on a CPU.

libgomp keeps a pool of threads for each thread that has computed, also while that one is idle. As soon as all pools
together have more threads than there are processors, each thread goes to sleep at each barrier in place of spinning
(`gomp_throttled_spin_count_var`, libgomp/config/linux/wait.h). A compiled call has hundreds of barriers: one idle pool
more, and it takes two to three times as long. So a call of an engine gives up the pool that it has used.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable

_FORKED: list[bool] = []
_SOFT = 1  # omp_pause_soft: OpenMP 5.0, section 3.2.43, omp_pause_resource_all


def give_up_pool() -> None:
    """End the threads that OpenMP keeps for the calling thread. Its next parallel region makes them anew.

    Nothing is done where OpenMP can't do it, and in a forked child, which would wait for threads of its parent.
    """
    pause = _pause()
    if pause is not None and not _FORKED:
        pause(_SOFT)


@functools.cache
def _pause() -> Callable[[int], int] | None:
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).omp_pause_resource_all
    except (AttributeError, OSError, TypeError):  # no OpenMP of version 5, or none that torch loads for all
        return None
    return found


os.register_at_fork(after_in_child=lambda: _FORKED.append(True))
