"""The report, its archived copy, and the exit code. Only `gate` fails."""


rule report:
    message:
        "Rendering the verification report"
    localrule: True
    input:
        verdict=rules.judge.output.verdict,
        decision=rules.judge.output.decision,
        difference=rules.diff.output.difference,
        pairs=EVIDENCE["pairs"],
        forecasts=FORECASTS,
    output:
        markdown=LAYOUT.report,
        page=LAYOUT.report_page,
        figures=directory(LAYOUT.figures),
    threads: 1
    resources:
        **needs("report"),
    params:
        job=job_text(PLAN.report()),
    shell:
        "python -m greenlight.stages.report --results {RESULTS:q} --job {params.job:q}"


rule archive:
    message:
        "Archiving the report and its evidence"
    localrule: True
    input:
        report=[rules.report.output.markdown, rules.report.output.page],
        deploy=rules.judge.output.deploy,
    output:
        record=LAYOUT.archived,
    threads: 1
    resources:
        **needs("archive"),
    params:
        job=job_text(PLAN.archive()),
    shell:
        "python -m greenlight.stages.archive --results {RESULTS:q} --job {params.job:q}"


rule gate:
    message:
        "The gate"
    localrule: True  # its verdict is read in the terminal
    input:
        verdict=rules.judge.output.verdict,
        report=rules.report.output.markdown,
        archived=rules.archive.output.record,
    output:
        passed=LAYOUT.passed,
    threads: 1
    resources:
        **needs("gate"),
    params:
        job=job_text(PLAN.gate()),
    shell:
        "python -m greenlight.stages.gate --results {RESULTS:q} --job {params.job:q}"


rule history:
    message:
        "Archived runs"
    localrule: True
    threads: 1
    resources:
        **needs("history"),
    shell:
        "python -m greenlight.stages.history --results {RESULTS:q}"
