"""Targets besides the run itself: see the head of the Snakefile."""

# What they say while they run, and what they read first.
TARGETS = {
    "accept": ("Accepting this run as the baseline", lambda: files_of(["judge", *PLAN.upstream("judge")])),
    "why": ("What is stale, and why", list),
    "power": ("What sizes of defect this configuration can show", list),
    "forecast": ("Drawing the forecasts of all variants", list),
    "compare": ("Comparing a with b, one after the other", list),
    "bisect": ("Searching the commit since which a check fails", list),
    "sweep": (
        "Speed, memory and cost of what passes, by size",
        lambda: files_of(["judge", *PLAN.upstream("judge")]),
    ),
    # Ends with a page and exit code 0, whatever it finds.
    "diagnose": (
        "Diagnosing: the device, each model alone, all together, and what fails once more",
        lambda: [LAYOUT.weights(model) for model in PLAN.model_names],
    ),
}

for target, (said, reads_first) in TARGETS.items():

    rule:
        name:
            target
        message:
            said
        localrule: target not in ("diagnose", "sweep")
        input:
            reads_first(),
        threads: THREADS if target in ("diagnose", "sweep") else 1
        resources:
            **needs(target),
        params:
            target=target,
            config=lambda wildcards: json.dumps(config),  # a value: a text would be a pattern, in which {word} is a name
            files=lambda wildcards: [str(file) for file in workflow.configfiles],
        shell:
            "python -m greenlight.run.stages.{params.target} --config {params.config:q} --files {params.files:q}"


rule history:
    message:
        "Archived runs"
    localrule: True
    threads: 1
    resources:
        **needs("history"),
    shell:
        "python -m greenlight.run.stages.history --results {RESULTS:q}"
