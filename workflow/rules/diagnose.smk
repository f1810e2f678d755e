"""Where failures come from: run on request, ends with a page and exit code 0 whatever it finds."""


rule diagnose:
    message:
        "Diagnosing: the device, each model alone, all together, and what fails once more"
    input:
        weights=[LAYOUT.weights(model) for model in MODELS],
    threads: THREADS
    resources:
        **needs("diagnose"),
    params:
        config=lambda wildcards: json.dumps(config),  # a value: a text would be a pattern, in which {word} is a name
        files=lambda wildcards: CONFIG_FILES,
    shell:
        "python -m greenlight.run.stages.diagnose --config {params.config:q} --files {params.files:q}"
