"""Before anything touches a device: is there one, does the driver answer, who holds it, is enough memory free?

NVML is asked in a process of its own, because a broken driver may hang whoever asks. Nothing is killed or reset,
and no CUDA context is made. Devices that
others hold, waiting for them and MIG were not run on a GPU yet.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from greenlight.errors import UserError, say
from greenlight.provenance import processor_name

if TYPE_CHECKING:  # pydantic costs every job that starts a trial its import
    from greenlight.trials.device_settings import DeviceSettings

_ANSWER_SECONDS = 30.0
_ASK_AGAIN_SECONDS = 5.0
_PROGRESS_SECONDS = 15.0
_COMPUTE_MODES = {0: "default", 1: "exclusive thread", 2: "prohibited", 3: "exclusive process"}

# NVML's codes for what a device or container does not give: invalid argument (for a MIG instance), not supported,
# no permission, not found.
_NOT_GIVEN = (2, 3, 4, 6)
# Reasons for which a GPU runs slower than it would: bits of nvmlDeviceGetCurrentClocksThrottleReasons. A limit of
# power that the software sets is the usual state of a GPU at work, and none of them.
_THROTTLED = {0x08: "hardware slowdown", 0x20: "heat (software)", 0x40: "heat (hardware)", 0x80: "power brake"}
_DRIVER_SENTENCES = {
    9: "The NVIDIA driver is installed but not loaded.",
    12: "There is no NVIDIA driver on this machine (its library libnvidia-ml was not found).",
    15: "A GPU is lost: it has fallen off the bus, and only an administrator can bring it back.",
    16: "A GPU needs a reset by an administrator.",
    18: "The NVIDIA driver and its library differ in version: the driver was updated and needs a reboot.",
}


def planned_device(settings: DeviceSettings) -> tuple[str, str]:
    """(torch device, its name) of a run, decided while the workflow is planned; no device is touched.

    A device whose name is configured is not looked for: it is another machine's, and whoever uses it checks the name.

    Raises:
        UserError: a CUDA device was asked for, is not there, and `otherwise` is `error`.
    """
    if settings.device == "cpu":
        return "cpu", settings.name or processor_name()
    wanted = settings.device if settings.device.startswith("cuda:") else "cuda:0"
    if settings.name is not None:
        return wanted, settings.name
    state = device_state()
    device = _find(state, wanted, os.environ) if state["available"] else None
    if device is not None:
        return wanted, device["name"]
    if settings.device == "auto":
        return "cpu", processor_name()
    obstacle = state["reason"] or f"{wanted} does not exist: the driver has {len(state['devices'])} devices."
    if settings.otherwise == "error":
        obstacle += " Where trials run on other machines, as on a cluster, set device.name to the name of their device."
    return _give_up(settings, obstacle, waiting_helps=False), processor_name()


def device_state() -> dict[str, Any]:
    """What NVML says about the machine's GPUs; never raises for a driver that is absent or broken.

    Returns:
        {"available": bool, "reason": a sentence where not, "driver": version or None, "devices": [{"index", "uuid",
        "name", "memory_total_bytes", "memory_free_bytes", "utilization_percent", "compute_mode",
        "processes": [{"pid", "name", "user", "memory_bytes"}]}]}; a figure that the driver does not give is None.
        Processes outside this container have no name.
    """
    child = subprocess.Popen(
        [sys.executable, "-m", "greenlight.trials.gpu"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        answer, errors = child.communicate(timeout=_ANSWER_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()  # not waited for: a process that hangs in the driver may not end
        return _unavailable(f"The NVIDIA driver did not answer within {_ANSWER_SECONDS:.0f} s.")
    try:
        state: dict[str, Any] = json.loads(answer)
        return state
    except ValueError:
        last = (errors.strip().splitlines() or ["no output"])[-1]
        return _unavailable(f"Asking the NVIDIA driver failed: {last}")


def free_memory(device: Mapping[str, Any]) -> int | None:
    """Free bytes of a device; None where the driver does not say, or one process may hold it."""
    return None if device["compute_mode"] != "default" else device["memory_free_bytes"]


def alike(device: str, state: Mapping[str, Any], environment: Mapping[str, str], spread: bool) -> list[dict[str, Any]]:
    """What torch calls `device`, such as `cuda:0`, and where `spread` all others that are visible and have its name.

    Args:
        state: of `device_state`.
        environment: for CUDA_VISIBLE_DEVICES.
    """
    found = _find(state, device, environment) if state["available"] else None
    if found is None:
        return []
    others = [one for one in _visible(state, environment) if one["name"] == found["name"] and one is not found]
    # Of a device that MIG divides, a process sees one instance only, whatever it is told.
    return [found, *(one for one in others if spread and found["uuid"].startswith("GPU-"))]


def device_condition(device: str) -> dict[str, Any] | None:
    """What may disturb a timing on a GPU, asked in this process, which has a time limit; None for a CPU.

    Returns:
        {"clock_mhz", "highest_clock_mhz", "temperature", "utilization_percent", "throttled": reasons that slow it
        against its will, "processes": how many hold it, this one included}; None for what the driver does not give,
        and {"throttled": [], "unknown": why} where it gives nothing.
    """
    if device == "cpu":
        return None
    state = _ask()
    found = _find(state, device, os.environ) if state["available"] else None
    if found is None:
        return {"throttled": [], "unknown": state["reason"] or f"{device} does not exist"}
    reasons = found["throttle_reasons"] or 0
    return {
        **{name: found[name] for name in ("clock_mhz", "highest_clock_mhz", "temperature", "utilization_percent")},
        "throttled": [name for bit, name in _THROTTLED.items() if reasons & bit],
        "processes": len(found["processes"]),
    }


def shortage(
    state: Mapping[str, Any], settings: DeviceSettings, environment: Mapping[str, str], own: frozenset[int]
) -> str:
    """What stands in the way of using the device, in words; empty where nothing does.

    Args:
        state: of `device_state`.
        settings: what is wanted.
        environment: for CUDA_VISIBLE_DEVICES.
        own: process ids that count as ours.
    """
    if not state["available"]:
        return str(state["reason"])
    device = _find(state, settings.device, environment)
    if device is None:
        visible = environment.get("CUDA_VISIBLE_DEVICES")
        limited = f", and CUDA_VISIBLE_DEVICES is {visible!r}" if visible is not None else ""
        return f"{settings.device} does not exist: the driver has {len(state['devices'])} devices{limited}."
    name = f"{settings.device} ({device['name']})"
    if device["compute_mode"] == "prohibited":
        return f"{name} is in compute mode prohibited: an administrator has closed it."
    others = [one for one in device["processes"] if one["pid"] not in own]
    held_alone = settings.exclusive or device["compute_mode"].startswith("exclusive")
    if others and held_alone:
        return f"{name} is held by {_holders(others)}."
    free, wanted = device["memory_free_bytes"], settings.free_memory_gib * 2**30
    if wanted and (free is None or free < wanted):
        has = "an unknown amount" if free is None else f"{free / 2**30:.1f} GiB"
        held = f"; held by {_holders(others)}" if others else ""
        return f"{name} has {has} free of the {settings.free_memory_gib:g} GiB that are asked for{held}."
    return ""


def wait_for_device(settings: DeviceSettings, environment: Mapping[str, str] = os.environ) -> str:
    """Wait until the device can be used; returns the torch device to use, such as `cuda:0` or `cpu`.

    Progress goes to standard error every 15 s. A missing driver or device is not waited for.

    Args:
        environment: of the trial, for CUDA_VISIBLE_DEVICES.

    Raises:
        UserError: the device can't be had in time and `otherwise` is `error`, or it is not the one that is named.
    """
    if settings.device == "cpu":
        check_device_name(settings.name, processor_name())
        return "cpu"
    begin = time.monotonic()
    spoken = begin
    while True:
        state = device_state()
        obstacle = shortage(state, settings, environment, _own_processes()) or _torch_without_cuda()
        found = _find(state, settings.device, environment) if state["available"] else None
        if not obstacle and found is not None:
            check_device_name(settings.name, found["name"])
            return settings.device if ":" in settings.device else "cuda:0"
        waited = time.monotonic() - begin
        can_change = found is not None
        if not can_change or waited + _ASK_AGAIN_SECONDS > settings.wait_seconds:
            return _give_up(settings, obstacle, can_change, waited)
        if time.monotonic() - spoken >= _PROGRESS_SECONDS:
            spoken = time.monotonic()
            say(f"waiting for the device, {waited:.0f} s of at most {settings.wait_seconds:.0f} s: {obstacle}")
        time.sleep(_ASK_AGAIN_SECONDS)


def check_device_name(planned: str | None, name: str) -> None:
    """UserError where the device is another than was planned: evidence of two devices must not be mixed."""
    if planned is not None and name != planned:
        raise UserError(
            f"device.name: the run was planned for {planned!r}, but {socket.gethostname()} has {name!r}. Run all "
            "trials on machines of one kind (SLURM: the resource `constraint` or a partition), and set device.name to "
            "the name of their device; then run again"
        )


def _give_up(settings: DeviceSettings, obstacle: str, waiting_helps: bool, waited: float = 0.0) -> str:
    after = f" after {waited:.0f} s of waiting" if waited >= _ASK_AGAIN_SECONDS else ""
    if settings.otherwise == "cpu":
        say(f"{settings.device} can't be used{after}, running on the CPU as configured: {obstacle}")
        return "cpu"
    mend = "Wait longer (device.wait_seconds), free the device" if waiting_helps else "Mend that"
    raise UserError(
        f"{settings.device} can't be used{after}: {obstacle} {mend}, choose another one (device.device), or allow the "
        "CPU (device.otherwise: cpu)."
    )


def _torch_without_cuda() -> str:
    """Why the installed torch can't use a device; read from its file of versions, for its import takes seconds."""
    text = Path(str(metadata.distribution("torch").locate_file("torch/version.py"))).read_text(encoding="utf-8")
    stated = dict(re.findall(r"^(\w+)[^=\n]*= *(.*)$", text, re.MULTILINE))
    if stated["cuda"] != "None":
        return ""
    version = stated["__version__"].strip("'")
    return f"The device is there, but this torch ({version}) was built without CUDA."


def _own_processes() -> frozenset[int]:
    """This process, its ancestors and descendants."""
    me = psutil.Process()
    return frozenset([me.pid, *(one.pid for one in [*me.parents(), *me.children(recursive=True)])])


def _find(state: Mapping[str, Any], device: str, environment: Mapping[str, str]) -> dict[str, Any] | None:
    """The device that torch would call by this name, among those that are visible."""
    wanted, chosen = int(device.partition(":")[2] or 0), _visible(state, environment)
    return chosen[wanted] if wanted < len(chosen) else None


def _visible(state: Mapping[str, Any], environment: Mapping[str, str]) -> list[dict[str, Any]]:
    """The devices that CUDA_VISIBLE_DEVICES leaves, in its order.

    Entries may be indices or UUIDs, also shortened; as in CUDA, the list ends at the first that does not exist.
    """
    devices, listed = list(state["devices"]), environment.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        return devices
    chosen = []
    for entry in (part.strip() for part in listed.split(",")):
        match = [
            one
            for one in devices
            if (entry.isdigit() and one["index"] == int(entry))
            or (entry.startswith(("GPU-", "MIG-")) and one["uuid"].startswith(entry))
        ]
        if not match:
            break
        chosen.append(match[0])  # of a device that MIG divides, CUDA takes the first instance
    return chosen


def _holders(processes: list[Mapping[str, Any]]) -> str:
    def words(one: Mapping[str, Any]) -> str:
        memory = "" if one["memory_bytes"] is None else f", {one['memory_bytes'] / 2**30:.1f} GiB"
        user = f" of {one['user']}" if one["user"] else ""
        return f"process {one['pid']} ({one['name'] or 'outside this container'}{user}{memory})"

    return ", ".join(map(words, processes))


def _unavailable(reason: str) -> dict[str, Any]:
    return {"available": False, "reason": reason, "driver": None, "devices": []}


def _ask() -> dict[str, Any]:
    """The state, asked in this process."""
    try:
        import pynvml
    except ImportError:
        return _unavailable("The Python package nvidia-ml-py is not installed, so the driver can't be asked.")
    try:
        pynvml.nvmlInit()
        try:
            count = pynvml.nvmlDeviceGetCount()
            devices = [one for index in range(count) for one in _devices(pynvml, index)]
            driver = str(_optional(pynvml, pynvml.nvmlSystemGetDriverVersion))
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        sentence = _DRIVER_SENTENCES.get(error.value, f"The NVIDIA driver answers with an error: {error}.")
        return _unavailable(sentence)
    if not devices:
        return _unavailable("The NVIDIA driver answers, but it has no device.")
    return {"available": True, "reason": "", "driver": driver, "devices": devices}


def _devices(nvml: Any, index: int) -> list[dict[str, Any]]:
    """A device, or in its place the instances that MIG divides it into, as CUDA shows them."""
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    instances = []
    for number in range(_optional(nvml, nvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0):
        instance = _optional(nvml, nvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, number)
        if instance is not None:
            instances.append(_device(nvml, index, instance))
    return instances or [_device(nvml, index, handle)]


def _device(nvml: Any, index: int, handle: Any) -> dict[str, Any]:
    memory = _optional(nvml, nvml.nvmlDeviceGetMemoryInfo, handle)
    rates = _optional(nvml, nvml.nvmlDeviceGetUtilizationRates, handle)
    mode = _optional(nvml, nvml.nvmlDeviceGetComputeMode, handle)
    processes = _optional(nvml, nvml.nvmlDeviceGetComputeRunningProcesses, handle) or []
    return {
        "index": index,
        "uuid": str(nvml.nvmlDeviceGetUUID(handle)),
        "name": str(nvml.nvmlDeviceGetName(handle)),
        "memory_total_bytes": memory.total if memory else None,
        "memory_free_bytes": memory.free if memory else None,
        "utilization_percent": rates.gpu if rates else None,
        "clock_mhz": _optional(nvml, nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_SM),
        "highest_clock_mhz": _optional(nvml, nvml.nvmlDeviceGetMaxClockInfo, handle, nvml.NVML_CLOCK_SM),
        "temperature": _optional(nvml, nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU),
        "throttle_reasons": _optional(nvml, nvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle),
        "compute_mode": _COMPUTE_MODES.get(mode, "default"),
        "processes": [_process(one.pid, one.usedGpuMemory) for one in processes],
    }


def _process(pid: int, memory: int | None) -> dict[str, Any]:
    name = user = ""
    try:
        process = psutil.Process(pid)
        name, user = process.name(), process.username()
    except psutil.Error:
        pass
    return {"pid": pid, "name": name, "user": user, "memory_bytes": memory}


def _optional(nvml: Any, ask: Any, *arguments: Any) -> Any:
    """An answer, or None where this device or container does not give it."""
    try:
        return ask(*arguments)
    except nvml.NVMLError as error:
        if error.value in _NOT_GIVEN:
            return None
        raise


if __name__ == "__main__":
    print(json.dumps(_ask()))
