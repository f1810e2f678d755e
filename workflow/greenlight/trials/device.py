"""Which device trials run on, decided while the workflow is planned: no torch, no device is touched."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from greenlight.errors import UserError
from greenlight.provenance import processor_name


class DeviceRules(BaseModel):
    """The device, and how patiently to wait for it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    device: str = Field("cpu", description="`cpu`, `cuda` (the first), `cuda:N`, or `auto`: cuda where there is one.")
    free_memory_gib: float = Field(2.0, ge=0, description="Device memory that must be free before a trial starts.")
    exclusive: bool = Field(False, description="Whether no other process may hold the device.")
    wait_seconds: float = Field(0.0, ge=0, description="How long to wait for the device to be free.")
    otherwise: Literal["error", "cpu"] = Field("error", description="What to do where the device is not to be had.")

    @field_validator("device")
    @classmethod
    def _known(cls, device: str) -> str:
        if not re.fullmatch(r"cpu|auto|cuda(:\d+)?", device):
            raise ValueError("expected cpu, auto, cuda, or cuda:N")
        return device


def planned_device(rules: DeviceRules) -> tuple[str, str]:
    """(torch device, its name) that a run will use; UserError where a CUDA device was asked for and is not there."""
    if rules.device == "cpu":
        return "cpu", processor_name()
    names, problem = _gpu_names()
    number = int(rules.device.partition(":")[2] or 0)
    if number < len(names):
        return f"cuda:{number}", names[number]
    if rules.device == "auto" or rules.otherwise == "cpu":
        return "cpu", processor_name()
    raise UserError(
        f"device.device: {rules.device} was asked for, but {problem or f'there are {len(names)} CUDA devices'}. "
        "Set device.device to cpu, or device.otherwise to cpu to fall back to it"
    )


def _gpu_names() -> tuple[list[str], str]:
    """Names of the GPUs that the driver lists, and why there are none, in words."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return [], f"the NVIDIA driver does not answer ({error})"
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        return [str(pynvml.nvmlDeviceGetName(handle)) for handle in handles], ""
    except pynvml.NVMLError as error:
        return [], f"the NVIDIA driver answers with an error ({error})"
    finally:
        pynvml.nvmlShutdown()
