"""What CI systems are given: a summary, a comment, and JUnit XML."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from xml.etree import ElementTree

import junitparser
import markdown
import pytest

from greenlight.code import Code
from greenlight.files import read_json, write_json
from greenlight.judgement.seal import seal
from greenlight.report.facts import gather
from greenlight.report.junit import junit
from greenlight.report.notices import comment, summary
from greenlight.run.handover import PACKAGE
from greenlight.run.stages.gate import summary as gate_summary
from greenlight.run.stages.report import report
from tests.judgement.evidence_builder import KRONOS, TOTO, Effects, Run
from tests.report.conftest import accept_as_baseline, judge_again

TWO = {"kronos": KRONOS}
HOSTILE = '<b>|`x`@ada #7 \x1b[31m\x00\ufffe]]> & "q"'


def stopped(make_results, **named):
    """A run whose deployed variant is twice as slow."""
    run = Run(models=TWO, deployed={"kronos": "upstream-default"})
    run.effects["kronos", "upstream-default"] = Effects(latency=2.0)
    return make_results(run, **named)


def read_junit(text: str) -> dict[str, dict[tuple[str, str], junitparser.TestCase]]:
    """Cases by suite, class name and name, as junitparser reads them."""
    suites = junitparser.JUnitXml.fromstring(text.encode())
    return {suite.name: {(case.classname, case.name): case for case in suite} for suite in suites}


def test_the_summary_of_a_pass_has_verdict_and_decision_first(plain):
    lines = summary(gather(plain)).splitlines()
    assert lines[0] == "# Greenlight: PASS"
    (decision,) = [line for line in lines if line.startswith("- **kronos**")]
    assert "deploy `upstream-default` (at least 1.3" in decision and "; MAE" in decision
    assert lines.index(decision) < lines.index("## Changed since the baseline") < lines.index("## Stopped")
    assert "Nothing was compared with an earlier run." in lines and "No check stops a variant." in lines


def test_the_summary_of_a_failure_says_why_and_what_was_stopped(make_results):
    text = summary(gather(stopped(make_results)))
    assert text.startswith("# Greenlight: FAIL\n")
    assert "- **kronos**: deploy nothing" in text
    assert "the deployed variant upstream-default fails not-slower" in text.partition("## Changed")[0]
    assert "- kronos upstream-default: **not-slower** fail: " in text.partition("## Stopped")[2]


def test_a_summary_without_a_verdict_never_says_that_nothing_was_stopped(make_results):
    layout = make_results()
    layout.verdict.unlink()
    text = summary(gather(layout))
    assert text.startswith("# Greenlight: UNKNOWN\n") and "deploy `" not in text
    assert "verdict.json is missing" in text and "No check stops" not in text


def many(plain):
    """Facts of a run of thirty models in which everything goes wrong, at length."""
    facts = gather(plain)
    check = replace(facts.checks[-1], blocking=True, status="fail", reason="because " * 200)
    checks = tuple(replace(check, subject=f"m{n} v", model=f"m{n}", name=f"check-{n}") for n in range(500))
    models = tuple(replace(facts.models[0], name=f"m{n}") for n in range(30))
    more = {"checks": checks, "blocking": checks, "changes": checks, "models": models}
    return replace(facts, verdict="fail", reasons=("for this reason " * 100,) * 300, problems=("gone",) * 40, **more)


def test_summary_and_comment_stay_short_whatever_the_run(plain):
    facts = many(plain)
    assert len(summary(facts).splitlines()) < 60
    assert len(comment(facts).splitlines()) < 60
    assert len(comment(facts)) < 20_000  # GitHub takes 65,536 characters


def test_the_comment_has_a_marker_that_stays_and_what_got_worse(make_results):
    layout = make_results()
    baselines = layout.root.parent / "baselines"
    accept_as_baseline(layout, baselines)
    judge_again(layout, baselines)
    good = comment(gather(layout))
    assert "Nothing got worse since the baseline." in good
    run = Run(models=TWO)
    run.effects["kronos", "upstream-default"] = Effects(latency=0.95)
    run.write(layout.root)
    judge_again(layout, baselines)
    bad = comment(gather(layout))
    assert bad.splitlines()[0] == good.splitlines()[0] == "<!-- greenlight-cpu-kronos -->"
    (line,) = [line for line in bad.splitlines() if "**baseline-speed** fail" in line]
    assert line.startswith("- kronos upstream-default: ") and "slower" in line
    assert "baseline-accuracy" not in bad and "pass:" not in bad


def test_names_and_messages_are_no_markup_and_call_nobody(plain):
    facts = gather(plain)
    check = replace(facts.checks[-1], blocking=True, status="fail", subject=HOSTILE, name=HOSTILE, reason=HOSTILE)
    model = replace(facts.models[0], name=HOSTILE, deploy=None, reason=HOSTILE)
    facts = replace(facts, verdict="fail", reasons=(HOSTILE,), checks=(check,), changes=(check,), models=(model,))
    for text in (summary(facts), comment(facts)):
        assert "@ada" not in text and "#7" not in text and "\x1b" not in text and "\x00" not in text
        page = markdown.markdown(text.replace("<!-- -->", ""), extensions=["tables", "sane_lists"])
        assert "@ada #7" in page and "<b>" not in page
        ours = {"0123456789", "report.html", "upstream-default", "verdict.json"}
        assert set(re.findall("<code>(.*?)</code>", page)) <= ours


def test_junit_has_a_suite_a_model_and_a_case_a_check_of_a_variant(make_results):
    layout = make_results(Run(models={"kronos": KRONOS, "toto": TOTO}))
    suites = read_junit(junit(gather(layout)))
    assert list(suites) == ["greenlight", "kronos", "toto"]
    judged = read_json(layout.verdict)["checks"]
    assert sum(map(len, suites.values())) == len(judged) + 1
    assert suites["greenlight"]["greenlight", "gate"].is_passed
    for check in judged:
        if check["model"] is None or check["variant"] is None:
            continue
        case = suites[check["model"]][f"greenlight.{check['model']}.{check['variant']}", check["name"]]
        assert case.is_failure == check["blocking"], check
        assert case.is_skipped == (not check["blocking"] and check["status"] in ("inconclusive", "not-measured"))
        if check["blocking"]:
            assert case.result[0].text == " ".join(check["reason"].split())


def test_junit_fails_where_the_gate_fails_whatever_the_checks_say(make_results):
    text = junit(gather(stopped(make_results)))
    suites = read_junit(text)
    gate = suites["greenlight"]["greenlight", "gate"]
    assert gate.is_failure and "fails not-slower" in gate.result[0].text
    parsed = junitparser.JUnitXml.fromstring(text.encode())
    # The gate; and the median and the mean of the latency.
    assert [suite.failures for suite in parsed] == [1, 2] and all(suite.errors == 0 for suite in parsed)
    layout = make_results(name="gone")
    layout.verdict.unlink()
    assert read_junit(junit(gather(layout)))["greenlight"]["greenlight", "gate"].is_failure


def test_junit_has_the_elements_of_the_common_schema_in_its_order(make_results):
    """Of Jenkins' junit-10.xsd: which attributes each element must and may have, and which children in which order."""
    root = ElementTree.fromstring(junit(gather(stopped(make_results))))
    assert root.tag == "testsuites" and {suite.tag for suite in root} == {"testsuite"}
    for suite in root:
        assert {"name", "tests", "failures", "errors", "skipped"} <= set(suite.attrib)
        assert int(suite.attrib["tests"]) == len(suite) > 0 and {case.tag for case in suite} == {"testcase"}
        names = [(case.attrib["classname"], case.attrib["name"]) for case in suite]
        assert len(names) == len(set(names))
        for case in suite:
            assert [child.tag for child in case] in ([], ["failure"], ["skipped"], ["system-out"])


def test_junit_is_xml_with_any_name(plain):
    facts = gather(plain)
    check = replace(facts.checks[-1], variant=HOSTILE, model=HOSTILE, name=HOSTILE, reason=HOSTILE, blocking=True)
    facts = replace(facts, checks=(check, check), models=())
    (suite,) = [cases for name, cases in read_junit(junit(facts)).items() if name != "greenlight"]
    assert len(suite) == 2 and all("<b>|`x`@ada #7" in name and "]]>" in name for _, name in suite)


def run_gate(layout, page):
    job = {"job": {"stage": "gate", "code": ""}, "upstream": [], "outputs": []}
    code = Code(("greenlight.run.stages.gate",))
    own = {"": {"code": code.plain(), "contents": code.contents()}}
    write_json(layout.plan, {"jobs": {"gate": job}, "package": str(PACKAGE), "code": own})
    command = [sys.executable, "-m", "greenlight.run.stages.gate", "--results", str(layout.root), "--job", "gate"]
    environment = os.environ | {"GITHUB_STEP_SUMMARY": str(page)}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_the_gate_appends_the_summary_to_the_page_of_the_job(plain, make_results, tmp_path):
    layout, page = make_results(), tmp_path / "page.md"
    page.write_text("before\n")
    assert run_gate(layout, page).returncode == 0
    assert page.read_text() == f"before\n{layout.notices[0].read_text()}\n"
    assert run_gate(layout, tmp_path / "no" / "such").returncode == 0


def test_where_the_gate_fails_after_the_report_no_file_for_ci_says_pass(make_results, tmp_path):
    layout, page = make_results(), tmp_path / "page.md"
    layout.window_scores("kronos", "upstream-default").unlink()
    assert run_gate(layout, page).returncode == 1
    assert page.read_text().startswith("# Greenlight: FAIL\n") and "changed after it was judged" in page.read_text()
    assert not any(path.exists() for path in layout.notices)


@pytest.mark.parametrize("change", [{"reasons": ["a reason"]}, {"models": {}}])
def test_a_pass_that_contradicts_itself_is_nowhere_shown_as_one(make_results, change):
    layout = make_results()
    verdict = {k: v for k, v in read_json(layout.verdict).items() if k != "content_sha256"}
    write_json(layout.verdict, seal(verdict | change))
    report(layout, {}, None)
    assert not gate_summary(layout)[0]
    assert layout.notices[0].read_text().startswith("# Greenlight: UNKNOWN\n")
    assert layout.report.read_text().startswith("# Greenlight: UNKNOWN\n")
    assert read_junit(layout.notices[2].read_text())["greenlight"]["greenlight", "gate"].is_failure
