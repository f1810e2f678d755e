"""deploy.env can do no harm: it is sourced by a shell here, and a stub of production's loaders is run by it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from greenlight.plugins import model_of
from greenlight.run.deployment import Deployment, deploy_text, loader_prefixes, switches_in
from greenlight.variants import Variant, shell_name

LOADER = Path(__file__).parent / "children" / "loader.py"
MADE = {"made": "2026-01-01T00:00:00Z", "commit": "abc"}
# What a shell may hold from yesterday: everything is compiled.
YESTERDAY = {
    "TOTO_COMPILE": "1", "TOTO_DISABLE_COMPILE": "0", "TOTO_COMPILE_MODE": "max-autotune", "KRONOS_COMPILE": "1",
    "KRONOS_COMPILE_MODE": "max-autotune", "CHRONOS_COMPILE": "1", "TORCH_COMPILED": "1",
}  # fmt: skip
SHELLS = [shell for shell in ("sh", "bash", "dash") if shutil.which(shell)]


def sourced(folder, text, before=YESTERDAY, shell="sh", then=""):
    """The environment, and what loaders compile, after a shell has sourced a file."""
    folder.mkdir(exist_ok=True)
    (folder / "deploy.env").write_text(text)
    run = f'. ./deploy.env{then}\n"$PYTHON" "$LOADER"\nenv -0'
    done = subprocess.run(
        [shell, "-c", run],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "PYTHON": sys.executable, "LOADER": str(LOADER), **before},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        return None, None, done
    loaders, _, listed = done.stdout.partition("\n")
    return json.loads(loaders), dict(pair.split("=", 1) for pair in listed.split("\0") if "=" in pair), done


def passed(folder, **variants):
    chosen = {name.replace("_", "-"): variant for name, variant in variants.items()}
    published = dict.fromkeys(chosen, ("upstream",))
    scopes = {name: f"the scope of {name}" for name in chosen}
    return deploy_text(Deployment("pass", chosen, **MADE, published=published, scopes=scopes, bundle=folder))


@pytest.mark.parametrize("model", ["toto", "kronos"])
@pytest.mark.parametrize("yesterday", [True, False])
def test_loaders_compile_the_published_code_only_where_it_was_chosen_compiled(tmp_path, model, yesterday):
    plugin = model_of(model)
    settings = plugin.settings()
    own = {model: [name for name, entry in plugin.implementations_of(settings).items() if entry.published]}
    assert own == {model: ["upstream"]}
    for name in plugin.variants_of(settings):
        variant = Variant.parse(name)
        text = deploy_text(Deployment("pass", {model: name}, **MADE, published=own, bundle=tmp_path))
        loaders, found, _ = sourced(tmp_path, text, YESTERDAY if yesterday else {})
        published = variant.implementation == "upstream" and variant.compiled
        assert loaders[model] == (variant.mode if published else None), name
        assert found["GREENLIGHT_VERDICT"] == "pass"
        prefix = f"GREENLIGHT_{shell_name(model)}_"
        stated = [found[prefix + key] for key in ("VARIANT", "IMPLEMENTATION", "MODE", "PRECISION")]
        assert stated == [name, variant.implementation, variant.mode, variant.precision]
        assert ("TORCHINDUCTOR_CACHE_DIR" in found) is published
        assert not any(key.endswith("_VARIANT") and not key.startswith("GREENLIGHT_") for key in found)


def test_the_state_of_torch_that_was_judged_stands_in_it(tmp_path):
    state = {"autocast": "float16", "dynamo": {"recompile_limit": 64}}
    chosen = {"toto": "upstream-default-autocast-fp16", "kronos": "static-default"}
    text = deploy_text(Deployment("pass", chosen, **MADE, processes={"toto": state}, bundle=tmp_path))
    found = sourced(tmp_path, text)[1]
    assert json.loads(found["GREENLIGHT_TOTO_PROCESS"]) == state and found["GREENLIGHT_KRONOS_PROCESS"] == "{}"
    assert found["GREENLIGHT_TOTO_PRECISION"] == "autocast-fp16"
    without = sourced(tmp_path, deploy_text(Deployment("fail", chosen, **MADE, processes={"toto": state})), found)[1]
    assert without["GREENLIGHT_TOTO_PROCESS"] == without["GREENLIGHT_KRONOS_PROCESS"] == ""


@pytest.mark.parametrize("verdict", ["fail", "not decided"])
def test_without_a_pass_nothing_is_compiled_and_the_file_says_why(tmp_path, verdict):
    reason = 'kronos: numerics: off\n"; touch harm; `touch harm` $(touch harm) \x1b[31m'
    chosen = {"toto": "upstream-default", "kronos": "static-default", "chronos-2": None}
    text = deploy_text(Deployment(verdict, chosen, **MADE, reasons=[reason, "and 'more'"], bundle=tmp_path))
    loaders, found, _ = sourced(tmp_path, text)
    assert set(loaders.values()) == {None}
    assert found["GREENLIGHT_VERDICT"] == verdict and "numerics: off" in found["GREENLIGHT_REASON"]
    assert found["GREENLIGHT_TOTO_VARIANT"] == found["GREENLIGHT_DEPLOY"] == ""
    assert "TORCHINDUCTOR_CACHE_DIR" not in found
    assert not (tmp_path / "harm").exists() and "\x1b" not in text
    assert "# Verdict: " + verdict in text and "numerics: off" in text.split("\n{\n")[0]


def test_each_model_by_its_own_decision(tmp_path):
    text = passed(
        tmp_path, toto="upstream-reduce-overhead", kronos="static-reduce-overhead", chronos_2="upstream-eager"
    )
    loaders, found, _ = sourced(tmp_path, text)
    assert loaders == {"toto": "reduce-overhead", "kronos": None, "chronos-2": None}
    assert (found["KRONOS_COMPILE"], found["KRONOS_DISABLE_COMPILE"], found["KRONOS_COMPILE_MODE"]) == ("0", "1", "")
    assert found["GREENLIGHT_CHRONOS_2_VARIANT"] == "upstream-eager"
    assert found["GREENLIGHT_KRONOS_VARIANT"] == "static-reduce-overhead"


def test_the_scope_of_a_choice_is_said_and_taken_back_with_it(tmp_path):
    text = passed(tmp_path, toto="static-default")
    assert "# toto: judged with the scope of toto; beyond that nothing was shown\n" in text
    _, found, _ = sourced(tmp_path, text, {})
    assert found["GREENLIGHT_TOTO_SCOPE"] == "the scope of toto"
    text = deploy_text(Deployment("fail", {"toto": "static-default"}, **MADE, scopes={"toto": "the scope of toto"}))
    _, found, _ = sourced(tmp_path, text, {"GREENLIGHT_TOTO_SCOPE": "yesterday's"})
    assert found["GREENLIGHT_TOTO_SCOPE"] == "" and "beyond that" not in text


def test_models_that_a_loader_knows_by_one_name_are_compiled_only_if_both_are_meant_to_be(tmp_path):
    assert loader_prefixes("kronos-2") == ["KRONOS_2", "KRONOS2", "KRONOS"]
    loaders, _, _ = sourced(tmp_path, passed(tmp_path, kronos="upstream-default", kronos_2="static-default"))
    assert loaders["kronos"] is None


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    "name", ["results", "two words", 'it\'s "quoted" $HOME `id` \\', "two\nlines", "# comment; exit", "-e", "naïve ✓"]
)
def test_safe_whatever_the_folder_is_called(tmp_path, name, shell):
    folder = tmp_path / name
    loaders, found, _ = sourced(folder, passed(folder / "deploy", toto="upstream-default"), shell=shell)
    assert loaders["toto"] == "default"
    assert found["GREENLIGHT_DEPLOY"] == str(folder / "deploy")
    assert found["TORCHINDUCTOR_CACHE_DIR"] == str(folder / "deploy" / "cache" / "inductor")


@pytest.mark.parametrize("shell", SHELLS)
def test_a_file_that_was_cut_off_sets_nothing(tmp_path, shell):
    text = passed(tmp_path, toto="upstream-default", kronos="static-default")
    before = {"TOTO_COMPILE": "0"}
    for length in [*range(0, len(text) - 2, 97), len(text) - 3, len(text) - 2]:
        _, found, done = sourced(tmp_path, text[:length], before, shell)
        if found is None:
            assert done.returncode != 0
            continue
        assert not any(name.startswith(("GREENLIGHT_", "KRONOS_")) for name in found), text[:length]
        assert found["TOTO_COMPILE"] == "0"


@pytest.mark.parametrize("shell", SHELLS)
def test_a_variable_that_can_not_be_set_leaves_no_pass(tmp_path, shell):
    """A shell that goes on after an error has not passed the gate; one that ends runs nothing."""
    (tmp_path / "first.sh").write_text("readonly GREENLIGHT_TOTO_MODE=mine\n")
    text = passed(tmp_path, toto="upstream-default")
    _, found, _ = sourced(tmp_path, text, {"TOTO_COMPILE": "1"}, shell)
    assert found["GREENLIGHT_VERDICT"] == "pass"
    text = ". ./first.sh\n" + text
    loaders, found, _ = sourced(tmp_path, text, {"TOTO_COMPILE": "1"}, shell)
    assert found is None or (found["GREENLIGHT_VERDICT"] == "not decided" and loaders["toto"] is None)


def test_strict_shells_source_it(tmp_path):
    text = passed(tmp_path, toto="upstream-default")
    (tmp_path / "deploy.env").write_text(text)
    for options in ("-eu", "-a"):
        assert subprocess.run(["sh", options, "-c", ". ./deploy.env"], cwd=tmp_path, env=os.environ).returncode == 0
    assert switches_in(text) == ["TOTO"]


# The decisions of which the docs show what deploy.env sets: verdict, and Toto's variant.
DECISIONS = {
    "pass: a static engine": ("pass", "static-default"),
    "pass: the published code, compiled": ("pass", "upstream-reduce-overhead"),
    "pass: the published code as it is": ("pass", "upstream-eager"),
    "fail": ("fail", "static-default"),
    "not decided": ("not decided", None),
}
SHOWN = (
    *(f"TOTO_{name}" for name in ("COMPILE", "DISABLE_COMPILE", "COMPILE_MODE", "COMPILE_BACKEND")),
    *("TORCH_COMPILED", "GREENLIGHT_VERDICT", "GREENLIGHT_TOTO_VARIANT", "GREENLIGHT_DEPLOY"),
)


def test_the_docs_show_what_each_kind_of_decision_sets(tmp_path):
    rows = [["variable", *DECISIONS], ["---"] * (len(DECISIONS) + 1)]
    found = []
    for verdict, variant in DECISIONS.values():
        deployment = Deployment(
            verdict, {"toto": variant}, **MADE, published={"toto": ("upstream",)},
            bundle=tmp_path if verdict == "pass" else None,
        )  # fmt: skip
        found.append(sourced(tmp_path, deploy_text(deployment), YESTERDAY | {"TORCH_COMPILED": "as it was"})[1])
    for name in SHOWN:
        values = [environment[name].replace(str(tmp_path), "…/results/deploy") for environment in found]
        rows.append([f"`{name}`", *(f"`{value}`" if value else "empty" for value in values)])
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    page = Path(__file__).parents[2] / "workflow/docs/production.md"
    assert table in page.read_text(), table
