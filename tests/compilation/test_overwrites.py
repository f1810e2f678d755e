"""Outputs that a later call overwrites are found, on any device."""

import numpy as np
import pytest
import torch

from greenlight.watch.overwrites import check_overwrites

A, B, C = (torch.full((3,), value) for value in (1.0, 2.0, 3.0))


class StaticOutput:
    """Returns its own buffer, as a replayed CUDA graph does; from the call `since` on."""

    def __init__(self, since=0):
        self.buffer, self.calls, self.since = torch.zeros(3), 0, since

    def __call__(self, x):
        self.calls += 1
        self.buffer.copy_(x * 2)
        return self.buffer if self.calls > self.since else self.buffer.clone()


class Remembers:
    """Its output depends on the call before."""

    def __init__(self):
        self.last = torch.zeros(3)

    def __call__(self, x):
        self.last, before = x, self.last
        return x + before


def test_fresh_outputs_pass():
    result = check_overwrites(lambda x: x * 2, [A, B, C])
    assert result["passed"] is True and result["conclusive"] and result["difference"] == ""


@pytest.mark.parametrize("since", [0, 3, 4])
def test_static_buffer_is_found_even_if_only_later_calls_return_it(since):
    result = check_overwrites(StaticOutput(since), [A, B])
    assert result["passed"] is False and not result["kept_output_unchanged"]
    assert "3 of 3 elements" in result["difference"] and "overwritten" in result["message"]


def test_view_into_a_buffer_in_a_nested_output_is_found():
    static = StaticOutput()
    result = check_overwrites(lambda x: {"paths": [x.clone(), static(x)[1:]]}, [A, B])
    assert result["passed"] is False and result["difference"] == "output['paths'][1]: 2 of 2 elements differ"


def test_state_that_leaks_between_calls_is_found():
    result = check_overwrites(Remembers(), [A, B])
    assert result["passed"] is False
    assert result["kept_output_unchanged"] and not result["same_input_same_output"]


def test_one_bit_is_enough():
    values = {1.0: 0.0, 2.0: -0.0}
    buffer = torch.zeros(1)
    result = check_overwrites(lambda x: buffer.fill_(values[float(x[0])]), [A, B])
    assert result["passed"] is False


def test_nan_equals_itself():
    assert check_overwrites(lambda x: torch.stack([x, x * float("nan")]), [A, B])["passed"] is True


def test_same_outputs_tell_nothing():
    result = check_overwrites(lambda x: torch.ones(2), [A, B])
    assert result["passed"] is None and not result["conclusive"]


def test_arrays_and_shapes():
    assert check_overwrites(lambda x: np.array([x[0].item()]), [A, B])["passed"] is True
    calls = iter(range(100))
    assert check_overwrites(lambda x: np.zeros(next(calls)), [A, B])["passed"] is False


def test_error_of_torch_on_reading_a_kept_output_is_the_finding():
    class Overwritten(torch.Tensor):
        reads = 0

        @classmethod
        def __torch_function__(cls, function, types, args=(), kwargs=None):
            if function is torch.Tensor.detach:
                cls.reads += 1
                if cls.reads == 5:  # the kept output is read again after three later calls
                    raise RuntimeError(
                        "Error: accessing tensor output of CUDAGraphs that has been overwritten by a subsequent "
                        "run. Stack trace: in forward"
                    )
            return super().__torch_function__(function, types, args, kwargs or {})

    result = check_overwrites(lambda x: (x * 2).as_subclass(Overwritten), [A, B])
    assert result["passed"] is False and "accessing tensor output" in result["difference"]


def test_other_errors_are_not_swallowed():
    def broken(x):
        raise RuntimeError("CUDA error: unspecified launch failure")

    with pytest.raises(RuntimeError, match="unspecified launch failure"):
        check_overwrites(broken, [A, B])


@pytest.mark.parametrize("inputs", [[], [A]])
def test_two_inputs_are_needed(inputs):
    with pytest.raises(ValueError, match="two different inputs"):
        check_overwrites(lambda x: x, inputs)


def test_output_without_tensors_is_refused():
    with pytest.raises(ValueError, match="no tensor"):
        check_overwrites(lambda x: 3, [A, B])
