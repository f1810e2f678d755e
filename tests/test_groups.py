"""Tests that share costly fixtures run in one process."""

from __future__ import annotations

import os

import pytest


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="about several processes")
def test_groups_reach_pytest_xdist(request):
    """It names the group in the id of a test, or tests are spread regardless and fixtures are made twice."""
    grouped = request.node.nodeid.endswith("@tests/test_groups.py fast")
    assert grouped, "expected `--dist loadgroup`, as `make test` has it"
