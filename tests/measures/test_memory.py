"""Peak memory of a block and the slope over repeated calls."""

import mmap
import random

import pytest

from greenlight.measures.memory import MemoryMeter, memory_slope

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


def test_leak_is_found_through_noise():
    noise = random.Random(7)
    found = memory_slope([500 * MIB + 4096 * call + noise.randrange(8192) for call in range(40)])
    assert found["grows"] is True
    assert found["bytes_per_call"] == pytest.approx(4096, rel=0.2)
    assert found["low"] < 4096 < found["high"]


@pytest.mark.parametrize("seed", range(3))
def test_noise_alone_is_no_leak(seed):
    noise = random.Random(seed)
    found = memory_slope([500 * MIB + noise.randrange(8192) for _ in range(40)])
    assert found["grows"] is False


def test_one_jump_is_no_leak():
    found = memory_slope([500 * MIB] * 5 + [564 * MIB] * 25)
    assert found["bytes_per_call"] == 0 and found["grows"] is False


def test_falling_and_flat_memory_do_not_grow():
    assert memory_slope([100 - call for call in range(20)])["grows"] is False
    assert memory_slope([100] * 20) == {"bytes_per_call": 0, "low": 0, "high": 0, "calls": 20, "grows": False}


def test_too_few_readings_tell_nothing():
    assert memory_slope([1, 2, 3]) == {
        "bytes_per_call": None,
        "low": None,
        "high": None,
        "calls": 3,
        "grows": None,
    }
