"""A trial's child that compiles a small kernel with a given C++ compiler."""

import torch

from greenlight.trials.child import serve


def run(request):
    changes = {"cpp.cxx": (request["compiler"],), "cpp_cache_precompile_headers": False}
    with torch._inductor.config.patch(changes):
        torch.compile(torch.sin)(torch.ones(64))
    return {}


if __name__ == "__main__":
    serve(run)
