"""How exact the static engine of Toto is, case by case: `python -m tools.toto_exactness`.

Teacher-forced distribution parameters at the prefill and at every decode step against the published code, uncached, in
float64; random weights, also with sharp attention, for attention that is nearly uniform hides errors. Prints Markdown.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from greenlight_forecasters.toto.checkpoint import COMPUTED, read_dimensions
from greenlight_forecasters.toto.published import Toto, TotoBackbone
from greenlight_forecasters.toto.static import TotoEngine
from greenlight_forecasters.toto.static.mixture import Mixture
from greenlight_forecasters.toto.static.network import Network
from tools.toto import SIZES, configuration

SHARPNESS = {"random weights": 1.0, "sharp attention": 4.0}
DTYPES = (torch.float32, torch.float64)


@dataclass(frozen=True)
class Case:
    """Series [windows, variates, length] and what followed them, [windows, variates, patches, patch]."""

    name: str
    series: Tensor
    truth: Tensor
    observed: Tensor | None = None
    groups: Tensor | None = None


@torch.no_grad()
def uncached(
    backbone: TotoBackbone,
    series: Tensor,
    truth: Tensor,
    observed: Tensor | None = None,
    groups: Tensor | None = None,
) -> Mixture:
    """Teacher-forced distributions of the published backbone without a cache, one forward for each step.

    Args:
        series: [windows, variates, length], padded on the left with zeros under a False mask to whole patches.
        truth: [windows, variates, patches, patch].

    Returns:
        Fields [windows, variates, patches + 1, ...], as `TotoEngine.teacher_forced` returns them.
    """
    patch = backbone.patch_embed.patch_size
    observed = torch.ones_like(series, dtype=torch.bool) if observed is None else observed
    groups = torch.zeros(series.shape[:2], dtype=torch.int64) if groups is None else groups
    padding = (-series.shape[-1] % patch, 0)
    inputs = pad(series, padding).to(next(backbone.parameters()).dtype)
    observed = pad(observed, padding)
    prefix = inputs.shape[-1]
    steps = []
    for step in range(truth.shape[2] + 1):
        if step:
            inputs = torch.cat((inputs, truth[:, :, step - 1].to(inputs)), dim=-1)
            observed = torch.cat((observed, torch.ones_like(truth[:, :, step - 1], dtype=torch.bool)), dim=-1)
        ids = groups[..., None].expand(inputs.shape)
        output = backbone(inputs, observed, ids, None, prefix)
        components = output.distribution.component_distribution
        weights = output.distribution.mixture_distribution.probs
        last = [part[:, :, -patch:] for part in (components.df, components.loc, components.scale, weights)]
        steps.append([*last, output.loc[..., -1], output.scale[..., -1]])
    return Mixture(*(torch.stack(field, dim=2) for field in zip(*steps, strict=True)))


def largest_difference(found: Mixture, expected: Mixture) -> float:
    """The largest difference of any parameter, relative where the parameter is above 1; infinite for NaN."""
    worst = 0.0
    for name, value, truth in zip(Mixture._fields, found, expected, strict=True):
        assert value.shape == truth.shape, name
        scale = truth.double().abs()
        # The scaler's figures are in the unit of the series: always relative.
        scale = scale.clamp_min(1e-30) if name == "scaler_scale" else scale.clamp_min(1.0)
        if name == "scaler_loc":
            scale = torch.maximum(scale, expected.scaler_scale.double())
        difference = ((value.double() - truth.double()).abs() / scale).max().item()
        worst = max(worst, difference if np.isfinite(difference) else np.inf)
    return worst


def walk(seed: int, *shape: int) -> Tensor:
    """Random walks along the last dimension, float64 values that float32 holds exactly."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator).cumsum(-1).float().double()


def cases(patch: int) -> Iterator[Case]:
    """Variates, groups, contexts, horizons, padding, scales and kinds of series."""

    def followed(name: str, series: Tensor, patches: int, **masks: Tensor) -> Case:
        steps = walk(1, *series.shape[:2], patches * patch) * series.diff(dim=-1).abs().mean()
        truth = (steps + series[..., -1:]).float().double().unflatten(-1, (patches, patch))
        return Case(name, series, truth, **masks)

    for variates in (1, 3, 8):
        yield followed(f"{variates} variate{'s' * (variates > 1)}", walk(variates, 2, variates, 192), 4)
    groups = torch.tensor([[0, 0, 1, 1], [7, 2, 7, 2], [1, 2, 3, 4]])
    yield followed("4 variates in groups", walk(5, 3, 4, 96), 2, groups=groups)
    for context in (64, 100, 512, 1000, 4096):
        padded = "" if context % patch == 0 else ", padded on the left"
        yield followed(f"context {context}{padded}", walk(context, 1, 1, context), 2)
    for horizon in (1, 96, 336, 720):
        yield followed(f"horizon {horizon}", walk(4, 1, 2, 128), -(-horizon // patch) - 1)
    for scale in (1e-6, 1e6):
        yield followed(f"prices times {scale:.0e}", (walk(6, 2, 2, 128) * scale).float().double(), 3)
    constant = torch.full((2, 2, 160), 12.5, dtype=torch.float64)
    truth = walk(10, 2, 2, 3 * patch).unflatten(-1, (3, patch)) + 12.5
    yield Case("constant", constant, truth.float().double())
    jumpy = walk(8, 2, 2, 160)
    jumpy[..., 70:] += 1000.0
    jumpy[..., 140] = -5000.0
    yield followed("jumps of 1000 and 5000", jumpy, 3)
    observed = torch.ones(2, 2, 160, dtype=torch.bool)
    observed[:, 0, 40:75] = False
    yield followed("missing values", walk(9, 2, 2, 160) * observed, 3, observed=observed)


def table(size: str) -> str:
    """Largest differences of each case by weights and dtype, as Markdown."""
    names = [f"{label}, {str(dtype).removeprefix('torch.')}" for label in SHARPNESS for dtype in DTYPES]
    rows: dict[str, list[float]] = {}
    for sharpness in SHARPNESS.values():
        config = configuration(size)
        torch.manual_seed(0)
        toto = Toto(**config).eval()
        with torch.no_grad():
            for layer in toto.model.transformer.layers:
                layer.attention.wQKV.weight[: 2 * config["embed_dim"]] *= sharpness
        tensors = {name: tensor for name, tensor in toto.state_dict().items() if not name.endswith(COMPUTED)}
        networks = [Network.from_published(read_dimensions(config, "benchmark"), tensors, dtype) for dtype in DTYPES]
        engines = [TotoEngine(n, dtype=d, samples_per_batch=1) for n, d in zip(networks, DTYPES, strict=True)]
        backbone = toto.double().model
        for case in cases(config["patch_size"]):
            expected = uncached(backbone, case.series, case.truth, case.observed, case.groups)
            for engine in engines:
                found = engine.teacher_forced(case.series, case.truth, observed=case.observed, groups=case.groups)
                rows.setdefault(case.name, []).append(largest_difference(found, expected))
    lines = [f"| case | {' | '.join(names)} |", "|---|" + "---|" * len(names)]
    lines += [f"| {name} | {' | '.join(f'{one:.1e}' for one in row)} |" for name, row in rows.items()]
    return "\n".join(lines)


def main() -> None:
    """Command line entry."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(table(options.size))


if __name__ == "__main__":
    main()
