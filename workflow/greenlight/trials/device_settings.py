"""The settings of the device that trials run on."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class DeviceSettings(BaseModel):
    """The device that trials run on, and how patiently to wait for it."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    device: str = Field(default="cpu", pattern=r"^(cpu|auto|cuda(:\d+)?)$")
    """`cpu`, `cuda` (the first), `cuda:N` as torch counts them, or `auto`: cuda where there is one."""
    free_memory_gib: float = Field(default=0.0, ge=0)
    """Device memory that must be free before a trial starts; as many run side by side as have it."""
    spread: bool = False
    """Whether trials that are not timed use every visible device of the same name; timing runs on `device` alone."""
    exclusive: bool = False
    """Whether no other process may hold the device."""
    wait_seconds: float = Field(default=0.0, ge=0)
    """How long to wait for the device to be free."""
    otherwise: Literal["error", "cpu"] = "error"
    """What to do where the device is not to be had."""
    name: str | None = Field(default=None, min_length=1)
    """Name of the device (the processor's for cpu) where trials run on other machines than the one that plans, such as
    a cluster's nodes; null: the name that this machine tells."""

    @model_validator(mode="after")
    def _fits_together(self) -> DeviceSettings:
        if self.name is not None and self.device == "auto":
            raise ValueError(
                "name needs a device that is known beforehand: set device to cpu or cuda, for `auto` asks the machine "
                "that plans"
            )
        if self.spread and self.device not in ("cuda", "auto"):
            raise ValueError(f"spread is over every device, but device is {self.device}: set device to cuda or auto")
        return self
