"""deploy.env: the decision as shell variables, written so that sourcing the file can do no harm.

Existing loaders read `<MODEL>_COMPILE`, `<MODEL>_DISABLE_COMPILE`, `<MODEL>_COMPILE_MODE` and
`<MODEL>_COMPILE_BACKEND`, and compile the *published* code by them. So these are on only where the variant to deploy is
that code in a compiled mode, and off in every other case: a static engine was chosen, the gate does not pass, there is
no verdict. What was chosen has names of Greenlight's own:

    GREENLIGHT_VERDICT           pass, fail, or "not decided"
    GREENLIGHT_REASON            why nothing is to be deployed; empty after a pass
    GREENLIGHT_DEPLOY            the bundle (`greenlight.run.bundle`); empty without a pass
    GREENLIGHT_<MODEL>_VARIANT, _IMPLEMENTATION, _MODE, _PRECISION, _SCOPE, _PROCESS     empty without a pass; the
                                 scope says in words which calls were judged, and the process as JSON in which state of
                                 torch (`evaluation.call.process`): {} is torch's own

All assignments stand in one group `{ … }`, which a shell reads to its end before it does any of it: a file that was cut
off sets nothing. Inside, everything is turned off first, and the verdict becomes `pass` last.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from greenlight.variants import Variant, shell_name, shell_variable
from greenlight.watch.caches import CACHES

UNDECIDED = "not decided"
OFF = {"COMPILE": "0", "DISABLE_COMPILE": "1", "COMPILE_MODE": "", "COMPILE_BACKEND": ""}
# Some loaders compile every model unless this one says no.
EVERY_MODEL = "TORCH_COMPILED"
_NAME = re.compile(r"[A-Z_][A-Z0-9_]*")
_SWITCH = re.compile(r"\b([A-Z_][A-Z0-9_]*?)_COMPILE=")


@dataclass(frozen=True)
class Deployment:
    """What deploy.env says.

    Attributes:
        verdict: `pass`, `fail` or `not decided`.
        variants: the variant to deploy by model; only a pass deploys any.
        made: UTC time; commit: of the checkout.
        reasons: why nothing is to be deployed, a sentence each.
        published: by model, its implementations that are what production's own loaders run.
        scopes: by model, in words, which calls were judged.
        processes: by model, the state of torch in which they were made (`ProcessSettings.stated`).
        environment: variables that the configuration sets for trials, and that production needs as well.
        bundle: the folder that production takes; only after a pass.
        notes: sentences for a reader of the file, such as under which settings of a process the cache hits.
        also_off: further shell names of models to turn off, such as those of an older file.
    """

    verdict: str
    variants: Mapping[str, str | None]
    made: str
    commit: str
    reasons: Sequence[str] = ()
    published: Mapping[str, Collection[str]] = field(default_factory=dict)
    scopes: Mapping[str, str] = field(default_factory=dict)
    processes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    bundle: Path | None = None
    notes: Sequence[str] = ()
    also_off: Sequence[str] = field(default_factory=tuple)

    def chosen(self, model: str) -> Variant | None:
        """The variant to deploy for a model; None without a pass."""
        name = self.variants[model]
        return Variant.parse(name) if name and self.verdict == "pass" else None


def loader_prefixes(model: str) -> list[str]:
    """The names under which loaders may know a model: CHRONOS_2, CHRONOS2 and CHRONOS for chronos-2."""
    name = shell_name(model)
    spelled = [name, name.replace("_", ""), re.sub(r"(_?\d+)+$", "", name)]
    return [prefix for prefix in dict.fromkeys(spelled) if _NAME.fullmatch(prefix)]


def switches_in(text: str) -> list[str]:
    """Shell names of the models that an older deploy.env turns on or off."""
    found = {name.removesuffix("_DISABLE") for name in _SWITCH.findall(text)}
    return sorted(name for name in found if name)


def deploy_text(deployment: Deployment) -> str:
    """The content of deploy.env."""
    verdict, reasons = deployment.verdict, [_one_line(reason) for reason in deployment.reasons]
    about = [
        f"Written by Greenlight at {deployment.made}, commit {deployment.commit}. For a POSIX shell to source.",
        f"Verdict: {verdict}",
        *reasons,
        *(_about(deployment, model) for model in deployment.variants),
        *(_scope(deployment, model) for model in deployment.variants if deployment.chosen(model)),
        *map(_one_line, deployment.notes),
    ]
    on = list(_switched_on(deployment))
    off = [f"export {_assign(values)}" for values in _switched_off(deployment)]
    start = _assign({"GREENLIGHT_VERDICT": UNDECIDED, "GREENLIGHT_REASON": "; ".join(reasons)})
    last = _assign({"GREENLIGHT_VERDICT": verdict})
    steps = " &&\n".join(f"export {line}" for line in (*map(_assign, on), last))
    return "\n".join([*(f"# {_one_line(line)}" for line in about), "{", f"export {start}", *off, steps, "}", ""])


def _switched_off(deployment: Deployment) -> Iterator[dict[str, str]]:
    """Every variable of the file, with the value that compiles nothing."""
    prefixes = [prefix for model in deployment.variants for prefix in loader_prefixes(model)]
    for prefix in dict.fromkeys([*prefixes, *deployment.also_off]):
        yield {f"{prefix}_{key}": value for key, value in OFF.items()}
    if not all(_compiles_published(deployment, model) for model in deployment.variants):
        yield {EVERY_MODEL: "0"}
    for model in deployment.variants:
        yield _own(model, None)
    for prefix in deployment.also_off:
        yield _own(prefix, None)
    yield {"GREENLIGHT_DEPLOY": ""}


def _switched_on(deployment: Deployment) -> Iterator[dict[str, str]]:
    """What a pass sets."""
    if deployment.verdict != "pass":
        return
    for model in deployment.variants:
        chosen = deployment.chosen(model)
        yield _own(model, chosen, deployment.scopes.get(model, ""), deployment.processes.get(model, {}))
    if deployment.environment:
        yield dict(deployment.environment)
    if deployment.bundle is not None:
        yield {"GREENLIGHT_DEPLOY": str(deployment.bundle.absolute())}
    known: dict[str, list[str]] = {}
    for model in deployment.variants:
        for prefix in loader_prefixes(model):
            known.setdefault(prefix, []).append(model)
    compiled = False
    for prefix, models in known.items():
        modes = {variant.mode for model in models if (variant := deployment.chosen(model))}
        # Two models that a loader knows by one name are compiled only if both are meant to be, and alike.
        if len(modes) == 1 and all(_compiles_published(deployment, model) for model in models):
            compiled = True
            mode = modes.pop()
            values = {"COMPILE": "1", "DISABLE_COMPILE": "0", "COMPILE_MODE": mode, "COMPILE_BACKEND": "inductor"}
            yield {f"{prefix}_{key}": value for key, value in values.items()}
    if compiled and deployment.bundle is not None:
        # Not TMPDIR: it is the whole process's. Without it C++ headers are compiled once more on a CPU.
        cache = deployment.bundle.absolute() / "cache"
        yield {name: str(cache / part) for name, part in CACHES.items()}


def _compiles_published(deployment: Deployment, model: str) -> bool:
    chosen = deployment.chosen(model)
    return chosen is not None and chosen.compiled and chosen.implementation in deployment.published.get(model, ())


def _own(
    model: str, variant: Variant | None, scope: str = "", process: Mapping[str, Any] | None = None
) -> dict[str, str]:  # fmt: skip
    """Greenlight's own names of a choice."""
    names = ("VARIANT", "IMPLEMENTATION", "MODE", "PRECISION", "SCOPE", "PROCESS")
    values: tuple[str, ...] = ("",) * len(names)
    if variant is not None:
        stated = json.dumps(process or {}, sort_keys=True)
        values = (str(variant), variant.implementation, variant.mode, variant.precision, scope, stated)
    return {shell_variable(model, name): value for name, value in zip(names, values, strict=True)}


def _about(deployment: Deployment, model: str) -> str:
    chosen = deployment.chosen(model)
    if chosen is None:
        return f"{model}: nothing is to be deployed; compilation is off"
    if not chosen.compiled:
        return f"{model}: {chosen}; compilation is off"
    if _compiles_published(deployment, model):
        return f"{model}: {chosen}, the published code compiled"
    return f"{model}: {chosen}; the switches of existing loaders are off, because they compile the published code"


def _scope(deployment: Deployment, model: str) -> str:
    scope = deployment.scopes.get(model, "calls that are not stated")
    return f"{model}: judged with {scope}; beyond that nothing was shown"


def _assign(values: Mapping[str, str]) -> str:
    return " ".join(f"{name}={shlex.quote(value)}" for name, value in values.items())


def _one_line(text: str) -> str:
    """Text without line ends and control characters, which could end a comment or steer a terminal."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
