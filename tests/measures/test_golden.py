"""Golden forecasts ship, are found again, and tell code that is wrong for all alike."""

from __future__ import annotations

import numpy as np
import pytest

from greenlight.errors import UserError
from greenlight.measures.golden import compare_numerics, compare_with_golden, read_golden
from greenlight.plugins import installed_plugins, model_of
from greenlight.run.children.golden import hold_to_golden
from greenlight.weights import GOLDEN, MODEL, golden_digest

MODELS = sorted(installed_plugins())


def golden_file(model):
    return model_of(model).checkpoints[MODEL] / GOLDEN


@pytest.mark.parametrize("model", MODELS)
def test_every_implementation_of_a_shipped_model_finds_its_golden_forecasts_again(model):
    golden = read_golden(golden_file(model))
    known = model_of(model).implementations
    assert set(golden.paths) == set(known)
    for implementation in known:
        found = hold_to_golden({"model": model, "plugin": None, "implementation": implementation})
        assert found["problem"] == "" and found["agreeing"] == 1.0, found
        assert len(found["numerics"]) == len(golden.windows)
        # The limit is 1e-4; other instruction sets move them by up to 3e-6.
        assert max(entry["size"] for entry in found["numerics"]) < 3e-5, found["numerics"]


@pytest.mark.parametrize(("change", "agrees"), [(1.0, True), (1 + 1e-7, True), (1.001, False)])
def test_a_tenth_of_a_percent_of_price_is_seen(change, agrees):
    golden = read_golden(golden_file("toto"))
    stored = golden.paths["upstream"]
    found = compare_with_golden(stored * change, stored, golden.windows, 1e-3)
    assert (found["agreeing"] == 1.0) == agrees
    assert found["paths"] == stored.shape[0] * stored.shape[1]


def test_teacher_forced_values_are_compared_window_by_window_and_name_what_is_off():
    golden = read_golden(golden_file("kronos"))
    stored = golden.numerics["upstream"]
    assert not any(entry["size"] for entry in compare_numerics(stored, stored, golden.windows))
    off = {**stored, "s2_logits": stored["s2_logits"].copy()}
    off["s2_logits"][3, 5] *= 1.01
    found = compare_numerics(off, stored, golden.windows)
    assert [bool(entry["size"]) for entry in found] == [row == 3 for row in range(len(found))]
    assert found[3]["window"] == golden.windows[3].key and (found[3]["quantity"], found[3]["step"]) == ("s2_logits", 5)
    assert 1e-3 < found[3]["size"] < 0.1
    for broken in ({"s1_logits": stored["s1_logits"]}, {**stored, "s2_logits": np.full((12, 16, 32), np.nan)}):
        assert all(entry["size"] is None for entry in compare_numerics(broken, stored, golden.windows))


def test_the_sample_that_differs_everywhere_is_told_from_draws_that_do_here_and_there():
    golden = read_golden(golden_file("toto"))
    stored = golden.paths["static"]
    one, some = stored.copy(), stored.copy()
    one[:, 5] = one.mean(axis=1)
    for window in range(len(some)):
        some[window, window % some.shape[1]] *= 1.1
    found = [compare_with_golden(paths, stored, golden.windows, 1e-3) for paths in (one, some)]
    assert found[0]["agreeing"] == found[1]["agreeing"] == 1 - 1 / stored.shape[1]
    assert found[0]["sample"] == 1.0 and found[1]["sample"] < 0.5


def test_shapes_and_values_that_are_no_forecast_agree_with_nothing():
    golden = read_golden(golden_file("toto"))
    stored = golden.paths["upstream"]
    for broken in (stored[:, :-1], np.where(stored == stored.max(), np.nan, stored)):
        found = compare_with_golden(broken, stored, golden.windows, 1e-3)
        assert found["agreeing"] == 0.0 and found["problem"]


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "golden.safetensors"
    path.write_bytes(golden_file("toto").read_bytes()[:1000])
    with pytest.raises(UserError, match=r"golden.safetensors.*tools.golden"):
        read_golden(path)


def test_the_digest_is_that_of_an_implementation_that_is_stored(tmp_path):
    folder = golden_file("toto").parent
    assert golden_digest(tmp_path, "upstream") is None and golden_digest(folder, "a-fork") is None
    assert golden_digest(folder, "upstream") == golden_digest(folder, "static")
    (tmp_path / GOLDEN).write_bytes(golden_file("toto").read_bytes()[:100])
    with pytest.raises(UserError, match="restore it from git"):
        golden_digest(tmp_path, "upstream")
