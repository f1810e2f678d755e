"""What a variant is called: an implementation, a mode of torch.compile, and a precision; a model, in a shell."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

MODES = ("eager", "default", "reduce-overhead", "max-autotune")
"""torch.compile's modes from the simplest to the most complex; ties go to the simpler."""

AUTOCAST = {"float16": "autocast-fp16", "bfloat16": "autocast-bf16"}
"""What a precision is called in which a process calls a model under `torch.autocast`, by the number format."""
MATMUL = {"high": "matmul-high", "medium": "matmul-medium"}
"""The same where it has set `torch.set_float32_matmul_precision`."""
_HALF, _BRAIN = 2.0**-11, 2.0**-8
_OF_A_PROCESS = {"autocast-fp16": _HALF, "autocast-bf16": _BRAIN, "matmul-high": _HALF, "matmul-medium": _BRAIN}
_BOTH = {
    f"{first}-{second}": max(_OF_A_PROCESS[first], _OF_A_PROCESS[second])
    for first in AUTOCAST.values()
    for second in MATMUL.values()
}
ROUNDOFF = {"float32": 2.0**-24, "tf32": _HALF, "fp16": _HALF, "bf16": _BRAIN, **_OF_A_PROCESS, **_BOTH}
"""Unit roundoff of each precision: half the distance from 1 to the next number.

    float32        weights and products; what a variant has that names no precision
    tf32           weights in float32, factors of matrix products rounded to 10 bits of fraction by a CUDA device
    bf16, fp16     weights and products in bfloat16 or float16
    autocast-…     called under torch.autocast in float16 or bfloat16
    matmul-…       called with torch.set_float32_matmul_precision at high (TF32) or medium (bfloat16)
"""
WEIGHT_FORMATS = {"bf16": "bfloat16", "fp16": "float16"}
"""torch's number format of the weights, by precision; in the others it is float32."""
PRECISIONS = tuple(sorted(ROUNDOFF, key=ROUNDOFF.__getitem__))
"""From the finest to the coarsest."""

# The longest first, for one may be the beginning of another.
_REDUCED = "|".join(sorted((name for name in PRECISIONS if name != "float32"), key=len, reverse=True))


def precision_of(autocast: str | None, matmul: str) -> str:
    """The precision of a process that calls under autocast in a number format (None: not) and with float32 products
    at `highest`, `high` or `medium`.
    """
    parts = [AUTOCAST.get(autocast or "", ""), MATMUL.get(matmul, "")]
    return "-".join(filter(None, parts)) or "float32"


def autocast_of(precision: str) -> str | None:
    """The number format of autocast that a precision stands for; None where it stands for none."""
    return next((dtype for dtype, name in AUTOCAST.items() if name in precision), None)


def matmul_of(precision: str) -> str:
    """What a precision has torch.set_float32_matmul_precision set to."""
    return next((level for level, name in MATMUL.items() if name in precision), "highest")


_VARIANT = re.compile(
    rf"(?P<implementation>[a-z][a-z0-9-]*?)-(?P<mode>{'|'.join(MODES)})(?:-(?P<precision>{_REDUCED}))?"
)


@dataclass(frozen=True)
class Variant:
    """An implementation in a mode and a precision, written `static-reduce-overhead` or `static-default-bf16`."""

    implementation: str
    mode: str
    precision: str = "float32"

    def __str__(self) -> str:
        own = "" if self.precision == "float32" else f"-{self.precision}"
        return f"{self.implementation}-{self.mode}{own}"

    @property
    def compiled(self) -> bool:
        """Whether torch.compile takes part."""
        return self.mode != "eager"

    @property
    def reduced(self) -> bool:
        """Whether it computes more coarsely than float32."""
        return self.precision != "float32"

    @property
    def coarseness(self) -> float:
        """Unit roundoff of its precision over that of float32: 1, 8192 or 65536."""
        return ROUNDOFF[self.precision] / ROUNDOFF["float32"]

    @property
    def of_the_process(self) -> bool:
        """Whether its precision is a state of the process that calls it, which any implementation can be called in."""
        return precision_of(autocast_of(self.precision), matmul_of(self.precision)) != "float32"

    @property
    def own_eager(self) -> str:
        """The eager variant of the same implementation in float32, which shows what mode and precision changed."""
        return f"{self.implementation}-eager"

    @property
    def complexity(self) -> tuple[int, int]:
        """Precision, then mode, each from the simplest: what is computed comes before how."""
        return PRECISIONS.index(self.precision), MODES.index(self.mode)

    @classmethod
    def parse(cls, text: str) -> Variant:
        """Read `implementation-mode` or `implementation-mode-precision`; ValueError names what fits."""
        match = _VARIANT.fullmatch(text)
        if match is None:
            raise ValueError(
                f"variant {text!r} is not <implementation>-<mode>, with a mode of {', '.join(MODES)}, nor one of these "
                f"followed by -tf32 or -bf16 or -fp16, or by what a process calls it in: -{', -'.join(_OF_A_PROCESS)}"
            )
        return cls(match["implementation"], match["mode"], match["precision"] or "float32")


def as_implemented(name: str) -> str:
    """A variant without the precision of the process that calls it; what can't be read as it is."""
    try:
        chosen = Variant.parse(name)
    except ValueError:
        return name
    return str(replace(chosen, precision="float32")) if chosen.of_the_process else name


def shell_variable(model: str, part: str) -> str:
    """Name of the variable in which deploy.env says something of a model, such as GREENLIGHT_CHRONOS_2_PROCESS."""
    return f"GREENLIGHT_{shell_name(model)}_{part}"


def shell_name(model: str) -> str:
    """A model's name as part of a shell variable: CHRONOS_2 for chronos-2."""
    return re.sub(r"[^A-Z0-9]", "_", model.upper())
