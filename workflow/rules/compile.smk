"""An empty private cache for each compiled variant, then a cold compile that fills it."""


rule clear:
    message:
        "Clearing the compile cache of {wildcards.model} {wildcards.variant}"
    localrule: True
    input:
        unpack(reads(job_of("clear"))),
    output:
        record=f"{RESULTS}/compile/model={{model}}/variant={{variant}}/cleared.json",
    threads: 1
    resources:
        **needs("clear"),
    params:
        job=job_of("clear"),
    shell:
        "python -m greenlight.run.stages.clear --results {RESULTS:q} --job {params.job:q}"
        " --model {wildcards.model:q} --variant {wildcards.variant:q}"


rule compile:
    message:
        "Compiling {wildcards.model} {wildcards.variant} from an empty cache, and warming it up"
    input:
        unpack(
            reads(
                job_of("compile"),
                cleared=lambda wildcards: [LAYOUT.cleared(wildcards.model, wildcards.variant)],
                weights=lambda wildcards: [LAYOUT.weights(wildcards.model)],
            )
        ),
    output:
        record=f"{RESULTS}/compile/model={{model}}/variant={{variant}}/record.json",
        cache=directory(f"{RESULTS}/compile/model={{model}}/variant={{variant}}/cache"),
    threads: THREADS
    resources:
        **needs("compile"),
    params:
        job=job_of("compile"),
    shell:
        "python -m greenlight.run.stages.compile_variant --results {RESULTS:q} --job {params.job:q}"
