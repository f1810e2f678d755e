"""What a variant is called: an implementation, a mode of torch.compile, and the precision that it computes in."""

from __future__ import annotations

import re
from dataclasses import dataclass

MODES = ("eager", "default", "reduce-overhead", "max-autotune")
"""torch.compile's modes from the simplest to the most complex; ties go to the simpler."""

ROUNDOFF = {"float32": 2.0**-24, "tf32": 2.0**-11, "bf16": 2.0**-8}
"""Unit roundoff of each precision, from the finest to the coarsest: half the distance from 1 to the next number.

    float32   weights and products; what a variant has that names no precision
    tf32      weights in float32, factors of matrix products rounded to 10 bits of fraction by a CUDA device
    bf16      weights and products in bfloat16
"""
PRECISIONS = tuple(ROUNDOFF)

_REDUCED = "|".join(name for name in PRECISIONS if name != "float32")
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
                f"variant {text!r} is not <implementation>-<mode>, with a mode of {', '.join(MODES)}, "
                f"nor one of these followed by -{_REDUCED.replace('|', ' or -')}"
            )
        return cls(match["implementation"], match["mode"], match["precision"] or "float32")
