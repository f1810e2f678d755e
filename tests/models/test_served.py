"""Verdicts that choose the published code, or a copy of it: `load` gives that code itself, called as it was judged."""

from __future__ import annotations

import shutil
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch

from greenlight.api import LoadOptions
from greenlight.code import places_of
from greenlight.errors import UserError
from greenlight.files import write_json
from greenlight.judgement.expected import load_expected
from greenlight.run.bundle import write_bundle
from greenlight.run.ledger import enter
from greenlight_forecasters.check import check
from greenlight_forecasters.chronos2.served import ServedChronos2Pipeline
from greenlight_forecasters.chronos2.upstream import Chronos2Upstream
from greenlight_forecasters.deploy import load
from greenlight_forecasters.engine.served import PublishedCode
from greenlight_forecasters.engine.service import BeyondScope, NotWarmed
from greenlight_forecasters.kronos.predictor import StaticKronosPredictor
from greenlight_forecasters.kronos.served import ServedKronosPredictor
from greenlight_forecasters.kronos.upstream import KronosUpstream
from greenlight_forecasters.toto.published import MaskedTimeseries
from greenlight_forecasters.toto.served import ServedTotoForecaster
from greenlight_forecasters.toto.upstream import TotoUpstream
from tests.models.kronos.test_kronos_published import write_code
from tests.models.test_copies_judged import in_this_process
from tests.models.test_deploy import CONTEXT, HORIZON, SAMPLES, entry_of, write
from tools.quick_run import QuickRun
from tools.simulate import write_universe

KINDS = {"toto": TotoUpstream, "chronos-2": Chronos2Upstream, "kronos": KronosUpstream}


def upstream(name):
    settings = {"max_context": 64} if name == "kronos" else {}
    return KINDS[name].load(LoadOptions("embedded", settings=settings))


def masked(rows=CONTEXT):
    values = 100 + torch.sin(torch.arange(rows, dtype=torch.float32))[None]
    ones = torch.ones_like(values)
    return MaskedTimeseries(values, ones.bool(), (0 * ones).int(), (0 * ones).int(), torch.zeros(1, dtype=torch.int))


def candles(series=1, rows=CONTEXT):
    times = pd.Series(pd.date_range("2024-01-01", periods=rows + HORIZON, freq="h"))
    close = 100 + np.sin(np.arange(rows))
    frame = pd.DataFrame({"open": close + 1, "high": close + 2, "low": close - 1, "close": close})
    return [frame + number for number in range(series)], [times[:rows]] * series, [times[rows:]] * series


def call(name, predictor, rows=CONTEXT, **options):
    """The numbers of a call after the same seed."""
    torch.manual_seed(3)
    if name == "toto":
        return predictor.forecast(masked(rows), HORIZON, SAMPLES, **options).samples.numpy()
    if name == "kronos":
        return predictor.paths(*(one[0] for one in candles(rows=rows)), HORIZON, sample_count=SAMPLES, **options)
    return predictor.predict_quantiles([masked(rows).series], HORIZON, **options)[0][0].numpy()


def loaded(folder, name, implementation="upstream", **changes):
    entry = entry_of(name, folder) | {"variant": f"{implementation}-eager", "implementation": implementation}
    write(folder, {name: entry | changes})
    return load(folder, name)


def test_toto_is_the_published_forecaster(tmp_path):
    predictor, published = loaded(tmp_path, "toto"), upstream("toto").published
    assert isinstance(predictor, ServedTotoForecaster)
    found = call("toto", predictor)
    np.testing.assert_array_equal(found, call("toto", published, samples_per_batch=SAMPLES))
    found[...] = 0  # the caller's own
    with pytest.raises(UserError, match="use_kv_cache=False is another computation"):
        predictor.forecast(masked(), HORIZON, SAMPLES, use_kv_cache=False)
    two = MaskedTimeseries(
        *(part[None].expand(2, *part.shape) for part in tuple(masked())[:4]), torch.zeros(2, 1, dtype=torch.int)
    )
    with pytest.warns(BeyondScope, match="2 series, and at most 1 were judged"):
        predictor.forecast(two, HORIZON, SAMPLES)


def test_chronos_is_the_published_pipeline(tmp_path):
    predictor, published = loaded(tmp_path, "chronos-2"), upstream("chronos-2").pipeline
    assert isinstance(predictor, ServedChronos2Pipeline) and predictor.quantiles == published.quantiles
    inputs = [masked().series, masked().series + 5]
    levels = {"quantile_levels": [0.33, 0.5]}
    for ours, theirs in zip(
        predictor.predict_quantiles(inputs, HORIZON, **levels),
        published.predict_quantiles(inputs, HORIZON, **levels),
        strict=True,
    ):
        assert all(map(torch.equal, ours, theirs))
    assert all(map(torch.equal, predictor.predict(inputs, HORIZON), published.predict(inputs, HORIZON)))
    times = pd.date_range("2024-01-01", periods=CONTEXT, freq="h")
    frame = pd.DataFrame({"item_id": "A", "timestamp": times, "target": masked().series[0].numpy()})
    ours, theirs = (one.predict_df(frame, prediction_length=HORIZON) for one in (predictor, published))
    assert ours.equals(theirs)
    for refused in ({"inputs": [{"target": inputs[0]}]}, {"inputs": inputs, "cross_learning": True}):
        with pytest.raises(UserError, match="were not judged"):
            predictor.predict_quantiles(prediction_length=HORIZON, **refused)


def test_kronos_is_the_published_loop(tmp_path):
    predictor = loaded(tmp_path, "kronos")
    assert isinstance(predictor, ServedKronosPredictor) and predictor.max_context == 64
    other = StaticKronosPredictor(load_static())
    for options in ({"top_k": 1}, {"T": 0.7, "top_p": 0.8}):
        found, expected = (
            [torch.manual_seed(5), one.predict_batch(*candles(2), pred_len=HORIZON, sample_count=2, **options)][1]
            for one in (predictor, other)
        )
        for one, two in zip(found, expected, strict=True):
            pd.testing.assert_frame_equal(one, two, rtol=1e-5)


def load_static():
    from greenlight_forecasters.kronos.static import KronosStatic

    return KronosStatic.load(LoadOptions("embedded", settings={"max_context": 64}))


def vendored_toto(folder):
    (installed,) = places_of("toto")
    shutil.copytree(installed, folder, ignore=shutil.ignore_patterns("__pycache__"))
    forecaster = folder / "inference" / "forecaster.py"
    text = forecaster.read_text()
    assert "\n@dataclass" in text
    forecaster.write_text(text + "\nTotoForecaster.of_the_copy = True\n")


def test_a_copy_is_run_from_the_files_in_the_bundle(tmp_path):
    vendored_toto(tmp_path / "toto-copy")
    predictor = loaded(tmp_path, "toto", "vendored", copy="toto-copy")
    assert predictor._upstream.published.of_the_copy
    np.testing.assert_array_equal(call("toto", predictor), call("toto", upstream("toto").predictor()))


def test_a_fork_of_kronos_is_run_from_the_files_in_the_bundle(tmp_path):
    folder = tmp_path / "bundle"
    folder.mkdir()
    (write_code(tmp_path / "code") / "model").rename(folder / "fork")
    predictor = loaded(folder, "kronos", "fork", copy="fork")
    np.testing.assert_allclose(call("kronos", predictor), call("kronos", upstream("kronos").predictor()), rtol=1e-6)


@pytest.mark.parametrize("name", KINDS)
def test_it_is_guarded_as_engines_are(name):
    """Weights that change are noticed, threads and autocast change nothing, and new shapes can be refused."""
    forecaster = upstream(name)
    predictor = forecaster.predictor()
    expected = call(name, predictor)
    call(name, predictor, rows=2 * CONTEXT)  # tables that grow with a context are no weights
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("error", NotWarmed)
        np.testing.assert_array_equal(call(name, predictor), expected)
    rows = [CONTEXT + number % 3 for number in range(6)]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda count: call(name, predictor, rows=count), rows))
    assert all(one.shape == expected.shape and np.isfinite(one).all() for one in found)
    if name == "chronos-2":  # nothing is drawn
        np.testing.assert_array_equal(found[0], expected)
    forecaster.compile("default")
    with pytest.raises(UserError, match="shape that was not warmed"):
        call(name, forecaster.predictor(policy="refuse"))
    with pytest.raises(UserError, match="policy='eager' can't be honoured"):
        forecaster.predictor(policy="eager")
    with torch.no_grad():
        next(weights(forecaster).parameters()).mul_(2)
    with pytest.raises(UserError, match="was written to"):
        call(name, predictor)


def weights(forecaster):
    return forecaster.network if isinstance(forecaster, KronosUpstream) else forecaster.plain


def test_tables_that_published_code_writes_are_no_weights():
    model = torch.nn.BatchNorm1d(2).eval()
    code = PublishedCode({"model": model}, None)
    model.running_mean.add_(1)
    with code.call("a"):
        pass
    model.weight.data = model.weight.data + 1
    with pytest.raises(UserError, match="was moved"), code.call("a"):
        pass


def test_calls_are_in_the_state_that_was_judged_whatever_the_callers_is():
    scope = {"process": {"autocast": "bfloat16", "inference_mode": True}}
    judged, plain = (PublishedCode({"model": torch.nn.Linear(1, 1).eval()}, None, scope=own) for own in (scope, None))
    with judged.call("a"):
        assert torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
        assert torch.is_inference_mode_enabled()
    with torch.autocast("cpu", dtype=torch.float16), torch.inference_mode(), plain.call("a"):
        assert not torch.is_autocast_enabled("cpu") and not torch.is_inference_mode_enabled()
        assert not torch.is_grad_enabled()


def test_cuda_graphs_of_torch_compile_are_called_by_the_thread_that_recorded_them():
    code = PublishedCode({"model": torch.nn.Linear(1, 1).eval()}, "reduce-overhead")
    code.of_one_thread = True  # as on a GPU
    with code.call("a"):
        pass

    def elsewhere():
        with code.call("a"):
            pass

    with (
        ThreadPoolExecutor(1) as pool,
        pytest.raises(UserError, match=r"\(mode reduce-overhead\) can only be replayed"),
    ):
        pool.submit(elsewhere).result()
    code.of_one_thread = False
    elsewhere()


def test_a_shape_is_compiled_once_and_warmed_ones_are_not_new():
    code = PublishedCode({"model": torch.nn.Linear(1, 1).eval()}, "default")
    asked = []
    code.admit = lambda shape: asked.append(shape) or True
    for shape in ("a", "b", "a"):
        with code.call(shape):
            pass
    with pytest.raises(ValueError), code.call("c"):
        raise ValueError
    with code.call("c"):  # what failed is not known
        pass
    assert asked == ["a", "b", "c", "c"]


def fork_in_a_bundle(folder):
    """The bundle of a run that judged a copy of Kronos, and where the copy lies."""
    code = write_code(folder / "their code") / "model"
    write_universe(folder / "prices", 1, rows=90, seed=3)
    evaluation = {
        "context_length": CONTEXT,
        "horizon": HORIZON,
        "windows": 1,
        "samples": SAMPLES,
        "windows_per_call": 1,
    }
    model = {"variants": ["upstream-eager", "fork-eager"], "code": {"fork": str(code)}, "max_context": 64}
    folders = {"data_folder": str(folder / "prices"), "results_folder": str(folder / "results")}
    run = QuickRun(folders | {"evaluation": evaluation, "models": {"kronos": model}}, in_this_process)
    run.begin()
    run.measure("kronos", "fork-eager", ("predict",))
    job = run.plan.job("predict", "kronos", "fork-eager", 0)
    enter(run.layout, "predict/kronos/fork-eager/0", job, [], [], modules=run.plan.modules(job))
    write_json(run.layout.decision, {})

    def write_again():
        expected = load_expected(run.layout.expected)
        made = {"made": "2026-01-01T00:00:00Z", "commit": "abc"}
        write_bundle(run.layout, "pass", (), {"kronos": "fork-eager"}, expected, made)
        return run.layout.bundle

    return write_again, code


def test_the_gate_puts_a_copy_into_the_bundle_and_it_is_what_runs(tmp_path):
    make, code = fork_in_a_bundle(tmp_path)
    (code / "__pycache__").mkdir()
    (code / "__pycache__" / "kronos.pyc").write_bytes(b"")
    shutil.move(make(), tmp_path / "elsewhere")
    found = sorted(path.name for path in (tmp_path / "elsewhere" / "kronos" / "code").rglob("*") if path.is_file())
    assert found == ["kronos.py", "module.py"]
    file = code / "kronos.py"
    file.write_text(file.read_text() + "\n# changed\n")
    with pytest.raises(
        UserError, match=r"models\.kronos\.code\.fork: the code in .* has changed since it was measured"
    ):
        make()
    shutil.rmtree(code)
    predictor = load(tmp_path / "elsewhere", "kronos")
    np.testing.assert_allclose(call("kronos", predictor), call("kronos", upstream("kronos").predictor()), rtol=1e-6)
    agrees, line = check(tmp_path / "elsewhere")
    assert agrees, line
    (tmp_path / "elsewhere" / "kronos" / "code" / "kronos.py").write_text("")
    with pytest.raises(UserError, match=r"kronos\.py is missing or was changed since the bundle was made"):
        load(tmp_path / "elsewhere", "kronos")
