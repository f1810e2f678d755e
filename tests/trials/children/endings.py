"""A trial's child that ends as it is asked to."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from greenlight.errors import MissingWeights, UserError
from greenlight.trials.child import serve
from greenlight.trials.kinds import InvalidOutput


def run(request):
    end = request["end"]
    print(f"about to end by {end}", flush=True)
    return ENDS[end](request)


def hang(request):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(3600)


def segfault(request):
    ctypes.string_at(0)


def killed(request):
    os.kill(os.getpid(), signal.SIGKILL)


def killed_once(request):
    marker = Path(request["marker"])
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), getattr(signal, request["signal"]))
    return {}


def disk_full(request):
    try:
        raise OSError(28, "No space left on device")
    except OSError as error:
        raise RuntimeError("backend='inductor' raised") from error


def second_call(request):
    for call in range(3):
        if call == 1:
            raise RuntimeError(request.get("text", "failed at call 2"))


def fill_memory(request):
    held = []
    while True:
        held.append(bytearray(16 * 2**20))
        time.sleep(0.01)


def fill_memory_in_grandchild(request):
    code = "import time\nheld = [bytearray(16 * 2**20) for _ in range(24)]\ntime.sleep(3600)"
    subprocess.run([sys.executable, "-c", code], check=True)


def by_size(request):
    if request["batch_size"] > 2:
        raise MemoryError
    return {"batch_size": request["batch_size"]}


def out_of_memory(request):
    raise MemoryError


def orphans(request):
    """Leaves a process in a session of its own, and hangs if asked to."""
    orphan = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"], start_new_session=True)
    Path(request["pid_file"]).write_text(str(orphan.pid))
    if request.get("hang"):
        time.sleep(3600)
    return {}


def fork_bomb(request):
    """Two hundred processes at most; some sleep, and some go on in a fork of their own, in other sessions, and end."""
    for number in range(100):
        if os.fork() == 0:
            if number % 5 == 0:
                end = time.monotonic() + 60
                while time.monotonic() < end:
                    if os.fork():
                        os._exit(0)
                    os.setsid()
                    time.sleep(0.002)
            time.sleep(60)
            os._exit(0)
    time.sleep(60)


def invalid(request):
    raise InvalidOutput("path 3 of GOOG is NaN", {"nan": 1})


def user_error(request):
    raise UserError("config.yaml: key models: found 3, expected a list;\nwrite models: [toto]")


def missing_weights(request):
    raise MissingWeights("no model.safetensors in /weights: download it there")


def missing_file(request):
    Path("/nonexistent/model.safetensors").read_bytes()


def optional_import(request):
    try:
        import nothing_of_this_name  # noqa: F401
    except ImportError:
        raise ValueError("unrelated") from None


def handled_import(request):
    try:
        import nothing_of_this_name  # noqa: F401
    except ImportError:
        raise ValueError("unrelated")  # noqa: B904


def out_of_memory_in_compiler(request):
    try:
        raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB.")
    except RuntimeError:
        raise ValueError("backend='inductor' raised")  # noqa: B904


def leave(request):
    os._exit(0)


def late_crash(request):
    import atexit

    atexit.register(segfault, request)
    return {"figure": 1}


ENDS = {
    "ok": lambda request: {"pid": os.getpid(), "variable": os.environ.get("GREENLIGHT_TEST")},
    "list": lambda request: [1],
    "nan": lambda request: {"figure": float("nan")},
    "exit": lambda request: sys.exit(0),
} | {
    one.__name__: one
    for one in (
        hang, segfault, killed, killed_once, disk_full,
        second_call, fill_memory, fill_memory_in_grandchild, by_size, out_of_memory, orphans,
        fork_bomb, invalid, user_error, missing_weights, missing_file, optional_import, handled_import,
        out_of_memory_in_compiler, leave, late_crash,
    )
}  # fmt: skip

if __name__ == "__main__":
    serve(run)
