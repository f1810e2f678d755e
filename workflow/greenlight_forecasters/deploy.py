"""What production adopts in one line: predictors with the published interface, backed by a static engine.

from greenlight_forecasters.deploy import accelerate, load

predictor = accelerate(predictor)  # a loaded KronosPredictor, TotoForecaster or Chronos2Pipeline; the same weights
predictor = load("results/deploy", "kronos")  # what the gate judged, from the bundle that it wrote
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from greenlight.api import ProcessSettings, UserError

_DEFAULT_MODES = {"cuda": "reduce-overhead", "cpu": "default"}


def accelerate(predictor: Any, *, mode: str | None = None, policy: str = "compile", precision: str = "float32") -> Any:
    """An object with the interface of a loaded published predictor and its weights, which are copied.

    Args:
        predictor: a `KronosPredictor`, a `TotoForecaster` or a `Chronos2Pipeline`, from an installed package, a clone
            or a vendored folder.
        mode: one of torch.compile's, or `eager`; None is `reduce-overhead` on a GPU and `default` on a CPU.
        policy: what a call of a shape that was not warmed does: `compile` it within the call, and say so once; run it
            `eager`, and say so once; or `refuse` it.
        precision: `float32` or `tf32`, what products of matrices are computed in on a GPU, however the process is set.

    Raises:
        UserError: another object, an architecture or a number format that the engines do not have.
    """
    kind = _kind(predictor)
    device = next(predictor.model.parameters()).device.type
    mode = mode or _DEFAULT_MODES.get(device, "default")
    if kind == "kronos":
        from greenlight_forecasters.kronos.predictor import StaticKronosPredictor

        return StaticKronosPredictor.of_published(predictor, mode, policy=policy, precision=precision)
    if kind == "chronos-2":
        from greenlight_forecasters.chronos2.predictor import StaticChronos2Pipeline

        return StaticChronos2Pipeline.of_published(predictor, mode, policy=policy, precision=precision)
    from greenlight_forecasters.toto.predictor import StaticTotoForecaster

    return StaticTotoForecaster.of_published(predictor, mode, policy=policy, precision=precision)


def judged_process(folder: str | Path, model: str) -> ProcessSettings:
    """The state of torch in which the gate judged what a bundle holds for a model, for code that loads it by itself.

    `set_up()` sets what belongs to the process, `with calling(device):` what belongs to a call; `differences()` and
    `differences_of_call(device)` say what is not so.

    Raises:
        UserError: no bundle of a passed gate, or no such model in it.
    """
    from greenlight_forecasters.bundle import read_entry

    return read_entry(Path(folder), model).process


def _kind(predictor: Any) -> str:
    """Which model's predictor an object is, by what it has: vendored copies have classes of their own."""
    model = getattr(predictor, "model", None)
    model = getattr(model, "_orig_mod", model)
    if hasattr(predictor, "predict_batch") and hasattr(predictor, "tokenizer") and hasattr(model, "decode_s1"):
        return "kronos"
    if hasattr(predictor, "forecast") and hasattr(model, "patch_embed") and hasattr(model, "unembed"):
        return "toto"
    if hasattr(predictor, "predict_quantiles") and hasattr(model, "chronos_config") and hasattr(model, "encode"):
        return "chronos-2"
    raise UserError(
        f"accelerate: a {type(predictor).__module__}.{type(predictor).__qualname__} is nothing that can be accelerated;"
        " expected a loaded KronosPredictor (model, tokenizer), TotoForecaster (model: TotoBackbone) or "
        "Chronos2Pipeline (model: Chronos2Model)"
    )


def load(
    folder: str | Path, model: str, *, device: str | None = None, differences: str = "refuse", policy: str = "compile"
) -> Any:
    """What the gate judged, with the published interface, warmed with the shapes of the verdict.

    Args:
        folder: the bundle, results/deploy of a run or a copy of it.
        model: its name, such as `kronos`.
        device: None is the device that was judged.
        differences: where code, weights, packages or device are not those that were judged: `refuse`, or `warn`.
        policy: as in `accelerate`.

    Raises:
        UserError: no bundle of a passed gate, or something that is not what was judged, by name.
    """
    from greenlight_forecasters.bundle import load_predictor

    return load_predictor(Path(folder), model, device=device, differences=differences, policy=policy)
