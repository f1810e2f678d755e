"""A rule for each stage, made from its row in the table (`run/table.py`).

A stage of a variant is a rule whose wildcards are model and variant, with a number for each shard; any other stage has
a rule for each of its jobs, such as `prepare_0`, `score_toto` and `judge`.
"""

import shlex

from greenlight.run.table import STAGES

FOLDERS = ("cache", "figures")
WRITTEN = {
    name: [str(path) for path in ROWS[job["stage"]].writes(LAYOUT, job)] for name, job in PLAN.all_jobs()
}


def files_of(names):
    """What some jobs write, but for folders, in which Snakemake does not look for changes."""
    return [path for name in names for path in WRITTEN[name] if Path(path).name not in FOLDERS]


def job_of(stage, fixed):
    """A parameter function: the name of this job."""
    row = ROWS[stage]
    return lambda wildcards: "/".join(
        str(part) for part in (stage, *(fixed.get(axis, wildcards.get(axis)) for axis in row.per))
    )


def reads(name_of):
    """An input function, for `unpack`: what a job reads, in a way that it runs exactly when it is stale.

    A stale job also reads the mark, which is new. For any other, times of files do not count, unless it follows a
    rule that is forced on the command line.
    """

    def inputs(wildcards):
        name = name_of(wildcards)
        if name not in PLAN.jobs.names:
            return {"unknown": [f"a job {name}"]}
        before = files_of(PLAN.upstream(name))
        if name in STALE:
            return {"before": before, "stale": [STALE_MARK]}
        return {"before": before if name in forced() else ancient(before)}

    return inputs


def options_of(stage, shard):
    """A parameter function: what the command line of a stage has besides the job's name.

    A function, because a text would be a pattern, in which {word} is a name.
    """
    symbols = SHARDS[stage.shard if shard is None else shard] if stage.options in ("symbols", "files") else ()
    given = {
        "": [],
        "symbols": ["--symbols", *symbols],
        "files": ["--files", *(str(PLAN.symbols[symbol]) for symbol in symbols)],
        "baselines": ["--baselines", PLAN.settings.baselines_folder],
    }
    return lambda wildcards: shlex.join(given[stage.options])


def rules_of(stage):
    """(name, the parts of a job's name that the rule fixes, a job of it) of each rule of a stage."""
    found = {}
    for name, (own, parts) in PLAN.jobs.names.items():
        if own == stage.name:
            job = PLAN.job(own, *parts)
            fixed = dict(zip(stage.per, parts))
            if stage.of_a_variant:
                fixed = {axis: part for axis, part in fixed.items() if axis == "shard"}
                job = job | {"model": "{model}", "variant": "{variant}"}
            found.setdefault(stage.rule(job | fixed), (fixed, job))
    return [(name, *found[name]) for name in found]


for stage in STAGES:
    for rule_name, fixed, job in rules_of(stage):

        rule:
            name:
                rule_name
            message:
                stage.message.format(**{axis: fixed.get(axis, f"{{wildcards.{axis}}}") for axis in stage.per})
            localrule: stage.local
            priority: stage.priority
            input:
                unpack(reads(job_of(stage.name, fixed))),
            output:
                [directory(path) if path.name in FOLDERS else str(path) for path in stage.writes(LAYOUT, job)],
            threads: THREADS if stage.child else 1
            resources:
                **needs(stage.name),
            params:
                command=stage.command,
                job=job_of(stage.name, fixed),
                options=options_of(stage, fixed.get("shard")),
            shell:
                "python -m {params.command} --results {RESULTS:q} --job {params.job:q} {params.options}"
