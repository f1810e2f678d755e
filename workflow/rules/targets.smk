"""Targets besides the run itself: accept, why, power, history, diagnose."""

CONFIG_FILES = [str(file) for file in workflow.configfiles]


rule accept:
    message:
        "Accepting this run as the baseline"
    localrule: True
    input:
        files_of(["judge", *PLAN.upstream("judge")]),
    threads: 1
    resources:
        **needs("accept"),
    params:
        config=lambda wildcards: json.dumps(config),  # a value: a text would be a pattern, in which {word} is a name
        files=lambda wildcards: CONFIG_FILES,
    shell:
        "python -m greenlight.run.stages.accept --config {params.config:q} --files {params.files:q}"


rule why:
    message:
        "What is stale, and why"
    localrule: True
    threads: 1
    resources:
        **needs("why"),
    params:
        config=lambda wildcards: json.dumps(config),  # a value: a text would be a pattern, in which {word} is a name
        files=lambda wildcards: CONFIG_FILES,
    shell:
        "python -m greenlight.run.stages.why --config {params.config:q} --files {params.files:q}"


rule power:
    message:
        "What sizes of defect this configuration can show"
    localrule: True
    threads: 1
    resources:
        **needs("why"),
    params:
        config=lambda wildcards: json.dumps(config),  # a value: a text would be a pattern, in which {word} is a name
        files=lambda wildcards: CONFIG_FILES,
    shell:
        "python -m greenlight.run.stages.power --config {params.config:q} --files {params.files:q}"


rule history:
    message:
        "Archived runs"
    localrule: True
    threads: 1
    resources:
        **needs("history"),
    shell:
        "python -m greenlight.run.stages.history --results {RESULTS:q}"


rule diagnose:  # ends with a page and exit code 0, whatever it finds
    message:
        "Diagnosing: the device, each model alone, all together, and what fails once more"
    input:
        [LAYOUT.weights(model) for model in PLAN.model_names],
    threads: THREADS
    resources:
        **needs("diagnose"),
    params:
        config=lambda wildcards: json.dumps(config),  # a value: a text would be a pattern, in which {word} is a name
        files=lambda wildcards: CONFIG_FILES,
    shell:
        "python -m greenlight.run.stages.diagnose --config {params.config:q} --files {params.files:q}"
