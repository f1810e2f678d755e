"""OpenMP's pools of threads where several threads of a process call an engine."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from tests.models.engines import Engine, forked, intra_op_threads, write_checkpoints


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    write_checkpoints(folder)
    return folder


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="needs Linux, which lists a process' threads")
def test_a_call_leaves_no_pool_of_threads_behind(folder):
    """An idle pool of OpenMP's makes all calls of other threads two to three times as slow."""
    engine = Engine("chronos-2", "cpu", folder)

    def counted():
        before = threads_of_the_process()
        torch.ones(2_000_000).exp_()
        computed = threads_of_the_process()
        engine.call(0)
        return before, computed, threads_of_the_process()

    with intra_op_threads(2), ThreadPoolExecutor(1) as pool:
        for before, computed, after in (pool.submit(counted).result(), counted()):
            assert (computed, after) == (before + 1, before)
        torch.ones(2_000_000).exp_()
        Engine("chronos-2", "cpu", folder)  # what has loaded an engine may never call it
        assert threads_of_the_process() == before


def threads_of_the_process():
    return len(os.listdir("/proc/self/task"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="a forked child can't use CUDA, whose state an engine asks for")
def test_a_forked_child_of_a_thread_that_has_computed_can_make_an_engine(folder):
    def work():
        torch.set_num_threads(1)
        Engine("chronos-2", "cpu", folder).call(0)
        return "made"

    with intra_op_threads(2):
        torch.ones(2_000_000).exp_()
        assert forked(work) == "made"
