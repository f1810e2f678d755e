"""How long jobs took before is told by what they write."""

from __future__ import annotations

from greenlight.run.durations import expect_seconds, seconds_before, seconds_left
from greenlight.run.ledger import enter
from greenlight.run.planning import make_plan
from greenlight.run.staleness import outputs_of


def test_what_is_left_is_known_where_every_job_ran_before(tmp_path):
    models = {"toto": {"variants": ["upstream-eager"]}, "kronos": {"variants": ["upstream-eager"]}}
    plan, layout = make_plan({"results_folder": str(tmp_path / "results"), "models": models}, [])
    jobs = {name: job for name, job in plan.all_jobs() if job["stage"] in ("weights", "expect")}
    outputs = {name: str(outputs_of(layout, job)[0]) for name, job in jobs.items()}
    assert len(jobs) > 2
    assert set(seconds_before(plan, layout, outputs.values()).values()) == {None}

    started = "2000-01-01T00:00:00.000Z"
    for name, job in jobs.items():
        outputs_of(layout, job)[0].parent.mkdir(parents=True, exist_ok=True)
        outputs_of(layout, job)[0].write_text("{}")
        enter(layout, name, job, outputs_of(layout, job), [], modules={}, started=started)
    before = seconds_before(plan, layout, list(outputs.values()))
    assert set(before) == set(outputs.values()) and all(seconds > 1e6 for seconds in before.values())

    expect_seconds({"a": 30.0, "b": 12.0})
    assert (seconds_left([]), seconds_left(["a"]), seconds_left(["a", "b"])) == (42.0, 12.0, None)
    expect_seconds({"a": 30.0, "b": None})
    assert seconds_left([]) is None and seconds_left(["b"]) == 30.0
    expect_seconds({})
