"""Forecasts of every window of every symbol, from the filled cache; one job a variant and shard."""

def predict_job(shard):
    """A parameter function: the name of the job of a shard."""
    return lambda wildcards: f"predict/{wildcards.model}/{wildcards.variant}/{shard}"


for shard, symbols in SHARDS.items():

    rule:
        name:
            f"predict_{shard}"
        message:
            f"Forecasting {len(symbols)} symbols with {{wildcards.model}} {{wildcards.variant}}"
        input:
            unpack(reads(predict_job(shard), series=[LAYOUT.prepared(shard)], start=weights_and_cache)),
        output:
            record=f"{RESULTS}/predict/model={{model}}/variant={{variant}}/shard={shard:04d}/record.json",
        threads: THREADS
        resources:
            **needs("predict"),
        params:
            job=predict_job(shard),
            symbols=list(symbols),
        shell:
            "python -m greenlight.run.stages.predict --results {RESULTS:q} --job {params.job:q}"
            " --symbols {params.symbols:q}"
