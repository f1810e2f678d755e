"""Pages of a kept TORCH_TRACE: made where tlparse is on PATH, and said why not elsewhere."""

from __future__ import annotations

import pytest

from greenlight.run.stages.compile_variant import trace_pages


@pytest.fixture
def trace(tmp_path):
    folder = tmp_path / "results/trials/torch_trace"
    folder.mkdir(parents=True)
    (folder / "a-worker.log").write_text("x")
    (folder / "the-trial.log").write_text("x" * 100)
    return folder


def tlparse(tmp_path, monkeypatch, script):
    """Put an executable of this name on PATH, with nothing else of it."""
    tools = tmp_path / "tools"
    tools.mkdir()
    if script:
        (tools / "tlparse").write_text(f"#!/bin/sh\n{script}\n")
        (tools / "tlparse").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")


def test_pages_of_the_largest_log(trace, tmp_path, monkeypatch):
    tlparse(tmp_path, monkeypatch, 'mkdir -p "$3"; echo "$@" > "$3/index.html"')
    kept = trace_pages(trace, tmp_path / "results")
    assert kept == {
        "folder": "trials/torch_trace",
        "files": 2,
        "pages": "trials/torch_trace_pages/index.html",
        "note": "",
    }
    called = (tmp_path / "results" / kept["pages"]).read_text()
    assert str(trace / "the-trial.log") in called and "--no-browser" in called


@pytest.mark.parametrize(
    ("script", "note"),
    [
        ("", "tlparse is not on PATH"),
        ("echo first; echo 'no such format' >&2; exit 3", "exit code 3: no such format"),
        ("exit 0", "exit code 0: no message"),
    ],
)
def test_no_pages_is_a_note(trace, tmp_path, monkeypatch, script, note):
    tlparse(tmp_path, monkeypatch, script)
    kept = trace_pages(trace, tmp_path / "results")
    assert kept["pages"] is None and note in kept["note"] and kept["files"] == 2


def test_no_trace_is_a_note(tmp_path):
    assert trace_pages(tmp_path / "trace", tmp_path)["note"] == "torch left no trace"
