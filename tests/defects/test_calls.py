"""Defects that single calls of one shape don't show, in copies of a plug-in: the `call` stage or the probe names each.

The copies are of tests/plugins/drift.py. They compile by the backend that makes no kernels, and say themselves that a
graph ran: what is tested is guards, threads and numerics, which are as with Inductor.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from greenlight.run.judging import judge_run
from tests.models.test_copies_judged import in_this_process
from tools.quick_run import QuickRun
from tools.simulate import write_universe

pytestmark = pytest.mark.slow
DRIFT = (Path(__file__).parents[1] / "plugins" / "drift.py").read_text()
COMPILED = "self.torch.compile(self.predict, mode=mode, fullgraph=True)"
CALLED = "self.predict(inputs, rows)"
TELLS = (
    "        rows = self.torch.arange",
    "        own_cuda_graph_ran(recorded=False)\n        rows = self.torch.arange",
)
IMPORTS = ("CLOSE, DECILES, ", "CLOSE, DECILES, own_cuda_graph_ran, ")
SWEEP = {"shapes": {"contexts": list(range(20, 32)), "batches": [1, 3]}, "concurrency": 1}
# Where a call writes what another one reads; the pause makes it sure that threads meet there.
RACE = (
    ("        closes = np.stack(", "        self.shared = np.stack("),
    (
        "        # As differences from",
        "        import time\n        time.sleep(0.05)\n        closes = self.shared\n        # As differences from",
    ),
)


def checks_of_calls(folder, edits, call, variant="plain-default"):
    """The checks of a variant of an edited copy, by name, after its `call` stage, or its probe, alone."""
    text = DRIFT
    for old, new in [*edits, IMPORTS, TELLS]:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (folder / "drift.py").write_text(text)
    write_universe(folder / "prices", 1, rows=90, seed=3)
    run = QuickRun(
        {
            "data_folder": str(folder / "prices"),
            "results_folder": str(folder / "results"),
            "trials": {"repeats": 1},
            "evaluation": {"context_length": 32, "horizon": 6, "windows": 2, "call": call},
            "models": {"drift-1": {"plugin": f"{folder / 'drift.py'}:MODEL"}},
        },
        in_this_process,
    )
    run.begin()
    run.measure("drift-1", variant, ("probe",) if call["concurrency"] > 1 else ("call",))
    # Nothing else was measured, and the checks of that say so.
    verdict = judge_run(run.layout, run.plan.settings.rules.model_dump(mode="json"), folder / "baselines")[-1]
    return {check.name: check for check in verdict.checks if check.variant == variant}


def without_kernels(**options):
    """An edit: compile with a backend that makes no kernels."""
    given = "".join(f", {name}={value!r}" for name, value in options.items())
    return COMPILED, f"self.torch.compile(self.predict, backend='eager'{given})"


def test_a_graph_for_each_shape(tmp_path):
    """Until the limit of recompiles: from then on the code runs eagerly, and nothing is said (pytorch#174704)."""
    check = checks_of_calls(tmp_path, [without_kernels(dynamic=False)], SWEEP)["shapes-stable"]
    assert check.status == "fail" and check.blocking, check.reason
    assert "reached the recompile limit in the sweep and run eagerly: predict, " in check.reason


def test_a_recompile_at_each_call(tmp_path):
    """Compiled code depends on something that each call makes anew, as on a KV cache (pytorch#156377)."""
    edits = [
        without_kernels(dynamic=False),
        (CALLED, "self.predict(inputs, rows, self.calls)"),
        (
            "        closes = np.stack(",
            "        self.calls = getattr(self, 'calls', 0) + 1\n        closes = np.stack(",
        ),
        ("def predict(closes, rows):", "def predict(closes, rows, calls):"),
        ("damping * changes", "(damping + 0 * calls) * changes"),
    ]
    few = SWEEP | {"shapes": {"contexts": [20, 24]}}
    check = checks_of_calls(tmp_path, edits, few)["shapes-stable"]
    assert check.status == "fail" and check.blocking, check.reason
    assert "2 frames compiled anew in the second pass, in context 20" in check.reason
    assert "last guard" in check.reason and "calls" in check.reason


def test_a_graph_for_all_shapes_is_stable(tmp_path):
    check = checks_of_calls(tmp_path, [without_kernels(dynamic=True)], SWEEP)["shapes-stable"]
    assert check.status == "pass", check.reason
    assert check.details["shapes"] == 24 and check.details["compiled_in_first_pass"] <= 3


def test_numerics_that_are_wrong_in_one_shape_only(tmp_path):
    """As an overrun in a reduction over a context of one length: nothing crashes, and no other shape shows it."""
    compiled = (COMPILED, "self.wrong(self.torch.compile(self.predict, backend='eager', dynamic=True))")
    method = (
        "    def sizes(self):",
        "    def wrong(self, predict):\n"
        "        def wrapped(inputs, rows):\n"
        "            centre, spread = predict(inputs, rows)\n"
        "            return centre * (1 + 0.001 * (inputs.shape[1] == 31)), spread\n\n"
        "        return wrapped\n\n"
        "    def sizes(self):",
    )
    found = checks_of_calls(tmp_path, [compiled, method], SWEEP | {"shapes": {"contexts": [30, 31, 40]}})
    assert found["shapes-stable"].status == "fail"
    assert "context 31, horizon 6, batch 2" in found["shapes-stable"].reason
    assert "error" in found["shapes-stable"].reason


def test_a_buffer_that_threads_share(tmp_path):
    check = checks_of_calls(tmp_path, RACE, {"concurrency": 3}, "plain-eager")["concurrent-calls"]
    assert check.status == "fail" and check.blocking
    assert "of 3 threads on one object give other forecasts than one by one" in check.reason


def test_calls_of_threads_that_share_nothing(tmp_path):
    check = checks_of_calls(tmp_path, [], {"concurrency": 3}, "plain-eager")["concurrent-calls"]
    assert check.status == "pass" and "to the bit" in check.reason


def test_a_soak_shows_what_grows_and_what_changes(tmp_path):
    # Pages of its own, written to: what the allocator has at hand would hide memory that it gives.
    leak = (
        "        closes = np.stack(",
        "        import mmap\n        self.kept = [*getattr(self, 'kept', []), mmap.mmap(-1, 1 << 20)]\n"
        "        self.kept[-1].write(bytes(1 << 20))\n        closes = np.stack(",
    )
    found = checks_of_calls(tmp_path, [leak], {"concurrency": 1, "calls": 60}, "plain-eager")
    assert found["soak"].status == "fail" and "in 60 calls memory grows by " in found["soak"].reason
    assert found["soak"].figure > 0.3 * 2**20
    late = (
        "        closes = np.stack(",
        "        self.calls = getattr(self, 'calls', 0) + 1\n        closes = 1.0 * (self.calls > 40) + np.stack(",
    )
    (tmp_path / "late").mkdir()
    found = checks_of_calls(tmp_path / "late", [late], {"concurrency": 1, "calls": 60}, "plain-eager")
    assert found["soak"].status == "fail" and "give other forecasts than the first did" in found["soak"].reason
