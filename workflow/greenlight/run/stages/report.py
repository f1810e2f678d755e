"""report: what the run found, as pages, figures and notices for CI; it comes out after failed runs too."""

from __future__ import annotations

import argparse
import shutil
from dataclasses import replace

from greenlight.files import write_text
from greenlight.layout import Layout
from greenlight.report.facts import gather
from greenlight.report.forecasts import report_charts
from greenlight.report.junit import junit
from greenlight.report.notices import comment, summary
from greenlight.report.plates import draw_all
from greenlight.report.reading import Reader
from greenlight.report.render import html, markdown
from greenlight.run.command import run_stage
from greenlight.run.job import Job


def report(layout: Layout, job: Job, options: argparse.Namespace) -> None:
    """Gather, draw and render. The same evidence gives the same bytes."""
    facts = gather(layout, job.get("before", {}).get("judge"))
    facts = replace(facts, data=replace(facts.data, left_out=tuple(job.get("left_out", ()))))
    shutil.rmtree(layout.figures, ignore_errors=True)
    layout.figures.mkdir(parents=True)
    figures, problems = draw_all(layout, facts, layout.figures)
    reader = Reader(layout.root)
    forecasts = {model.name: report_charts(reader, layout, model) for model in facts.models}
    facts = replace(facts, problems=tuple(dict.fromkeys([*facts.problems, *problems, *reader.problems])))
    write_text(layout.report, markdown(facts, figures))
    write_text(layout.report_page, html(facts, figures, layout.figures, forecasts))
    for path, write in zip(layout.notices, (summary, comment, junit), strict=True):
        write_text(path, write(facts))


if __name__ == "__main__":
    run_stage("Render the verification report.", report)
