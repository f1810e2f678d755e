"""The benchmark goes through the door of the gate, and tells how exact an implementation is."""

from __future__ import annotations

from greenlight.watch.caches import CACHES
from tools import benchmark


def test_rows_of_speed_and_exactness(capsys, monkeypatch, tmp_path):
    for name in CACHES:
        monkeypatch.setenv(name, str(tmp_path))  # set anew by the benchmark, and put back after the test
    variants = "upstream-eager,static-eager"
    arguments = ["chronos-2:small", "--variants", variants, "--cases", "48x8x1x2", "--repeats", "1", "--exact"]
    assert benchmark.main(arguments) == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| 48x8x1x2")]
    assert [row[1] for row in rows] == ["upstream-eager", "static-eager", "upstream", "upstream", "static", "static"]
    assert rows[1][5] == "100.0%"  # of the forecast's values are equal
    worst = {(row[1], row[2]): max(float(row[3]), float(row[4].strip(" |"))) for row in rows[2:]}
    assert worst["static", "float32"] < 1e-4 and worst["static", "float64"] < 1e-10
    assert worst["upstream", "float32"] > 0
