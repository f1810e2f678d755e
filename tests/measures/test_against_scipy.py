"""What is computed here because `scipy.stats` takes most of a second to import, against scipy.stats."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from greenlight.measures.concurrency import chance_of_ends
from greenlight.statistics.ranks import rank_scores

WORKFLOW = Path(__file__).parents[2] / "workflow"
SEEDS = range(20)


@pytest.mark.parametrize("seed", SEEDS)
def test_ends_are_beta_binomial_and_joined_by_fisher(seed):
    random = np.random.default_rng(seed)
    outside, others = random.random((1 + seed % 5, 4 + seed)) < 0.3, 2 + 3 * seed
    each = stats.betabinom.sf(outside.sum(axis=1) - 1, outside.shape[1], 2, others - 1)
    assert chance_of_ends(outside, others) == pytest.approx(stats.combine_pvalues(each).pvalue, rel=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_scores_are_those_of_exact_rank_sums(seed):
    random = np.random.default_rng(seed)
    values = random.integers(0, 2 + seed, (3, 2, 9 + seed, 4)).astype(float)  # rows, own and other, draws, columns
    if seed % 2:
        values = random.standard_normal(values.shape)
    own, other = values[:, 0], values[:, 1]
    ranks = stats.rankdata(np.concatenate([own, other], axis=1), axis=1)
    higher = ranks[:, : own.shape[1]].sum(axis=1) - own.shape[1] * (own.shape[1] + 1) / 2
    scores = rank_scores(own, other)
    middle = own.shape[1] * other.shape[1] / 2
    assert np.array_equal(np.sign(scores), np.sign(higher - middle))
    if seed % 2:
        p = stats.mannwhitneyu(own, other, axis=1, method="exact").pvalue
        np.testing.assert_allclose(2 * stats.norm.sf(np.abs(scores)), p, rtol=1e-9)


def test_nothing_of_the_workflow_imports_it():
    for file in WORKFLOW.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom | ast.Import):
                names = {f"{getattr(node, 'module', '') or ''}.{alias.name}".strip(".") for alias in node.names}
                assert not any(name.startswith("scipy.stats") for name in names), file
