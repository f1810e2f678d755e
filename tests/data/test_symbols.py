"""Which files are symbols, and the messages for those that can't be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from greenlight.data.symbols import is_symbol, symbols_in
from greenlight.errors import UserError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (
        "GOOG.csv",
        "BTC-USD.csv",
        "BRK.B.CSV",
        "EURUSD=X.csv",
        "README.md",
        ".hidden.csv",
        "notes.txt",
    ):
        (tmp_path / name).write_text("")
    (tmp_path / "folder.csv").mkdir()
    return tmp_path


def test_all_finds_every_csv_and_nothing_else(folder: Path) -> None:
    found = symbols_in(folder, "all")
    assert list(found) == ["BRK.B", "BTC-USD", "EURUSD=X", "GOOG"]
    assert found["BRK.B"] == folder / "BRK.B.CSV"


def test_wanted_symbols_come_sorted(folder: Path) -> None:
    assert list(symbols_in(folder, ["GOOG", "BTC-USD"])) == ["BTC-USD", "GOOG"]


@pytest.mark.parametrize("name", [
    "../x", "a/b", "a\\b", "..", ".", "", "a..b", "x.", "-x", "^GSPC", " x", "x ", "x\n", "<b>", "a|b", "a&b",
    "*",
    "`x`", "[x](y)", "x" * 65, "naïve", "a%2fb", "{wild}", "$HOME", "x'y", 'x"y', "x;y",
])  # fmt: skip
def test_unsafe_names_are_refused(folder: Path, name: str) -> None:
    assert not is_symbol(name)
    with pytest.raises(UserError, match=r"^symbols: .* can't be a symbol; allowed are"):
        symbols_in(folder, ["GOOG", name])


@pytest.mark.parametrize(
    "name", ["GOOG", "x", "0700.HK", "BRK.B", "BTC-USD", "EURUSD=X", "SIM_DAILY7", "A^B", "x" * 64]
)
def test_safe_names_are_symbols(name: str) -> None:
    assert is_symbol(name)


@pytest.mark.parametrize(("wanted", "words"), [
    (["GOGO", "GOOG"], r"no CSV for GOGO in .*did you mean GOOG.*there: BRK\.B, BTC-USD, EURUSD=X, GOOG"),
    (["goog"], r"no CSV for goog .*did you mean GOOG"),
    (["ZZZZZ"], r"no CSV for ZZZZZ in [^?]*there"),
    (["GOOG", "GOOG"], "GOOG named more than once"),
    ([], "the list is empty"),
    ("GOOG", "found 'GOOG', expected `all` or a list"),
    ([7], "7 can't be a symbol"),
])  # fmt: skip
def test_a_wrong_list_is_one_clear_message(folder: Path, wanted: object, words: str) -> None:
    with pytest.raises(UserError, match=words):
        symbols_in(folder, wanted)


@pytest.mark.parametrize("name", ["AAPL Historical Data.csv", "^GSPC.csv", "a..b.csv", "<b>.csv"])
def test_a_file_whose_name_is_no_symbol_is_left_out_and_named(folder: Path, name: str) -> None:
    (folder / name).write_text("")
    left_out: list[str] = []
    assert list(symbols_in(folder, "all", left_out=left_out)) == ["BRK.B", "BTC-USD", "EURUSD=X", "GOOG"]
    assert left_out == [name]


def test_a_rule_takes_files_whose_names_are_no_symbols(folder: Path) -> None:
    for name in ("AAPL Historical Data.csv", "^GSPC.csv"):
        (folder / name).write_text("")
    found = symbols_in(folder, ["AAPL", "GSPC"], "first-word")
    assert [path.name for path in found.values()] == ["AAPL Historical Data.csv", "^GSPC.csv"]
    found = symbols_in(folder, "all", {"^GSPC": "SPX", "AAPL Historical Data.csv": "APPLE"})
    assert found["SPX"].name == "^GSPC.csv" and found["APPLE"].name == "AAPL Historical Data.csv"
    with pytest.raises(UserError, match=r"data\.names: 'a/b' for '\^GSPC\.csv' can't be a symbol"):
        symbols_in(folder, "all", {"^GSPC": "a/b"})
    (folder / "AAPL.csv").write_text("")
    with pytest.raises(
        UserError, match=r"AAPL Historical Data\.csv and AAPL\.csv are the same symbol|AAPL\.csv and AAPL H"
    ):
        symbols_in(folder, "all", "first-word")


def test_formats_that_hold_prices_are_found_and_notes_are_not(tmp_path: Path) -> None:
    for name in ("A.csv.gz", "B.parquet", "C.TSV", "D.csv"):
        (tmp_path / name).write_text("")
    (tmp_path / "E.txt").write_text("Date,Open,High,Low,Close\n2024-01-02,1,1,1,1\n")
    (tmp_path / "requirements.txt").write_text("numpy==2.0\npandas==3.0\n")
    assert list(symbols_in(tmp_path, "all")) == ["A", "B", "C", "D", "E"]
    (tmp_path / "D.csv.gz").write_text("")
    with pytest.raises(UserError, match=r"D\.csv and D\.csv\.gz are the same symbol"):
        symbols_in(tmp_path, "all")


def test_pipes_devices_and_large_files_are_refused_at_once(folder: Path) -> None:
    """Planning hashes every price file: reading a pipe would never end."""
    os.mkfifo(folder / "PIPE.csv")
    (folder / "ZERO.csv").symlink_to("/dev/zero")
    (folder / "GONE.csv").symlink_to(folder / "nothing")
    for name in ("PIPE", "ZERO"):
        with pytest.raises(UserError, match=rf"{name}\.csv: no regular file but a pipe or a device"):
            symbols_in(folder, [name])
    with pytest.raises(UserError, match=r"GONE\.csv: can't be read \(No such file"):
        symbols_in(folder, ["GONE"])
    (folder / "GOOG.csv").write_bytes(b"x" * 2**20 * 2)
    with pytest.raises(UserError, match=r"GOOG\.csv: 2 MiB, more than the 1 MiB allowed.*data\.largest_file_mib"):
        symbols_in(folder, ["GOOG"], largest_mib=1)
    (folder / "link.csv").symlink_to(folder / "GOOG.csv")
    assert list(symbols_in(folder, ["link"])) == ["link"], "a link to a file is a file"


def test_names_that_differ_only_in_case_are_refused(folder: Path) -> None:
    (folder / "Goog.csv").write_text("")
    with pytest.raises(UserError, match=r"GOOG\.csv and Goog\.csv are the same symbol"):
        symbols_in(folder, ["BTC-USD"])


def test_folders_without_data_are_clear(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no CSV file found"):
        symbols_in(tmp_path, "all")
    with pytest.raises(UserError, match="does not exist"):
        symbols_in(tmp_path / "none", "all")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file; expected a folder"):
        symbols_in(tmp_path / "file", "all")


def test_finding_symbols_imports_nothing_slow() -> None:
    slow = {"pandas", "numpy", "pyarrow", "torch", "pydantic"}
    code = f"import sys, greenlight.data.symbols; print(sorted({slow} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
