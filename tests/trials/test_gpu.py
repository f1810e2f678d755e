"""Waiting for a GPU: what is said without one, and how the states of one are judged."""

import subprocess
import sys

import pytest
import torch
from pydantic import ValidationError

from greenlight.errors import UserError
from greenlight.provenance import processor_name
from greenlight.trials.device_settings import DeviceSettings
from greenlight.trials.gpu import device_state, planned_device, shortage, wait_for_device

GIB = 2**30


def has_driver():
    return subprocess.run(["nvidia-smi"], capture_output=True, check=False).returncode == 0


def without_driver():
    try:
        return not has_driver()
    except FileNotFoundError:
        return True


needs_no_driver = pytest.mark.skipif(not without_driver(), reason="about a machine without a driver")


def state(*devices, **changes):
    return {"available": True, "reason": "", "driver": "570.86.15", "devices": list(devices)} | changes


def device(index=0, free=100, processes=(), mode="default"):
    return {
        "index": index,
        "uuid": f"GPU-{index}abc-def",
        "name": "NVIDIA H200",
        "memory_total_bytes": 139 * GIB,
        "memory_free_bytes": None if free is None else free * GIB,
        "utilization_percent": 3,
        "compute_mode": mode,
        "processes": list(processes),
    }


def process(pid=4242, name="python", memory=12):
    return {"pid": pid, "name": name, "user": "ada", "memory_bytes": None if memory is None else memory * GIB}


def judge(seen, environment=None, own=(), **settings):
    wanted = DeviceSettings(**{"device": "cuda:0", **settings})
    return shortage(seen, wanted, environment or {}, frozenset(own))


@needs_no_driver
def test_no_driver_is_a_sentence():
    found = device_state()
    assert found["available"] is False and found["devices"] == []
    assert found["reason"].startswith("There is no NVIDIA driver on this machine")


@needs_no_driver
def test_no_driver_is_not_waited_for():
    with pytest.raises(
        UserError, match=r"cuda:0 can't be used: There is no NVIDIA driver .* Mend that.*\(device\.otherwise: cpu\)"
    ):
        wait_for_device(DeviceSettings(device="cuda:0", wait_seconds=3600))


@needs_no_driver
def test_cpu_instead_if_the_user_chose_that(capsys):
    assert wait_for_device(DeviceSettings(device="cuda", otherwise="cpu")) == "cpu"
    assert "running on the CPU as configured" in capsys.readouterr().err


def test_cpu_is_always_there():
    assert wait_for_device(DeviceSettings(device="cpu", free_memory_gib=1000)) == "cpu"


def test_a_device_that_is_named_is_planned_without_looking():
    assert planned_device(DeviceSettings(device="cuda", name="NVIDIA H200")) == ("cuda:0", "NVIDIA H200")
    assert planned_device(DeviceSettings(device="cpu", name="A Processor")) == ("cpu", "A Processor")
    with pytest.raises(ValidationError, match="set device to cpu or cuda"):
        DeviceSettings(device="auto", name="NVIDIA H200")


def test_another_device_than_the_named_one_is_refused():
    assert wait_for_device(DeviceSettings(device="cpu", name=processor_name())) == "cpu"
    with pytest.raises(UserError, match=r"device.name: the run was planned for 'A Processor', but \S+ has "):
        wait_for_device(DeviceSettings(device="cpu", name="A Processor"))


@needs_no_driver
def test_without_a_gpu_here_the_message_tells_of_machines_elsewhere():
    with pytest.raises(UserError, match=r"set device.name to the name of their device"):
        planned_device(DeviceSettings(device="cuda"))


def test_free_device():
    assert judge(state(device())) == ""
    assert judge(state(device()), free_memory_gib=80, exclusive=True) == ""


def test_too_little_memory_names_who_holds_it():
    said = judge(state(device(free=4, processes=[process()])), free_memory_gib=8)
    assert said == (
        "cuda:0 (NVIDIA H200) has 4.0 GiB free of the 8 GiB that are asked for; "
        "held by process 4242 (python of ada, 12.0 GiB)."
    )


def test_unknown_memory_is_not_enough():
    assert "an unknown amount" in judge(state(device(free=None)), free_memory_gib=1)


def test_shared_is_fine_unless_exclusive_is_asked_or_set():
    held = [process(name="", memory=None)]
    assert judge(state(device(processes=held))) == ""
    assert "process 4242 (outside this container" in judge(state(device(processes=held)), exclusive=True)
    assert "is held by" in judge(state(device(processes=held, mode="exclusive process")))


def test_own_processes_do_not_count():
    assert judge(state(device(processes=[process()])), own=[4242], exclusive=True) == ""


def test_prohibited_device():
    assert "prohibited" in judge(state(device(mode="prohibited")))


@pytest.mark.parametrize(
    ("visible", "wanted", "said"),
    [
        ("1", "cuda:0", "held by"),
        ("1,0", "cuda:1", ""),
        ("GPU-1", "cuda:0", "held by"),
        ("0", "cuda:1", "does not exist"),
        ("", "cuda:0", "does not exist"),
        ("0,7,1", "cuda:1", "does not exist"),
        ("-1", "cuda:0", "does not exist"),
    ],
)
def test_visible_devices_are_counted_as_torch_counts_them(visible, wanted, said):
    seen = state(device(0), device(1, processes=[process()]))
    found = judge(seen, {"CUDA_VISIBLE_DEVICES": visible}, device=wanted, exclusive=True)
    assert said in found if said else found == ""


def test_driver_trouble_is_passed_on():
    trouble = "The NVIDIA driver is installed but not loaded."
    assert judge(state(available=False, reason=trouble)) == trouble


@pytest.mark.parametrize(
    "wrong",
    [
        {"device": "gpu"},
        {"device": "cuda:x"},
        {"wait": 3},
        {"otherwise": "tpu"},
        {"wait_seconds": -1},
        {"device": "cuda:1", "spread": True},
        {"spread": True},
    ],
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        DeviceSettings(**wrong)


def test_whether_torch_has_cuda_is_known_without_importing_it():
    """Every job that runs a trial on a device asks, and the import of a torch with CUDA takes seconds."""
    code = (
        "import sys; from greenlight.trials.gpu import _torch_without_cuda as ask; print(ask(), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    said = "" if torch.version.cuda else f"this torch ({torch.__version__}) was built without CUDA."
    assert done.stdout.endswith(f"{said} False\n")
    assert bool(torch.version.cuda) != ("without CUDA" in done.stdout)
