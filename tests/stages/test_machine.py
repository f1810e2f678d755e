"""What the machine failed stays stale: the job leaves its record and no entry in the ledger."""

from __future__ import annotations

import subprocess
import sys

from greenlight.code import Code
from greenlight.files import read_json, write_json
from greenlight.layout import Layout
from greenlight.run.handover import PACKAGE
from greenlight.run.ledger import read_entry
from greenlight.run.records import not_measured

NAME = "probe/toto/static-eager"
STAGE = """
import sys
from pathlib import Path
from greenlight.run.command import run_stage
from greenlight.run.records import write_record

def stage(layout, job, options):
    trial = {"kind": Path("kind").read_text(), "message": "No space left on device"}
    write_record(layout.record("probe", "toto", "static-eager"), job, trials=[trial])

run_stage("A stage.", stage)
"""


RECORD = "probe/model=toto/variant=static-eager/record.json"


def test_a_job_that_the_machine_failed_stays_stale(tmp_path):
    layout = Layout(tmp_path / "results")
    code = Code(("greenlight.errors",))
    job = {"stage": "probe", "model": "toto", "variant": "static-eager", "code": "0"}
    own = {"0": {"code": code.plain(), "contents": code.contents()}}
    write_json(layout.plan, {"jobs": {NAME: {"job": job, "upstream": [], "outputs": [RECORD]}},
                             "package": str(PACKAGE), "code": own})  # fmt: skip
    for kind, entered in (("ok", True), ("machine", False), ("signal", True)):
        (tmp_path / "kind").write_text(kind)
        done = subprocess.run([sys.executable, "-c", STAGE, "--results", "results", "--job", NAME], cwd=tmp_path,
                              capture_output=True, text=True)  # fmt: skip
        assert done.returncode == 0, done.stderr
        record = layout.record("probe", "toto", "static-eager")
        assert read_json(record)["trials"][0]["kind"] == kind
        assert (read_entry(layout, NAME) is not None) is entered, kind
        assert bool(not_measured([record])) is ("not measured: machine: No space" in done.stderr) is not entered
