"""A plug-in around code that compiles a method that nobody calls: the gate says so by name."""

from __future__ import annotations

from pathlib import Path

from tests.models.test_copies_judged import in_this_process
from tools.quick_run import QuickRun
from tools.simulate import write_universe

DRIFT = Path(__file__).parent / "drift.py"
WRAPS = "self.predict = self.torch.compile(self.predict, mode=mode, fullgraph=True)"


def test_nothing_compiled_where_the_wrong_method_is_wrapped(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache" / "inductor"))
    text = DRIFT.read_text()
    assert WRAPS in text
    (tmp_path / "drift.py").write_text(text.replace(WRAPS, "self.unused = self.torch.compile(self.sizes, mode=mode)"))
    write_universe(tmp_path / "prices", 2, rows=90, seed=3)
    run = QuickRun(
        {
            "data_folder": str(tmp_path / "prices"),
            "results_folder": str(tmp_path / "results"),
            "trials": {"repeats": 1},
            "evaluation": {"context_length": 32, "horizon": 6, "windows": 2, "probe_windows": 2},
            "models": {"drift-1": {"plugin": f"{tmp_path / 'drift.py'}:MODEL"}},
        },
        in_this_process,
    )
    run.begin()
    for variant in ("plain-eager", "plain-default"):
        run.measure("drift-1", variant, ("compile", "predict", "probe"))
    verdict = run.judge()
    (check,) = [c for c in verdict.checks if (c.variant, c.name) == ("plain-default", "compile-engaged")]
    assert check.status == "fail" and check.blocking and "no compiled graph ran" in check.reason
    assert verdict.decisions["drift-1"].chosen != "plain-default"
