"""Errors with further seeds that are damaged, missing, or those of something else never end in a pass."""

from __future__ import annotations

import pytest

from tests.judgement.damage_tree import DEPLOYED, good_tree
from tests.judgement.evidence_builder import reseal

REPLICATES = f"replicate/model=toto/variant={DEPLOYED}/record.json"


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return good_tree(tmp_path_factory)


def first_seed(result, change):
    """Change the errors of the first further seed, in one arm."""
    change(result["own"]["mae"][0])


def of_seeds(result, count, look):
    """Keep so many seeds, and call them those of a look."""
    result |= {"seeds": result["seeds"][:count], "look": look}
    for arm in ("own", "other"):
        result[arm] = {name: rows[:count] for name, rows in result[arm].items()}


def swapped(result, key):
    first, second, *others = result[key]
    result[key] = [second, first, *others]


REPLICATE_DAMAGE = {
    "a seed less than its look has": lambda result: of_seeds(result, 14, 5),
    "fewer seeds under the look of more": lambda result: of_seeds(result, 7, 5),
    "all seeds under an earlier look": lambda result: result.update(look=4),
    "a look beyond the last": lambda result: result.update(look=6),
    "other looks": lambda result: result.update(looks=4),
    "seeds of another run": lambda result: result.update(seeds=[seed + 100 for seed in result["seeds"]]),
    "seeds in another order": lambda result: swapped(result, "seeds"),
    "a seed twice": lambda result: result["seeds"].__setitem__(1, result["seeds"][0]),
    "errors of a seed twice": lambda result: [rows.__setitem__(1, rows[0]) for rows in result["own"].values()],
    "windows in another order": lambda result: swapped(result, "windows"),
    "a window less": lambda result: result["windows"].pop(),
    "windows of another run": lambda result: result["windows"].__setitem__(0, "SYM9/0"),
    "another partner": lambda result: result.update(partner="upstream-eager"),
    "an error less": lambda result: first_seed(result, list.pop),
    "NaN": lambda result: first_seed(result, lambda row: row.__setitem__(3, "NaN")),
    "infinite": lambda result: first_seed(result, lambda row: row.__setitem__(3, "Infinity")),
    "null": lambda result: first_seed(result, lambda row: row.__setitem__(3, None)),
    "negative": lambda result: first_seed(result, lambda row: row.__setitem__(3, -0.5)),
    "one arm": lambda result: result["other"].clear(),
}


def replicates_are_refused(tree):
    verdict = tree.verdict()
    assert not verdict.passed
    stopped = {check.name: check for check in verdict.blocking("toto", DEPLOYED)}
    assert "further seeds are missing or damaged" in stopped["mae-not-worse"].reason
    assert stopped["quantile-loss-not-worse"].status == "fail"
    return stopped


@pytest.mark.parametrize("kind", REPLICATE_DAMAGE)
def test_replicates_that_can_not_be_never_pass(tree, kind):
    try:
        reseal(tree.folder / REPLICATES, lambda record: REPLICATE_DAMAGE[kind](record["trials"][0]["result"]))
        assert "evidence-replicate" in replicates_are_refused(tree)
    finally:
        tree.restore()


def test_no_replicates_where_one_seed_decides_nothing_never_pass(tree):
    """Nothing is wrong with the record, but that it has no trial."""
    try:
        reseal(tree.folder / REPLICATES, lambda record: record.update(trials=[]))
        assert "evidence-replicate" not in replicates_are_refused(tree)
    finally:
        tree.restore()


def test_replicates_that_follow_other_scores_never_pass(tree):
    partner = "scores/model=toto/variant=static-eager/windows.parquet"
    try:
        reseal(tree.folder / REPLICATES, lambda record: record["inputs"].update({partner: "0" * 64}))
        assert "other scores" in replicates_are_refused(tree)["evidence-replicate"].reason
    finally:
        tree.restore()


def test_no_time_for_a_further_seed_is_inconclusive_and_blocks(tree):
    try:
        reseal(tree.folder / REPLICATES, lambda record: of_seeds(record["trials"][0]["result"], 0, 1))
        stopped = {check.name: check for check in tree.verdict().blocking("toto", DEPLOYED)}
        assert stopped["mae-not-worse"].status == "inconclusive" and "extra_seconds" in stopped["mae-not-worse"].reason
        assert "evidence-replicate" not in stopped
    finally:
        tree.restore()
