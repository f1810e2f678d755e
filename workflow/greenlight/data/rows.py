"""The rows of a text file as columns of cells with the numbers of their lines."""

from __future__ import annotations

import csv
import itertools
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from greenlight.data.source import Source
from greenlight.data.text import characters_in
from greenlight.errors import UserError

_ROWS_AT_ONCE = 20_000
_MOST_RAGGED = 10_000
_SPACES = frozenset(" \t\r\n\x0b\x0cé")
_Rows = tuple[list[pa.Array], np.ndarray, list[tuple[int, list[str]]]]


def read_rows(source: Source, encoding: str, delimiter: str, start: int, width: int) -> _Rows:
    """Split the lines below the header.

    Args:
        start: number of the header's last line, 0 where there is none; width: cells that a row has.

    Returns:
        ([rows] cells of each column without spaces around them, [rows] line numbers, (line, cells) of each row of
        another width); rows without any cell are left out.
    """
    found = _at_once(source, delimiter, start, width) if encoding in ("utf-8", "utf-8-sig") else None
    columns, lines, ragged = found or _one_by_one(source, encoding, delimiter, start, width)
    pa.default_memory_pool().release_unused()
    columns = [pc.utf8_trim_whitespace(own) if characters_in(own) & _SPACES else own for own in columns]
    return *_without_blank(columns, lines), ragged


def _at_once(source: Source, delimiter: str, start: int, width: int) -> _Rows | None:
    """The same by Arrow, several times as fast; None for a file that its reader may take for another than Python's."""
    count, quotes, even = _lines_of(source)
    if not even:
        return None
    ragged: list[tuple[int, str]] = []

    def irregular(row: pyarrow.csv.InvalidRow) -> str:
        ragged.append((row.number, row.text))
        return "skip" if len(ragged) <= _MOST_RAGGED and '"' not in row.text else "error"

    names = [str(at) for at in range(width)]
    try:
        table = pyarrow.csv.read_csv(
            source.open(),
            read_options=pyarrow.csv.ReadOptions(skip_rows=start, column_names=names, use_threads=False),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=delimiter, invalid_row_handler=irregular, ignore_empty_lines=False
            ),
            convert_options=pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
        )
    except pa.ArrowInvalid:
        return None
    if table.num_rows + len(ragged) != count - start:
        return None  # a cell holds an end of a line
    columns = []
    for _ in names:  # each column is let go as soon as it is joined
        columns.append(pa.concat_arrays(table.column(0).chunks or [pa.array([], pa.string())]))
        table = table.remove_column(0)
    if quotes and any('"' in characters_in(column) for column in columns):
        return None  # quotes that are not around a whole cell
    lines = np.delete(np.arange(start + 1, count + 1), [line - start - 1 for line, _ in ragged])
    split = [(line, next(csv.reader([text], delimiter=delimiter, skipinitialspace=True), [])) for line, text in ragged]
    return columns, lines, [(line, cells) for line, cells in split if "".join(cells).strip()]


def _lines_of(source: Source) -> tuple[int, bool, bool]:
    """(number of lines, whether there are quotes, whether all lines end alike)."""
    ends, returns, pairs, quotes, last = 0, 0, 0, False, b""
    for chunk in source.chunks():
        ends += chunk.count(b"\n")
        if returns or b"\r" in chunk:
            returns += chunk.count(b"\r")
            pairs += chunk.count(b"\r\n") + (last == b"\r" and chunk[:1] == b"\n")
        quotes = quotes or b'"' in chunk
        last = chunk[-1:]
    return ends + (last not in (b"", b"\n")), quotes, returns == pairs and returns in (0, ends)


def _one_by_one(source: Source, encoding: str, delimiter: str, start: int, width: int) -> _Rows:
    """Any file, by the reader of Python; whole chunks at once where they are even."""
    reader = csv.reader(source.lines(encoding), delimiter=delimiter, skipinitialspace=True)
    parts: list[list[pa.Array]] = []
    lines: list[np.ndarray] = []
    ragged: list[tuple[int, list[str]]] = []
    try:
        while reader.line_num < start:
            next(reader)
        while True:
            before = reader.line_num
            rows = list(itertools.islice(reader, _ROWS_AT_ONCE))
            if not rows:
                break
            numbers = np.arange(before + 1, before + 1 + len(rows))
            if reader.line_num != numbers[-1]:
                numbers = _line_numbers(rows, before)
            if set(map(len, rows)) != {width}:
                ragged += [
                    (int(numbers[at]), row) for at, row in enumerate(rows) if len(row) != width and "".join(row).strip()
                ]
                kept = [at for at, row in enumerate(rows) if len(row) == width]
                rows, numbers = [rows[at] for at in kept], numbers[kept]
            if rows:
                parts.append([pa.array(column, pa.string()) for column in zip(*rows, strict=True)])
                lines.append(numbers)
    except csv.Error as error:
        raise not_csv(source.path, reader.line_num, error) from None
    except StopIteration:
        pass
    except pa.ArrowException as error:
        raise UserError(f"{source.path}: its text can't be kept ({error}); save the file as CSV in UTF-8") from None
    columns = [pa.array([], pa.string())] * width
    if parts:
        columns = []
        for _ in range(width):  # each part is let go as soon as it is joined
            columns.append(pa.concat_arrays([part.pop(0) for part in parts]))
    return columns, np.concatenate(lines) if lines else np.zeros(0, dtype=np.int64), ragged


def _without_blank(columns: list[pa.Array], lines: np.ndarray) -> tuple[list[pa.Array], np.ndarray]:
    """The rows that have any cell."""
    blank = np.ones(len(lines), dtype=bool)
    for column in columns:
        blank &= pc.equal(column, "").to_numpy(zero_copy_only=False)
        if not blank.any():
            return columns, lines
    return [column.filter(pa.array(~blank)) for column in columns], lines[~blank]


def _line_numbers(rows: list[list[str]], before: int) -> np.ndarray:
    """Line of the end of each row, where quoted cells have line ends of their own."""
    ends = [1 + sum(len(re.findall("\r\n|\r|\n", cell)) for cell in row) for row in rows]
    return before + np.cumsum(ends)


def not_csv(path: Path, line: int, error: Exception) -> UserError:
    """The error for a line that the reader of Python can't split."""
    return UserError(f"{path}: line {line} is not CSV ({error}); mend the quotes there")
