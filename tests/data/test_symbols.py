"""Which files are symbols, and the messages for those that can't be."""

from __future__ import annotations

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


@pytest.mark.parametrize("name", ["my data.csv", "^GSPC.csv", "a..b.csv", "<b>.csv"])
def test_a_file_with_an_unsafe_name_is_named(folder: Path, name: str) -> None:
    (folder / name).write_text("")
    with pytest.raises(UserError) as error:
        symbols_in(folder, "all")
    assert repr(name) in str(error.value) and "rename to <SYMBOL>.csv" in str(error.value)


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
