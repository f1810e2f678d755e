"""results/deploy/, the folder that production takes: what was decided, and what is needed to run and to check it.

    manifest.json                   what is described here, sealed with `content_sha256` (`greenlight.judgement.seal`)
    decision.json                   a copy of results/decision.json
    <model>/window.parquet          a stored window: the rows of its context, then those of its future
    <model>/forecast.parquet        its forecast by the variant that was judged
    <model>/code/                   of a copy of published code, the files that were judged
    <model>/check.npz               both again as arrays, which production reads without pyarrow: values [rows, 5],
                                    timestamps and wall [rows] int64 ns, amount [rows], forecast [10, horizon]:
                                    the mean and the deciles
    cache/inductor, cache/triton    a copy of the compile caches of what is deployed, for one process with all models

It is made anew with each verdict, and may be copied as a whole: all paths in it are relative to it. A process adds to
the cache whatever it compiles itself; the files that the manifest lists do not change.

manifest.json:

    {"format": 2,
     "gate": "pass" | "fail" | "not decided",    without a pass `models` is empty
     "reasons": [sentence, …],                    why not
     "made": UTC, "commit": …,
     "platform": {"id", "device", "device_name", "torch", "threads"},
     "files": {path: sha256},                     all but manifest.json itself and the cache
     "cache": {path below cache/: sha256},
     "models": {model: {
        "variant", "implementation", "mode", "precision",
        "measured": variant that was run (another one where the variant is the same as that on this device),
        "settings": {…},                          the model's own, as `LoadOptions.settings` takes them
        "weights": {role: {"source", "revision", "sha256"}},      `weights_hash`: config.json and model.safetensors
        "code": {path such as greenlight_forecasters/toto/static/engine.py: sha256 of its bytes},
        "contents": {module or file of other people's code: hash},   as the ledger has them, the gate's own left out
        "published": {package: hash},             contents of the published packages that it runs (`code_run`)
        "copy": folder | null,                    of a copy of published code: its files in the bundle
        "plugin": where the model's plug-in is,
        "packages": {name: version},
        "device", "device_name", "threads",
        "environment": {name: value},             what the trials had set, without folders
        "process": {…},                           state of torch in which it was called, where it is not torch's own
                                                  (`ProcessSettings.stated`)
        "shapes": {"context_length", "horizon", "samples", "windows": [windows in a call, …]},
                                                  the scope of the verdict (`judgement.scope`): what is warmed, and
                                                  beyond which a loaded predictor warns
        "call": {"seed", "samples", "windows_per_call"},         how the stored forecast was made
        "check": {"file"},
        "window": {"file", "symbol", "index", "context_length", "horizon", "target",
                   "input"},                      what the model is given: prices, or returns of them
        "forecast": {"file"}}}}
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from greenlight import provenance
from greenlight.code import code_run, contents_of_folder, copy_contents
from greenlight.data.returns import rows_for
from greenlight.data.stored import load_series
from greenlight.data.windows import Window, with_missing
from greenlight.errors import UserError
from greenlight.files import read_json, read_parquet, sha256_of, write_parquet
from greenlight.judgement.checks.base import count
from greenlight.judgement.expected import Expected
from greenlight.judgement.scope import scope_of
from greenlight.judgement.seal import write_sealed
from greenlight.layout import Layout
from greenlight.measures.forecasts import QUANTILE_COLUMNS
from greenlight.process import process_of, stated_process
from greenlight.run.job import Job, job_name
from greenlight.run.ledger import read_entry
from greenlight.variants import Variant
from greenlight.watch.caches import CACHES, cache_contents, cache_digest, join_caches

FORMAT = 2
_PARTIAL = ".partial"
_FORECASTERS = "greenlight_forecasters"
# Folders of a trial's own, which mean nothing elsewhere.
_OWN_FOLDERS = {*CACHES, "TMPDIR", "TORCH_TRACE"}


def write_bundle(layout: Layout, gate: str, reasons: Sequence[str], chosen: Mapping[str, str], expected: Expected,
                 made: Mapping[str, str]) -> None:  # fmt: skip
    """Make the bundle anew, in place of the one that was there.

    Args:
        gate: `pass` or `fail`.
        reasons: why it is not a pass.
        chosen: by model, the variant to deploy; empty without a pass.
        expected: what the run was to measure.
        made: {"made", "commit"}.

    Raises:
        UserError: code or a compile cache is no longer what was measured.
    """
    with _replacing(layout.bundle) as folder:
        shutil.copyfile(layout.decision, folder / "decision.json")
        models = {model: _model(layout, folder, expected, model, variant) for model, variant in chosen.items()}
        compiled = [(model, entry["measured"]) for model, entry in models.items() if entry["mode"] != "eager"]
        caches = [_cache(layout, model, variant) for model, variant in compiled]
        join_caches(caches, folder / "cache")
        listed = (path for path in sorted(folder.rglob("*")) if path.is_file())
        files = {path.relative_to(folder).as_posix(): sha256_of(path) for path in listed}
        manifest = {
            "format": FORMAT,
            "gate": gate,
            "reasons": list(reasons),
            **made,
            "platform": expected.platform,
            "files": {name: digest for name, digest in files.items() if not name.startswith("cache/")},
            "cache": cache_contents(folder / "cache"),
            "models": models,
        }
        write_sealed(folder / "manifest.json", manifest)


def undecided_bundle(layout: Layout, reason: str, made: Mapping[str, str]) -> None:
    """Have the manifest of an older bundle say that nothing is decided; where there is none, nothing is written."""
    if layout.manifest.is_file():
        manifest = {"format": FORMAT, "gate": "not decided", "reasons": [reason], **made, "platform": {}, "files": {}}
        write_sealed(layout.manifest, manifest | {"cache": {}, "models": {}})


@contextlib.contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """An empty folder that takes the place of another when the block ends without an error."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left in folder.parent.glob(f".{folder.name}.*{_PARTIAL}"):
        shutil.rmtree(left, ignore_errors=True)
    made = folder.with_name(f".{folder.name}.{secrets.token_hex(8)}{_PARTIAL}")
    made.mkdir()
    old = made.with_name(f"{made.name.removesuffix(_PARTIAL)}.old{_PARTIAL}")
    try:
        yield made
        if folder.is_symlink():
            folder.unlink()
        elif folder.exists():
            folder.replace(old)
        made.replace(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _model(layout: Layout, folder: Path, expected: Expected, model: str, variant: str) -> dict[str, Any]:
    """A model's part of the manifest; its window and forecast are written."""
    chosen, entry = Variant.parse(variant), expected.models[model].variants[variant]
    measured = variant if entry.jobs else str(entry.same_as)
    record = read_json(layout.predict_record(model, measured, 0))
    job, trial = record["job"], record["trials"][0]
    symbol = sorted(job["symbols"])[0]
    weights = read_json(layout.weights(model))
    (folder / model).mkdir()
    index = expected.symbols[symbol].windows - 1
    _write_window(layout, folder / model / "window.parquet", symbol, job)
    _write_forecast(layout.forecast(model, measured, symbol), folder / model / "forecast.parquet", index)
    _write_check(folder / model, symbol, job)
    sizes = trial.get("sizes", {})
    return {
        "variant": variant,
        "implementation": chosen.implementation,
        "mode": chosen.mode,
        "precision": chosen.precision,
        "measured": measured,
        "settings": job["settings"],
        "weights": _weights(weights),
        **_code(layout, job),
        "published": {name: known["hash"] for name, known in code_run(job["packages"], {}).items()},
        "copy": _copy(layout, job, folder, f"{model}/code"),
        "plugin": job["plugin"],
        "packages": job["versions"],
        **{name: job[name] for name in ("device", "device_name", "threads")},
        "environment": {name: value for name, value in trial["environment"].items() if name not in _OWN_FOLDERS},
        "process": process_of(job["torch_state"], chosen.precision).stated(),
        "shapes": scope_of(expected, model, sizes),
        "call": {name: job[name] for name in ("seed", "samples")}
        | {"windows_per_call": int(sizes.get("windows_per_call", job["windows_per_call"]))},
        "check": {"file": f"{model}/check.npz"},
        "window": {"file": f"{model}/window.parquet", "symbol": symbol, "index": index}
        | {name: job[name] for name in ("context_length", "horizon", "target", "input")},
        "forecast": {"file": f"{model}/forecast.parquet"},
    }


def _weights(record: Mapping[str, Any]) -> dict[str, Any]:
    """Source and hash of each checkpoint, by role."""
    sources, hashes = record["job"]["sources"], record["hashes"]
    return {
        role: {"source": source, "revision": revision, "sha256": hashes[role]}
        for role, (source, revision) in sources.items()
    }


def _code(layout: Layout, job: Job) -> dict[str, dict[str, str]]:
    """`code` and `contents` of the manifest; UserError if our own files have changed since."""
    entry = read_entry(layout, job_name(job))
    modules: dict[str, str] = entry["modules"] if entry else {}
    own = [module for module in modules if module.split(".")[0] == _FORECASTERS]
    root = Path(provenance.__file__).parents[1]
    files = {}
    with contextlib.suppress(ModuleNotFoundError):
        now = provenance.import_closure(own)
        for module in own:
            path = root.joinpath(*module.split("."))
            file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
            if now[module] == modules[module]:
                files[file.relative_to(root).as_posix()] = sha256_of(file)
    if entry is None or len(files) < len(own):
        raise UserError(
            f"the code of {job['model']} {job['variant']} has changed since it was measured, expected no change while "
            "a run is at work; run the workflow again"
        )
    contents = {name: known for name, known in modules.items() if name.split(".")[0] != "greenlight"}
    return {"code": files, "contents": contents}


def _copy(layout: Layout, job: Job, bundle: Path, name: str) -> str | None:
    """The folder of a copy of published code is copied to `name` in the bundle; UserError if it has changed since."""
    key = f"code.{job['implementation']}"
    if (folder := job["folders_of_code"].get(key)) is None:
        return None
    label, entry = f"{key}: {folder}", read_entry(layout, job_name(job))
    copy_contents(Path(folder).expanduser(), bundle / name)
    found = contents_of_folder(bundle / name, label).items()
    if entry is None or found != {pair for pair in entry["modules"].items() if pair[0].startswith(label)}:
        raise UserError(
            f"models.{job['model']}.{key}: the code in {folder} has changed since it was measured, expected no change "
            "while a run is at work; run the workflow again"
        )
    return name


def _cache(layout: Layout, model: str, variant: str) -> Path:
    """The filled cache of a variant; UserError where it is not the one that its record describes."""
    cache = layout.cache(model, variant)
    stated = read_json(layout.record("compile", model, variant))["cache"].get("sha256")
    if stated != cache_digest(cache):
        raise UserError(
            f"{cache}: this is not the compile cache that its record describes; expected the one that was measured. "
            f"Delete {cache} and run the workflow again"
        )
    return cache


def _write_window(layout: Layout, path: Path, symbol: str, job: Job) -> None:
    """The last window of a symbol: the last rows of its series."""
    series = read_parquet(layout.series(symbol))
    write_parquet(path, series.slice(series.num_rows - _rows(job)))


def _rows(job: Job) -> int:
    """Rows of a window."""
    return int(rows_for(job["context_length"], job["input"]) + job["horizon"])


def _write_forecast(source: Path, path: Path, index: int) -> None:
    forecasts: pa.Table = read_parquet(source)
    write_parquet(path, forecasts.filter(pc.equal(forecasts.column("window"), index)))


def _write_check(folder: Path, symbol: str, job: Job) -> None:
    """The stored window, as the model was given it, and its forecast as plain arrays."""
    prices = load_series(folder / "window.parquet")
    forecast = read_parquet(folder / "forecast.parquet").sort_by("step")
    columns = np.stack([forecast.column(name).to_numpy() for name in ("mean", *QUANTILE_COLUMNS)])
    length = _rows(job) - columns.shape[1]
    assert len(prices.timestamps) == _rows(job) and length > 0
    window = Window(symbol, 0, prices.values[:length], prices.values[length:], prices.timestamps)
    values = np.concatenate((with_missing(window, job["missing"], job["seed"]).context, window.future))
    times = {name: getattr(prices, name).astype(np.int64) for name in ("timestamps", "wall")}
    np.savez(folder / "check.npz", values=values, amount=prices.amount, forecast=columns, **times)


def process_notes(layout: Layout) -> list[str]:
    """Under which settings of a process the bundle's cache hits, a sentence a model that is compiled."""
    manifest = read_json(layout.manifest)
    notes = []
    for model, entry in manifest["models"].items():
        if entry["mode"] == "eager":
            continue
        tf32 = "on for its calls" if entry["precision"] == "tf32" else "off"
        state = stated_process(entry["process"])
        plain = [] if state.inductor else ["Inductor's settings (max_autotune, coordinate_descent_tuning) as they come"]
        plain += [] if state.autocast else ["no autocast"]
        parts = [count(entry["threads"], "thread"), f"TF32 {tf32}", *plain, state.words()]
        notes.append(
            f"{model}: the compile cache hits with torch {entry['packages']['torch']} on {entry['device_name']}, "
            f"{', '.join(filter(None, parts))}, and the shapes of the manifest; anything else compiles anew"
        )
    return notes
