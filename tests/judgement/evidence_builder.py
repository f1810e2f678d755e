"""A small, good evidence tree on the disk, and ways to put a defect into a variant of it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from scipy import special

from greenlight.files import sha256_of, write_json, write_parquet
from greenlight.judgement.drawn_paths import QUANTITIES
from greenlight.judgement.drawn_pooled import WORDS
from greenlight.judgement.drawn_windows import quantities
from greenlight.judgement.draws import Differences, band_differences
from greenlight.judgement.evidence import forecast_file, record_file
from greenlight.judgement.seal import seal
from greenlight.measures.accuracy import WindowContext, score_windows
from greenlight.measures.forecasts import QUANTILE_COLUMNS, QUANTILES
from greenlight.measures.judged import errors_of
from greenlight.measures.numerics import compare, other_sizes
from greenlight.measures.points import with_point
from greenlight.measures.returns import with_returns
from greenlight.variants import Variant
from tests.judgement.effects import HEALTH, REPRODUCIBILITY, Effects, partner_of

SYMBOLS = {f"SYM{number}": 5 for number in range(6)}
POINT = "median"  # of which forecasts are scored
INPUT = "prices"  # what models are given
HORIZON = 8
SAMPLES = 32
LOOKS = 5
CALLS = {"windows_per_call": 4, "timed_windows": 1}
TOTO = {
    "upstream-eager": {"coupled_with_reference": True},
    "static-eager": {"coupled_with_reference": False},
    "static-default": {"coupled_with_reference": False},
    "static-reduce-overhead": {"coupled_with_reference": False},
}
# What draws paths beside the reference's: other random numbers, or another precision.
DRAWN = ("static-eager", "static-eager-bf16", "static-default-tf32")
KRONOS = {"upstream-eager": {"coupled_with_reference": True}, "upstream-default": {"coupled_with_reference": True}}


@dataclass
class Run:
    """A run to be written: `Run().write(folder)`."""

    models: Mapping[str, Mapping[str, dict[str, Any]]] = field(default_factory=lambda: {"toto": TOTO})
    symbols: Mapping[str, int] = field(default_factory=lambda: dict(SYMBOLS))
    effects: dict[tuple[str, str], Effects] = field(default_factory=dict)
    deployed: Mapping[str, str] = field(default_factory=dict)
    seed: int = 1
    speed_seed: int = 0
    independent_draws: bool = True
    pairs: int = 20
    control_pairs: int = 12
    processes: int = 2
    repeats: int = 0
    adjust: Callable[[dict[str, Any]], None] = lambda manifest: None

    def __post_init__(self) -> None:
        for model, variants in self.models.items():
            for variant in variants:
                fast = {"eager": 1.0, "default": 0.7, "reduce-overhead": 0.7, "max-autotune": 0.7}[
                    Variant.parse(variant).mode
                ]
                self.effects.setdefault((model, variant), Effects(latency=fast))

    def write(self, results: Path) -> Path:
        """Write everything below `results`; returns it."""
        manifest = self.manifest()
        write_json(results / "expected.json", manifest)
        written = [
            _Writer(self, results, model, variant, entry["jobs"], variants.get("levels", ()))
            for model, variants in manifest["models"].items()
            for variant, entry in variants["variants"].items()
        ]
        for writer in written:
            writer.write()
        for writer in written:
            writer.write_replicates()  # of the scores of two variants
        return results

    def manifest(self) -> dict[str, Any]:
        """What expected.json says."""
        names = list(self.symbols)
        shards = [names[: len(names) // 2], names[len(names) // 2 :]] if len(names) > 1 else [names]
        models = {}
        for model, variants in self.models.items():
            entries = {}
            for variant, options in variants.items():
                jobs: dict[str, Any] = {}
                if Variant.parse(variant).compiled:
                    jobs["compile"] = {}
                jobs |= {f"predict/{number:04d}": {"symbols": part} for number, part in enumerate(shards)}
                golden = variant.endswith("-eager")
                drawn = {"replicates": 8, "drawn_windows": sum(self.symbols.values())} if variant in DRAWN else {}
                jobs |= {"probe": {"windows": 4, "looks": 3, "golden": golden, **drawn}, "score": {}}
                if variant != "upstream-eager":
                    jobs["time"] = {"trials": self.processes, "pairs": self.pairs, "control_pairs": self.control_pairs}
                partner = partner_of(variant, options)
                if partner is not None:
                    jobs["replicate"] = {"looks": LOOKS}
                if self.repeats:
                    jobs["repeat"] = {"trials": self.repeats}
                for job, asked in jobs.items():
                    asked["key"] = f"key of {model}/{variant}/{job}"
                entries[variant] = {**options, "jobs": jobs}
            models[model] = {
                "reference": "upstream-eager",
                "deployed": self.deployed.get(model),
                "weights_hash": f"weights of {model}",
                "variants": entries,
            }
        manifest = {
            "models": models,
            "symbols": {name: {"windows": n, "data_hash": f"data of {name}"} for name, n in self.symbols.items()},
            "context_length": 64,
            "horizon": HORIZON,
            "samples": SAMPLES,
            "calls": CALLS,
            "seed": self.seed,
            "settings_hash": "settings",
            "platform": {"id": "test-platform", "device": "cpu", "threads": 1},
        }
        self.adjust(manifest)
        return manifest


def reseal(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a record and seal it again, as a job that wrote other content would have."""
    import json

    record = json.loads(path.read_text())
    change(record)
    write_json(path, seal(record))


@dataclass
class _Writer:
    run: Run
    results: Path
    model: str
    variant: str
    jobs: Mapping[str, Any]
    levels: Sequence[float] = ()

    def write(self) -> None:
        self.effects = self.run.effects[self.model, self.variant]
        outputs = self._forecasts()
        for job, asked in self.jobs.items():
            stage = job.split("/")[0]
            if stage == "replicate":
                continue
            files = {name: outputs[name] for name in self._files_of(job, asked) if name in outputs}
            inputs = outputs if stage == "score" else {}
            results = getattr(self, f"_{stage}")(asked, files)
            self._record(job, asked["key"], results, files, inputs)

    def write_replicates(self) -> None:
        """The record of `replicate`, which holds the hashes of the scores that were looked at first."""
        if "replicate" not in self.jobs:
            return
        partner = partner_of(self.variant, self.run.models[self.model][self.variant])
        names = (record_file("score", self.model, name) for name in (self.variant, partner))
        tables = [name.replace("record.json", "windows.parquet") for name in names]
        inputs = {name: sha256_of(self.results / name) for name in tables}
        results = [] if self.effects.replicated is None else [self._replicates(partner, self.results / tables[1])]
        self._record("replicate", self.jobs["replicate"]["key"], results, {}, inputs)

    def _replicates(self, partner: str, scores: Path) -> dict[str, Any]:
        """Errors around those of the partner's scores, other ones with each seed."""
        look, shift, scatter = self.effects.replicated
        table, rng = pyarrow.parquet.read_table(scores), self._rng(f"replicates {self.variant}")
        seeds = [self.run.seed + number for number in range(1, 2 ** (look - 1))]
        other = {
            name: np.array(table.column(name).to_pylist()) * np.exp(0.3 * rng.standard_normal((len(seeds), len(table))))
            for name in errors_of(INPUT)
        }
        own = {name: rows * np.exp(shift + scatter * rng.standard_normal(rows.shape)) for name, rows in other.items()}
        arms = {"own": own, "other": other}
        return {
            "partner": partner,
            "windows": [f"{symbol}/{n}" for symbol, count in self.run.symbols.items() for n in range(count)],
            "seeds": seeds,
            "look": look,
            "looks": self.jobs["replicate"]["looks"],
            **{arm: {name: rows.tolist() for name, rows in errors.items()} for arm, errors in arms.items()},
            "health": self._health(),
        }

    def _files_of(self, job: str, asked: Mapping[str, Any]) -> list[str]:
        return [forecast_file(self.model, self.variant, symbol) for symbol in asked.get("symbols", [])]

    def _record(self, job: str, key: str, results: list[Any], outputs: dict[str, str], inputs: dict[str, str]) -> None:
        stage = job.split("/")[0]
        trials = [self.effects.failed.get(stage, {"kind": "ok", "message": "", "result": one}) for one in results]
        trials = [{"attempts": [], "sizes": {}, "reduced": "", "code_run": {}} | trial for trial in trials]
        record = {
            "format": 1,
            "stage": stage,
            "model": self.model,
            "variant": self.variant,
            "key": key,
            "trials": trials,
        }
        record |= {"inputs": inputs, "outputs": outputs, "provenance": {"commit": "abc"}}
        write_json(self.results / record_file(job, self.model, self.variant), seal(record))

    def _rng(self, purpose: str, *more: int) -> np.random.Generator:
        """Random numbers shared by all variants that are coupled, or own ones."""
        import zlib

        text = f"{self.run.seed}/{self.model}/{purpose}"
        return np.random.default_rng([zlib.crc32(text.encode()), *more])

    def _forecasts(self) -> dict[str, str]:
        """Forecast tables around simulated prices; samples of an uncoupled implementation scatter by 3%."""
        self.tables, self.contexts, outputs = [], {}, {}
        for number, (symbol, count) in enumerate(self.run.symbols.items()):
            scale = 10.0 ** (number % 5 - 2)
            for window in range(count):
                self.contexts[symbol, window] = WindowContext(scale, 0.0, 0.008 * scale)
            table = self._table(symbol, *self._cells(self.variant, symbol), self._samples(number))
            self.tables.append(table)
            if "predict" in self.effects.failed:
                continue
            name = forecast_file(self.model, self.variant, symbol)
            write_parquet(self.results / name, table)
            outputs[name] = sha256_of(self.results / name)
        return outputs

    def _cells(self, variant: str, symbol: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Outcomes, medians and spreads [windows, horizon] of a variant's forecasts of a symbol."""
        effects, number = self.run.effects[self.model, variant], list(self.run.symbols).index(symbol)
        count, scale = self.run.symbols[symbol], 10.0 ** (number % 5 - 2)
        own = variant.startswith("static") and self.run.independent_draws
        rng, noise = self._rng("prices", number), self._rng("static" if own else "upstream", number)
        rounding = self._rng(variant, number)
        sigma = 0.01 * scale * np.sqrt(np.arange(1, HORIZON + 1))
        steps = rng.standard_normal((count, HORIZON)).cumsum(axis=1) * 0.01 * scale
        center = scale + 0.2 * sigma * rng.standard_normal((count, HORIZON))
        center += 0.03 * sigma * noise.standard_normal((count, HORIZON))
        actual = scale + steps
        center = actual + (center - actual) * effects.error.get(symbol, 1.0)
        center[0] = actual[0] + (center[0] - actual[0]) * effects.flipped.get(symbol, 1.0)
        center *= 1 + effects.rounding * rounding.standard_normal((count, HORIZON))
        late = np.maximum(np.arange(HORIZON) - effects.shift, 0)
        return actual, center[:, late], np.broadcast_to(sigma[late] * effects.band, center.shape)

    def _draws(self) -> dict[str, Any]:
        """The variant's bands beside the reference's for every window, as the probe draws them again and again."""
        arms = []
        for variant in (self.variant, "upstream-eager"):
            cells = [self._cells(variant, symbol) for symbol in self.run.symbols]
            center, sigma = (np.concatenate([cell[part] for cell in cells]) for part in (1, 2))
            arms.append({name: center + z * sigma for name, z in (("q10", -1.2816), ("q50", 0.0), ("q90", 1.2816))})
        keys = [f"{symbol}/{window}" for symbol, count in self.run.symbols.items() for window in range(count)]
        draws: dict[str, Any] = {"windows": keys, "replicates": 8, "look": 1, "looks": 3}
        rng = self._rng("draws")
        drawn = [part + 0.05 * rng.standard_normal((8, *part.shape)) for part in band_differences(*arms)]
        spread = {name: (0.05 * rng.standard_normal(8)).tolist() for name in QUANTITIES} | self.effects.drawn
        ranks = rng.standard_normal((len(keys), quantities(HORIZON)))
        draws["ranks"] = {"score": ranks.tolist(), "size": (0.02 * ranks).tolist()}
        draws["pooled"] = {name: [0.0, 0.0, 0.0] for name in WORDS} | self.effects.pooled
        draws |= {"paths": spread, "between": (0.1 * rng.standard_normal(len(keys))).tolist()}
        return draws | {name: values.tolist() for name, values in vars(Differences.of(*drawn)).items()}

    def _samples(self, number: int) -> np.ndarray:
        """Standard scores [windows, SAMPLES, horizon] of the sample paths of a symbol: every quantile once."""
        own = self.variant.startswith("static") and self.run.independent_draws
        rng = self._rng("static samples" if own else "upstream samples", number)
        ladder = special.ndtri((np.arange(SAMPLES) + 0.5) / SAMPLES)
        symbol, count = list(self.run.symbols.items())[number]
        paths = np.stack([np.stack([rng.permutation(ladder) for _ in range(HORIZON)], axis=1) for _ in range(count)])
        if symbol in self.effects.flipped:
            paths[0] = paths[0][np.random.default_rng(1).permutation(SAMPLES)]
        return paths

    def _table(self, symbol: str, actual: np.ndarray, center: np.ndarray, sigma: np.ndarray, z: np.ndarray) -> pa.Table:
        count = len(actual)
        paths = self.effects.paths(symbol, center[:, None] + sigma[:, None] * z)
        drawn = paths.transpose(1, 0, 2).reshape(SAMPLES, -1)
        columns = {
            "model": [self.model] * actual.size,
            "variant": [self.variant] * actual.size,
            "symbol": [symbol] * actual.size,
            "window": np.repeat(np.arange(count, dtype=np.int32), HORIZON),
            "step": np.tile(np.arange(1, HORIZON + 1, dtype=np.int32), count),
            "actual": actual.ravel(),
            "mean": drawn.mean(axis=0),
        }
        columns |= dict(zip(QUANTILE_COLUMNS, np.quantile(drawn, QUANTILES, axis=0), strict=True))
        drawn = np.quantile(drawn, self.levels, axis=0) if len(self.levels) else drawn
        columns["samples"] = pa.array(list(drawn.T.astype(np.float32)), type=pa.list_(pa.float32()))
        return pa.table(columns)

    def _health(self) -> dict[str, Any]:
        health = copy.deepcopy(HEALTH) | dict(self.effects.health)
        health["cuda_graphs"] = HEALTH["cuda_graphs"] | health["cuda_graphs"]
        return health if Variant.parse(self.variant).compiled else health | {"engaged": False, "graphs": 0}

    def _compile(self, asked: Any, files: dict[str, str]) -> list[Any]:
        cold = {"first_call_seconds": 9.0, "cold_seconds": 12.0, "cache_files_before": 0}
        return [{"health": self._health(), **cold}]

    def _predict(self, asked: Any, files: dict[str, str]) -> list[Any]:
        repeats = REPRODUCIBILITY | dict(self.effects.reproducibility)
        repeats["affine"] = REPRODUCIBILITY["affine"] | repeats["affine"]
        result = {"health": self._health(), "first_call_seconds": 0.5, "load_seconds": 0.2, "forecast_hash": "abc"}
        result["distinct_paths"] = self.effects.distinct_paths
        windows = sum(self.run.symbols[symbol] for symbol in asked["symbols"])
        result["memory_readings"] = [300 << 20] * -(-windows // CALLS["windows_per_call"])
        on_device = None if self.effects.device_leak is None else 40 << 20
        peaks = {"peak_memory_bytes": 300 << 20, "device_peak_bytes": on_device}
        again, changed = {"max_abs_difference": 1e-6, "tolerance": 0.01, "windows": windows}, self.effects.again
        again = None if changed is None else again | {"window": f"{asked['symbols'][0]}/0"} | dict(changed)
        return [result | peaks | {"reproducibility": repeats, "in_other_calls": again}]

    def _probe(self, asked: Any, files: dict[str, str]) -> list[Any]:
        exact = self._rng("probe").standard_normal((4, 6, 50))
        reference = exact * (1 + 1e-7 * self._rng("probe", 1).standard_normal(exact.shape))
        error = self.effects.probe_error * self._rng(self.variant, 2).standard_normal(exact.shape)
        tokens = exact[..., :3].argmax(-1)
        names = [f"SYM{number}/0" for number in range(4)]
        arrays = ({"logits": exact * (1 + error), "token": tokens}, {"logits": reference, "token": tokens})
        arrays += ({"logits": exact, "token": tokens},)
        sizes = sorted({*CALLS.values(), *other_sizes(CALLS.values())})
        found = [entry for size in sizes for entry in compare(*arrays, windows=names, batch_size=size)]
        result = {"quantities": found, "coarser": self.effects.coarser, "published": [], "health": self._health()}
        worst = {"window": "SYM0/0", "step": 3, "value": 101.0, "expected": 100.0}
        golden = {"paths": 48, "agreeing": self.effects.golden, "tolerance": 1e-3, "problem": "", "worst": worst}
        golden |= {"sample": self.effects.golden_sample, "numerics": self.effects.golden_numerics()}
        if asked.get("independent") and self.effects.off_published is not None:
            off = {"logits": exact * (1 + self.effects.off_published)}
            result["published"] = compare(off, {"logits": exact}, {"logits": exact}, windows=names)
        result |= {"served": self.effects.served, "together": self.effects.together}
        own = {"golden": golden if asked["golden"] else None, "draws": self._draws() if self.variant in DRAWN else None}
        return [result | own]

    def _time(self, asked: Any, files: dict[str, str]) -> list[Any]:
        rows = []
        for process in range(asked["trials"]):
            rng = self._rng(f"time {self.variant}", self.run.speed_seed, process)
            kinds = rng.permutation([False] * asked["pairs"] + [True] * asked["control_pairs"])
            for pair, control in enumerate(kinds):
                seconds = 0.05 * np.exp(self.effects.jitter * rng.standard_normal(2))
                if not control:
                    slow = rng.random() < self.effects.slow_share
                    seconds[1] *= self.effects.latency * (self.effects.slow_factor if slow else 1.0)
                order = "reference-first" if rng.random() < 0.5 else "variant-first"
                rows.append((process, pair, order, *seconds, bool(control)))
        names = ("process", "pair", "order", "reference_seconds", "variant_seconds", "control")
        table = pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))
        for name in ("variant", "model"):
            table = table.add_column(0, name, pa.array([getattr(self, name)] * len(table)))
        place = record_file("time", self.model, self.variant).replace("record.json", "pairs.parquet")
        write_parquet(self.results / place, table)
        files[place] = sha256_of(self.results / place)
        calls = asked["pairs"] + asked["control_pairs"]
        jitter = self._rng(f"memory {self.variant}").integers(0, 65536, calls)
        memory = (300 << 20) + jitter + self.effects.leak * np.arange(calls)
        result = {"load_seconds": 0.2, "first_call_seconds": 0.5, "warm_up_calls": 3, "recompiles_after_warm_up": 0}
        result |= {"memory_readings": memory.tolist(), "peak_memory_bytes": int(memory.max())}
        result |= {"device_memory_readings": [], "device_peak_bytes": None, "alone": {}, "alone_before": []}
        if self.effects.device_leak is not None:
            on_device = (40 << 20) + self.effects.device_leak * np.arange(calls)
            result |= {"device_memory_readings": on_device.tolist(), "device_peak_bytes": int(on_device.max())}
        result["recompiles_after_warm_up"] = self._health()["recompiles_after_warm_up"]
        quiet = {"seconds": 2.0, "processors": 2, "foreign": self.effects.foreign, "waited": 0.0, "device": None}
        during = [quiet | {"pairs": calls, "kept": True}]
        result["load"] = {"idle": None, "before": quiet, "during": during, "after": quiet}
        return [result | {"health": self._health()} for _ in range(asked["trials"])]

    def _repeat(self, asked: Any, files: dict[str, str]) -> list[Any]:
        result = {"load_seconds": 0.2, "first_call_seconds": 0.5, "compared": True, "health": self._health()}
        return [result for _ in range(asked["trials"])]

    def _call(self, asked: Any, files: dict[str, str]) -> list[Any]:
        return [{**self.effects.calls, "health": self._health()}]

    def _score(self, asked: Any, files: dict[str, str]) -> list[Any]:
        forecasts = with_point(pa.concat_tables(self.tables), POINT)
        if INPUT != "prices":
            rows = zip(*forecasts.select(["symbol", "window"]).to_pydict().values(), strict=True)
            last = np.array([self.contexts[row].last for row in rows])
            forecasts = with_returns(forecasts, last, INPUT, POINT)
        scores, problems = score_windows(forecasts, self.contexts, HORIZON)
        assert not problems
        place = record_file("score", self.model, self.variant).replace("record.json", "windows.parquet")
        write_parquet(self.results / place, scores)
        files[place] = sha256_of(self.results / place)
        return []
