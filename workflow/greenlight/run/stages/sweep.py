"""sweep: speed, memory and cost of the variants that pass, by windows in a call, context, horizon and samples.

Each size in each process is a trial of its own, whose record is kept: a sweep that was stopped goes on where it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from greenlight.errors import UserError, say
from greenlight.files import read_json, write_json, write_text
from greenlight.layout import Layout
from greenlight.provenance import digest, git_commit, utc_now
from greenlight.report.reading import Reader
from greenlight.report.sweep import Point, Sweep, draw, point_of, sweep_html, sweep_markdown
from greenlight.report.variants import variant_row
from greenlight.run.command import run_target
from greenlight.run.jobs import Plan
from greenlight.run.locking import join_run
from greenlight.run.planning import make_plan
from greenlight.run.staleness import stale_jobs
from greenlight.run.trial import run_with_cache, trial_request

CHILD = "greenlight.run.children.sweep"
KEYS = {"windows": "timed_windows", "contexts": "context_length", "horizons": "horizon", "samples": "samples"}
_FROM_OUTSIDE = ("machine",)
Size = tuple[str, int]


def sweep(config: dict[str, Any], files: list[str]) -> str:
    """Measure every size that is not known, and write the pages; what to print."""
    plan, layout = make_plan(config, files)
    if any(name.startswith(("judge", "compile", "predict")) for name in stale_jobs(plan, layout)):
        raise UserError(f"results_folder: what {layout.root} holds is stale; run `snakemake --cores 1` first")
    with join_run(layout):
        swept, left_out = to_sweep(plan, layout)
        found = list(measure(plan, layout, swept))
    own = plan.settings.sweep
    result = Sweep(
        utc_now(),
        git_commit(Path.cwd()),
        plan.device_name,
        base_of(plan),
        own.price_per_hour,
        own.processes,
        own.calls,
        tuple(found),
        tuple(left_out),
    )
    page, text, figures = layout.sweep
    drawn = draw(result, layout.root / "sweep")
    write_text(page, sweep_html(result, drawn))
    write_text(
        text, sweep_markdown(result, {key: path.relative_to(layout.root).as_posix() for key, path in drawn.items()})
    )
    write_json(figures, result.to_dict())
    return "\n".join([*(f"{model}: {said}" for model, said in result.decisions.items()), f"The whole page: {page}"])


def to_sweep(plan: Plan, layout: Layout) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """(model, variant) of the references and of what passes; (model variant, why) of the others."""
    verdict = Reader(layout.root).json(layout.verdict, sealed=True)
    swept, left_out = [], []
    for model, settings in plan.settings.models.items():
        measured = plan.variants_of(model)
        for variant in settings.variants:
            word = variant_row(verdict, model, variant, settings.reference).verdict
            if variant not in measured:
                left_out.append((f"{model} {variant}", "the same as another on this device"))
            elif word == "pass" or variant == settings.reference:
                swept.append((model, variant))
            else:
                left_out.append((f"{model} {variant}", f"its verdict is {word}"))
    if not verdict or not swept:
        raise UserError(
            f"results_folder: {layout.root} has no verdict that can be trusted; run `snakemake --cores 1` first"
        )
    return swept, left_out


def base_of(plan: Plan) -> dict[str, int]:
    """The sizes that do not move."""
    evaluation = plan.settings.evaluation
    return {
        "windows": plan.settings.timing.windows,
        "contexts": evaluation.context_length,
        "horizons": evaluation.horizon,
        "samples": evaluation.samples,
    }


def sizes_of(plan: Plan) -> list[Size]:
    """(axis, size) of every point."""
    base, own = base_of(plan), plan.settings.sweep
    found: list[Size] = [("windows", size) for size in sorted(set(own.windows))]
    for axis, least in (("contexts", 2), ("horizons", 1), ("samples", 2)):
        asked = getattr(own, axis)
        around = (max(least, base[axis] // 2), base[axis], 2 * base[axis])
        found += [(axis, size) for size in sorted(set(around if asked is None else asked))]
    return found


def measure(plan: Plan, layout: Layout, swept: list[tuple[str, str]]) -> Iterator[Point]:
    """Every size of some variants, from records where they are of the same job, else measured."""
    own, sizes = plan.settings.sweep, sizes_of(plan)
    trials: dict[tuple[str, str, Size], list[dict[str, Any]]] = {}
    for process in range(own.processes):
        for number, size in enumerate(sizes):
            say(f"process {process + 1} of {own.processes}, size {number + 1} of {len(sizes)}: {size[1]} {size[0]}")
            for model, variant in swept:
                trial = _trial(plan, layout, model, variant, size, process)
                trials.setdefault((model, variant, size), []).append(trial)
    # Bounds hold for all points of the page together.
    alpha = plan.settings.rules.speed.alpha / max(1, len(trials))
    for (model, variant, (axis, value)), found in trials.items():
        asked = value if axis == "windows" else base_of(plan)["windows"]
        yield point_of(model, variant, axis, value, asked, found, alpha)


def _trial(plan: Plan, layout: Layout, model: str, variant: str, size: Size, process: int) -> dict[str, Any]:
    """A point in one process, from its record where that is of the same job."""
    axis, value = size
    job = plan.job("predict", model, variant, 0) | {"stage": "sweep"}
    asked = {KEYS[name]: own for name, own in base_of(plan).items()} | {KEYS[axis]: value}
    asked |= {"calls": plan.settings.sweep.calls, "warm_up_calls": plan.settings.timing.warm_up_calls}
    key = digest(job | asked | {"process": process})
    path = layout.swept(model, variant, f"{axis}-{value}-{process}")
    try:
        record = read_json(path)
        if record["key"] == key and record["trial"]["kind"] not in _FROM_OUTSIDE:
            known: dict[str, Any] = record["trial"]
            return known
    except (OSError, ValueError, KeyError, TypeError):
        pass
    request = {name: part for name, part in (trial_request(layout, job) | asked).items() if name != "windows_per_call"}
    trial = run_with_cache(layout, job, CHILD, request, name=f"{axis}-{value}-{process}", at_most={})
    write_json(path, {"key": key, "trial": trial})
    return trial


if __name__ == "__main__":
    run_target(__doc__, sweep)
