"""From the bytes of a CSV to rows of cells with their line numbers."""

from __future__ import annotations

import codecs
import csv
import io
from dataclasses import dataclass
from pathlib import Path

from greenlight.data.columns import Layout, find_layout, normal_name
from greenlight.data.repair import Findings
from greenlight.errors import UserError

_DELIMITERS = (",", ";", "\t")
_HEADER_WITHIN = 6
_HEADER_CHARACTERS = 20_000
_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "a zip or Excel file",
    b"PAR1": "parquet",
    b"\xd0\xcf\x11\xe0": "an Excel file",
}


@dataclass(frozen=True)
class Table:
    """The rows of a CSV.

    Attributes:
        layout: which column is what.
        lines: the line number of each row in the file, 1-based.
        rows: the cells of each row; at least as many as the layout needs.
    """

    layout: Layout
    lines: list[int]
    rows: list[list[str]]

    def cells(self, column: int) -> list[str]:
        """The cells of one column."""
        return [row[column] for row in self.rows]


def read_table(path: Path, raw: bytes, findings: Findings) -> Table:
    """Split the bytes of a file into rows below its header.

    Raises:
        UserError: not text, no rows, no header, or columns missing that no rule stands in for.
    """
    text = _decoded(path, raw)
    if not text.strip():
        raise UserError(f"{path}: the file is empty; expected a header and rows of prices")
    delimiter = _delimiter(text)
    records = _records(path, text, delimiter)
    start, header, extra = _header(records, path, findings)
    lines = [line for line, _ in records[start:]]
    rows = [row for _, row in records[start:]]
    header, rows = _aligned(header, rows)
    layout = find_layout(path, header, rows, findings, first_line=records[start - 1][0])
    if extra:
        findings.note("header", extra, "read", [])
    lines, rows = _without_ragged(lines, rows, len(header), findings)
    return Table(layout, lines, rows)


def _decoded(path: Path, raw: bytes) -> str:
    for magic, name in _MAGIC.items():
        if raw.startswith(magic):
            raise UserError(f"{path}: not text but {name}; export it as CSV")
    encoding = "utf-8-sig"
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}: line {line} is not {encoding.upper().removesuffix('-SIG')} text "
            f"(byte 0x{raw[error.start]:02x}); save the file as CSV in UTF-8"
        ) from None
    if "\0" in text:
        raise UserError(f"{path}: not text but binary (a zero byte in it); export it as CSV")
    return text


def _delimiter(text: str) -> str:
    """The delimiter under which the first lines look most like a header of prices."""
    first = text[:_HEADER_CHARACTERS].splitlines()[:_HEADER_WITHIN]
    if first[0].strip().lower().startswith("sep=") and first[0].strip()[4:] in _DELIMITERS:
        return first[0].strip()[4:]

    def score(delimiter: str) -> tuple[int, int]:
        heads = [next(csv.reader([line], delimiter=delimiter), []) for line in first]
        return max(_known(head) for head in heads), max(len(head) for head in heads)

    return max(_DELIMITERS, key=score)


def _records(path: Path, text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    """(line number, cells) of each record that is not blank."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        return [(reader.line_num, row) for row in reader if "".join(row).strip()]
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num} is not CSV ({error}); mend the quotes there") from None


def _known(header: list[str]) -> int:
    """How many names of prices a header has."""
    names = {normal_name(cell).split(" ")[-1] for cell in header}
    return len(names & {"open", "high", "low", "close"})


def _header(records: list[tuple[int, list[str]]], path: Path, findings: Findings) -> tuple[int, list[str], str]:
    """(index of the first row, header, what was special about it)."""
    scores = [_known(row) for _, row in records[:_HEADER_WITHIN]]
    at = scores.index(max(scores))
    if at:
        lines = [line for line, _ in records[:at]]
        findings.note("preamble", "lines before the header", "skipped", lines)
    header = [cell.strip() for cell in records[at][1]]
    below = [[cell.strip() for cell in row] for _, row in records[at + 1 : at + 3]]
    if header[0].lower() == "price" and len(below) == 2 and below[0][0].lower() == "ticker":
        tickers = sorted({cell for cell in below[0][1:] if cell})
        if len(tickers) > 1:
            raise UserError(
                f"{path}: line {records[at + 1][0]} names several tickers ({', '.join(tickers[:5])}); "
                "expected one symbol a file: export each to its own"
            )
        if not "".join(below[1][1:]):
            return at + 3, [below[1][0], *header[1:]], "three header lines (names, ticker, index)"
    return at + 1, header, ""


def _aligned(header: list[str], rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of one width where every row has one cell more than the header."""
    if rows and all(len(row) == len(header) + 1 for row in rows):
        if not any(row[-1].strip() for row in rows):
            return header, [row[:-1] for row in rows]
        return ["", *header], rows
    return header, rows


def _without_ragged(
    lines: list[int], rows: list[list[str]], width: int, findings: Findings
) -> tuple[list[int], list[list[str]]]:
    ragged = [line for line, row in zip(lines, rows, strict=True) if len(row) != width]
    if not ragged:
        return lines, rows
    findings.settle("ragged_rows", ragged, f"rows that have not {width} cells as the header has")
    kept = [(line, row) for line, row in zip(lines, rows, strict=True) if len(row) == width]
    return [line for line, _ in kept], [row for _, row in kept]
