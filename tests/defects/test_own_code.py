"""Each defect of somebody's own plug-in is found by its check, and nothing is where there is none."""

from __future__ import annotations

import pytest

from greenlight.run.judging import judge_run
from tests.defects.own_code import OWN_CODE, WALK
from tests.models.test_copies_judged import in_this_process
from tools.quick_run import QuickRun
from tools.simulate import write_universe


def checks_of_plugin(folder, text, seed=1):
    """The checks of the variant that draws random numbers of its own."""
    (folder / "walk.py").write_text(text)
    write_universe(folder / "prices", 6, rows=90, seed=3)
    evaluation = {"context_length": 32, "horizon": 8, "windows": 3, "samples": 16, "replicates": 16, "looks": 1}
    run = QuickRun(
        {
            "seed": seed,
            "data_folder": str(folder / "prices"),
            "results_folder": str(folder / "results"),
            "trials": {"repeats": 1},
            "evaluation": evaluation | {"windows_per_call": 18},
            "models": {"walk-1": {"plugin": f"{folder / 'walk.py'}:MODEL"}},
        },
        in_this_process,
    )
    run.begin()
    run.measure("walk-1", "own-eager", ("probe",))
    verdict = judge_run(run.layout, run.plan.settings.rules.model_dump(mode="json"), folder / "baselines")[-1]
    return {check.name: check for check in verdict.checks if check.variant == "own-eager"}


@pytest.mark.parametrize("name", OWN_CODE)
def test_a_defect_of_own_code_is_found_by_its_check(tmp_path, name):
    defect = OWN_CODE[name]
    check = checks_of_plugin(tmp_path, defect.text())[defect.check]
    assert check.status == "fail" and check.blocking and defect.words in check.reason, check.reason


def test_own_code_without_a_defect_passes_them(tmp_path):
    checks = checks_of_plugin(tmp_path, WALK)
    for name in {defect.check for defect in OWN_CODE.values()}:
        assert checks[name].status == "pass", checks[name].reason
