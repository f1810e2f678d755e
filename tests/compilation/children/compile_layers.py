"""A trial's child that compiles a few equal layers as static models do, and says what the compiler left on disk."""

import os
from pathlib import Path

import torch
from torch import Tensor

from greenlight.trials.child import serve
from greenlight.watch.health import HealthRecorder
from greenlight_forecasters.engine.options import few_graphs
from greenlight_forecasters.engine.regions import once_per_graph


@once_per_graph
def layer(x: Tensor, weight: Tensor) -> Tensor:
    return (x @ weight).softmax(-1) + x.sin()


def run(request):
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    x, *weights = (torch.randn(32, 32, generator=generator) for _ in range(5))

    def layers(x):
        for weight in weights:
            x = layer(x, weight)
        return (x @ x.T).cumsum(0).tanh()

    with HealthRecorder() as recorder, torch.no_grad():
        found = torch.compile(layers, fullgraph=True, **few_graphs("default", "cpu"))(x)
    folder = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"])
    sources = [file.read_text() for file in folder.rglob("*.main.cpp")]
    headers = [file for file in Path(os.environ["TMPDIR"]).rglob("*.gch")]
    return {
        "cache": recorder.record()["cache"],
        "error": float((found - layers(x)).abs().max()),
        "files": len(sources),
        "softmaxes": sum(source.count("exp_u20") + source.count(".exp()") for source in sources),
        "kernels": [source.count("namespace kernel_") for source in sources],
        "libraries": sorted(file.name for file in folder.rglob("*.so")),
        "headers": len(headers),
    }


if __name__ == "__main__":
    serve(run)
