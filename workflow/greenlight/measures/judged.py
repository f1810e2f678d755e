"""The errors of forecasts that are judged, and what they are called. Planning reads it, so it imports no statistics."""

from __future__ import annotations

from greenlight.data.returns import AS_PRICES

ERRORS = {"mae": "MAE", "weighted_quantile_loss": "weighted quantile loss", "rmse": "RMSE of the mean"}
OF_RETURNS = {"returns_mae": "MAE of returns"}
IN_PRICES = ("mae", "rmse")


def errors_of(given: str) -> tuple[str, ...]:
    """The errors that are judged of models that are given `prices`, or returns of them."""
    return (*ERRORS, *(OF_RETURNS if given != AS_PRICES else ()))
