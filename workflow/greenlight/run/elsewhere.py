"""Runs of other commits: in a clone in a temporary folder, by the command that users run, with results kept here.

The user's checkout is read and never written to: clones share its objects and have folders, branches and an index of
their own.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from greenlight.errors import UserError
from greenlight.files import write_text
from greenlight.layout import Layout
from greenlight.run.locking import RUN, join_run
from greenlight.run.planning import PLANNED_DEVICE
from greenlight.variants import Variant

UNCOMMITTED = "uncommitted"
# Of the targets themselves, which an older commit may not know.
_OURS = ("accept", "compare", "bisect", "sweep")
_INHERITED = (RUN, PLANNED_DEVICE, "GREENLIGHT_DEVICE", "GREENLIGHT_SCRATCH", "GITHUB_STEP_SUMMARY")


def git(folder: Path, *arguments: str) -> str:
    """What git prints; UserError with git's own words where it fails."""
    quiet = ("-c", "core.hooksPath=/dev/null", "-c", "advice.detachedHead=false")
    try:
        done = subprocess.run(["git", "-C", str(folder), *quiet, *arguments], capture_output=True, text=True)
    except OSError as error:
        raise UserError(f"git can't be run ({error}); install it") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        raise UserError(f"git {arguments[0]} in {folder}: {said[-1]}; expected a git checkout and names that it knows")
    return done.stdout.strip()


def commit_of(repository: Path, name: str, key: str) -> str:
    """The hash of a commit by any name that git knows, or of the changes that are not committed."""
    if name == UNCOMMITTED:
        return git(repository, "stash", "create") or git(repository, "rev-parse", "HEAD")
    if name.startswith("-"):
        raise UserError(f"{key}: {name!r} is no commit; expected its hash, a tag or a branch")
    try:
        return git(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    except UserError:
        raise UserError(
            f"{key}: {name!r} is no commit of {repository}; expected its hash, a tag, a branch, or {UNCOMMITTED}"
        ) from None


@contextlib.contextmanager
def clone_of(repository: Path, commit: str) -> Iterator[Path]:
    """A clone at a commit, for as long as it is needed."""
    with tempfile.TemporaryDirectory(prefix="greenlight-", ignore_cleanup_errors=True) as folder:
        clone = Path(folder) / "checkout"
        top = git(repository, "rev-parse", "--show-toplevel")
        git(repository, "clone", "--quiet", "--shared", "--no-checkout", top, str(clone))
        git(clone, "checkout", "--quiet", "--detach", commit)
        yield clone


def nested_config(config: Mapping[str, Any], repository: Path, results: Path) -> dict[str, Any]:
    """The configuration of a run elsewhere: the same, with folders that lead to the same places from there.

    What git keeps in the repository is the other commit's own, such as a plug-in; prices and baselines are those
    of here.
    """
    own = {key: copy.deepcopy(value) for key, value in config.items() if key not in _OURS}
    own["results_folder"] = str(results.resolve())
    for key, default in (("data_folder", "trainingdata"), ("baselines_folder", "config/baselines")):
        own[key] = str(Path(own.get(key, default)).expanduser().resolve())
    for settings in own.get("models", {}).values():
        if isinstance(settings, dict):
            for key in ("source", "tokenizer", "plugin"):
                if isinstance(settings.get(key), str):
                    settings[key] = _from_there(settings[key], repository)
            if code := settings.get("code"):
                settings["code"] = {name: _from_there(folder, repository) for name, folder in code.items()}
    return own


def _from_there(text: str, repository: Path) -> str:
    """A path of here as it is meant from elsewhere; what is no path stays."""
    name, colon, rest = text.partition(":")
    place = Path(name).expanduser()
    if not place.exists():
        return text
    inside = place.resolve().is_relative_to(repository)
    if inside and git(repository, "ls-files", "--", str(place.resolve())):
        return f"{place.resolve().relative_to(repository)}{colon}{rest}"
    return f"{place.resolve()}{colon}{rest}"


def copies_config(config: dict[str, Any], model: str, folders: Mapping[str, Path]) -> dict[str, Any]:
    """A configuration in which two folders of code are implementations of one model, beside its reference."""
    own = dict(config["models"][model])
    named = [Variant.parse(variant) for variant in own["variants"]]
    modes = list(dict.fromkeys(variant.mode for variant in named if not variant.reduced))
    reference = str(own.get("reference", "upstream-eager"))
    variants = [reference, *(f"{side}-{mode}" for mode in modes for side in folders)]
    code = {side: str(folder.resolve()) for side, folder in folders.items()}
    models = dict.fromkeys(config["models"]) | {model: own | {"variants": variants, "code": code, "deployed": None}}
    return config | {"models": models}


def run_there(clone: Path, config: Mapping[str, Any], *arguments: str, python: str = sys.executable) -> int:
    """Run the workflow of a clone; its exit code. What it prints goes to stderr."""
    # In the place of its own configuration, which would be merged under this one; git must not see a change of code.
    file = clone / "config" / "config.yaml"
    own = file.read_bytes()
    git(clone, "update-index", "--assume-unchanged", str(file))
    write_text(file, json.dumps(config, indent=2) + "\n")
    environment = {name: value for name, value in os.environ.items() if name not in _INHERITED}
    environment["PYTHONPATH"] = str(clone / "workflow")
    command = [python, "-m", "snakemake", "--cores", "1", *arguments]
    sys.stderr.flush()
    try:
        return subprocess.run(command, cwd=clone, env=environment, stdout=sys.stderr.fileno()).returncode
    finally:
        file.write_bytes(own)
        git(clone, "update-index", "--no-assume-unchanged", str(file))


@contextlib.contextmanager
def within_run(layout: Layout) -> Iterator[None]:
    """End with the run that started this target, and leave neither clones nor runs behind."""

    def end(number: int, frame: Any) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        with join_run(layout):
            yield
    finally:
        signal.signal(signal.SIGTERM, before)
