"""trainingdata/*.csv -> one canonical price series and one data report a symbol; the checkpoints of each model."""

for shard, symbols in SHARDS.items():

    rule:
        name:
            f"prepare_{shard}"
        message:
            f"Reading {len(symbols)} price files"
        priority: 20
        input:
            unpack(reads(f"prepare/{shard}")),
            files=ancient([str(PLAN.symbols[symbol]) for symbol in symbols]),
        output:
            record=LAYOUT.prepared(shard),
        threads: 1
        resources:
            **needs("prepare"),
        params:
            job=f"prepare/{shard}",
        shell:
            "python -m greenlight.run.stages.prepare --results {RESULTS:q} --job {params.job:q} --files {input.files:q}"


rule weights:
    message:
        "Finding the weights of {wildcards.model}"
    priority: 20
    localrule: True  # on a cluster, only the machine that users log in to may reach the network
    input:
        unpack(reads(job_of("weights"))),
    output:
        record=f"{RESULTS}/weights/model={{model}}/record.json",
    threads: 1
    resources:
        **needs("weights"),
    params:
        job=job_of("weights"),
    shell:
        "python -m greenlight.run.stages.weights --results {RESULTS:q} --job {params.job:q}"
