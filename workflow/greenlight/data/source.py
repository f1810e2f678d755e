"""The bytes of a price file: a regular file of bounded size, read as a stream, and the text in them."""

from __future__ import annotations

import codecs
import gzip
import io
import itertools
import os
import re
import stat
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from greenlight.errors import UserError

_MIB = 2**20
_CHUNK = 2**20
_HEAD = 2**16
_GZIP = b"\x1f\x8b"
_MAGIC = {
    b"PK\x03\x04": "a zip or Excel file",
    b"\xd0\xcf\x11\xe0": "an Excel file",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"%PDF": "a PDF",
}
PARQUET = b"PAR1"
# Encodings other than Unicode that exports have, tried where the names in the header decide between them.
_NATIONAL = ("gb18030", "cp949", "shift_jis", "big5", "cp1252", "cp1250", "cp1251")


class Source:
    """A price file that can be opened again and again.

    Raises:
        UserError: it is missing, no regular file (a pipe would hang), or larger than allowed.
    """

    def __init__(self, path: Path, largest_mib: float) -> None:
        self.path, self.largest_mib = path, largest_mib
        try:
            found = os.stat(path)
        except FileNotFoundError:
            raise UserError(f"{path}: no such file; expected the CSV of a symbol") from None
        except OSError as error:
            raise UserError(f"{path}: can't be read ({error.strerror}); check its permissions") from None
        if stat.S_ISDIR(found.st_mode):
            raise UserError(f"{path}: a folder; expected a CSV file")
        if not stat.S_ISREG(found.st_mode):
            raise UserError(f"{path}: no regular file but a pipe or a device; expected a CSV file")
        if found.st_size > largest_mib * _MIB:
            raise self.too_large(f"{found.st_size / _MIB:.0f} MiB")
        with self._opened() as stream:
            self.head = stream.read(_HEAD)
        self.packed = self.head.startswith(_GZIP)
        if self.packed:
            with self.open() as stream:
                self.head = stream.read(_HEAD)

    @property
    def parquet(self) -> bool:
        """Whether it is a parquet file."""
        return self.head.startswith(PARQUET) and not self.packed

    def too_large(self, size: str) -> UserError:
        """The error for a file above the limit."""
        return UserError(
            f"{self.path}: {size}, more than the {self.largest_mib:g} MiB allowed; bring a shorter history, or raise "
            "data.largest_file_mib"
        )

    def _opened(self) -> BinaryIO:
        try:
            return open(self.path, "rb")
        except OSError as error:
            raise UserError(f"{self.path}: can't be read ({error.strerror}); check its permissions") from None

    def open(self) -> BinaryIO:
        """The bytes, unpacked."""
        raw = self._opened()
        if not getattr(self, "packed", False):
            return raw
        return io.BufferedReader(_Unpacked(raw, self), _CHUNK)

    def chunks(self) -> Iterator[bytes]:
        """The bytes, unpacked, in pieces."""
        with self.open() as stream:
            while chunk := stream.read(_CHUNK):
                yield chunk

    def lines(self, encoding: str) -> io.TextIOWrapper:
        """The lines of the text with their ends, whatever these are."""
        return io.TextIOWrapper(self.open(), encoding=encoding, newline="")


class _Unpacked(io.RawIOBase):
    """The content of a gzip file, up to the allowed size."""

    def __init__(self, raw: BinaryIO, source: Source) -> None:
        self._raw, self._source, self._left = raw, source, source.largest_mib * _MIB
        self._stream = gzip.GzipFile(fileobj=raw)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            count = self._stream.readinto(buffer)
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(f"{self._source.path}: not readable as gzip ({error}); pack it again") from None
        self._left -= count
        if self._left < 0:
            raise self._source.too_large("unpacked")
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


def find_encoding(source: Source, wanted: str, known_names: Callable[[str], set[str]]) -> str:
    """The encoding of a text file; the whole file is checked.

    Args:
        wanted: `data.encoding`, or auto.
        known_names: which names of price columns a text has, to tell national encodings apart by the header.

    Raises:
        UserError: no text, or of an encoding that has to be named.
    """
    for magic, name in _MAGIC.items():
        if source.head.startswith(magic):
            raise UserError(f"{source.path}: not text but {name}; export it as CSV")
    if wanted != "auto":
        _check(source, wanted, "")
        return wanted
    if source.head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        _check(source, "utf-16", "")
        return "utf-16"
    if b"\0" in source.head:
        raise UserError(f"{source.path}: {_zero_bytes(source.head)}")
    if _fault(source, "utf-8-sig") is None:
        if any(b"\0" in chunk for chunk in source.chunks()):
            raise UserError(f"{source.path}: not text but binary (a zero byte in it); export it as CSV")
        return "utf-8-sig"
    for encoding in _NATIONAL:
        head = source.head.decode(encoding, errors="replace")
        if any(not name.isascii() for name in known_names(head)) and _fault(source, encoding) is None:
            return encoding
    head = source.head.decode("cp1252", errors="replace")
    below = next((at + 1 for at in _line_ends(source.head) if len(known_names(head[:at])) >= 4), None)
    if below is not None and _ascii_below(source, below) and _fault(source, "cp1252") is None:
        return "cp1252"  # only words in the header are not ASCII, so that no number depends on it
    _check(source, "utf-8", "; save the file as CSV in UTF-8, or paste `data: {encoding: cp1252}` (or gb18030, …)")
    return "utf-8"


def _line_ends(head: bytes) -> Iterator[int]:
    """Places of the first line ends."""
    return itertools.islice((found.start() for found in re.finditer(b"\n", head)), 6)


def _ascii_below(source: Source, start: int) -> bool:
    """Whether all bytes from a place on are ASCII."""
    at = 0
    for chunk in source.chunks():
        if not chunk[max(start - at, 0) :].isascii():
            return False
        at += len(chunk)
    return True


def _zero_bytes(head: bytes) -> str:
    even, odd = head[0:2000:2].count(0), head[1:2000:2].count(0)
    for name, zeros, others in (("utf-16-le", odd, even), ("utf-16-be", even, odd)):
        if zeros * 3 > len(head[:2000]) and not others:
            return (
                f"UTF-16 text without the mark that says so; save the file as CSV in UTF-8, or "
                f"paste `data: {{encoding: {name}}}` into the configuration"
            )
    return "not text but binary (a zero byte in it); export it as CSV"


def _fault(source: Source, encoding: str) -> tuple[int, int] | None:
    """(line, byte) of the first byte that is not of the encoding, None where all are."""
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    line = 1
    try:
        for chunk in source.chunks():
            decoder.decode(chunk)
            ends = chunk.count(b"\n")
            if not ends and len(chunk) == _CHUNK and b"\r" not in chunk:
                # No row of prices is as long; read whole, it would only fill the memory.
                raise UserError(f"{source.path}: line {line} is longer than {_CHUNK // 2**20} MiB; expected prices")
            line += ends
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        return line + error.object.count(b"\n", 0, error.start), error.object[error.start]
    except UnicodeError:
        return line, source.head[0]
    return None


def _check(source: Source, encoding: str, remedy: str) -> None:
    fault = _fault(source, encoding)
    if fault:
        raise UserError(
            f"{source.path}: line {fault[0]} is not {encoding.upper()} text (byte 0x{fault[1]:02x})"
            f"{remedy or '; save the file as CSV in UTF-8, or set data.encoding'}"
        )
