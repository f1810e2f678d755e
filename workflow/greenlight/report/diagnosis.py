"""What the cases of a diagnosis say together: what failed first, and what separates it from what passed.

A pure function of the records of the cases; how the cases are run is the stage's concern.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from greenlight.report.formats import mebibytes
from greenlight.variants import Variant

Entry = tuple[str, str]  # model, variant

# Causes that the kind of failure tells by itself.
_TOLD = {"out-of-device-memory": "memory", "out-of-host-memory": "memory", "time-out": "time"}
_SET_UP = ("user-error", "missing-weights")
_SHOWN_LINES = 30
# Device memory that may stay allocated after unloading: workspaces of cuBLAS and the like.
_MAY_STAY_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Step:
    """One case of the diagnosis, run in a process of its own.

    Attributes:
        name: such as `toto static-default alone`; unique.
        group: device, alone, compiler, together or in-turn (one after the other with unloading between).
        entries: (model, variant) of what ran, in order.
        cache: `kept` (a copy of the run's own), `fresh`, or `none` where nothing is compiled.
        blocking: whether CUDA_LAUNCH_BLOCKING=1 was set.
        repeats: name of the case that this one runs again; "" for a case of its own.
        kind, message, advice, traceback, seconds, peak_memory_bytes: of the trial's record.
        failed_in: the step within the case that had begun and did not end.
        readings: memory at each step within the case, as `greenlight.run.children.diagnosis` writes them.
        outcomes: of each entry that was examined: {"model", "variant", "overwrites", "health", "released"}.
        log: the captured output, relative to the results folder.
    """

    name: str
    group: str
    kind: str
    entries: tuple[Entry, ...] = ()
    cache: str = "none"
    blocking: bool = False
    repeats: str = ""
    message: str = ""
    advice: str = ""
    traceback: str = ""
    log_tail: str = ""
    seconds: float | None = None
    peak_memory_bytes: int | None = None
    failed_in: str = ""
    readings: tuple[Mapping[str, Any], ...] = ()
    outcomes: tuple[Mapping[str, Any], ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    log: str = ""

    @property
    def passed(self) -> bool:
        """Whether the case ran to its end and its outputs can be used."""
        return self.kind == "ok"

    @property
    def shown_traceback(self) -> str:
        """The end of the traceback, or of the log where there is none."""
        return "\n".join((self.traceback or self.log_tail).splitlines()[-_SHOWN_LINES:])

    @property
    def held(self) -> list[Mapping[str, Any]]:
        """The last reading of each step within the case."""
        return list({reading["what"]: reading for reading in self.readings}.values())

    @property
    def note(self) -> str:
        """What compilation did, as far as the case shows it."""
        parts = []
        for outcome in self.outcomes:
            health = outcome.get("health")
            if health is None:
                continue
            graphs = health["cuda_graphs"]
            words = [f"{health['graphs']} compiled graphs" if health["engaged"] else "nothing compiled ran"]
            words += [f"{len(health['graph_breaks'])} graph breaks"] if health["graph_breaks"] else []
            if health["recompiles_after_warm_up"]:
                words.append(f"{health['recompiles_after_warm_up']} recompiles after warm-up")
            words += [f"{graphs['recordings']} CUDA graphs recorded"] if graphs["recordings"] else []
            words += [f"no CUDA graphs: {skip['reason']}" for skip in graphs["skips"]]
            parts.append(f"{outcome['model']} {outcome['variant']}: {', '.join(words)}")
        return "; ".join(parts)


@dataclass(frozen=True)
class Finding:
    """What separates failing cases from passing ones.

    Attributes:
        cause: one word of CAUSES.
        sentences: what was seen, with the cases by name.
        kind: the failure's kind; "" where nothing failed.
        failing, passing: names of the cases that the sentence rests on.
        advice: what to do, for the cause and for the kind.
    """

    cause: str
    sentences: tuple[str, ...]
    kind: str
    failing: tuple[str, ...]
    passing: tuple[str, ...]
    advice: tuple[str, ...]


@dataclass(frozen=True)
class Conclusion:
    """`first` is the case that failed first, None where none did; `examined` and `failed` count cases, not repeats."""

    summary: str
    first: Step | None
    findings: tuple[Finding, ...]
    examined: int
    failed: int


CAUSES = {
    "device": "Nothing else can be told until the device works: mend the driver or the installation of torch first.",
    "set-up": "Mend what the message names, and diagnose again.",
    "cache": "Compile again from an empty cache: snakemake --cores 1 --forcerun clear",
    "flaky": "A pass of this case means little: see who else holds the device or the memory, and run the diagnosis "
    "again; a failure that comes and goes points to a race, to memory pressure or to the hardware.",
    "order": "With blocking launches it passes, so that the order of operations matters: a buffer that is read or "
    "freed while a kernel still uses it, or memory of a CUDA graph that is used again.",
    "compiler": "The installation is at fault, not the model: mend the compiler that the message names; eager "
    "variants can run meanwhile.",
    "compilation": "Run this implementation eager until it is fixed; the traceback below names the operation.",
    "cuda-graphs": "Run mode default until it is fixed: same kernels, no CUDA graphs.",
    "autotuning": "Run mode reduce-overhead or default until it is fixed: the kernel that tuning chose is at fault.",
    "mode": "Run the mode that passes until this one is fixed.",
    "precision": "Run it in float32: the variant without the precision in its name.",
    "implementation": "Run the implementation that passes; compiling has nothing to do with it.",
    "model": "Compiling has nothing to do with it: look at the weights, the settings and the message.",
    "memory": "Use fewer windows a call (evaluation.windows_per_call) or fewer samples, run one model in a process, or "
    "free the device; the table of memory shows which step takes how much.",
    "time": "Raise trials.compile_seconds if it was still compiling; if the traceback shows one place again and "
    "again, it hangs there.",
    "interference": "Run one model in a process: something that belongs to the whole process is shared.",
    "unloading": "Give each model a process of its own instead of unloading and loading in one.",
    "not-released": "Whoever still refers to the model keeps its memory: end the process instead of unloading.",
    "not-compiled": "This variant ran eagerly under a compiled name: its speed is that of eager. See the note.",
    "unknown": "Run the diagnosis again; what would separate the cases was not examined.",
}


def conclude(steps: Sequence[Step]) -> Conclusion:
    """Compare the cases that failed with those that passed.

    Args:
        steps: all cases in the order in which they ran, repeats included.
    """
    own = [step for step in steps if not step.repeats]
    failed = [step for step in own if not step.passed]
    cases = _Cases(steps)
    findings: list[Finding] = []
    for step in failed:
        findings.append(_finding(step, cases))
        if step.group == "device":
            break
    findings = [*_merged(findings), *_without_failure(own)]
    return Conclusion(_summary(own, failed), failed[0] if failed else None, tuple(findings), len(own), len(failed))


def _summary(own: Sequence[Step], failed: Sequence[Step]) -> str:
    if not own:
        return "Nothing was examined."
    if not failed:
        return f"Nothing failed: all {len(own)} cases passed."
    first = failed[0]
    where = f" (in: {first.failed_in})" if first.failed_in else ""
    return f"{len(failed)} of {len(own)} cases failed, first {first.name}: {first.kind}{where}."


class _Cases:
    """The cases by what they examine."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = list(steps)
        self.alone = {s.entries[0]: s for s in steps if s.group == "alone" and not s.repeats}

    def group(self, group: str) -> Step | None:
        """The case of a group that has one case only."""
        return next((s for s in self._steps if s.group == group and not s.repeats), None)

    def repeats_of(self, step: Step) -> list[Step]:
        """Its repeats."""
        return [other for other in self._steps if other.repeats == step.name]

    def passing(self, model: str, *, like: Variant | None = None, compiled: bool | None = None) -> list[Step]:
        """Variants of a model that pass alone: all, or those of the implementation and precision of another."""
        found = []
        for (name, variant), step in self.alone.items():
            chosen = Variant.parse(variant)
            fits = like is None or replace(chosen, mode=like.mode) == like
            fits = fits and compiled in (None, chosen.compiled)
            if name == model and fits and step.passed:
                found.append(step)
        return found


def _finding(step: Step, cases: _Cases) -> Finding:
    finding = _explained(step, cases)
    for one in cases.repeats_of(step):
        if one.blocking and not one.passed:
            where = f" in {one.failed_in}" if one.failed_in else ""
            told = f"With CUDA_LAUNCH_BLOCKING=1 the failure shows where it arises: {one.kind}{where}, {one.message}"
            finding = replace(finding, sentences=(*finding.sentences, told))
    return finding


def _explained(step: Step, cases: _Cases) -> Finding:
    if step.group == "device":
        return _make(
            "device", step, f"{step.name} fails before any model is loaded: {(step.message or step.kind).rstrip('.')}"
        )
    if step.kind in _SET_UP:
        return _make("set-up", step, f"{step.name} can't start: {step.message}")
    repeated = _repetition(step, cases.repeats_of(step))
    if repeated is not None:
        return repeated
    if step.group == "compiler":
        text = f"{step.name} fails without any model: the installation of the compiler"
        return _make("compiler", step, text)
    if step.group == "alone":
        return _alone(step, cases)
    return _several(step, cases)


def _repetition(step: Step, repeats: Sequence[Step]) -> Finding | None:
    """What running the same case again tells; None where it fails every time."""
    same = [one for one in repeats if not one.blocking and one.cache == step.cache]
    fresh = [one for one in repeats if not one.blocking and one.cache != step.cache]
    blocking = [one for one in repeats if one.blocking]
    if any(one.passed for one in same):
        text = f"{step.name} failed and passes when it runs again, nothing changed: it fails now and then"
        return _make("flaky", step, text, same)
    if any(one.passed for one in fresh):
        text = f"{step.name} passes with a fresh cache, fails with the kept one: the cache"
        return _make("cache", step, text, fresh)
    if any(one.passed for one in blocking) and (same or fresh):
        text = f"{step.name} passes with CUDA_LAUNCH_BLOCKING=1, fails without: the order of operations on the device"
        return _make("order", step, text, blocking)
    return None


def _alone(step: Step, cases: _Cases) -> Finding:
    ((model, variant),) = step.entries
    chosen = Variant.parse(variant)
    if not chosen.compiled:
        return _eager(step, cases.passing(model, compiled=False))
    eager = cases.alone.get((model, str(replace(chosen, mode="eager"))))
    if eager is None:
        return _make("unknown", step, f"{_fails(step)}; its eager variant was not examined")
    if not eager.passed:
        finding = _finding(eager, cases)
        text = f"{_fails(step)}, as {_variant(eager)} does: it is not compilation"
        return replace(_make(finding.cause, step, text), passing=finding.passing)
    if cause := _TOLD.get(step.kind):
        return _make(cause, step, f"{_fails(step)}: {cause}; {_variant(eager)} passes", [eager])
    compiler = cases.group("compiler")
    if compiler is not None and not compiler.passed:
        text = f"{_fails(step)}, and so does {compiler.name}: the compiler; {_variant(eager)} passes"
        return _make("compiler", step, text, [eager])
    return _compilation(step, eager, cases.passing(model, like=chosen, compiled=True), cases)


def _eager(step: Step, others: Sequence[Step]) -> Finding:
    if cause := _TOLD.get(step.kind):
        return _make(cause, step, f"{_fails(step)} without compilation: {cause}", others)
    own = Variant.parse(step.entries[0][1])
    plain = [one for one in others if own.reduced and one.entries[0][1] == own.own_eager]
    if plain:
        text = f"{_fails(step)} without compilation, {_variant(plain[0])} passes: {own.precision}"
        return _make("precision", step, text, plain)
    if others:
        text = f"{_fails(step)} without compilation, {_names(map(_variant, others))} passes: the implementation"
        return _make("implementation", step, text, others)
    return _make("model", step, f"{_fails(step)} without compilation: the model, its weights or its settings")


def _compilation(step: Step, eager: Step, siblings: Sequence[Step], cases: _Cases) -> Finding:
    """A variant that fails by itself where eager passes; `siblings` are its implementation's modes that pass."""
    ((model, variant),) = step.entries
    chosen = Variant.parse(variant)
    modes = {Variant.parse(one.entries[0][1]).mode: one for one in siblings}
    good = [eager, *siblings]
    if siblings:
        tuned = chosen.mode == "max-autotune" and "reduce-overhead" in modes
        graphs = chosen.mode == "reduce-overhead" and "default" in modes and _asked_for_graphs(step)
        cause = "autotuning" if tuned else "cuda-graphs" if graphs else "mode"
        word = {"autotuning": "autotuning", "cuda-graphs": "CUDA graphs", "mode": f"mode {chosen.mode}"}[cause]
        return _make(cause, step, f"{_fails(step)}: {word}; {_names(map(_variant, good))} pass", good)
    text = f"{_fails(step)}: compilation; {_variant(eager)} passes"
    others = [one for one in cases.passing(model, compiled=True) if one not in siblings]
    if others:
        text += f", and so does {_names(map(_variant, others))}"
    compiler = cases.group("compiler")
    if compiler is not None:
        text += "; a function of one line compiles, so it is this model's code under torch.compile"
    return _make("compilation", step, text, [*good, *others, *([compiler] if compiler else [])])


def _asked_for_graphs(step: Step) -> bool:
    """Whether the case ran on a CUDA device, where reduce-overhead means CUDA graphs."""
    return any(reading.get("device_bytes") is not None for reading in step.readings)


def _several(step: Step, cases: _Cases) -> Finding:
    """Variants that pass alone and fail in one process."""
    good = [cases.alone[entry] for entry in step.entries if entry in cases.alone and cases.alone[entry].passed]
    together = step.group == "together"
    way = "together in one process" if together else "one after the other in one process"
    text = f"each passes alone, {way} they fail"
    other = cases.group("in-turn" if together else "together")
    shared = "interference" if together or other is None or not other.passed else "unloading"
    cause = _TOLD.get(step.kind, shared)
    text += f": {_WORDS.get(cause, cause)}"
    if other is not None:
        text += f"; {_OTHER_WAY[step.group]} they {'pass' if other.passed else 'fail'}"
        good += [other] if other.passed else []
    return _make(cause, step, f"{_names(f'{m} {v}' for m, v in step.entries)}: {text}", good)


_WORDS = {
    "unloading": "what unloading leaves behind",
    "interference": "something that they share in a process",
}
_OTHER_WAY = {"together": "one after the other, with unloading between,", "in-turn": "held together"}


def _without_failure(own: Iterable[Step]) -> list[Finding]:
    """What passing cases show that is not as it should be."""
    found = []
    for step in own:
        for outcome in step.outcomes if step.passed else ():
            name = f"{outcome['model']} {outcome['variant']}"
            health = outcome.get("health")
            if step.group == "alone" and health is not None and not health["engaged"]:
                notes = "; ".join(health["notes"]) or "no compiled graph ran"
                found.append(_make("not-compiled", step, f"{name} runs, but not compiled: {notes}"))
            if outcome.get("released") is False:
                found.append(_make("not-released", step, f"{name} is still held after it was unloaded"))
        stays = _stays(step)
        if step.group == "in-turn" and stays > _MAY_STAY_BYTES:
            text = f"{mebibytes(stays)} of device memory stay allocated after the last variant was unloaded"
            found.append(_make("not-released", step, text))
    return found


def _stays(step: Step) -> int:
    """Device bytes allocated at the end beyond those at the beginning; 0 on a CPU."""
    held = [reading.get("device_bytes") for reading in step.readings]
    known = [value for value in held if value is not None]
    return known[-1] - known[0] if known else 0


def _make(cause: str, step: Step, sentence: str, passing: Iterable[Step] = ()) -> Finding:
    kind = "" if step.passed else step.kind
    advice = tuple(dict.fromkeys(text for text in (CAUSES[cause], step.advice) if text))
    names = tuple(one.name for one in passing)
    return Finding(cause, (sentence,), kind, () if step.passed else (step.name,), names, advice)


def _merged(findings: Sequence[Finding]) -> list[Finding]:
    """One finding for all failures of the same cause and kind."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for one in findings:
        groups.setdefault((one.cause, one.kind), []).append(one)
    merged = []
    for (cause, kind), group in groups.items():
        sentences, failing, passing, advice = (
            tuple(dict.fromkeys(item for one in group for item in getattr(one, name)))
            for name in ("sentences", "failing", "passing", "advice")
        )
        merged.append(Finding(cause, sentences, kind, failing, passing, advice))
    return merged


def _fails(step: Step) -> str:
    return f"{' '.join(step.entries[0])} fails alone"


def _variant(step: Step) -> str:
    return step.entries[0][1]


def _names(names: Iterable[str]) -> str:
    *rest, last = list(names)
    return f"{', '.join(rest)} and {last}" if rest else last
