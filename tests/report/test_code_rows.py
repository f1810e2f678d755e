"""The report says which of other people's code forecasts were made with."""

from __future__ import annotations

from greenlight.report.reading import code_rows


def record(stage, implementation, **code):
    job = {"stage": stage, "model": "toto", "implementation": implementation}
    return {"job": job, "trials": [{"kind": "ok", "code_run": code}, {"kind": "ok"}]}


def test_each_package_once_with_its_place_and_hash():
    run = {"path": "/site/toto", "hash": "ab12"}
    records = [record("predict", "upstream", toto=run), record("predict", "upstream", toto=run)]
    records += [record("predict", "static"), record("time", "static", toto=run)]
    assert list(code_rows(records)) == [("Code of toto upstream: toto", "/site/toto, SHA-256 of its files ab12")]


def test_what_is_no_record_gives_nothing():
    assert list(code_rows([{}, {"job": 3, "trials": "x"}, {"job": {"stage": "predict"}, "trials": [{}]}])) == []
