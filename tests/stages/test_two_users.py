"""A results folder that two users of one group share: it works where umask lets the group write, else is refused."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from greenlight.errors import UserError, sentence_of
from greenlight.files import write_json
from greenlight.layout import Layout
from greenlight.run.boundary import check_results
from greenlight.run.ledger import enter, forget, read_entry
from greenlight.run.locking import claim_run, run_at_work

GROUP, FIRST, SECOND = 54321, 54322, 54323

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become two users")


@pytest.fixture
def folder():
    """A folder of the group, whose files are the group's."""
    found = Path(tempfile.mkdtemp())
    os.chown(found, FIRST, GROUP)
    found.chmod(0o2775)
    yield found
    shutil.rmtree(found)


def a_run(folder, user, umask):
    """In a process of a user: claim the folder, do a job of a run and enter it."""
    with tempfile.TemporaryDirectory() as own:  # what is imported late may lie where only root can read
        work(Path(own), 0)
    os.setgroups([GROUP])
    os.setgid(GROUP)
    os.setuid(user)
    os.umask(umask)
    return work(folder, user)


def work(folder, user):
    layout = Layout(folder / "results")
    try:
        layout.root.mkdir(exist_ok=True)
        check_results(layout.root)
        before = read_entry(layout, "judge")
        claim_run(layout)
        forget(layout, "judge")
        write_json(layout.verdict, {"user": user})
        enter(layout, "judge", {"stage": "judge", "user": user}, [layout.verdict], [])
        return f"after {before['job']['user'] if before else 'nobody'}"
    except UserError as error:
        return f"said: {error}"
    except OSError as error:
        return f"said: {sentence_of(error)}"


def as_user(*arguments):
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply(a_run, arguments)


def test_two_users_of_a_group_go_on_with_each_others_results(folder):
    assert as_user(folder, FIRST, 0o002) == "after nobody"
    assert as_user(folder, SECOND, 0o002) == f"after {FIRST}"
    assert as_user(folder, FIRST, 0o002) == f"after {SECOND}"
    assert not run_at_work(Layout(folder / "results"))


def test_where_umask_keeps_the_group_out_it_is_said_which_file_and_nothing_is_lost(folder):
    assert as_user(folder, FIRST, 0o022) == "after nobody"
    said = as_user(folder, SECOND, 0o022)
    assert f"{folder}/results/.run.lock belongs to another user" in said and "Set umask 002 for both" in said
    assert as_user(folder, FIRST, 0o022) == f"after {FIRST}"
