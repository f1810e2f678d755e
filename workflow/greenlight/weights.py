"""Finding and reading checkpoints: embedded ones, local folders and pinned Hugging Face revisions.

A checkpoint is a folder with `config.json` and `model.safetensors`. torch is imported only where tensors are
read, so that the workflow can hash checkpoints while it plans.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenlight.errors import MissingWeights, NotAsPlanned, UserError
from greenlight.files import known_hashes, read_json

if TYPE_CHECKING:
    import numpy as np
    import torch

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
TRAINING = "training.json"
GOLDEN = "golden.safetensors"
MODEL = "model"
"""Role of the checkpoint that every model has."""
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_NAMED_KEYS = 8


def resolve_checkpoint(
    source: str,
    revision: str | None = None,
    needs: Sequence[str] = (CONFIG, WEIGHTS),
    *,
    embedded: Path | None,
    setting: str,
) -> Path:
    """The folder that holds a checkpoint's files.

    Args:
        source: `embedded`, a local folder, or a Hugging Face id (`owner/name`).
            A folder that exists wins over an id.
        revision: the 40-digit commit of a Hugging Face id; None for the others.
        needs: the files that must be there.
        embedded: the folder that `embedded` stands for; None where no checkpoint ships.
        setting: the configuration key that names the source, for error messages.

    Raises:
        MissingWeights: files that are neither on this machine nor to be had from the hub.
        UserError: a source or revision that can't be meant.
    """
    if problem := source_problem(source, revision):
        raise UserError(f"{setting}: {problem}")
    if source == "embedded":
        if embedded is None:
            raise UserError(f"{setting}: no checkpoint ships with this model; name a folder or a Hugging Face id")
        return _complete(embedded, needs, setting)
    folder = Path(source).expanduser()
    if source and folder.is_dir():
        return _complete(folder, needs, setting)
    if not _HUB_ID.fullmatch(source) or revision is None:
        raise MissingWeights(
            f"{setting}: there is no folder {source!r}; expected `embedded`, "
            f"a folder with {' and '.join(needs)}, or a Hugging Face id such as owner/name"
        )
    return _complete(_from_hub(source, revision, needs, setting), needs, setting)


def source_problem(source: str, revision: str | None) -> str:
    """Why a source and its revision can't be meant together, in words; empty where they can.

    A Hugging Face id needs a commit, so that the weights that were gated are the weights that run. Nothing else has
    one: to ask for it is a mistake.
    """
    here = source == "embedded" or (source != "" and Path(source).expanduser().is_dir())
    if here and revision is not None:
        what = "the checkpoint that ships" if source == "embedded" else "a local folder"
        return (
            f"{source!r} is {what}, which has no revision, but its revision is set to {revision!r}; "
            "set it to null, or name a Hugging Face id"
        )
    if not here and _HUB_ID.fullmatch(source) and not _COMMIT.fullmatch(revision or ""):
        return (
            f"{source!r} is no folder here; for a Hugging Face id the revision must pin its commit of 40 hexadecimal "
            f"digits, so that the weights can't change unseen, but the revision is {revision!r} "
            "(commits stand on the model's page under Files, History)"
        )
    return ""


def checkpoint_folders(
    model: str, sources: Mapping[str, Sequence[str | None]], embedded: Mapping[str, Path | None]
) -> dict[str, Path]:
    """Absolute folder of each checkpoint of a model by its role; fetches a pinned revision that is not here yet.

    Args:
        sources: (source, revision) by role: `model`, and what else the model has, such as `tokenizer`.
        embedded: by role, the folder that `embedded` stands for.

    Raises:
        UserError: as `resolve_checkpoint`.
    """
    return {
        role: resolve_checkpoint(
            str(source),
            revision,
            embedded=embedded[role],
            setting=f"models.{model}.{'source' if role == MODEL else role}",
        ).absolute()
        for role, (source, revision) in sources.items()
    }


def _complete(folder: Path, needs: Sequence[str], setting: str) -> Path:
    absent = [name for name in needs if not (folder / name).is_file()]
    if absent:
        raise MissingWeights(
            f"{setting}: the folder {folder} lacks {', '.join(absent)}; expected {', '.join(needs)} in it"
        )
    return folder


def _from_hub(source: str, revision: str, needs: Sequence[str], setting: str) -> Path:
    """Folder of a pinned revision in the local Hugging Face cache, fetched where it is not there yet."""
    from huggingface_hub import constants, snapshot_download

    cached = Path(constants.HF_HUB_CACHE) / f"models--{source.replace('/', '--')}" / "snapshots" / revision
    if all((cached / name).is_file() for name in needs):
        return cached
    try:
        return Path(snapshot_download(source, revision=revision, allow_patterns=list(needs), max_workers=2))
    except (OSError, ValueError, RuntimeError) as error:
        local = f"weights/{source.split('/')[1]}"
        reason = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
        raise MissingWeights(
            f"{setting}: {source} at revision {revision} is not on this machine and could not be fetched "
            f"from the Hugging Face hub ({reason}). On a machine with access run\n"
            f"    hf download {source} {' '.join(needs)} --revision {revision} --local-dir {local}\n"
            f"copy the folder here, and set {setting}: {local} with its revision null"
        ) from error


def read_config(folder: Path) -> dict[str, Any]:
    """The object in `config.json`; UserError where it is not JSON or not an object."""
    path = folder / CONFIG
    try:
        config = read_json(path)
    except ValueError as error:
        raise UserError(f"{error}; fetch the checkpoint again") from error
    if not isinstance(config, dict):
        raise UserError(f"{path}: expected a JSON object of dimensions, found {type(config).__name__}")
    return config


def read_weights(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of `model.safetensors`, on the CPU, as they are stored; UserError where it is corrupt."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / WEIGHTS
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path}: not readable as safetensors ({error}); fetch it again") from error


def check_keys(found: Iterable[str], expected: Iterable[str], where: str, ignore: Sequence[str] = ()) -> None:
    """Raise UserError unless both sets of parameter names are equal.

    Args:
        where: the file that `found` comes from.
        ignore: name endings that neither side needs (buffers that are computed, such as `rotary_emb.freqs`).
    """

    def kept(names: Iterable[str]) -> set[str]:
        return {name for name in names if not name.endswith(tuple(ignore))} if ignore else set(names)

    missing, unexpected = kept(expected) - kept(found), kept(found) - kept(expected)
    if missing or unexpected:
        raise UserError(
            f"{where}: the parameter names do not fit the model that config.json describes; "
            f"missing: {_named(missing)}; unexpected: {_named(unexpected)}"
        )


def load_into(
    module: torch.nn.Module, tensors: Mapping[str, torch.Tensor], where: str, ignore: Sequence[str] = ()
) -> None:
    """Copy tensors into a module; UserError where names or shapes differ (`ignore` as in `check_keys`)."""
    own = module.state_dict()
    check_keys(tensors, own, where, ignore)
    tensors = {name: tensor for name, tensor in tensors.items() if name in own}
    for name, tensor in tensors.items():
        if tensor.shape != own[name].shape:
            raise UserError(
                f"{where}: {name} has the shape {tuple(tensor.shape)}; "
                f"by config.json it should have {tuple(own[name].shape)}"
            )
    module.load_state_dict(tensors, strict=not ignore)


def _named(names: set[str]) -> str:
    shown = ", ".join(sorted(names)[:_NAMED_KEYS]) or "none"
    return shown if len(names) <= _NAMED_KEYS else f"{shown} and {len(names) - _NAMED_KEYS} more"


def weights_hash(folder: Path) -> str:
    """SHA-256 over `config.json` and `model.safetensors`, as hexadecimal text."""
    digest = hashlib.sha256()
    for name in (CONFIG, WEIGHTS):
        with (folder / name).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def contents_of(folder: Path) -> dict[str, str]:
    """What a checkpoint's files hold, by name: a hash each, of TRAINING only where it is there.

    A revision or a folder's name proves nothing: files change under both.
    """
    files = [folder / name for name in (CONFIG, WEIGHTS, TRAINING)]
    return {file.name: known_hashes.sha256(file)[:16] for file in files if file.name != TRAINING or file.is_file()}


def check_contents(role: str, folder: Path, planned: Mapping[str, str]) -> None:
    """NotAsPlanned unless a checkpoint's files hold what they held when the run was planned."""
    found = contents_of(folder)
    for name in sorted({*planned, *found}):
        if planned.get(name) != found.get(name):
            was, now = (entry.get(name, "absent") for entry in (planned, found))
            raise NotAsPlanned(
                f"{folder / name} ({role}): the run was planned with {was}, found {now}: the file has changed since. "
                "Start the run again"
            )


def golden_digest(folder: Path, implementation: str) -> str | None:
    """Hash of the golden forecasts beside a checkpoint; None where there are none of an implementation.

    Raises:
        UserError: a file that is damaged.
    """
    path = folder / GOLDEN
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        stored = f"paths/{implementation}" in header
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path}: not readable as golden forecasts ({error}); restore it from git") from error
    return known_hashes.sha256(path)[:16] if stored else None


def trained_until(checkpoint: Path) -> dict[str, np.datetime64]:
    """By symbol, the last time that a checkpoint was trained on; empty where it has no training.json.

    Raises:
        UserError: a training.json that is not readable.
    """
    import numpy as np  # here, so that stages that only look for weights start without it

    path = checkpoint / TRAINING
    if not path.is_file():
        return {}
    try:
        return {
            symbol: np.datetime64(entry["trained_until"].removesuffix("Z"), "ns")
            for symbol, entry in read_json(path)["symbols"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: expected `symbols` with a `trained_until` time for each ({error}); train or fetch it again"
        ) from error
