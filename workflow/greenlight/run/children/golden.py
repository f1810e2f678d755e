"""In a probe: the shipped checkpoint forecasts the stored windows, by the code of this run, on the CPU."""

from __future__ import annotations

from typing import Any

from greenlight.api import LoadOptions
from greenlight.errors import UserError
from greenlight.measures.golden import compare_numerics, compare_with_golden, read_golden, thinned
from greenlight.plugins import load_forecaster, model_of
from greenlight.run.children.common import Request
from greenlight.weights import GOLDEN, MODEL

# Share of the spread within which a path agrees: rounding, on whatever processor, is a hundredth of it.
TOLERANCE = 1e-3


def shipped_options(model: str, plugin: str | None, settings: dict[str, Any]) -> LoadOptions:
    """How the checkpoints that ship with a model are loaded, with some settings of the model."""
    folders = {role: str(folder) for role, folder in model_of(model, plugin).checkpoints.items()}
    source = folders.pop(MODEL)
    return LoadOptions(source=source, settings=settings | folders)


def hold_to_golden(request: Request) -> dict[str, Any]:
    """What `judgement.probe_records.GoldenResult` reads.

    The weights are the shipped ones whatever the run's are, because it is the code that is held to something here.
    """
    model, plugin, implementation = (request[name] for name in ("model", "plugin", "implementation"))
    nothing: dict[str, Any] = {
        "tolerance": TOLERANCE,
        "paths": 0,
        "agreeing": 0.0,
        "sample": 1.0,
        "worst": None,
        "numerics": [],
    }
    try:
        shipped = model_of(model, plugin).checkpoints[MODEL]
        if shipped is None:
            return nothing | {"problem": "the plug-in ships no checkpoint"}
        golden = read_golden(shipped / GOLDEN)
    except UserError as error:
        return nothing | {"problem": str(error)}
    if implementation not in golden.paths:
        return nothing | {"problem": f"no golden forecasts of {implementation} are stored: python -m tools.golden"}
    forecaster = load_forecaster(model, implementation, shipped_options(model, plugin, golden.settings), plugin)
    own = forecaster.forecast(golden.windows, golden.samples, golden.seed)
    compared = compare_with_golden(own, golden.paths[implementation], golden.windows, TOLERANCE)
    probed = thinned(forecaster.probe(golden.windows))
    numerics = compare_numerics(probed, golden.numerics[implementation], golden.windows)
    return {"tolerance": TOLERANCE, "numerics": numerics, **compared}
