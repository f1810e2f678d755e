"""What was expected, how it differs from the baselines, and the verdict."""

BASELINES = PLAN.settings.baselines_folder
EVIDENCE = {
    "compiled": of_every_variant(lambda m, v: LAYOUT.record("compile", m, v), compiled=True),
    "predicted": [record for model in MODELS for record in predict_records(model)],
    "probed": of_every_variant(lambda m, v: LAYOUT.record("probe", m, v)),
    "repeated": [LAYOUT.record("repeat", model, variant) for model, variant in PLAN.repeated],
    "timed": of_timed(lambda m, v: LAYOUT.record("time", m, v)),
    "pairs": of_timed(LAYOUT.pairs),
    "scored": of_every_variant(LAYOUT.window_scores),
    "replicated": [LAYOUT.record("replicate", model, v) for model in PLAN.partners for v in PLAN.partners[model]],
    "summaries": [LAYOUT.score_summary(model) for model in MODELS],
    "weights": [LAYOUT.weights(model) for model in MODELS],
    "data": PREPARED,
}
JUDGED = [LAYOUT.expected, *(file for files in EVIDENCE.values() for file in files)]


rule expect:
    message:
        "Listing every row that the evidence must have"
    priority: 10
    localrule: True
    input:
        unpack(reads("expect", series=PREPARED, weights=EVIDENCE["weights"])),
    output:
        expected=LAYOUT.expected,
    threads: 1
    resources:
        **needs("expect"),
    params:
        job="expect",
    shell:
        "python -m greenlight.run.stages.expect --results {RESULTS:q} --job {params.job:q}"


rule diff:
    message:
        "Comparing with the stored baselines"
    localrule: True
    input:
        unpack(reads("diff", evidence=JUDGED)),
    output:
        difference=LAYOUT.difference,
    threads: 1
    resources:
        **needs("diff"),
    params:
        job="diff",
    shell:
        "python -m greenlight.run.stages.diff --results {RESULTS:q} --job {params.job:q} --baselines {BASELINES:q}"


rule judge:
    message:
        "Judging"
    localrule: True
    input:
        unpack(reads("judge", evidence=JUDGED, difference=[LAYOUT.difference])),
    output:
        verdict=LAYOUT.verdict,
        decision=LAYOUT.decision,  # deploy.env is none: Snakemake would delete it when the job starts or fails
    threads: 1
    resources:
        **needs("judge"),
    params:
        job="judge",
    shell:
        "python -m greenlight.run.stages.judge --results {RESULTS:q} --job {params.job:q} --baselines {BASELINES:q}"
