"""Says what steers this process, and whether torch.compile did anything in it."""

import os
import sys

import torch
import torch._inductor.config as inductor

from greenlight.trials.child import serve
from greenlight.watch.health import HealthRecorder


def run(request):
    compiled = []

    def backend(graph, inputs):
        compiled.append(graph)
        return graph

    with HealthRecorder() as recorder:
        torch.compile(lambda x: x * 2 + 1, backend=backend)(torch.ones(3))
    return {
        "environment": dict(os.environ),
        "graphs": len(compiled),
        "notes": recorder.record()["notes"],
        "threads": torch.get_num_threads(),
        "optimize": sys.flags.optimize,
        "max_autotune": inductor.max_autotune,
        "suppress_errors": torch._dynamo.config.suppress_errors,
    }


if __name__ == "__main__":
    serve(run)
