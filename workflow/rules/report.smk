"""The report, its archived copy, and the exit code. Only `gate` fails."""


rule report:
    message:
        "Rendering the verification report"
    localrule: True
    input:
        unpack(
            reads(
                "report",
                judged=[LAYOUT.verdict, LAYOUT.decision, LAYOUT.difference],
                evidence=[*EVIDENCE["pairs"], *EVIDENCE["predicted"]],
            )
        ),
    output:
        markdown=LAYOUT.report,
        page=LAYOUT.report_page,
        figures=directory(LAYOUT.figures),
        notices=LAYOUT.notices,
    threads: 1
    resources:
        **needs("report"),
    params:
        job="report",
    shell:
        "python -m greenlight.run.stages.report --results {RESULTS:q} --job {params.job:q}"


rule archive:
    message:
        "Archiving the report and its evidence"
    localrule: True
    input:
        unpack(reads("archive", report=[LAYOUT.report, LAYOUT.report_page])),
    output:
        record=LAYOUT.archived,
    threads: 1
    resources:
        **needs("archive"),
    params:
        job="archive",
    shell:
        "python -m greenlight.run.stages.archive --results {RESULTS:q} --job {params.job:q}"


rule gate:
    message:
        "The gate"
    localrule: True  # its verdict is read in the terminal
    input:
        unpack(reads("gate", judged=[LAYOUT.verdict, LAYOUT.report, LAYOUT.archived])),
    output:
        passed=LAYOUT.passed,
    threads: 1
    resources:
        **needs("gate"),
    params:
        job="gate",
    shell:
        "python -m greenlight.run.stages.gate --results {RESULTS:q} --job {params.job:q}"


rule history:
    message:
        "Archived runs"
    localrule: True
    threads: 1
    resources:
        **needs("history"),
    shell:
        "python -m greenlight.run.stages.history --results {RESULTS:q}"
