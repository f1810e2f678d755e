"""The parts of the GPU benchmark that are about Kronos; random weights at the published dimensions."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from greenlight.data.windows import Window
from greenlight.watch.health import HealthRecorder
from greenlight.watch.overwrites import check_overwrites
from greenlight_forecasters.kronos import static, upstream
from greenlight_forecasters.kronos.sampling import fill_noise
from greenlight_forecasters.kronos.static import KronosStatic
from greenlight_forecasters.kronos.upstream import KronosUpstream
from tools.gpu_findings import Findings, error_of, in_turn, memory_of
from tools.kronos import build, walk

CONTEXT, HORIZON, SAMPLES = 256, 30, 8
SYMBOLS = 256
RUNS = 100


def crash(findings: Findings, size: str) -> None:
    """What the published way of compiling does: decode_s1 and decode_s2 in reduce-overhead, called again and again."""
    windows = [walk(f"S{number}", CONTEXT, HORIZON) for number in range(4)]
    eager = build(size, KronosUpstream, "cuda")
    compiled = build(size, KronosUpstream, "cuda")
    compiled.compile("reduce-overhead")
    with HealthRecorder() as recorder, torch.no_grad():
        findings.keep(fixed_length=_at_one_length(compiled.network, eager.network))
        calls = []
        for number, window in enumerate(windows):
            try:
                found = compiled.sample(window, SAMPLES, number)
                expected = eager.sample(window, SAMPLES, number)
                calls.append({"end": "ok", "tokens_equal_to_eager": _equal(_drawn(found), _drawn(expected))})
            except RuntimeError as error:
                calls.append({"end": error_of(error)})
            findings.keep(calls=calls, health=recorder.record())


def _at_one_length(compiled: Any, eager: Any) -> dict[str, Any]:
    """Steps of one context length, so that nothing is compiled again: errors, and outputs against eager ones."""
    generator = torch.Generator("cuda").manual_seed(0)

    def inputs(length: int = CONTEXT) -> tuple[Tensor, ...]:
        tokens = torch.randint(0, 1024, (2, SAMPLES, length), device="cuda", generator=generator)
        stamps = torch.ones(SAMPLES, length, 5, dtype=torch.int64, device="cuda")
        return tokens[0], tokens[1], stamps

    batches = [inputs() for _ in range(8)]
    steps = []
    for batch in batches:
        token = batch[0][:, :1]
        try:
            logits, hidden = compiled.decode_s1(*batch)
            second = compiled.decode_s2(hidden, token)
            expected_first, expected_hidden = eager.decode_s1(*batch)
            expected_second = eager.decode_s2(expected_hidden, token)
            steps.append(
                {
                    "end": "ok",
                    # Read after decode_s2 has run: this is what sampling from kept logits would see.
                    "s1_largest_difference": float((logits - expected_first).abs().max()),
                    "s2_largest_difference": float((second - expected_second).abs().max()),
                }
            )
        except RuntimeError as error:
            steps.append({"end": error_of(error)})
    kept: dict[str, Any] = {}
    try:
        kept = check_overwrites(lambda batch: compiled.decode_s1(*batch), batches[:3])
    except RuntimeError as error:
        kept = {"error": error_of(error)}
    return {"steps": steps, "kept_output": kept}


def one_symbol(findings: Findings, size: str) -> None:
    """100 compiled forecasts against eager ones, tokens against the CPU's, health; then seconds against upstream."""
    windows = [walk(f"S{number}", CONTEXT, HORIZON) for number in range(RUNS)]
    reference = build(size, KronosUpstream, "cuda")
    plain = build(size, KronosStatic, "cuda")
    fast = build(size, KronosStatic, "cuda")
    fast.compile("reduce-overhead")
    with HealthRecorder() as recorder:
        for _ in range(3):
            fast.forecast(windows[:1], SAMPLES, 0)
        recorder.end_of_warm_up()
        runs = {"ok": 0, "tokens_equal_to_eager": 0}
        for number, window in enumerate(windows):
            paths = fast.forecast([window], SAMPLES, number)
            runs["ok"] += int(bool(np.isfinite(paths).all()))
            found = fast.sample([window], SAMPLES, number)[1]
            runs["tokens_equal_to_eager"] += int(_equal(found, plain.sample([window], SAMPLES, number)[1]) == 1.0)
        findings.keep(runs=runs, of=RUNS)
        findings.keep(against_upstream=_against_upstream(fast, reference, windows[:10]))
        findings.keep(overwrites=check_overwrites(lambda w: fast.forecast([w], SAMPLES, 0), windows[:3]))
        both = {"static compiled": fast, "static": plain}
        findings.keep(against_cpu=_against_cpu(size, both, windows[:4]))
        findings.keep(logits=_logits(size, both | {"upstream": reference}, windows[0]))
        findings.keep(health=recorder.record())
        findings.keep(
            memory={
                "static compiled": memory_of(lambda: fast.forecast(windows[:1], SAMPLES, 0)),
                "upstream": memory_of(lambda: reference.forecast(windows[:1], SAMPLES, 0)),
            }
        )
        findings.wait_for_turn()
        one = windows[:1]
        calls: dict[str, Callable[[], Any]] = {
            "upstream": lambda: reference.forecast(one, SAMPLES, 0),
            "static": lambda: plain.forecast(one, SAMPLES, 0),
            "static compiled": lambda: fast.forecast(one, SAMPLES, 0),
        }
        in_turn(calls, 3)
        findings.keep(seconds=in_turn(calls, 20), health=recorder.record())


def many_symbols(findings: Findings, size: str) -> None:
    """256 symbols in one batch; upstream, which takes one after the other, is timed on 16 of them."""
    windows = [walk(f"S{number}", CONTEXT, HORIZON) for number in range(SYMBOLS)]
    reference = build(size, KronosUpstream, "cuda")
    fast = build(size, KronosStatic, "cuda", windows_per_batch=SYMBOLS)
    fast.compile("reduce-overhead")
    with HealthRecorder() as recorder:
        for _ in range(3):
            fast.forecast(windows, SAMPLES, 0)
        recorder.end_of_warm_up()
        found = fast.sample(windows, SAMPLES, 0)[1]
        equal = [
            _equal(tuple(part[row] for part in found), _drawn(reference.sample(windows[row], SAMPLES, 0)))
            for row in range(0, SYMBOLS, 16)
        ]
        findings.keep(tokens_equal_to_upstream=equal, health=recorder.record())
        findings.keep(
            memory={
                "static compiled": memory_of(lambda: fast.forecast(windows, SAMPLES, 0)),
                "upstream": memory_of(lambda: reference.forecast(windows[:1], SAMPLES, 0)),
            }
        )
        findings.wait_for_turn()
        calls: dict[str, Callable[[], Any]] = {
            "upstream, 16 symbols": lambda: reference.forecast(windows[:16], SAMPLES, 0),
            "static compiled": lambda: fast.forecast(windows, SAMPLES, 0),
        }
        in_turn(calls, 1)
        findings.keep(seconds=in_turn(calls, 5), health=recorder.record())


def _drawn(tokens: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return tuple(part[:, CONTEXT:] for part in tokens)


def _equal(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Share of tokens that are equal, s1 and s2."""
    pairs = list(zip(found, expected, strict=True))
    return float(torch.stack([(a.cpu() == b.cpu()).double().mean() for a, b in pairs]).mean())


def _against_upstream(fast: KronosStatic, reference: KronosUpstream, windows: Sequence[Window]) -> list[float]:
    """Share of tokens that are equal, by window."""
    return [
        _equal(
            tuple(part[0] for part in fast.sample([window], SAMPLES, number)[1]),
            _drawn(reference.sample(window, SAMPLES, number)),
        )
        for number, window in enumerate(windows)
    ]


def _against_cpu(size: str, on_device: dict[str, KronosStatic], windows: Sequence[Window]) -> dict[str, list[float]]:
    """Share of tokens equal to the CPU's by window, both given the CPU's random numbers."""
    cpu = build(size, KronosStatic, "cpu")
    equal: dict[str, list[float]] = {name: [] for name in on_device}
    with _numbers_of_the_cpu():
        for number, window in enumerate(windows):
            expected = cpu.sample([window], SAMPLES, number)[1]
            for name, one in on_device.items():
                equal[name].append(_equal(one.sample([window], SAMPLES, number)[1], expected))
    return equal


@contextlib.contextmanager
def _numbers_of_the_cpu() -> Iterator[None]:
    """Random numbers differ between devices: draw them on the CPU, and copy."""

    def fill(noise: Tensor, windows: Sequence[Window], seed: int) -> None:
        numbers = torch.empty(noise.shape)
        fill_noise(numbers, windows, seed)
        noise.copy_(numbers)

    static.fill_noise = upstream.fill_noise = fill
    try:
        yield
    finally:
        static.fill_noise = upstream.fill_noise = fill_noise


def _logits(size: str, forecasters: dict[str, Any], window: Window) -> dict[str, dict[str, float]]:
    """Largest difference of teacher-forced logits from a float64 run of upstream on the device."""
    truth = build(size, KronosUpstream, "cuda")
    truth = KronosUpstream(truth.network, truth.tokenizer, truth.settings, str(truth.device), torch.float64).probe(
        [window]
    )
    return {
        name: {
            quantity: float(np.abs(found - truth[quantity]).max()) for quantity, found in one.probe([window]).items()
        }
        for name, one in forecasters.items()
    }
