"""Real defects, each an edit of one place of the package, caught by the gate with the reason that names it.

Nothing is mocked: the children of the stages run from an edited copy of the package, and the gate judges what they
leave beside the evidence of the untouched variants.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tests.defects.gate import Edit, Gate, Server, blocking, checks_of

pytestmark = pytest.mark.slow
ROUNDED = "static-eager-bf16"
CONFIG = {
    "seed": 7,
    "threads": 1,
    "trials": {"repeats": 1},
    "evaluation": {
        "context_length": 64,
        "horizon": 12,
        "windows": 1,
        "samples": 8,
        "windows_per_call": 4,
        "probe_windows": 4,
        "replicates": 24,
        "looks": 1,
        "call": {"concurrency": 1},  # see test_calls.py
    },
    "timing": {
        "processes": 1,
        "pairs": 20,
        "control_pairs": 10,
        "warm_up_calls": 1,
        "steady_calls": 160,
        "looks": 1,
        "windows": 2,
    },
    "models": {
        "toto": {"variants": ["upstream-eager", "host-index-eager", "static-eager", "static-default", ROUNDED]},
        "kronos": {"variants": ["upstream-eager", "static-eager"], "temperature": 1.1, "top_p": 0.98},
        "chronos-2": {"variants": ["upstream-eager", "static-eager"]},
    },
}
GOOD = {
    "toto": {
        "upstream-eager": ("predict", "probe"),
        "static-eager": ("predict", "probe", "time"),
        ROUNDED: ("predict", "probe"),
    },
    "kronos": {"upstream-eager": ("predict", "probe"), "static-eager": ("predict", "probe")},
    "chronos-2": {"upstream-eager": ("probe",), "static-eager": ("probe",)},
}
CATALOGUE = tomllib.loads(Path(__file__).with_name("catalogue.toml").read_text())


def untouched(folder, server):
    """A run whose variants have no defect, measured."""
    gate = Gate.make(folder, server, CONFIG, symbols=6, rows=160)
    for model, variants in GOOD.items():
        for variant, stages in variants.items():
            gate.measure(model, variant, stages)
    gate.judge()  # copies have its scores
    return gate


def stopping(good, folder, defect):
    """What stops the variant that has a defect of the catalogue: reasons by check."""
    gate = good.copy(folder, Edit(defect["file"], defect["old"], defect["new"]))
    gate.measure(defect["model"], "static-eager", defect["stages"])
    verdict = gate.judge()
    stopped = blocking(verdict, defect["model"], "static-eager")
    assert defect["check"] in stopped, stopped
    assert checks_of(verdict, defect["model"], "static-eager")[defect["check"]].status == "fail"
    return stopped


@pytest.fixture(scope="module")
def server():
    server = Server()
    yield server
    server.close()


@pytest.fixture(scope="module")
def good(server, tmp_path_factory):
    """The evidence of the untouched reference and static variants."""
    return untouched(tmp_path_factory.mktemp("good"), server)


def test_without_a_defect_none_of_these_checks_stops_a_variant(good, tmp_path):
    gate = good.copy(tmp_path)
    verdict = gate.judge()

    assert blocking(verdict, "toto", "upstream-eager") == blocking(verdict, "kronos", "upstream-eager") == {}
    for model in GOOD:
        stopped = set(blocking(verdict, model, "static-eager"))
        # What no stage here measured, and what a machine's noise may hide, is of no interest to the other tests.
        assert stopped.isdisjoint(
            {defect["check"] for defect in CATALOGUE.values() if defect["model"] == model} - {"trials"}
        )


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_defect_is_caught_for_the_right_reason(good, tmp_path, name):
    defect = CATALOGUE[name]
    assert defect["words"] in stopping(good, tmp_path, defect)[defect["check"]]


@pytest.mark.parametrize(
    ("name", "check"),
    [
        ("one KV index off by one", "numerics"),
        ("position of the second patch", "numerics"),
        ("softmax scale", "pairing-anchor"),  # about as small as the rounding; in float32 it is seen
    ],
)
def test_what_bfloat16_may_round_hides_no_defect(good, tmp_path, name, check):
    defect = CATALOGUE[name]
    untouched = blocking(good.copy(tmp_path / "good").judge(), "toto", ROUNDED)
    gate = good.copy(tmp_path, Edit(defect["file"], defect["old"], defect["new"]))
    for variant in (ROUNDED, "static-eager"):
        gate.measure("toto", variant, ["probe"])

    assert check in blocking(gate.judge(), "toto", ROUNDED)
    assert check not in untouched


SHARED = {
    "toto, prices restored 0.1% too high": Edit(
        "greenlight_forecasters/toto/inputs.py",
        "return paths / self.units[:, None, None] + self.levels[:, None, None]",
        "return 1.001 * (paths / self.units[:, None, None] + self.levels[:, None, None])",
    ),
    "toto, the oldest rows in place of the latest": Edit(
        "greenlight_forecasters/toto/inputs.py",
        "    quoting = Quoting(prices",
        "    prices = np.roll(prices, 1, axis=1)\n    quoting = Quoting(prices",
    ),
    "kronos, Sunday is 0": Edit(
        "greenlight_forecasters/kronos/candles.py",
        "(day + 3) % 7, of_month",
        "(day + 4) % 7, of_month",
    ),
    "kronos, UTC in place of the exchange's clock": Edit(
        "greenlight_forecasters/kronos/candles.py", "stamps(window.calendar)", "stamps(window.timestamps)"
    ),
    "kronos, amounts of the file ignored": Edit(
        "greenlight_forecasters/kronos/candles.py", "window.context_length, window.amount)", "window.context_length)"
    ),
    "kronos, the spread of the context a percent too wide": Edit(
        "greenlight_forecasters/kronos/candles.py",
        "return (normalised.astype(np.float32) * (deviation",
        "return (normalised.astype(np.float32) * (1.01 * deviation",
    ),
    "kronos, a temperature of its own": Edit(
        "greenlight_forecasters/kronos/sampling.py", "logits = logits / sampling.temperature", "logits = logits / 1.15"
    ),
}


@pytest.mark.parametrize("name", SHARED)
def test_code_that_is_wrong_for_all_alike_stops_the_reference_and_all_that_is_held_to_it(good, tmp_path, name):
    """In a fresh clone: there is no baseline, and the float64 truth has the same mistake."""
    model = name.split(",")[0]
    gate = good.copy(tmp_path, SHARED[name])
    gate.measure(model, "upstream-eager", ("probe",))
    verdict = gate.judge()

    assert (
        "of the shipped checkpoint are the stored ones"
        in blocking(verdict, model, "upstream-eager")["golden-forecasts"]
    )
    assert (
        "upstream-eager, which it is held to, fails golden"
        in blocking(verdict, model, "static-eager")["pairing-anchor"]
    )
    assert checks_of(verdict, model, "upstream-eager")["numerics"].status == "pass"  # which sees nothing of it


def test_published_code_that_is_off_for_reference_and_truth_alike_is_held_to_independent_code(good, tmp_path):
    assert checks_of(good.judge(), "toto", "upstream-eager")["reference-as-published"].status == "pass"
    off = Edit(
        "greenlight_forecasters/toto/upstream.py",
        "values = (components.df, components.loc, ",
        "values = (components.df, components.loc * 1.001, ",
    )
    gate = good.copy(tmp_path, off)
    gate.measure("toto", "upstream-eager", ("probe",))
    checks = checks_of(gate.judge(), "toto", "upstream-eager")

    assert checks["numerics"].status == "pass"
    assert checks["reference-as-published"].blocking
    assert "are not those of static-eager: off by 0.00" in checks["reference-as-published"].reason


NEVER_COMPILED = ("        self._compiler = CallCompiler(mode, self._device)\n", "        self._compiler = None\n")


def test_compiling_that_never_engages(good, tmp_path):
    gate = good.copy(tmp_path, Edit("greenlight_forecasters/toto/static/engine.py", *NEVER_COMPILED))
    gate.measure("toto", "static-default", ("compile", "predict"))

    reason = blocking(gate.judge(), "toto", "static-default")["compile-engaged"]
    assert "no compiled graph ran" in reason and "compile" in reason and "predict" in reason


def test_a_recompile_at_every_call(good, tmp_path):
    """The number of a call is a Python integer, on which compiled code depends; the backend compiles nothing slow."""
    engine, wrapper = "greenlight_forecasters/toto/static/engine.py", "greenlight_forecasters/toto/static/forecaster.py"
    counted = (
        "@torch.compile(backend='eager', dynamic=False)\n"
        "def _counted(paths, calls):\n    return paths + 0 * calls\n\n\nclass TotoStatic(Forecaster):"
    )
    gate = good.copy(
        tmp_path,
        Edit(engine, *NEVER_COMPILED),
        Edit(wrapper, "class TotoStatic(Forecaster):", counted),
        Edit(
            wrapper,
            "        return quoting.prices(paths[:, 0]",
            "        self.calls = getattr(self, 'calls', 0) + 1\n"
            "        paths = _counted(paths, self.calls)\n"
            "        return quoting.prices(paths[:, 0]",
        ),
    )
    gate.measure("toto", "static-default", ("compile", "predict"))

    stopped = blocking(gate.judge(), "toto", "static-default")
    assert "after warm-up in compile" in stopped["recompiles-after-warm-up"]
    assert "reached the recompile limit" in stopped["recompile-limit"]


# A clock that calls move and nothing else: what is judged is then what was done, not how busy the machine is.
CLOCK = Edit(
    "greenlight/measures/latency.py",
    "import time\n",
    """from types import SimpleNamespace

random = __import__("random").Random(1)
time = SimpleNamespace(now=0.0)


def _read():
    time.now += random.lognormvariate(0, 0.01) * 0.05
    return time.now


time.perf_counter = _read
""",
)
# What a call gives is of no interest here, so that it is computed once.
COMPUTED_ONCE = Edit(
    "greenlight_forecasters/toto/upstream.py",
    "    def forecast(self, windows: Sequence[Window], samples: int, seed: int) -> np.ndarray:\n",
    "    def forecast(self, *arguments):\n        if not hasattr(self, 'computed'):\n"
    "            self.computed = self.compute(*arguments)\n        return self.computed\n\n"
    "    def compute(self, windows: Sequence[Window], samples: int, seed: int) -> np.ndarray:\n",
)
SLOW = {
    "10% slower": ("not-slower", "0.005"),
    "four times slower in every third call": ("slow-calls", "0.15 * (self.calls % 3 == 0)"),
    "three times as slow in every 20th call": ("slow-calls", "0.1 * (self.calls % 20 == 0)"),
    "four times slower in every third call, in the mean": ("mean-not-slower", "0.15 * (self.calls % 3 == 0)"),
}


@pytest.mark.parametrize("name", [*SLOW, "as fast"])
def test_a_variant_that_is_slow_is_not_called_as_fast_as_the_reference(good, tmp_path, name):
    check, delay = SLOW.get(name, ("", "0.0"))
    edit = Edit(
        "greenlight_forecasters/toto/host_index.py",
        "    def prepare(self, toto: Toto) -> Toto:\n",
        "    def forecast(self, *arguments):\n        from greenlight.measures.latency import time\n\n"
        "        self.calls = getattr(self, 'calls', 0) + 1\n"
        f"        time.now += {delay}\n        return super().forecast(*arguments)\n",
    )
    gate = good.copy(tmp_path, CLOCK, COMPUTED_ONCE, edit)
    gate.measure("toto", "host-index-eager", ("time",))
    checks = checks_of(gate.judge(), "toto", "host-index-eager")

    stopping = {name for name in ("not-slower", "mean-not-slower", "slow-calls") if checks[name].blocking}
    assert (check in stopping) if check else not stopping, {name: checks[name].reason for name in stopping}
