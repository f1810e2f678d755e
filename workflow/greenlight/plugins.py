"""Which models there are, in which implementations, and how to load one.

Nothing of torch is imported with this module: the workflow reads the names while it plans. The imports stand
literally in the branches so that whoever follows the imports of a file finds the code that a model runs.
"""

from __future__ import annotations

from greenlight.api import Forecaster, LoadOptions
from greenlight.errors import UserError
from greenlight.variants import MODES, Variant

MODELS = ("toto", "kronos")
_IMPLEMENTATIONS = {"toto": ("upstream", "host-index", "static"), "kronos": ("upstream", "static")}

# What an implementation computes in beside float32. The published Toto in bfloat16 rounds the prices themselves, and
# torch draws no gamma numbers in it on a CPU; Kronos' tokens are signs and likeliest classes, which rounding flips.
_PRECISIONS = {
    ("toto", "upstream"): ("tf32",),
    ("toto", "host-index"): ("tf32",),
    ("toto", "static"): ("tf32", "bf16"),
}

# Implementations that draw from the same distributions as the others but in an order of their own.
_OWN_DRAWS = {"toto": ("static",), "kronos": ()}


def implementations(model: str) -> tuple[str, ...]:
    """Names of a model's implementations; UserError for an unknown model."""
    if model not in _IMPLEMENTATIONS:
        raise UserError(f"there is no model {model!r}; expected one of {', '.join(MODELS)}")
    return _IMPLEMENTATIONS[model]


def known_variants(model: str) -> list[str]:
    """Every variant of a model; UserError for an unknown model."""
    return [
        str(Variant(implementation, mode, precision))
        for implementation in implementations(model)
        for precision in ("float32", *_PRECISIONS.get((model, implementation), ()))
        for mode in MODES
    ]


def draws_alike(model: str, first: str, second: str) -> bool:
    """Whether two variants of a model draw the same random numbers for the same window and seed."""
    names = {Variant.parse(variant).implementation for variant in (first, second)}
    return len(names) == 1 or names.isdisjoint(_OWN_DRAWS[model])


def load_forecaster(model: str, implementation: str, options: LoadOptions) -> Forecaster:
    """One implementation of one model with its weights loaded, in eager mode.

    Raises:
        UserError: an unknown name, or weights that are missing or do not fit.
    """
    if implementation not in implementations(model):
        raise UserError(
            f"model {model} has no implementation {implementation!r}; "
            f"expected one of {', '.join(implementations(model))}"
        )
    if model == "kronos":
        from greenlight_forecasters.kronos.static import KronosStatic
        from greenlight_forecasters.kronos.upstream import KronosUpstream

        return (KronosUpstream if implementation == "upstream" else KronosStatic).load(options)
    if implementation == "upstream":
        from greenlight_forecasters.toto.upstream import TotoUpstream

        return TotoUpstream.load(options)
    if implementation == "host-index":
        from greenlight_forecasters.toto.host_index import TotoHostIndex

        return TotoHostIndex.load(options)
    from greenlight_forecasters.toto.static import TotoStatic

    return TotoStatic.load(options)
