"""Every problem of a CSV is refused with its lines, or repaired by the rule chosen; it is reported either way."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError

from greenlight.data.reader import read_series
from greenlight.data.repair import Finding, RepairRules, lines_text
from greenlight.data.series import Series, series_report
from greenlight.errors import UserError

HEADER = "Date,Open,High,Low,Close,Volume"
GOOD = [
    "2024-01-01,10,12,9,11,100",
    "2024-01-02,11,13,10,12,100",
    "2024-01-03,12,14,11,13,100",
    "2024-01-04,13,15,12,14,100",
    "2024-01-05,14,16,13,15,100",
]


def read(tmp_path: Path, lines: list[str], **rules: str) -> Series:
    path = tmp_path / "BAD.csv"
    path.write_text("\n".join([HEADER, *lines]) + "\n")
    return read_series(path, RepairRules(**rules))


def with_line(number: int, *lines: str) -> list[str]:
    """The good rows with other lines in place of the one with this line number of the file."""
    return GOOD[: number - 2] + list(lines) + GOOD[number - 1 :]


def finding(series: Series, kind: str) -> Finding:
    (found,) = [finding for finding in series.findings if finding.kind == kind]
    return found


# kind, lines of the file, line numbers named, words of the message
PROBLEMS = [
    ("unparseable_dates", with_line(4, "someday,12,14,11,13,100"), [4], "'someday' can't be read as a date"),
    ("unparseable_dates", with_line(4, ",12,14,11,13,100"), [4], "'' can't be read as a date"),
    ("unparseable_dates", with_line(4, "2024-13-03,12,14,11,13,100"), [4], "'2024-13-03'"),
    ("unparseable_dates", with_line(4, "2024-02-30,12,14,11,13,100"), [4], "'2024-02-30'"),
    ("unparseable_dates", with_line(4, "0024-01-03,12,14,11,13,100"), [4], "'0024-01-03'"),
    ("unparseable_dates", with_line(4, "17,12,14,11,13,100"), [4], "'17'"),
    ("ragged_rows", with_line(6, "2024-01-05,14,16"), [6], "not 6 cells as the header has"),
    ("ragged_rows", with_line(3, "2024-01-02,11,13,10,12,100,7"), [3], "not 6 cells"),
    ("empty_cells", with_line(4, "2024-01-03,12,14,11,,100"), [4], "empty cells in close"),
    ("empty_cells", with_line(4, "2024-01-03,null,null,null,null,null"), [4], "cells in open, high, low, close"),
    ("empty_cells", with_line(4, "2024-01-03,12,NaN,N/A,13,100"), [4], "empty cells in high, low"),
    ("non_numeric_cells", with_line(5, "2024-01-04,13,15,12,n.m.,100"), [5], "'n.m.' in column 'Close'"),
    ("non_numeric_cells", with_line(5, "2024-01-04,inf,15,12,14,100"), [5], "'inf' in column 'Open'"),
    ("non_numeric_cells", with_line(5, "2024-01-04,1_3,15,12,14,100"), [5], "'1_3' in column 'Open'"),
    ("invalid_volume", with_line(3, "2024-01-02,11,13,10,12,-5"), [3], "volume '-5'"),
    ("invalid_volume", with_line(3, "2024-01-02,11,13,10,12,5.1X"), [3], "volume '5.1X'"),
    ("identical_rows", with_line(3, GOOD[1], GOOD[1]), [4], "repeat another of the same time"),
    ("duplicate_times", with_line(3, GOOD[1], "2024-01-02,11,13,10,12.5,100"), [3, 4], "with different values"),
    ("non_positive_prices", with_line(3, "2024-01-02,11,13,0,12,100"), [3], "0 or below (the lowest is 0)"),
    ("non_positive_prices", with_line(3, "2024-01-02,11,13,-37.63,12,100"), [3], "the lowest is -37.63"),
    ("high_below_low", with_line(3, "2024-01-02,11,10,13,12,100"), [3], "high below low"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "lines", "numbers", "words"), PROBLEMS)
def test_a_problem_is_refused_by_default(
    tmp_path: Path, kind: str, lines: list[str], numbers: list[int], words: str
) -> None:
    with pytest.raises(UserError) as error:
        read(tmp_path, lines)
    message = str(error.value)
    assert "BAD.csv" in message and words in message and f"data.repair.{kind}" in message
    assert f"{lines_text(numbers, len(numbers))}: " in message
    choices = [rule for rule in get_args(RepairRules.model_fields[kind].annotation) if rule != "refuse"]
    assert all(choice in message for choice in choices)
    assert message.count("data.repair.") == 1, "one problem, one line"


# kind, lines, rule, the closes after repair
REPAIRS = [
    ("unparseable_dates", with_line(4, "someday,12,14,11,13,100"), "drop-row", [11, 12, 14, 15]),
    ("ragged_rows", with_line(6, "2024-01-05,14,16"), "drop-row", [11, 12, 13, 14]),
    ("empty_cells", with_line(4, "2024-01-03,12,14,11,,100"), "drop-row", [11, 12, 14, 15]),
    ("empty_cells", with_line(4, "2024-01-03,12,14,11,,100"), "forward-fill", [11, 12, 12, 14, 15]),
    ("non_numeric_cells", with_line(5, "2024-01-04,13,15,12,n.m.,100"), "drop-row", [11, 12, 13, 15]),
    ("invalid_volume", with_line(3, "2024-01-02,11,13,10,12,-5"), "set-unknown", [11, 12, 13, 14, 15]),
    ("identical_rows", with_line(3, GOOD[1], GOOD[1]), "keep-first", [11, 12, 13, 14, 15]),
    (
        "duplicate_times",
        with_line(3, GOOD[1], "2024-01-02,11,13,10,12.5,1"),
        "keep-first",
        [11, 12, 13, 14, 15],
    ),
    (
        "duplicate_times",
        with_line(3, GOOD[1], "2024-01-02,11,13,10,12.5,1"),
        "keep-last",
        [11, 12.5, 13, 14, 15],
    ),
    ("non_positive_prices", with_line(3, "2024-01-02,11,13,0,12,100"), "drop-row", [11, 13, 14, 15]),
    ("high_below_low", with_line(3, "2024-01-02,11,10,13,12,100"), "drop-row", [11, 13, 14, 15]),
    ("high_below_low", with_line(3, "2024-01-02,11,10,13,12,100"), "swap", [11, 12, 13, 14, 15]),
    ("outside_range", with_line(3, "2024-01-02,11,11.5,10,12,100"), "report", [11, 12, 13, 14, 15]),
    ("outside_range", with_line(3, "2024-01-02,11,11.5,10,12,100"), "drop-row", [11, 13, 14, 15]),
    ("outside_range", with_line(3, "2024-01-02,11,11.5,10,12,100"), "widen", [11, 12, 13, 14, 15]),
    ("row_order", [GOOD[1], GOOD[0], *GOOD[2:]], "sort", [11, 12, 13, 14, 15]),
    ("gaps", with_line(4), "report", [11, 12, 14, 15]),
    ("gaps", with_line(4), "forward-fill", [11, 12, 12, 14, 15]),
]


@pytest.mark.parametrize(("kind", "lines", "rule", "closes"), REPAIRS)
def test_a_problem_is_repaired_by_its_rule_and_reported(
    tmp_path: Path, kind: str, lines: list[str], rule: str, closes: list[float]
) -> None:
    series = read(tmp_path, lines, **{kind: rule})
    assert series.frame["close"].tolist() == closes
    found = finding(series, kind)
    assert found.action == rule and found.count >= 1 and found.lines
    prices = series.frame[["open", "high", "low", "close"]]
    assert prices.notna().all(axis=None) and series.frame["timestamp"].is_monotonic_increasing


@pytest.mark.parametrize(("kind", "lines"), [
    ("outside_range", with_line(3, "2024-01-02,11,11.5,10,12,100")),
    ("row_order", [GOOD[1], GOOD[0], *GOOD[2:]]),
    ("gaps", with_line(4)),
])  # fmt: skip
def test_what_passes_by_default_can_be_refused(tmp_path: Path, kind: str, lines: list[str]) -> None:
    assert finding(read(tmp_path, lines), kind).lines
    with pytest.raises(UserError, match=rf"line \d.*data\.repair\.{kind}"):
        read(tmp_path, lines, **{kind: "refuse"})


def test_missing_open_high_low_are_refused_or_taken_from_the_close_by_rule(tmp_path: Path) -> None:
    path = tmp_path / "CLOSES.csv"
    path.write_text("ds,close\n2024-01-01,11\n2024-01-02,12\n")
    with pytest.raises(
        UserError, match=r"no column for open, high, low among 'ds', 'close'.*missing_prices to use-close"
    ):
        read_series(path, RepairRules())
    series = read_series(path, RepairRules(missing_prices="use-close"))
    assert series.frame[["open", "high", "low", "close"]].to_numpy().tolist() == [[11.0] * 4, [12.0] * 4]
    assert finding(series, "missing_prices").action == "use-close"


def test_one_message_names_all_problems(tmp_path: Path) -> None:
    lines = [
        "2024-01-01,10,12,9,11,100",
        "2024-01-01,10,12,9,11.5,100",
        "2024-01-03,12,14,11,,100",
        "2024-01-04,13,15,12,abc,100",
        "whenever,13,15,12,14,100",
        "2024-01-05,0,16,13,15,100",
        "2024-01-06,14,12,13,15,-1",
    ]
    with pytest.raises(UserError) as error:
        read(tmp_path, lines)
    message = str(error.value)
    for kind, line in {
        "duplicate_times": "lines 2-3", "empty_cells": "line 4", "non_numeric_cells": "line 5",
        "unparseable_dates": "line 6", "non_positive_prices": "line 7", "high_below_low": "line 8",
        "invalid_volume": "line 8",
    }.items():  # fmt: skip
        (about,) = [text for text in message.splitlines() if f"data.repair.{kind} " in text]
        assert about.strip().startswith(line)


def test_line_numbers_are_the_files_own(tmp_path: Path) -> None:
    """A preamble, blank lines and newest-first order do not shift them."""
    path = tmp_path / "SHIFTED.csv"
    path.write_text("\n".join(["# export", "", HEADER, *reversed(GOOD[3:]), "", "2024-01-03,12,14,11,,1", GOOD[1]]))
    with pytest.raises(UserError, match="line 7: empty cells"):
        read_series(path, RepairRules())


def test_first_and_last_of_a_time_are_those_in_the_file(tmp_path: Path) -> None:
    lines = ["2024-01-03,1,9,1,3,1", "2024-01-02,1,9,1,2.5,1", "2024-01-02,1,9,1,2,1", "2024-01-01,1,9,1,1,1"]
    assert read(tmp_path, lines, duplicate_times="keep-first").frame["close"].tolist() == [1, 2.5, 3]
    assert read(tmp_path, lines, duplicate_times="keep-last").frame["close"].tolist() == [1, 2, 3]


def test_the_same_instant_in_two_zones_is_a_duplicate(tmp_path: Path) -> None:
    lines = [
        "2024-01-02T00:00:00Z,1,9,1,2,1",
        "2024-01-02T01:00:00+01:00,1,9,1,3,1",
        "2024-01-03T00:00:00Z,1,9,1,3,1",
    ]
    with pytest.raises(UserError, match="lines 2-3: rows of the same time"):
        read(tmp_path, lines)


def test_times_with_and_without_offset_do_not_mix(tmp_path: Path) -> None:
    lines = [
        "2024-01-02 00:00:00+01:00,1,9,1,2,1",
        "2024-01-03 00:00:00,1,9,1,3,1",
        "2024-01-04 00:00:00+01:00,1,9,1,3,1",
    ]
    with pytest.raises(UserError, match=r"line 3: '2024-01-03 00:00:00' can't be read.*with an offset, as the others"):
        read(tmp_path, lines)


def test_unix_times_of_two_units_are_read_by_what_is_plausible(tmp_path: Path) -> None:
    """Binance went from milliseconds to microseconds in 2025, also within files."""
    lines = [
        "1704067200000,1,9,1,2,1",
        "1704153600000000,1,9,1,3,1",
        "1704240000,1,9,1,3,1",
        "17042400000000,1,9,1,3,1",
    ]
    series = read(tmp_path, lines[:3])
    assert series.frame["timestamp"].astype(str).tolist() == ["2024-01-01", "2024-01-02", "2024-01-03"]
    assert any("Unix times in s and ms and us" in found.detail for found in series.findings)
    with pytest.raises(UserError, match="line 5: '17042400000000'"):
        read(tmp_path, lines)


def test_forward_fill_has_nothing_to_put_in_the_first_row(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"line 2: an empty cell that no close comes before.*to drop-row"):
        read(tmp_path, with_line(2, "2024-01-01,,,,,"), empty_cells="forward-fill")


def test_forward_fill_in_a_file_that_is_newest_first_looks_back_in_time(tmp_path: Path) -> None:
    lines = list(reversed(with_line(4, "2024-01-03,,,,,100")))
    assert read(tmp_path, lines, empty_cells="forward-fill").frame["close"].tolist() == [11, 12, 12, 14, 15]


def test_filled_gaps_are_flat_and_without_volume(tmp_path: Path) -> None:
    row = read(tmp_path, with_line(4), gaps="forward-fill").frame.iloc[2]
    assert str(row["timestamp"]) == "2024-01-03 00:00:00"
    assert row[["open", "high", "low", "close", "volume"]].tolist() == [12, 12, 12, 12, 0]


def test_swap_and_widen_mend_the_range(tmp_path: Path) -> None:
    swapped = read(tmp_path, with_line(3, "2024-01-02,11,10,13,12,100"), high_below_low="swap").frame
    assert swapped.loc[1, ["high", "low"]].tolist() == [13, 10]
    widened = read(tmp_path, with_line(3, "2024-01-02,9,11.5,10,12,100"), outside_range="widen").frame
    assert widened.loc[1, ["high", "low"]].tolist() == [12, 9]


def test_rounding_is_no_finding(tmp_path: Path) -> None:
    beyond_high = "2024-01-02,11,12.000000000000001,10,12.000000000000002,100"
    flat = "2024-01-03,12,11.999999999999998,12.000000000000002,12,100"
    findings = read(tmp_path, [GOOD[0], beyond_high, flat, *GOOD[3:]]).findings
    assert {found.kind for found in findings} == {"amount"}


def test_an_unadjusted_split_is_reported(tmp_path: Path) -> None:
    series = read(tmp_path, [*GOOD, "2024-01-08,2,2.2,1.9,2.1,100", "2024-01-09,2,2.2,1.9,2.1,100"])
    found = finding(series, "large_move")
    assert found.lines == [7] and "15 to 2.1 on 2024-01-08" in found.detail


def test_many_lines_are_cut_short_but_counted(tmp_path: Path) -> None:
    lines = [f"2024-{1 + n // 28:02d}-{1 + n % 28:02d},0,1,0,1,1" for n in range(100)]
    with pytest.raises(UserError, match=r"lines 2-21 and 80 more: prices of 0"):
        read(tmp_path, lines)


def test_too_few_rows_counts_what_is_left_after_repair(tmp_path: Path) -> None:
    path = tmp_path / "SHORT.csv"
    path.write_text("\n".join([HEADER, *with_line(4, "2024-01-03,12,14,11,,100")]))
    rules = RepairRules(empty_cells="drop-row")
    assert len(read_series(path, rules, minimum_rows=4).frame) == 4
    with pytest.raises(UserError, match=r"SHORT\.csv: too few rows: 4 usable of 5 .*expected 5 or more"):
        read_series(path, rules, minimum_rows=5)


def test_the_report_has_every_finding_as_plain_json(tmp_path: Path) -> None:
    report = series_report(read(tmp_path, with_line(4)))
    assert report["rows"] == 4 and report["first"] == "2024-01-01T00:00:00" and report["last"] == "2024-01-05T00:00:00"
    (gap,) = [found for found in report["findings"] if found["kind"] == "gaps"]
    assert gap["kind"] == "gaps" and gap["lines"] == [3] and gap["count"] == 1 and gap["action"] == "report"
    assert "1 rows missing" in gap["detail"]
    assert len(report["source_sha256"]) == 64 and report["source"] == "BAD.csv"


@pytest.mark.parametrize("wrong", [{"duplicates": "keep-first"}, {"gaps": "interpolate"}, {"gaps": None}])
def test_unknown_rules_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        RepairRules(**wrong)


def test_every_rule_is_documented() -> None:
    assert all(rule.description for rule in RepairRules.model_fields.values())


@pytest.mark.parametrize(("lines", "count", "text"), [
    ([7], 1, "line 7"), ([3, 4, 5, 9], 4, "lines 3-5, 9"), ([3, 7], 12, "lines 3, 7 and 10 more"),
])  # fmt: skip
def test_lines_in_words(lines: list[int], count: int, text: str) -> None:
    assert lines_text(lines, count) == text
