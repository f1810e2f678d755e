"""The page of a large run can still be sent and opened."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from greenlight.files import read_json, write_json, write_parquet
from greenlight.run.stages.report import report
from tests.judgement.evidence_builder import Run
from tests.report.conftest import build, change_json

MODES = ("eager", "default", "reduce-overhead", "max-autotune")
VARIANTS = {f"{name}-{mode}": {"coupled_with_reference": True} for name in ("upstream", "host-index") for mode in MODES}
VARIANTS |= {
    f"static-{mode}{precision}": {"coupled_with_reference": False}
    for precision in ("", "-tf32", "-bf16")
    for mode in MODES
}
SYMBOLS, WINDOWS = 500, 3
LIMIT = 5_000_000


def many_symbols(layout, model: str) -> None:
    """Scores and data reports of many symbols in a judged run of two; the report shows them, and judges nothing."""
    names, rng = [f"S{number:03d}" for number in range(SYMBOLS)], np.random.default_rng(0)
    for variant in VARIANTS:
        path = layout.window_scores(model, variant)
        table = pyarrow.parquet.ParquetFile(path).read()
        rows = table.take(np.arange(SYMBOLS * WINDOWS) % len(table))
        for name in ("mae", "mae_percent", "weighted_quantile_loss", "mase"):
            values = np.array(rows.column(name).to_pylist(), dtype=float) * np.exp(0.2 * rng.standard_normal(len(rows)))
            rows = rows.set_column(rows.column_names.index(name), name, pa.array(values))
        symbols = pa.array(np.repeat(names, WINDOWS).tolist())
        write_parquet(path, rows.set_column(rows.column_names.index("symbol"), "symbol", symbols), durable=False)
    change_json(layout.expected, lambda manifest: manifest.update(symbols={name: {"windows": 3} for name in names}))
    finding = {"kind": "high_below_low", "count": 3, "lines": [7, 8, 30], "detail": "high below low", "action": "swap"}
    for name in names:
        data = {"source": f"{name}.csv", "source_sha256": "0" * 64, "rows": 140, "findings": [finding]}
        write_json(layout.data_report(name), data | {"frequency": {"label": "daily"}}, durable=False)


@pytest.mark.slow
def test_the_page_of_500_symbols_and_20_variants_is_under_5_megabytes(tmp_path):
    """With 200 latency pairs of each variant, twenty times as many as the shipped configuration plans."""
    run = Run(models={"toto": VARIANTS}, symbols={"S000": WINDOWS, "S001": WINDOWS}, pairs=100)
    layout = build(tmp_path, run)
    many_symbols(layout, "toto")
    report(layout, {}, None)

    page = layout.report_page.read_text()
    assert len(VARIANTS) == 20 and layout.report_page.stat().st_size < LIMIT
    assert all(f"<td>S{number:03d}</td>" in page for number in range(SYMBOLS))
    assert all(f"<code>{variant}</code>" in page for variant in VARIANTS)
    assert page.count("data:image/svg+xml") >= 4
    assert layout.report.stat().st_size < LIMIT / 10
    assert page.count('<tr id="check-') == len(read_json(layout.verdict)["checks"]) > 20 * 40
