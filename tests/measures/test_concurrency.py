"""Threads that call one object at the same time."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from greenlight.measures.concurrency import call_together, chance_of_ends


class Shared:
    """Writes what it is given where every call reads it."""

    def __init__(self, lock):
        self.lock, self.given = lock, None

    def __call__(self, thread, number):
        with self.lock:
            self.given = (thread, number)
            time.sleep(0.05)
            return self.given


class NoLock:
    def __enter__(self):
        return self

    def __exit__(self, *exception):
        return None


def test_a_buffer_that_calls_share_is_seen():
    found = call_together(Shared(NoLock()), 2, 4)
    assert len(found.outputs) == 8 and not found.errors
    assert any(output != key for key, output in found.outputs.items())


def test_calls_that_wait_for_each_other_give_what_they_give_alone():
    found = call_together(Shared(threading.Lock()), 3, 2)
    assert all(output == key for key, output in found.outputs.items()) and len(found.outputs) == 6


def test_one_by_one_no_call_is_beside_another():
    found = call_together(Shared(NoLock()), 2, 2, one_by_one=True)
    assert found.outputs == {key: key for key in ((0, 0), (0, 1), (1, 0), (1, 1))}
    assert found.wall >= 0.2 and all(seconds >= 0.05 for seconds in found.seconds.values())


def test_what_a_call_raises_is_told_and_the_others_go_on():
    def call(thread, number):
        if (thread, number) == (1, 0):
            raise RuntimeError("busy")
        return thread

    found = call_together(call, 2, 2)
    assert found.errors == {(1, 0): "RuntimeError: busy"}
    assert found.outputs == {(0, 0): 0, (0, 1): 0, (1, 0): None, (1, 1): 1}


def beyond(own, other):
    return (own < other.min(axis=1, keepdims=True)) | (own > other.max(axis=1, keepdims=True))


@pytest.mark.parametrize("samples", [4, 8, 32])
def test_other_draws_from_one_distribution_are_as_likely_as_said(samples):
    """Also where tails are heavy and samples few: a rate is never below what it says."""
    generator = np.random.default_rng(5)
    draws = generator.standard_t(2, (2, 2000, 2, samples))
    found = np.array([chance_of_ends(beyond(own, other), samples) for own, other in zip(*draws, strict=True)])
    for rate in (0.1, 0.01):
        assert (found <= rate).mean() <= rate + 3 * np.sqrt(rate / len(found))


def test_another_distribution_is_unlikely():
    generator = np.random.default_rng(6)
    own, other = generator.normal(4, 1, (2, 16)), generator.normal(0, 1, (2, 16))
    assert chance_of_ends(beyond(own, other), 16) < 1e-9
    assert chance_of_ends(np.ones((2, 1), bool), 1) == 1
