"""Watches a process that has not imported torch.compile: run as a program, it prints what was recorded.

python late.py nothing      runs tensors and compiles nothing
python late.py compile      calls torch.compile within the block, with a break and a recompile
python late.py inductor     imports Inductor by itself before it compiles
"""

import importlib
import json
import sys

import torch

from greenlight.watch.health import HealthRecorder


def broken(x):
    y = x @ x
    torch._dynamo.graph_break()
    return y @ y


def main(what: str) -> None:
    with HealthRecorder(waits=True) as recorder, torch.no_grad():
        torch.eye(4) @ torch.eye(4)
        if what == "inductor":
            importlib.import_module("torch._inductor.compile_fx")
        if what != "nothing":
            compiled = torch.compile(broken)
            compiled(torch.eye(4))
            recorder.end_of_warm_up()
            compiled(torch.eye(5))
    loaded = [name for name in ("torch._dynamo", "torch._inductor.compile_fx") if name in sys.modules]
    print(json.dumps({"health": recorder.record(), "loaded": loaded}))


main(sys.argv[1])
