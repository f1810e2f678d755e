"""A trial's child that meets an error of a real GPU."""

import torch

from greenlight.trials.child import serve


def run(request):
    return ENDS[request["end"]]()


def out_of_memory():
    held = []
    while True:
        held.append(torch.empty(2**32, dtype=torch.uint8, device="cuda"))


def device_assert():
    row = torch.zeros(4, device="cuda")
    row[torch.tensor([7], device="cuda")].sum().item()
    return {}


def overwritten():
    compiled = torch.compile(lambda x: (x @ x).relu(), mode="reduce-overhead")
    with torch.no_grad():
        for _ in range(4):
            first = compiled(torch.ones(64, 64, device="cuda"))
            compiled(torch.ones(64, 64, device="cuda") * 2)
            first.sum().item()
    return {}


ENDS = {"out_of_memory": out_of_memory, "device_assert": device_assert, "overwritten": overwritten}

if __name__ == "__main__":
    serve(run)
