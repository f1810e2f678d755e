"""Targets besides the run itself: accept, why."""

CONFIG_FILES = [str(file) for file in workflow.configfiles]


rule accept:
    message:
        "Accepting this run as the baseline"
    input:
        **EVIDENCE,
        verdict=rules.judge.output.verdict,
        expected=rules.expect.output.expected,
    params:
        config=json.dumps(config),
        files=CONFIG_FILES,
    shell:
        "python -m greenlight.stages.accept --config {params.config:q} --files {params.files:q}"


rule why:
    message:
        "What is stale, and why"
    params:
        config=json.dumps(config),
        files=CONFIG_FILES,
    shell:
        "python -m greenlight.stages.why --config {params.config:q} --files {params.files:q}"
