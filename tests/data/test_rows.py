"""Lines are split alike whether Arrow reads them at once or Python one by one: an encoding by name takes the latter."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from greenlight.data.rows import read_rows
from greenlight.data.source import Source
from greenlight.errors import UserError

CELLS = st.sampled_from(
    ["", "1.5", "-", "x", " 2 ", '"3"', '"4,5"', '"a\nb"', '"', 'q"', '""', '"6"7', ' "8"', "\t", "\x1a", "9" * 30]
)
ROWS = st.lists(
    st.tuples(st.lists(CELLS, min_size=0, max_size=5), st.sampled_from(["\n", "\n", "\n", "\r\n", "\r"])), max_size=12
)


def rows(path: Path, encoding: str, start: int, width: int) -> object:
    try:
        columns, lines, ragged = read_rows(Source(path, 100), encoding, ",", start, width)
    except UserError as error:
        return str(error)
    return [column.to_pylist() for column in columns], lines.tolist(), ragged


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=ROWS, start=st.integers(0, 2), width=st.integers(2, 4), final=st.booleans())
@example(
    [(["1", "2"], "\n"), ([], "\n"), ([" "], "\n"), (["3"], "\n"), (["4", "5", "6"], "\n"), (["7", "8"], "\n")],
    1,
    2,
    False,
)
@example([(["1", "2"], "\r\n")] * 4, 1, 2, True)
def test_both_ways_split_alike(
    tmp_path: Path, content: list[tuple[list[str], str]], start: int, width: int, final: bool
) -> None:
    text = "name,other\n" * start + "".join(",".join(cells) + end for cells, end in content)
    path = tmp_path / "A.csv"
    path.write_bytes((text if final else text.rstrip("\r\n")).encode())
    assert rows(path, "utf-8", start, width) == rows(path, "ascii", start, width)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_keep_their_numbers(tmp_path: Path, end: str) -> None:
    path = tmp_path / "A.csv"
    path.write_bytes(end.join(["name,other", "1,2", "", " , ", "cut", "3, 4 ", "5,6,7", "8,9"]).encode())
    columns, lines, ragged = read_rows(Source(path, 100), "utf-8", ",", 1, 2)
    assert [column.to_pylist() for column in columns] == [["1", "3", "8"], ["2", "4", "9"]]
    assert lines.tolist() == [2, 6, 8] and ragged == [(5, ["cut"]), (7, ["5", "6", "7"])]
