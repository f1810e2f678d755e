"""A against B from two judged results folders: what is said, and the page in a browser."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from greenlight.files import write_json
from greenlight.judgement.rules import Rules
from greenlight.judgement.seal import seal
from greenlight.layout import Layout
from greenlight.report.comparison import compare_html, compare_markdown
from greenlight.report.sides import Side
from greenlight.run.stages.compare import ask_again, judge_sides
from greenlight.settings import load_settings
from tests.judgement.effects import Effects
from tests.judgement.evidence_builder import KRONOS, Run
from tests.report.browser import open_page

NAME = ("kronos", "upstream-default")
SHARED = {("kronos", variant): variant for variant in KRONOS}


def side_of(layout, name):
    side = Side(name, f"commit {name}", layout, SHARED)
    assert side.read_verdict()
    return side


def compared(a, b, rounds=6):
    """The comparison of two results folders whose one round stands for each, moved by less than a percent."""
    sides = [side_of(a, "a"), side_of(b, "b")]
    for side in sides:
        side.read_round()
        for own in side.seconds.values():
            own[:] = [own[0] * (1 + 0.002 * ((number * 7) % 5)) for number in range(rounds)]
    return judge_sides(sides, Rules())


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    from tests.report.conftest import build

    folder = tmp_path_factory.mktemp("sides")
    worse = Effects(latency=1.4, error=dict.fromkeys([f"SYM{number}" for number in range(6)], 1.2))
    effects = {"same": {}, "slow": {NAME: Effects(latency=1.4)}, "worse": {NAME: worse}}
    return {
        name: build(folder / name, Run(models={"kronos": KRONOS}, effects=dict(own))) for name, own in effects.items()
    }


def of(found, name=NAME):
    return next(row for row in found.variants if (row.model, row.variant) == name)


def test_the_same_against_itself_passes(runs):
    found = compared(runs["same"], runs["same"])
    assert found.status == "pass" and found.headline.startswith("PASS")
    row = of(found)
    assert row.forecasts == "forecasts equal to the bit" and row.errors == "errors equal to the bit"
    assert row.speed == "not slower by 5%" and row.mae == "0%"
    assert of(found, ("kronos", "upstream-eager")).speed == "not slower by 5%"


def test_a_slower_one_fails_and_the_faster_way_round_passes(runs):
    found = compared(runs["same"], runs["slow"])
    assert found.status == "fail" and of(found).speed == "slower" and "FAIL" in of(found).sentence
    assert of(found).latency.startswith("2.0")  # 0.7 of the reference's seconds became 1.4
    back = compared(runs["slow"], runs["same"])
    assert back.status == "pass" and of(back).speed == "faster"


def test_larger_errors_fail_and_say_where_forecasts_differ_most(runs):
    found = compared(runs["same"], runs["worse"])
    row = of(found)
    assert row.status == "fail" and row.errors.startswith("larger errors: mae") and row.mae.startswith("+20")
    assert "forecasts differ by up to" in row.forecasts and "SYM" in row.forecasts
    assert any("mae-not-worse" in reason for reason in row.reasons)


def test_what_is_missing_on_one_side_is_no_pass(runs, make_results):
    layout = make_results(Run(models={"kronos": KRONOS}))
    layout.window_scores(*NAME).unlink()
    sides = [side_of(runs["same"], "a"), side_of(layout, "b")]
    found = judge_sides(sides, Rules())  # and no rounds
    assert found.status == "inconclusive"
    assert of(found).errors == "errors are not there on both sides"
    assert of(found).reasons[0] == "latency was not measured on both sides"


def copy_of(layout, folder):
    shutil.copytree(layout.root, folder)
    return Layout(folder)


def answering(layout, **statuses):
    """Have a verdict's checks of NAME end otherwise, blocking."""
    verdict = json.loads(layout.verdict.read_text())
    for check in verdict["checks"]:
        if (check["model"], check["variant"]) == NAME and check["name"].replace("-", "_") in statuses:
            check |= {"status": (status := statuses[check["name"].replace("-", "_")]), "blocking": status != "pass"}
    verdict.pop("seal", None)
    write_json(layout.verdict, seal(verdict))


@pytest.mark.parametrize(
    ("check", "status", "found"),
    [("coverage", "fail", "fail"), ("numerics", "fail", "fail"), ("numerics", "inconclusive", "inconclusive"),
     ("slow_calls", "fail", "pass"), ("baseline_speed", "fail", "pass"), ("concurrent_calls", "pass", "pass")],
)  # fmt: skip
def test_a_check_that_stops_b_and_not_a_counts_unless_rounds_in_turn_answer_it(runs, tmp_path, check, status, found):
    layout = copy_of(runs["same"], tmp_path / "b")
    answering(layout, **{check: status})
    row = of(compared(runs["same"], layout))
    assert row.status == found
    assert (check.replace("_", "-") in " ".join(row.reasons)) == (found != "pass")
    assert of(compared(layout, layout)).status == "pass"


@pytest.mark.parametrize(
    ("a_fails", "b_fails", "found"),
    [
        ((), range(6), "fail"),  # a race that came with b
        ((), (2,), "inconclusive"),
        ((3,), (), "pass"),  # both have it, and the first time it fell on b
        ((0, 4), (1, 2, 5), "pass"),
        ((3,), range(5), "inconclusive"),  # that a has it too does not excuse that b has it far oftener
    ],
)
def test_what_threads_decide_by_chance_is_asked_of_both_again(runs, tmp_path, a_fails, b_fails, found):
    layouts = [copy_of(runs["same"], tmp_path / name) for name in "ab"]
    answering(layouts[1], concurrent_calls="fail")
    sides, commands = [side_of(layout, name) for layout, name in zip(layouts, "ab", strict=True)], []

    def run_of(layout, fails):
        times = iter(range(6))

        def run(*arguments):
            commands.append(arguments)
            answering(layout, concurrent_calls="fail" if next(times) in fails else "pass")
            return 0

        return run

    both = [(side, run_of(side.layout, fails)) for side, fails in zip(sides, (a_fails, b_fails), strict=True)]
    settings = load_settings({"models": {"kronos": {"variants": list(KRONOS)}}}, [])
    ask_again(settings, sides, both)
    assert commands == [("--forcerun", "probe", "--until", "judge")] * 12
    for side in sides:
        side.seconds = {name: [1.0, 1.001, 0.999, 1.0, 1.002, 0.998] for name in SHARED}
    row = of(judge_sides(sides, Rules()))
    assert row.status == found
    assert row.reasons[0].startswith(
        f"concurrent-calls, asked again, fails in b {len(b_fails)} of 6 times, in a {len(a_fails)} of 6"
    )


def test_nothing_is_asked_again_where_nothing_differs(runs):
    sides = [side_of(runs["same"], name) for name in "ab"]
    ask_again(load_settings({"models": {"kronos": {"variants": list(KRONOS)}}}, []), sides, [])
    assert sides[0].asked == sides[1].asked == {}


def test_the_page_in_a_browser(runs, tmp_path):
    found = compared(runs["same"], runs["worse"])
    page_file = tmp_path / "compare.html"
    page_file.write_text(compare_html(found))
    assert "| kronos | `upstream-default` | fail |" in compare_markdown(found)
    with open_page(page_file) as page:
        assert page.errors == [] and all(url.startswith("file:") for url in page.requests)
        assert page.value("document.querySelectorAll('#figures-table tbody tr').length") == 2
        assert page.value("document.querySelectorAll('thead th button').length") == 11 + 5
        for width in (1200, 360):
            page.resize(width, 800)
            assert page.value("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "expected two commits or two folders"),
        ({"a": "HEAD", "b": "no-such-commit"}, "compare.b: 'no-such-commit' is no commit of"),
        ({"a": "--exec=x", "b": "HEAD"}, "compare.a: '--exec=x' is no commit; expected its hash"),
        ({"a": ".", "b": "HEAD"}, "name two of a kind"),
        ({"a": {"python": "no/python"}, "b": "HEAD"}, "no/python can't be run (No such file or directory)"),
        ({"a": "HEAD", "b": {"python": "/bin/false"}}, "compare.b.python: /bin/false has not what the gate needs"),
    ],
)
def test_a_mistake_is_one_message(tmp_path, asked, said):
    for command in (
        ["init", "-q"],
        ["-c", "user.name=A", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "x"],
    ):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    config = {
        "models": {"kronos": {"variants": ["upstream-eager"]}},
        "results_folder": str(tmp_path / "r"),
        "compare": asked,
    }
    command = [sys.executable, "-m", "greenlight.run.stages.compare", "--config", json.dumps(config)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr
