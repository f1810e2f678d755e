"""Peak memory of a block and its trend over repeated calls."""

import math
import mmap
import random

import numpy as np
import pytest

from greenlight.measures.memory import MemoryMeter
from greenlight.statistics.intervals import trend

MIB = 2**20


def test_peak_is_that_of_the_block_even_if_it_was_given_back():
    earlier = bytearray(300 * MIB)
    del earlier
    with MemoryMeter() as meter:
        held = bytearray(100 * MIB)
        del held
    record = meter.record()
    grown = record["host_peak_bytes"] - record["host_begin_bytes"]
    assert record["device_peak_bytes"] is None
    if record["exact"]:
        assert 90 * MIB < grown < 200 * MIB
    else:
        assert grown >= 0


def test_readings_are_kept_in_order():
    kept, content = [], bytes(20 * MIB)
    with MemoryMeter() as meter:
        for _ in range(3):
            kept.append(mmap.mmap(-1, len(content)))  # new pages; a bytearray may be given what was freed before
            kept[-1].write(content)
            meter.read()
    readings = meter.readings["host_bytes"]
    assert readings == sorted(readings) and readings[-1] - readings[0] > 30 * MIB
    assert meter.readings["device_bytes"] == []


def slope(readings):
    return trend(np.array(readings), 0.025).slope


def test_leak_is_found_through_noise():
    noise = random.Random(7)
    found = slope([500 * MIB + 4096 * call + noise.randrange(8192) for call in range(40)])
    assert found.estimate == pytest.approx(4096, rel=0.2)
    assert 0 < found.lower < 4096 < found.upper


@pytest.mark.parametrize("seed", range(3))
def test_noise_alone_is_no_leak(seed):
    noise = random.Random(seed)
    assert slope([500 * MIB + noise.randrange(8192) for _ in range(40)]).lower <= 0


def test_one_jump_is_no_leak():
    found = slope([500 * MIB] * 5 + [564 * MIB] * 25)
    assert found.estimate == 0 and found.lower <= 0


def test_falling_and_flat_memory_do_not_grow():
    assert slope([100 - call for call in range(20)]).upper < 0
    found = slope([100] * 20)
    assert (found.lower, found.estimate, found.upper) == (0, 0, 0)


def test_too_few_readings_tell_nothing():
    assert slope([1, 2, 3]).lower == -math.inf and math.isnan(slope([1, 2]).estimate)
