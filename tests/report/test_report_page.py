"""What the report says of passing, failing and damaged runs."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from greenlight.files import write_json
from greenlight.judgement.seal import seal
from greenlight.layout import Layout
from greenlight.report.findings import KIND_WORDS
from greenlight.run.planning import make_plan
from greenlight.run.stages.report import report
from greenlight.trials.kinds import KINDS
from tests.judgement.evidence_builder import KRONOS, TOTO, Effects, Run, reseal
from tests.report.conftest import accept_as_baseline, change_json, judge_again

SMALL = {"toto": {name: TOTO[name] for name in ("upstream-eager", "static-eager", "static-default")}}
TWO = {"kronos": KRONOS}
FAILED = {
    "kind": "graph-output-overwritten",
    "message": "RuntimeError: output | of `CUDAGraphs` <b>overwritten</b>\n# and more",
    "traceback": 'Traceback (most recent call last):\n  File "model.py", line 3\n```\n</pre><script>alert(1)</script>\n'
    "RuntimeError: the last line",
    "advice": "Clone the output.",
    "attempts": [{"kind": "out-of-host-memory", "message": "with 8 windows"}],
}


def render(layout: Layout) -> tuple[str, str]:
    report(layout, {}, None)
    return layout.report.read_text(), layout.report_page.read_text()


class Page(HTMLParser):
    """Elements, links and ids of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.sources: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        found = dict(attributes)
        self.links += [found["href"]] if "href" in found else []
        self.sources += [found["src"]] if "src" in found else []
        self.ids += [found["id"]] if "id" in found else []


@pytest.fixture(scope="module")
def passing(plain):
    """A passing run of one small model, and its report."""
    return plain, plain.report.read_text(), plain.report_page.read_text()


def test_a_pass_says_what_to_deploy_and_why_not_the_others(passing):
    _, text, page = passing
    assert text.startswith("# Greenlight: PASS\n")
    assert "### kronos: deploy `upstream-default`" in text
    assert "as fast as upstream-eager, the best of the simpler variants" in text
    assert "- not `upstream-eager`: passes" in text
    assert "<title>Greenlight: PASS</title>" in page


def test_the_tables_show_what_the_verdict_has(passing):
    layout, text, _ = passing
    entry = json.loads(layout.verdict.read_text())["models"]["kronos"]["variants"]["upstream-default"]
    (row,) = [line for line in text.splitlines() if line.startswith("| `upstream-default` (to deploy)")]
    assert f"{entry['speed']['speedup']['value']:.2f} [" in row
    assert f"{entry['accuracy']['overall']['mae_percent']['value']:.2f}% naive is better" in row
    assert "(upstream-eager)" in row and "6 of 6" in row and "300 MiB" in row
    assert "3 graphs, 0 breaks, 0 recompiles" in row
    assert f"{1000 * entry['speed']['variant_seconds']['median']:.1f} / " in row


def test_every_link_of_the_markdown_leads_somewhere(passing):
    layout, text, page = passing
    ids = Page(page).ids
    targets = re.findall(r"\]\(([^)]+)\)", text)
    assert any(target.startswith("figures/") for target in targets)
    for target in targets:
        name, _, fragment = target.partition("#")
        assert (layout.root / unquote(name)).is_file(), target
        assert not fragment or fragment in ids, target


def test_the_page_stands_alone(passing):
    _, _, page = passing
    found = Page(page)
    assert all(link.startswith("#") and link[1:] in found.ids for link in found.links)
    assert found.sources and all(source.startswith("data:image/svg+xml;base64,") for source in found.sources)
    assert found.tags.count("script") == 1 and "link" not in found.tags
    assert len(found.ids) == len(set(found.ids))


def test_the_same_evidence_gives_the_same_bytes(passing, make_results):
    _, text, page = passing
    layout = make_results()
    pictures = {path.name: path.read_bytes() for path in layout.figures.iterdir()}
    assert len(pictures) == 5
    assert render(layout) == (text, page)
    assert {path.name: path.read_bytes() for path in layout.figures.iterdir()} == pictures


def test_what_was_not_measured_is_said_from_the_evidence(passing):
    _, text, _ = passing
    part = text.partition("## What was not measured on this machine")[2].partition("\n## ")[0]
    assert "device memory and Triton kernels were not measured" in part
    assert "whether they engage was not measured" in part
    assert "no speed baseline was accepted on this platform" in part


def test_a_failed_trial_is_told_with_kind_advice_and_traceback(make_results):
    run = Run(models=SMALL)
    run.effects["toto", "static-default"] = Effects(latency=0.7, failed={"time": FAILED})
    text, page = render(make_results(run))
    assert "#### toto: static-default (time): CUDA graph output overwritten" in text
    assert "2 of 2 trials failed: RuntimeError" in text
    assert "What to do: Clone the output." in text
    assert "- earlier attempt: out of host memory: with 8 windows" in text
    assert "RuntimeError: the last line" in text
    assert "- not `static-default`: trials: 2 of 6 trials failed" in text
    outside = re.sub(r"(?ms)^(`{3,})text\n.*?^\1$", "", text)
    assert "<script" not in outside and "<b>" not in outside and "\n# and more" not in text
    found = Page(page)
    assert found.tags.count("script") == 1 and "b" not in found.tags
    assert "details" in found.tags


def test_what_fails_alike_in_every_stage_is_told_once(make_results):
    run = Run(models=SMALL)
    gone = {
        "kind": "missing-dependency",
        "message": "No module named 'x'",
        "traceback": "the end",
        "advice": "Install.",
    }
    stages = ("compile", "predict", "probe", "time")
    run.effects["toto", "static-default"] = Effects(failed=dict.fromkeys(stages, gone))
    layout = make_results(run)
    text, _ = render(layout)
    assert text.count("missing dependency\n") == 1 and text.count("the end") == 1
    assert "#### toto: static-default (compile, predict, probe, time): missing dependency" in text
    assert "6 of 6 trials failed: No module named 'x'" in text
    part = text.partition("### Checks that stop a variant or the run")[2].partition("\n##")[0]
    (line,) = [line for line in part.splitlines() if line.endswith("fail: no evidence")]
    assert "toto static-default: **compile-engaged, " in line and "same-seed" in line


def test_compilation_names_every_place_and_what_stands_in_the_way_of_cuda_graphs(make_results):
    run = Run(
        models={"toto": {name: TOTO[name] for name in ("upstream-eager", "static-eager", "static-reduce-overhead")}}
    )
    place = {"file": "model.py", "line": 33, "function": "forward", "reason": "Tensor.item() <b>"}
    run.effects["toto", "static-reduce-overhead"] = Effects(
        latency=0.7, health={"graph_breaks": [place], "compile_seconds": {"total": 4.0, "dynamo": 1.0}}
    )
    layout = make_results(run)
    readiness = {"ready": False, "nodes": [{**place, "operation": "aten._local_scalar_dense"}], "mutated_inputs": []}

    def add(record):
        record["trials"][0]["result"] |= {"readiness": readiness, "changes": {"masked": "shapes to <i>512</i> rows"}}

    reseal(layout.record("compile", "toto", "static-reduce-overhead"), add)
    text, page = render(layout)
    part = text.partition("## Compilation")[2].partition("\n## ")[0]
    assert "total 4.00 s, Dynamo 1.00 s, warm start 3 hits, 0 misses" in part
    assert "graph break at model.py:33 in forward: Tensor.item() &lt;b&gt;" in part
    assert "by the implementation itself: shapes to &lt;i&gt;512&lt;/i&gt; rows" in part
    assert "in the way of CUDA graphs: aten.\\_local_scalar_dense at model.py:33" in part
    assert "toto static-reduce-overhead is the same as static-default: it only adds CUDA graphs" in text
    assert "aten._local_scalar_dense" in page and not {"b", "i"} & set(Page(page).tags)


@pytest.mark.parametrize(
    ("trace", "line", "link"),
    [
        ({"pages": "trials/compile/a b/index.html", "note": ""}, "[tlparse](trials/compile/a%20b/index.html)", True),
        ({"pages": None, "note": "tlparse is not on PATH"}, "the trace has no pages: tlparse is not on PATH", False),
    ],
)
def test_a_kept_trace_is_linked_or_said_to_have_no_pages(make_results, trace, line, link):
    layout = make_results()
    reseal(layout.record("compile", "kronos", "upstream-default"), lambda record: record.update(trace=trace))
    text, page = render(layout)
    assert line in text and ("not archived" in text) == link
    assert ('href="trials/compile/a%20b/index.html"' in page) == link
    assert ("tlparse is not on PATH" in page) != link


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "ok"])
def test_every_kind_of_end_has_words(kind):
    assert (KIND_WORDS[kind] and KIND_WORDS[kind] != kind) or kind == "time-out"


def test_a_failing_gate_says_so_first_with_its_reasons(make_results):
    run = Run(models=SMALL, deployed={"toto": "static-default"})
    run.effects["toto", "static-default"] = Effects(latency=0.7, health={"engaged": False, "graphs": 0})
    text, page = render(make_results(run))
    assert text.startswith("# Greenlight: FAIL\n")
    assert "### toto: deploy nothing" in text
    assert "the deployed variant static-default fails compile-engaged" in text.partition("## Decision")[0]
    assert "Production runs `static-default` now, which is what the gate judges: **fail**" in text
    assert "not engaged: 0 graphs" in text
    assert "Greenlight: FAIL" in page


def test_all_inconclusive_is_told_apart_from_a_failure(make_results):
    run = Run(models=SMALL, pairs=4, control_pairs=4, deployed={"toto": "static-default"})
    text, _ = render(make_results(run))
    assert text.startswith("# Greenlight: INCONCLUSIVE\n")
    assert "Do not deploy yet" in text


def test_hostile_symbol_names_are_shown_and_are_not_markup(make_results):
    names = {"<img src=x onerror=alert(1)>": 5, "a|b`c": 5, "# [x](y)": 5, "$e$ **f**": 5, "SIM_CALM": 5}
    layout = make_results(Run(models=TWO, symbols=names))
    text, page = render(layout)
    assert "<img" not in text and "&lt;img src=x onerror=alert(1)&gt;" in text
    assert "a\\|b\\`c" in text and "SIM_CALM" in text
    rows = [line for line in text.splitlines() if line.startswith("| ") and "onerror" in line]
    cells = {len(re.split(r"(?<!\\)\|", row)) for row in rows}
    assert len(cells) == 1
    assert Page(page).tags.count("img") == len(list(layout.figures.iterdir()))


def test_data_findings_have_their_lines(make_results):
    layout = make_results()
    finding = {"kind": "high_below_low", "count": 3, "lines": [7, 8, 30], "detail": "high | low", "action": "swap"}
    change_json(layout.data_report("SYM0"), lambda value: value.update(findings=[finding]))
    text, _ = render(layout)
    assert "| SYM0 | SYM0.csv | high below low: high \\| low | lines 7-8, 30 | swap |" in text


@pytest.mark.parametrize("damage", ["missing", "cut", "list", "unsealed"])
def test_a_verdict_that_cannot_be_trusted_is_never_shown_as_one(make_results, damage):
    layout = make_results()
    verdict = json.loads(layout.verdict.read_text())
    if damage == "missing":
        layout.verdict.unlink()
    elif damage == "cut":
        layout.verdict.write_text(layout.verdict.read_text()[:500])
    elif damage == "list":
        write_json(layout.verdict, [])
    else:
        write_json(layout.verdict, verdict | {"gate": "pass", "reasons": ["edited"]})
    text, page = render(layout)
    assert text.startswith("# Greenlight: UNKNOWN\n")
    assert "This report is not complete" in text and "verdict.json" in text
    assert "deploy nothing" in text and "deploy `" not in text
    assert "Greenlight: UNKNOWN" in page


@pytest.mark.parametrize("offset", range(3))
def test_a_report_comes_out_whatever_is_gone_or_broken(make_results, offset):
    layout = make_results()
    files = sorted(path for path in layout.root.rglob("*") if path.is_file())
    for number, path in enumerate(files, offset):
        if number % 3 == 0:
            path.unlink()
        elif number % 3 == 1:
            path.write_bytes(path.read_bytes()[:40])
    text, _ = render(layout)
    assert text.startswith("# Greenlight: ") and "**This report is not complete:**" in text


def test_an_empty_results_folder_gives_a_report(tmp_path):
    text, _ = render(Layout(tmp_path))
    assert text.startswith("# Greenlight: UNKNOWN\n")
    assert "expected.json is missing" in text


def test_strange_content_under_a_good_seal_gives_a_report(make_results):
    layout = make_results()
    strange = {
        "gate": "pass",
        "models": {"kronos": {"gate": "pass", "decision": {"judged": 3, "losers": [1]}, "variants": {"x": None}}},
        "checks": [None, {"name": None, "figure": {}, "status": 4}],
        "reasons": "none",
    }
    write_json(layout.verdict, seal(strange))
    render(layout)


def test_many_symbols_stay_readable(make_results):
    layout = make_results(Run(models=TWO, symbols={f"S{number:03d}": 2 for number in range(50)}))
    text, page = render(layout)
    assert "### Worst symbols, `upstream-default`" in text and "### Best symbols, `upstream-default`" in text
    assert sum(line.startswith("| S") and "| 2 |" in line for line in text.splitlines()) == 20
    assert "All 50 symbols are in [report.html](report.html#symbols-kronos)" in text
    assert all(f"<td>S{number:03d}</td>" in page for number in range(50))


def test_changes_since_a_baseline_are_shown(make_results):
    layout = make_results()
    baselines = layout.root.parent / "baselines"
    accept_as_baseline(layout, baselines, who="Ada | B")
    judge_again(layout, baselines)
    text, _ = render(layout)
    part = text.partition("## Changes since the baseline")[2].partition("\n## ")[0]
    accuracy = [line for line in part.splitlines() if "baseline-accuracy" in line]
    assert all("**pass**" in line for line in accuracy)
    assert sum(line.count("kronos upstream-eager") for line in accuracy) == 1, accuracy
    assert any(line.count("kronos ") > 1 for line in accuracy), "what is said of several variants is said once"
    assert "**accuracy/kronos.json**: compared (2026-01-01T00:00:00Z, Ada \\| B, abc, first)" in part


def test_figures_do_not_parse_names_as_mathematics(tmp_path):
    from greenlight.report.figures import Speedup, draw_speedups

    draw_speedups(tmp_path / "a.svg", [Speedup(r"$\frac{$", 1.2, None, 1.3, None)], "<b>&")
    assert "</svg>" in Path(tmp_path / "a.svg").read_text()


def test_price_files_that_were_left_out_are_named(make_results) -> None:
    layout = make_results(Run(models=TWO))
    report(layout, {"left_out": ["AAPL Historical Data.csv", "^GSPC | <b>.csv"]}, None)
    text, page = layout.report.read_text(), layout.report_page.read_text()
    assert (
        "Left out, since their names are no symbols" in text
        and "AAPL Historical Data.csv, ^GSPC \\| &lt;b&gt;.csv" in text
    )
    assert "^GSPC | &lt;b&gt;.csv" in page
    assert "Left out" not in "".join(render(layout))


def test_a_plan_names_the_files_that_it_leaves_out(tmp_path: Path) -> None:
    for name in ("A.csv", "A Historical Data.csv"):
        (tmp_path / name).write_text("Date,Open,High,Low,Close\n2024-01-02,1,1,1,1\n2024-01-03,1,1,1,1\n")
    config = {"data_folder": str(tmp_path), "results_folder": str(tmp_path / "results"), "models": {"kronos": {}}}
    plan, _ = make_plan(config, [])
    assert plan.job("report")["left_out"] == ["A Historical Data.csv"]
