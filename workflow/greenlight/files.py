"""Writing files so that a half-written one is never taken for evidence."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow


MOST_JSON_BYTES = 512 * 2**20
"""Larger than any record, ledger entry or plan; a file beyond it is none of ours."""


@contextlib.contextmanager
def atomic_path(path: Path, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block ends without an error.

    The parent folder is created. After an error, or a SIGKILL, `path` is as it was before.

    Args:
        durable: wait until the disk has it (milliseconds), so that a power failure leaves no empty file. Of many
            files that a record lists by their hashes, it is enough to do so for the record.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name[:60]}.{secrets.token_hex(8)}.partial")
    # A new file, never one that a link points to; with the permissions that umask leaves.
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield temporary
        if durable:
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str, durable: bool = True) -> None:
    """Write UTF-8 text atomically; `durable` as for `atomic_path`."""
    with atomic_path(path, durable) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any, durable: bool = True) -> None:
    """Write JSON atomically: sorted keys, two spaces, a final newline; NaN and infinities become strings.

    JSON has no NaN; the strings "NaN", "Infinity" and "-Infinity" keep them visible to every reader. `durable` as for
    `atomic_path`.
    """
    write_text(path, json_text(value), durable)


def json_text(value: Any) -> str:
    """The canonical JSON text of a value, as `write_json` writes it."""
    return json.dumps(_plain(value), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, Path):
        return value.as_posix()
    if hasattr(value, "item") and not isinstance(value, (str, bytes)):
        return _plain(value.item())
    return value


def read_json(path: Path) -> Any:
    """Read a JSON file; raises ValueError that names the file when it is not JSON, no regular file, or a huge one."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # opening a pipe does not wait
    with open(descriptor, encoding="utf-8") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError(f"{path}: not readable as JSON (no regular file)")
        if found.st_size > MOST_JSON_BYTES:
            raise ValueError(
                f"{path}: not readable as JSON ({found.st_size} bytes, at most {MOST_JSON_BYTES} are read)"
            )
        try:
            return json.loads(file.read())
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}: not readable as JSON ({error})") from error


def write_parquet(path: Path, table: pyarrow.Table, durable: bool = True) -> None:
    """Write a pyarrow table atomically as one parquet file (zstd); `durable` as for `atomic_path`."""
    import pyarrow.parquet

    with atomic_path(path, durable) as temporary:
        pyarrow.parquet.write_table(table, temporary, compression="zstd")


def read_parquet(path: Path) -> pyarrow.Table:
    """A small parquet file whole, without the threads that cost more than they bring; raises what pyarrow does."""
    import pyarrow.parquet

    return pyarrow.parquet.ParquetFile(pyarrow.BufferReader(Path(path).read_bytes())).read(use_threads=False)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal text."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# A file that changed less than this before it was hashed may change again within the clock's grain, unseen.
_SETTLED_NS = 2_000_000_000


class KnownHashes:
    """SHA-256 of files that were hashed before, for as long as the file system shows no change, as git's index has it.

    A file is known by its path, size, times of content and inode, and inode number. One that had just changed when it
    was hashed is hashed again.
    """

    def __init__(self) -> None:
        self._known: dict[str, list[Any]] = {}
        self._used: dict[str, list[Any]] = {}

    def sha256(self, path: Path | str) -> str:
        """As `sha256_of`, read only where the file may have changed since."""
        name = os.path.abspath(path)
        found = os.stat(name)
        state = [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]
        for known in (self._used, self._known):
            if name in known and known[name][:4] == state and known[name][4]:
                self._used[name] = known[name]
                return str(known[name][5])
        settled = max(found.st_mtime_ns, found.st_ctime_ns) + _SETTLED_NS < time.time_ns()
        content = sha256_of(Path(path))
        self._used[name] = [*state, settled, content]
        return content

    def load(self, path: Path) -> None:
        """Use what `save` left; nothing of it where it can't be read."""
        with contextlib.suppress(OSError, ValueError):
            entries = read_json(path)
            if isinstance(entries, dict):
                self._known = {name: e for name, e in entries.items() if isinstance(e, list) and len(e) == 6}

    def save(self, path: Path) -> None:
        """Keep what was used, for the next process; nothing is written if nothing is new."""
        if any(self._known.get(name) != entry for name, entry in self._used.items()):
            write_json(path, self._used)


known_hashes = KnownHashes()
