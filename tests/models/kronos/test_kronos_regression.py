"""The published regression's code path, with a checkpoint and expected rows made here."""

from __future__ import annotations

import pandas as pd
import pytest
from safetensors.torch import save_file

from greenlight.files import write_json
from greenlight_forecasters.kronos.regression import main
from tests.models.kronos.conftest import random_network, random_tokenizer
from tests.models.kronos.test_kronos_predictor import COLUMNS, StandIn, case


@pytest.fixture
def made(tmp_path):
    """(folder of the regression, arguments that name the weights)"""
    network, tokenizer = random_network(), random_tokenizer()
    for name, module in (("model", network), ("tokenizer", tokenizer)):
        (tmp_path / name).mkdir()
        write_json(tmp_path / name / "config.json", module.config.model_dump())
        save_file(module.state_dict(), tmp_path / name / "model.safetensors")
    frame, before, after = case(1, 60, 4)
    times = pd.concat([before, after]).dt.tz_localize(None)
    rows = pd.concat([frame, frame[:4]], ignore_index=True)
    rows.assign(timestamps=times.to_numpy()).to_csv(tmp_path / "regression_input.csv", index=False)
    for context in (40, 60):
        part = [times[:context]], [times[context : context + 4]]
        expected = StandIn(network, tokenizer, 512).predict_batch([frame[:context]], *part, 4, top_k=1, top_p=1.0)[0]
        expected.to_csv(tmp_path / f"regression_output_{context}.csv", index_label="timestamps")
    return tmp_path, ["--model", str(tmp_path / "model"), "--tokenizer", str(tmp_path / "tokenizer")]


def test_rows_that_are_the_expected_ones_agree(made, capsys):
    folder, weights = made
    assert main([str(folder), *weights]) == 0
    said = capsys.readouterr().out
    assert "agrees: context 40" in said and "agrees: context 60" in said


def test_another_row_or_other_weights_do_not(made, capsys):
    folder, weights = made
    path = folder / "regression_output_60.csv"
    rows = pd.read_csv(path)
    rows.loc[2, COLUMNS[3]] *= 1.001
    rows.to_csv(path, index=False)
    assert main([str(folder), *weights]) == 1
    assert "DIFFERS: context 60, largest relative difference 1.0e-03" in capsys.readouterr().out


def test_what_is_missing_is_named(made, tmp_path, capsys):
    folder, weights = made
    assert main([str(folder / "model"), *weights]) == 2
    assert "expected regression_input.csv" in capsys.readouterr().out
    assert main([str(folder), "--model", str(tmp_path / "nowhere"), *weights[2:]]) == 2
    assert "not run: " in capsys.readouterr().out
