"""Greenlight: the gate in front of a deploy of compiled forecasting models.

    snakemake --cores 1             examine, judge, report; exit code 0 only if the gate passes
    snakemake --cores 1 -n          what is stale
    snakemake --cores 1 why         the same in words: which key, module, file or version changed
    snakemake --cores 1 power       what sizes of defect this configuration can show
    snakemake --cores 1 accept      store this run's evidence as the baseline
    snakemake --cores 1 history     archived runs, and since when figures differ
    snakemake --cores 1 forecast    a page a symbol: the forecasts of all variants beside the outcome
    snakemake --cores 1 compare     two commits, or two folders of code, against each other
    snakemake --cores 1 bisect      the commit since which a check fails
    snakemake --cores 1 sweep       speed, memory and cost of what passes, by batch, context, horizon and samples
    snakemake --cores 1 diagnose    where CUDA or compile failures come from
"""

configfile: "config/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/stages.smk"
include: "workflow/rules/targets.smk"


rule all:
    default_target: True
    input:
        # All of them, because Snakemake does not miss an intermediate file that was deleted.
        files_of(WRITTEN),
