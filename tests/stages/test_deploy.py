"""deploy.env: what a shell gets of the decision."""

from __future__ import annotations

import subprocess

import pytest

from greenlight.layout import Layout
from greenlight.run.stages.judge import deploy_lines

MADE = {"made": "2026-01-01T00:00:00Z", "commit": "abc"}


def sourced(tmp_path, gate, models):
    folder = tmp_path / "results with 'quotes' and $HOME"
    folder.mkdir()
    (folder / "deploy.env").write_text(deploy_lines(Layout(folder), gate, models, MADE))
    done = subprocess.run(
        ["sh", "-euc", ". ./deploy.env; env"],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line), folder


def test_a_compiled_variant_is_named_with_its_mode_backend_and_cache(tmp_path):
    found, folder = sourced(tmp_path, "pass", {"toto": {"variant": "static-reduce-overhead"}})
    assert found["GREENLIGHT_VERDICT"] == "pass"
    assert (found["TOTO_COMPILE"], found["TOTO_DISABLE_COMPILE"]) == ("1", "0")
    assert (found["TOTO_COMPILE_MODE"], found["TOTO_COMPILE_BACKEND"]) == ("reduce-overhead", "inductor")
    assert found["TOTO_IMPLEMENTATION"] == "static"
    assert found["TORCHINDUCTOR_CACHE_DIR"].startswith(str(folder))


@pytest.mark.parametrize(("gate", "variant"), [("fail", None), ("pass", "upstream-eager")])
def test_without_a_compiled_variant_that_passed_compilation_is_off(tmp_path, gate, variant):
    found, _ = sourced(tmp_path, gate, {"toto": {"variant": variant}, "kronos": {"variant": variant}})
    assert found["GREENLIGHT_VERDICT"] == gate
    for name in ("TOTO", "KRONOS"):
        assert (found[f"{name}_COMPILE"], found[f"{name}_DISABLE_COMPILE"]) == ("0", "1")
        assert found[f"{name}_COMPILE_MODE"] == ""
    assert "TORCHINDUCTOR_CACHE_DIR" not in found
