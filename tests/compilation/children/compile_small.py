"""A trial's child that compiles one small function and returns its health record."""

import torch

from greenlight.trials.child import serve
from greenlight.watch.health import HealthRecorder


def run(request):
    torch.set_num_threads(1)
    x = torch.eye(4)
    with HealthRecorder() as recorder, torch.no_grad():
        torch.compile(lambda x: x @ x @ x)(x)
    return recorder.record()


if __name__ == "__main__":
    serve(run)
