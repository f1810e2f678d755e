"""Defects of somebody's own plug-in, which has no golden forecasts and draws random numbers of its own.

Each is put into a copy of tests/plugins/walk.py, into the implementation that does not share the reference's numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

WALK = (Path(__file__).parents[1] / "plugins" / "walk.py").read_text()
_STREAM = "    STREAM = 1\n"


@dataclass(frozen=True)
class OwnCode:
    """A defect: methods that the implementation has beside; kind and check as on the page; what the reason must say."""

    kind: str
    check: str
    words: str
    methods: str

    def text(self) -> str:
        """The plug-in with the defect."""
        assert WALK.count(_STREAM) == 1
        return WALK.replace(_STREAM, f"{_STREAM}\n{self.methods}")


def _uniforms(becomes: str, before: str = "") -> str:
    """Methods by which `u`, the uniform numbers, become others."""
    return f"""\
    def uniforms(self, windows, samples, seed):
        u = super().uniforms(windows, samples, seed)
{before}        return {becomes}
"""


def _forecast(*lines: str) -> str:
    return "    def forecast(self, windows, samples, seed):\n" + "".join(f"        {line}\n" for line in lines)


_CALL = "paths = super().forecast(windows, samples, seed)"
_REPEATS, _PATHS, _DRAWS = "of pairs of draws of one step are equal", "paths-as-reference", "draws-as-reference"
OWN_CODE = {
    "own code, uniforms of sixteen values": OwnCode(
        "sampling", _PATHS, _REPEATS, _uniforms("(np.floor(16 * u) + 0.5) / 16")
    ),
    "own code, uniforms of eight bits": OwnCode(
        "sampling", _PATHS, _REPEATS, _uniforms("(np.floor(256 * u) + 0.5) / 256")
    ),
    "own code, uniforms in float16": OwnCode(
        "sampling", _PATHS, _REPEATS, _uniforms("(np.floor(2048 * u) + 0.5) / 2048")
    ),
    "own code, numbers below 2% and above 98% never drawn": OwnCode(
        "tails", _PATHS, "are its own", _uniforms("0.02 + 0.96 * u")
    ),
    "own code, numbers below 2% and above 98% clamped": OwnCode(
        "tails", _PATHS, "are its own", _uniforms("np.clip(u, 0.02, 0.98)")
    ),
    "own code, lowest 1% never drawn": OwnCode("tails", _PATHS, "are its own", _uniforms("0.01 + 0.99 * u")),
    "own code, a third of the variance shared by all symbols": OwnCode(
        "sampling",
        _PATHS,
        "windows rise and fall together",
        _uniforms(
            "ndtr(np.sqrt(2 / 3) * ndtri(u) + np.sqrt(1 / 3) * common)",
            "        from scipy.special import ndtr\n"
            "        common = np.random.default_rng(seed).standard_normal(u.shape[1:])\n",
        ),
    ),
    "own code, the same numbers for the symbols of a call": OwnCode(
        "sampling", _PATHS, "windows rise and fall together", _uniforms("np.broadcast_to(u[:1], u.shape)")
    ),
    "own code, bfloat16 in forecasts only": OwnCode(
        "numerics",
        "numerics",
        "forecasts compute in bfloat16",
        _forecast("with self.torch.autocast('cpu', self.torch.bfloat16):", f"    {_CALL}", "return paths"),
    ),
    "own code, matrix products of medium precision in forecasts only": OwnCode(
        "numerics",
        "numerics",
        "forecasts compute in medium precision",
        _forecast(
            "self.torch.set_float32_matmul_precision('medium')",
            _CALL,
            "self.torch.set_float32_matmul_precision('highest')",
            "return paths",
        ),
    ),
    "own code, a quarter more spread in one symbol": OwnCode(
        "one symbol",
        _DRAWS,
        "SIM_00002",
        _uniforms(
            "ndtr(ndtri(u) * factors[:, None, None])",
            "        from scipy.special import ndtr\n"
            "        factors = np.array([1.25 if window.symbol == 'SIM_00002' else 1.0 for window in windows])\n",
        ),
    ),
}
