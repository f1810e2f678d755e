"""What children write and the judge reads is stated once, and nothing that is absent is taken for its default."""

from __future__ import annotations

import pytest

from greenlight.judgement import call_records, probe_records, records
from tests.judgement.evidence_builder import KRONOS, Run, reseal
from tests.judgement.test_verdict import verdict_of

# Of a record that is not of every stage, of prices only where returns are forecast, and of code in no git checkout.
ABSENT = {
    "RecordDocument": {"trials", "inputs", "outputs", "problems"},
    "ReplicateErrors": {"returns_mae"},
    "CodeRun": {"commit"},
}


def test_every_key_is_required():
    kinds = [kind for module in (records, probe_records, call_records) for kind in vars(module).values()]
    kinds = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, records._Read)]
    assert len(kinds) > 25
    for kind in kinds:
        optional = {name for name, field in kind.model_fields.items() if not field.is_required()}
        assert optional <= ABSENT.get(kind.__name__, set()), kind


@pytest.mark.parametrize(
    ("stage", "key"), [("time", "device_memory_readings"), ("probe", "published"), ("predict", "in_other_calls")]
)
def test_a_key_under_another_name_is_no_evidence(tmp_path, stage, key):
    class Renamed(Run):
        def write(self, results):
            super().write(results)
            for path in (results / stage).rglob("record.json"):
                reseal(path, lambda record: self.rename(record["trials"][0]["result"]))

        def rename(self, result):
            result[f"{key}_"] = result.pop(key)

    verdict = verdict_of(tmp_path, Renamed(models={"kronos": KRONOS}))
    check = next(c for c in verdict.checks if (c.name, c.variant) == (f"evidence-{stage}", "upstream-default"))
    assert check.blocking and f"the result of trial 0: {key}: Field required" in check.reason
