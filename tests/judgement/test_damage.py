"""Evidence that is damaged at random never ends in a pass of what would be deployed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from greenlight.files import sha256_of
from tests.judgement.damage_tree import DEPLOYED, Tree, good_tree, write_consistently
from tests.judgement.evidence_builder import reseal

EXAMPLES = settings(
    max_examples=50,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return good_tree(tmp_path_factory)


def same_content(path: Path, before: bytes) -> bool:
    """Whether damaged bytes still say the same, such as another white space in JSON."""
    if not path.exists():
        return False
    after = path.read_bytes()
    if path.suffix == ".json":
        try:
            return json.loads(after) == json.loads(before)
        except (ValueError, RecursionError):
            return False
    return after == before


def damage_bytes(data, tree: Tree, path: Path) -> None:
    """One accident that may befall a file."""
    content = path.read_bytes()
    kind = data.draw(st.sampled_from(["remove", "empty", "truncate", "flip", "stale", "swap", "nonsense", "append"]))
    if kind == "remove":
        path.unlink()
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "truncate":
        path.write_bytes(content[: data.draw(st.integers(1, len(content) - 2))])
    elif kind == "flip":
        place = data.draw(st.integers(0, len(content) - 1))
        bit = 1 << data.draw(st.integers(0, 7))
        path.write_bytes(content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :])
    elif kind == "stale":
        path.write_bytes((tree.other / tree.name(path)).read_bytes())
    elif kind == "swap":
        candidates = [other for other in tree.files(path.suffix) if other.exists()]
        other = data.draw(st.sampled_from(candidates))
        theirs = other.read_bytes()
        other.write_bytes(content)
        path.write_bytes(theirs)
    elif kind == "nonsense":
        path.write_bytes(data.draw(st.sampled_from([b"null", b"[]", b"{}", b"\xff\xfe", b"[" * 5000, b"PAR1PAR1"])))
    else:
        path.write_bytes(content + b"\n{}")


@EXAMPLES
@given(data=st.data())
def test_damaged_files_never_pass(tree, data):
    try:
        paths = data.draw(st.lists(st.sampled_from(tree.needed), min_size=1, max_size=3, unique=True))
        for path in paths:
            if path.exists():
                damage_bytes(data, tree, path)
        changed = [path for path in tree.needed if not same_content(path, tree.good[path])]
        verdict = tree.verdict()
        assert not changed or not verdict.passed
        assert not changed or verdict.problems
    finally:
        tree.restore()


def damage_table(data, table: pa.Table) -> pa.Table:
    """A table as a faulty job may write it."""
    rows = len(table)
    row = data.draw(st.integers(0, rows - 1))
    kind = data.draw(
        st.sampled_from(["drop row", "double row", "nan", "infinite", "negative", "no rows", "column", "null"])
    )
    numbers = [n for n in table.column_names if n.endswith(("_seconds", "mae", "rmse", "loss", "price", "_80", "mape"))]
    name = data.draw(st.sampled_from(numbers))
    if kind == "drop row":
        return pa.concat_tables([table.slice(0, row), table.slice(row + 1)])
    if kind == "double row":
        return pa.concat_tables([table, table.slice(row, 1)])
    if kind == "no rows":
        return table.slice(0, 0)
    if kind == "column":
        return table.drop_columns([name])
    values = table.column(name).to_pylist()
    values[row] = {"nan": np.nan, "infinite": np.inf, "negative": -np.inf, "null": None}[kind]
    return table.set_column(table.column_names.index(name), name, pa.array(values, pa.float64()))


@EXAMPLES
@given(data=st.data())
def test_faulty_tables_with_fitting_records_never_pass(tree, data):
    tables = [path for path in tree.files(".parquet") if path.name != "part-0.parquet"]
    try:
        path = data.draw(st.sampled_from(tables))
        write_consistently(tree, damage_table(data, pq.read_table(path)), path)
        assert not tree.verdict().passed
    finally:
        tree.restore()


def write_forecasts(tree: Tree, table: pa.Table, path: Path) -> None:
    """Write forecasts with every record that names them brought into line."""
    pq.write_table(table, path)
    name, digest = tree.name(path), sha256_of(path)

    def update(record):
        for place in ("inputs", "outputs"):
            if name in record[place]:
                record[place][name] = digest

    for record in tree.good:
        if record.name == "record.json" and name in record.read_text():
            reseal(record, update)


@EXAMPLES
@given(data=st.data())
def test_faulty_forecasts_with_fitting_records_never_pass(tree, data):
    """Cells that are missing, doubled, not finite, of another symbol, or held against other outcomes."""
    path = data.draw(st.sampled_from(tree.files("part-0.parquet")))
    table = pq.read_table(path)
    row, name = data.draw(st.integers(0, len(table) - 1)), data.draw(st.sampled_from(["actual", "q10", "q50", "q90"]))
    kind = data.draw(st.sampled_from(["drop row", "double row", "value", "symbol", "step", "no rows", "other symbol"]))
    if kind == "drop row":
        table = pa.concat_tables([table.slice(0, row), table.slice(row + 1)])
    elif kind == "double row":
        table = pa.concat_tables([table, table.slice(row, 1)])
    elif kind == "no rows":
        table = table.slice(0, 0)
    elif kind == "other symbol":
        other = path.parent.parent / ("symbol=SYM0" if "SYM0" not in str(path) else "symbol=SYM1")
        table = pq.read_table(other / path.name)
    else:
        name = name if kind == "value" else kind
        values = table.column(name).to_pylist()
        wrong = {"value": [np.nan, np.inf, None, 0.0], "symbol": ["SYM9", None], "step": [0, 99, -1]}[kind]
        values[row] = data.draw(st.sampled_from(wrong))
        table = table.set_column(table.column_names.index(name), name, pa.array(values, table.schema.field(name).type))
    try:
        write_forecasts(tree, table, path)
        verdict = tree.verdict()
        # A lower quantile that moved down is no fault of the evidence; it is judged as a forecast.
        assert not verdict.passed or (name == "q10" and 0.0 in values)
    finally:
        tree.restore()


REQUIRED = {
    "compile": ["health", "cold_seconds", "cache_files_before", "first_call_seconds"],
    "predict": ["health", "first_call_seconds", "load_seconds", "forecast_hash"],
    "probe": ["quantities"],
    "time": ["recompiles_after_warm_up", "memory_readings", "warm_up_calls"],
    "replicate": ["partner", "windows", "seeds", "look", "looks", "own", "other"],
}
WRONG = st.sampled_from([None, "NaN", "Infinity", -1, [], {}, "yes"])


@EXAMPLES
@given(data=st.data())
def test_faulty_records_with_fitting_seals_never_pass(tree, data):
    records = [path for path in tree.files("record.json") if not tree.name(path).startswith("scores")]

    def change(record):
        trials, stage = record["trials"], record["stage"]
        kind = data.draw(
            st.sampled_from(["no trials", "extra", "failed", "key", "identity", "wrong", "missing", "none"])
        )
        if kind == "no trials":
            record["trials"] = []
        elif kind == "extra":
            trials.append(dict(trials[0]))
        elif kind == "failed":
            failure = st.sampled_from(["invalid-output", "time-out", "signal", ""])
            trials[data.draw(st.integers(0, len(trials) - 1))]["kind"] = data.draw(failure)
        elif kind == "key":
            record["key"] = "another"
        elif kind == "identity":
            name = data.draw(st.sampled_from(["stage", "model", "variant"]))
            record[name] = data.draw(st.sampled_from(["predict2", "kronos", "upstream-max-autotune"]))
        elif kind == "none":
            trials[0]["result"] = None
        else:
            entry = trials[0]["result"]
            name = data.draw(st.sampled_from(REQUIRED[stage]))
            if kind == "missing":
                del entry[name]
            else:
                wrong = data.draw(WRONG)
                entry[name] = {} if name == "forecast_hash" else [] if name in ("health", "quantities") else wrong
                if wrong == [] and name == "memory_readings":
                    entry[name] = None

    try:
        reseal(data.draw(st.sampled_from(records)), change)
        assert not tree.verdict().passed
    finally:
        tree.restore()


@EXAMPLES
@given(data=st.data())
def test_figures_that_are_not_finite_never_pass(tree, data):
    """Every number that a check of numerics rests on, one at a time."""
    figures = ["error_variant", "error_reference", "scale", "max_abs", "max_abs_reference"]

    def change(record):
        quantity = record["trials"][0]["result"]["quantities"][0]
        quantity[data.draw(st.sampled_from(figures))] = data.draw(st.sampled_from(["NaN", "Infinity"]))

    try:
        reseal(tree.folder / f"probe/model=toto/variant={DEPLOYED}/record.json", change)
        assert not tree.verdict().passed
    finally:
        tree.restore()


def leaves(value, path=()):
    """Paths of all numbers and truth values in nested JSON, but for what judgement does not rest on."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key not in ("cache", "autotuning", "worst", "attempts", "provenance"):
                yield from leaves(item, (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(value[:2]):
            yield from leaves(item, (*path, number))
    elif isinstance(value, (bool, int, float)):
        yield path


@EXAMPLES
@given(data=st.data())
def test_numbers_and_truth_values_of_another_type_never_pass(tree, data):
    """Integers as text, truth values as numbers or words, numbers as lists: nothing is read as what it is not."""
    records = [path for path in tree.files("record.json") if not tree.name(path).startswith("scores")]
    path = data.draw(st.sampled_from(records))

    def change(record):
        result = record["trials"][0]["result"]
        *way, last = data.draw(st.sampled_from(sorted(leaves(result), key=str)))
        for part in way:
            result = result[part]
        value = result[last]
        wrong = [[value], {}, "yes"] + ([int(value)] if isinstance(value, bool) else [f"{value}x"])
        if isinstance(value, int) and not isinstance(value, bool):
            wrong += [str(value), value + 0.5, -1 - value]
        result[last] = data.draw(st.sampled_from(wrong))

    try:
        reseal(path, change)
        assert not tree.verdict().passed
    finally:
        tree.restore()
