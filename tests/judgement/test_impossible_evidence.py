"""Evidence that can not be, each kind by name: it never ends in a pass."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from greenlight.errors import UserError
from greenlight.files import sha256_of
from greenlight.judgement.baseline import Baselines
from greenlight.judgement.evidence import load_evidence
from greenlight.judgement.expected import load_expected
from greenlight.judgement.judge import judge
from greenlight.judgement.rules import Rules
from greenlight.judgement.seal import seal
from tests.judgement.damage_tree import DEPLOYED, MODELS, Tree, good_tree, write_consistently
from tests.judgement.evidence_builder import reseal


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return good_tree(tmp_path_factory)


def seconds_of(table, name, row, value):
    values = table.column(name).to_pylist()
    values[row] = value
    return table.set_column(table.column_names.index(name), name, pa.array(values, pa.float64()))


def first_twice(table):
    """The pairs of process 0 under the numbers of both processes."""
    part = table.filter(pa.array([number == 0 for number in table.column("process").to_pylist()]))
    kind, place = table.schema.field("process").type, table.column_names.index("process")
    return pa.concat_tables([part, part.set_column(place, "process", pa.array([1] * len(part), kind))])


PAIR_DAMAGE = {
    "zero": lambda table: seconds_of(table, "variant_seconds", 3, 0.0),
    "negative": lambda table: seconds_of(table, "reference_seconds", 3, -0.01),
    "infinite": lambda table: seconds_of(table, "variant_seconds", 3, np.inf),
    "text": lambda table: table.set_column(
        table.column_names.index("variant_seconds"),
        "variant_seconds",
        pa.array([str(value) for value in table.column("variant_seconds").to_pylist()]),
    ),
    "the first process twice": lambda table: pa.concat_tables(
        [
            part := table.filter(pa.array([number == 0 for number in table.column("process").to_pylist()])),
            part.set_column(
                part.column_names.index("process"),
                "process",
                pa.array([1] * len(part), table.schema.field("process").type),
            ),
        ]
    ),
    "more pairs than any look has": lambda table: pa.concat_tables(
        [
            table,
            seconds_of(table.slice(0, 1), "variant_seconds", 0, 0.001).set_column(
                table.column_names.index("pair"), "pair", pa.array([999], table.schema.field("pair").type)
            ),
        ]
    ),
    "no rows": lambda table: table.slice(0, 0),
    "all of them A/A pairs": lambda table: table.set_column(
        table.column_names.index("control"), "control", pa.array([True] * len(table))
    ),
}


@pytest.mark.parametrize("kind", PAIR_DAMAGE)
def test_latencies_that_can_not_be_never_pass(tree, kind):
    path = tree.folder / f"time/model=toto/variant={DEPLOYED}/pairs.parquet"
    try:
        write_consistently(tree, PAIR_DAMAGE[kind](pq.read_table(path)), path)
        assert not tree.verdict().passed
    finally:
        tree.restore()


def relabelled(path: Path, source: Path, tree: Tree) -> None:
    """Evidence of another variant under this one's name, sealed and hashed as if it were its own."""
    if path.suffix == ".parquet":
        table = pq.read_table(source)
        place = table.column_names.index("variant")
        pq.write_table(table.set_column(place, "variant", pa.array([DEPLOYED] * len(table))), path)
        return
    own = json.loads(path.read_text())
    record = json.loads(source.read_text())
    record |= {"variant": DEPLOYED, "key": own["key"]}
    for name in ("inputs", "outputs"):
        record[name] = {key: sha256_of(tree.folder / key) for key in own[name]}
    path.write_text(json.dumps(seal(record)))


def test_the_eager_variant_under_the_name_of_a_compiled_one_never_passes(tree):
    """Everything fits, the forecasts are the best there can be, and nothing was compiled."""
    try:
        paths = [path for path in tree.good if f"variant={DEPLOYED}" in str(path)]
        for path in sorted(paths, key=lambda path: path.suffix != ".parquet"):
            source = Path(str(path).replace(f"variant={DEPLOYED}", "variant=static-eager"))
            if source.exists():
                relabelled(path, source, tree)
        verdict = tree.verdict()
        assert not verdict.passed
        stopped = {check.name: check.reason for check in verdict.blocking("toto", DEPLOYED)}
        assert "never engaged" in stopped["compile-engaged"]
        assert "evidence-predict" not in stopped
    finally:
        tree.restore()


@pytest.mark.parametrize("kind", ["twice", "other looks", "too few", "not finite", "none"])
def test_draws_that_can_not_be_never_pass(tree, kind):
    def change(record):
        result = record["trials"][0]["result"]
        draws = result["draws"]
        if kind == "twice":
            draws["moved"][1] = draws["moved"][0]
        elif kind == "other looks":
            draws["looks"] = 1
        elif kind == "too few":
            draws |= {"replicates": 2, "moved": draws["moved"][:2], "wider": draws["wider"][:2]}
        elif kind == "not finite":
            draws["wider"][0][0] = "NaN"
        else:
            result["draws"] = None

    try:
        reseal(tree.folder / "probe/model=toto/variant=static-eager/record.json", change)
        verdict = tree.verdict()
        assert not verdict.passed
        assert "draws-as-reference" in {check.name for check in verdict.blocking("toto", "static-eager")}
    finally:
        tree.restore()


def test_a_probe_of_fewer_windows_than_were_asked_for_never_passes(tree):
    def change(record):
        for quantity in record["trials"][0]["result"]["quantities"]:
            quantity["windows"] = 1

    try:
        reseal(tree.folder / f"probe/model=toto/variant={DEPLOYED}/record.json", change)
        assert not tree.verdict().passed
    finally:
        tree.restore()


def test_what_score_found_wrong_with_the_forecasts_is_told(tree):
    try:
        sentence = "3 of 30 forecast rows do not fit the time and price of their symbol's series"
        path = tree.folder / f"scores/model=toto/variant={DEPLOYED}/record.json"
        reseal(path, lambda record: record.update(problems=[sentence]))
        verdict = tree.verdict()
        assert not verdict.passed and any(sentence in reason for reason in verdict.reasons)
    finally:
        tree.restore()


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"null", b'{"models": {}, "symbols": {}}'])
def test_a_manifest_that_asks_for_nothing_is_refused(tmp_path, content):
    (tmp_path / "expected.json").write_bytes(content)
    with pytest.raises(UserError, match=r"expected\.json"):
        load_expected(tmp_path / "expected.json")


def test_a_folder_with_nothing_in_it_is_a_failure_for_every_variant(tmp_path, tree):
    expected = load_expected(tree.folder / "expected.json")
    verdict = judge(load_evidence(tmp_path, expected), Rules(), Baselines())

    assert not verdict.passed
    figures = verdict.to_dict()["models"]["toto"]["variants"]
    assert set(figures) == set(MODELS["toto"]) and all(entry["verdict"] == "fail" for entry in figures.values())


def test_rows_of_an_unmeasured_symbol_are_missed_by_name(tree):
    path = tree.folder / f"scores/model=toto/variant={DEPLOYED}/windows.parquet"
    table = pq.read_table(path)
    keep = [name != "SYM2" for name in table.column("symbol").to_pylist()]
    try:
        write_consistently(tree, table.filter(pa.array(keep)), path)
        problems = [p for p in tree.verdict().problems if p["kind"] == "missing"]
        assert [(p["symbol"], p["window"]) for p in problems] == [("SYM2", window) for window in range(5)]
    finally:
        tree.restore()


def test_evidence_read_without_forecasts_never_passes(tree):
    expected = load_expected(tree.folder / "expected.json")
    assert tree.verdict().passed
    assert not judge(load_evidence(tree.folder, expected, forecasts=False), Rules(), Baselines()).passed
