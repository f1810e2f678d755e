"""Numerics, repeats, latency, scores and replicates. All but the last two use symbols of the first shard."""


rule probe:
    message:
        "Comparing the numerics of {wildcards.model} {wildcards.variant} with float64"
    input:
        unpack(reads(job_of("probe"), series=[LAYOUT.prepared(0)], start=weights_and_cache)),
    output:
        record=f"{RESULTS}/probe/model={{model}}/variant={{variant}}/record.json",
    threads: THREADS
    resources:
        **needs("probe"),
    params:
        job=job_of("probe"),
        symbols=list(SHARDS[0]),
    shell:
        "python -m greenlight.run.stages.probe --results {RESULTS:q} --job {params.job:q} --symbols {params.symbols:q}"


def first_forecasts(wildcards):
    """The record that repeats are held against."""
    return [LAYOUT.predict_record(wildcards.model, wildcards.variant, 0)]


rule repeat:
    message:
        "Running {wildcards.model} {wildcards.variant} in further processes"
    input:
        unpack(reads(job_of("repeat"), series=[LAYOUT.prepared(0)], start=weights_and_cache, first=first_forecasts)),
    output:
        record=f"{RESULTS}/repeat/model={{model}}/variant={{variant}}/record.json",
    threads: THREADS
    resources:
        **needs("repeat"),
    params:
        job=job_of("repeat"),
        symbols=list(SHARDS[0]),
    shell:
        "python -m greenlight.run.stages.repeat --results {RESULTS:q} --job {params.job:q} --symbols {params.symbols:q}"


rule time:
    message:
        "Timing {wildcards.model} {wildcards.variant} against the reference"
    input:
        unpack(reads(job_of("time"), series=[LAYOUT.prepared(0)], start=weights_and_cache)),
    output:
        record=f"{RESULTS}/time/model={{model}}/variant={{variant}}/record.json",
        pairs=f"{RESULTS}/time/model={{model}}/variant={{variant}}/pairs.parquet",
    threads: THREADS
    resources:
        **needs("time"),
    params:
        job=job_of("time"),
        symbols=list(SHARDS[0]),
    shell:
        "python -m greenlight.run.stages.time_variant --results {RESULTS:q} --job {params.job:q}"
        " --symbols {params.symbols:q}"


for model in MODELS:

    rule:
        name:
            f"score_{model}"
        message:
            f"Scoring the forecasts of {model}"
        input:
            unpack(reads(f"score/{model}", series=PREPARED, forecasts=predict_records(model))),
        output:
            windows=of_every_variant(LAYOUT.window_scores, model),
            records=of_every_variant(lambda m, v: LAYOUT.record("scores", m, v), model),
            summary=LAYOUT.score_summary(model),
        threads: 1
        resources:
            **needs("score"),
        params:
            job=f"score/{model}",
        shell:
            "python -m greenlight.run.stages.score --results {RESULTS:q} --job {params.job:q}"


def compiled_records(model):
    """The records of a model's compile caches."""
    return of_every_variant(lambda m, v: LAYOUT.record("compile", m, v), model, compiled=True)


for model in PLAN.partners:

    rule:
        name:
            f"replicate_{model}"
        message:
            f"Forecasting with further seeds where one does not decide between variants of {model}"
        input:
            unpack(
                reads(
                    f"replicate/{model}",
                    series=PREPARED,
                    start=[LAYOUT.weights(model), *compiled_records(model)],
                    forecasts=predict_records(model),
                    scores=of_every_variant(LAYOUT.window_scores, model),
                )
            ),
        output:
            records=[LAYOUT.record("replicate", model, variant) for variant in PLAN.partners[model]],
        threads: THREADS
        resources:
            **needs("replicate"),
        params:
            job=f"replicate/{model}",
        shell:
            "python -m greenlight.run.stages.replicate --results {RESULTS:q} --job {params.job:q}"
