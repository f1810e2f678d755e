"""From a price file to columns of cells with their line numbers."""

from __future__ import annotations

import csv
import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from greenlight.data.header import WITHIN, Header, delimiter_of, find_header, headerless
from greenlight.data.names import known
from greenlight.data.options import ReadingOptions, paste, yaml_word
from greenlight.data.repair import Findings
from greenlight.data.rows import not_csv, read_rows
from greenlight.data.source import Source, find_encoding
from greenlight.data.times import read_times
from greenlight.data.unnamed import infer_columns
from greenlight.errors import UserError

_SAMPLE = 60
_FOOTER_LINES = 5
# A line alone without any digit, or the mark that ended files under DOS.
_WORDS = re.compile(r"(?=.*[^\W\d])[^\d,;]{4,}|\x1a")
_FOOTER = re.compile(r"[^\W\d][^,;]*\s.*|[*#©].*")
_MARKUP = re.compile(r"(?is)\s*(?:\ufeff)?<(?:!doctype|html|\?xml)")


@dataclass(frozen=True)
class Table:
    """The rows of a price file.

    Attributes:
        header: name of each column; "" for one without.
        columns: [rows] cells of each column: text without spaces around it, or values with a type from parquet.
        lines: line number of each row in the file, 1-based (of a parquet file: number of the row).
        header_line: line of the names, 0 where the file has no header.
        delimiter: between the cells; "" in parquet.
        tickers: symbols that the header's lines name.
    """

    header: list[str]
    columns: list[pa.Array]
    lines: np.ndarray
    header_line: int
    delimiter: str = ","
    tickers: tuple[str, ...] = ()


def read_table(source: Source, symbol: str, options: ReadingOptions, findings: Findings) -> Table:
    """Split a file into columns below its header.

    Raises:
        UserError: not text, no rows, or no header where one is needed.
    """
    if source.parquet:
        return _read_parquet(source)
    encoding = find_encoding(source, options.encoding, _names_in)
    if encoding not in ("utf-8-sig", "utf-8", "utf-16") and options.encoding == "auto":
        findings.note("encoding", f"text in {encoding}, by the names in its header", "read", [])
    first = list(itertools.islice(source.lines(encoding), _SAMPLE))
    text = "".join(first)
    if not text.strip():
        raise UserError(f"{source.path}: the file is empty; expected a header and rows of prices")
    if _MARKUP.match(text):
        raise UserError(f"{source.path}: an HTML page saved as CSV; open the address in a browser to see what it says")
    if text.lstrip()[:1] in "{[":
        raise UserError(f"{source.path}: JSON, not CSV; export a table")
    lines = [line for line in text.splitlines() if line.strip()]
    delimiter = delimiter_of(lines, lambda line, mark: next(csv.reader([line], delimiter=mark), []))
    sample = list(itertools.islice(_records(source.path, iter(first), delimiter), _SAMPLE))
    header = _header(source.path, sample, symbol, options)
    if header.preamble:
        findings.note("preamble", "lines before the header", "skipped", header.preamble)
    if header.lines > 1:
        findings.note("header", f"{header.lines} lines of header", "read", [])
    names, spare = _aligned(header.names, [row for _, row in sample[header.skipped :]])
    width = len(names) + spare
    start = sample[header.skipped - 1][0] if header.skipped else 0
    columns, numbers, ragged = read_rows(source, encoding, delimiter, start, width)
    if spare:
        columns = columns[:-1]
    columns, numbers = _without_footer(columns, numbers, ragged, findings)
    findings.rows = len(numbers) + len(ragged)
    if ragged:
        findings.settle("ragged_rows", [line for line, _ in ragged], _ragged_text(width, ragged, names, delimiter))
    return Table(names, columns, numbers, header.line, delimiter, header.tickers)


def _names_in(text: str) -> set[str]:
    """The known names of columns in the first lines of a text."""
    cells = re.split("[\r\n\t;|,]", "\n".join(text.splitlines()[:WITHIN]))
    return {cell for cell in (cell.strip().strip('"') for cell in cells) if cell and known(cell)}


def _records(path: Path, lines: Iterator[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of each record that is not blank."""
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    try:
        for row in reader:
            if "".join(row).strip():
                yield reader.line_num, row
    except csv.Error as error:
        raise not_csv(path, reader.line_num, error) from None


def _header(path: Path, sample: list[tuple[int, list[str]]], symbol: str, options: ReadingOptions) -> Header:
    if sample and sample[0][1][0].strip().lower().startswith("sep="):
        rest = _header(path, sample[1:], symbol, options)
        return Header(rest.names, rest.skipped + 1, rest.preamble, rest.line, rest.lines, rest.tickers)
    if isinstance(options.header, int):
        for place, (line, row) in enumerate(sample):
            if line == options.header:
                return Header([cell.strip() for cell in row], place + 1, [at for at, _ in sample[:place]], line)
        raise UserError(
            f"{path}: data.header is {options.header}, and line {options.header} has no text or is far down"
        )
    if options.header == "none":
        found = Header([""] * len(sample[0][1]), 0) if sample else None
    else:
        chosen = tuple(options.chosen().values()) if isinstance(options.columns, dict) else ()
        found = find_header(sample, symbol, chosen) if sample else None
    if found is None:
        # A further look tells where the header may be, but what stands above it is for a person to judge.
        later = find_header(sample[WITHIN:], symbol) if len(sample) > WITHIN else None
        hint = ""
        if later and later.line:
            hint = (
                f". Line {later.line} looks like one: {paste('header', str(later.line))}, or remove the lines above it"
            )
        elif headerless(sample[1:]):
            said = _which_is_which(sample)
            hint = f", or {paste('columns', said) if said else paste('header', 'none') + ' with data.columns'}"
        shown = ", ".join(repr(cell.strip()[:40]) for cell in sample[0][1][:12]) if sample else "nothing"
        raise UserError(
            f"{path}: line {sample[0][0] if sample else 1} has no column of dates (such as Date, timestamp or ds) and "
            f"no column of closing prices (Close); found columns {shown}. Expected a header such as "
            f"Date,Open,High,Low,Close,Volume{hint}"
        )
    return found


def _which_is_which(sample: list[tuple[int, list[str]]]) -> str:
    """The columns below a line of unknown names, as far as their values tell, to be mended by a person; "" for none."""
    names = [cell.strip() for cell in sample[0][1]]
    rows = [row for _, row in sample[1:] if len(row) == len(names)]
    if len(rows) * 2 < len(sample) or len(set(names)) < len(names):
        return ""
    columns = [pa.array([cell.strip() for cell in column]) for column in zip(*rows, strict=True)]
    try:
        used, times = infer_columns("", columns)
        found = {name: names[at] for name, at in (times | used).items()}
    except UserError:
        at = next((at for at, cells in enumerate(columns) if not read_times(cells).bad.any()), None)
        found = {} if at is None else {"timestamp": names[at]}
    wanted = ("timestamp", "open", "high", "low", "close") if len(found) < 2 else tuple(found)
    return "{" + ", ".join(f"{name}: {yaml_word(found[name]) if name in found else 'NAME'}" for name in wanted) + "}"


def _aligned(names: list[str], rows: list[list[str]]) -> tuple[list[str], int]:
    """(names, with a first one that is empty where it has none, how many empty cells each row has at its end)."""
    if rows and all(len(row) == len(names) + 1 for row in rows):
        return (["", *names], 0) if any(row[-1].strip() for row in rows) else (names, 1)
    return names, 0


def _without_footer(
    columns: list[pa.Array], lines: np.ndarray, ragged: list[tuple[int, list[str]]], findings: Findings
) -> tuple[list[pa.Array], np.ndarray]:
    """The table without the words that some sites put below it; a cut row has no words and stays."""
    removed: list[int] = []
    while len(removed) < _FOOTER_LINES:
        last = int(lines[-1]) if len(lines) else 0
        if ragged and ragged[-1][0] > last:
            cells = [cell.strip() for cell in ragged[-1][1]]
            if len(cells) > 1 and any(cells[1:]) and not _FOOTER.fullmatch(" ".join(cells)):
                break
            if (
                not (_FOOTER.fullmatch(cells[0]) or _WORDS.fullmatch(cells[0]))
                or len([cell for cell in cells if re.fullmatch(r"[\d.]+", cell)]) > 1
            ):
                break
            removed.append(ragged.pop()[0])
        elif last and _FOOTER.fullmatch(columns[0][-1].as_py()) and not any(c[-1].as_py() for c in columns[1:]):
            removed.append(last)
            columns, lines = [column[:-1] for column in columns], lines[:-1]
        else:
            break
    if removed:
        findings.note("footer", "words below the rows", "skipped", removed)
    return columns, lines


def _ragged_text(width: int, ragged: list[tuple[int, list[str]]], names: list[str], delimiter: str) -> str:
    text = f"rows that have not {width} cells as the header has"
    numbers = len(names) - 1
    if delimiter == "," and len(ragged) > 5 and all(width < len(row) <= width + numbers for _, row in ragged):
        text += " (decimal commas in a file whose cells are set apart by commas: export it with semicolons)"
    return text


def _read_parquet(source: Source) -> Table:
    try:
        with source.open() as stream:
            file = pyarrow.parquet.ParquetFile(stream)
            size = sum(file.metadata.row_group(at).total_byte_size for at in range(file.metadata.num_row_groups))
            if size > source.largest_mib * 2**20:
                raise source.too_large(f"{size / 2**20:.0f} MiB of columns")
            table = file.read()
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{source.path}: not readable as parquet ({error}); write it again") from None
    if not table.num_columns or not table.num_rows:
        raise UserError(f"{source.path}: the file is empty; expected rows of prices")
    index = json.loads((table.schema.metadata or {}).get(b"pandas", b"{}")).get("index_columns", [])
    names = ["" if re.fullmatch(r"__index_level_\d+__", name) or name is None else name for name in table.column_names]
    if index and all(isinstance(name, str) for name in index):
        order = [table.column_names.index(name) for name in index if name in table.column_names]
        order += [at for at in range(table.num_columns) if at not in order]
    else:
        order = list(range(table.num_columns))
    columns = [_flat(table.column(at)) for at in order]
    return Table([names[at] for at in order], columns, np.arange(1, table.num_rows + 1), 1, "")


def _flat(column: pa.ChunkedArray) -> pa.Array:
    """One array; text of any kind as plain text, decimals as floats."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_large_string(column.type) or pa.types.is_string(column.type) or pa.types.is_string_view(column.type):
        column = pc.utf8_trim_whitespace(column.cast(pa.string()).fill_null(""))
    elif pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
