"""The files that ship: made again byte for byte, plausible, and read without complaint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from greenlight.data.reader import read_series
from greenlight.data.repair import RepairRules
from greenlight.data.symbols import symbols_in
from tools.shipped import main as write_shipped
from tools.simulate import SIMULATIONS, main, simulate, simulate_universe

SHIPPED = Path(__file__).parents[2] / "trainingdata"


@pytest.fixture(scope="module")
def again(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shipped")
    assert write_shipped(["--folder", str(folder)]) == 0
    return folder


def test_what_ships_is_what_the_command_writes(again: Path) -> None:
    written = sorted(path.name for path in again.iterdir())
    assert written == sorted(["GOOG.csv", *(f"{name}.csv" for name in SIMULATIONS)])
    for name in written:
        assert (again / name).read_bytes() == (SHIPPED / name).read_bytes(), name


@pytest.mark.parametrize("name", sorted(["GOOG", *SIMULATIONS]))
def test_what_ships_is_read_without_a_problem(name: str) -> None:
    series = read_series(symbols_in(SHIPPED, "all")[name], RepairRules(), minimum_rows=1000)
    kinds = {finding.kind for finding in series.findings if finding.lines}
    assert kinds <= ({"gaps"} if name == "GOOG" else set())


@pytest.mark.parametrize(("name", "label", "low", "high"), [
    ("SIM_DAILY7", "daily", 5e4, 2e5),
    ("SIM_TINY", "business days", 3e-6, 3e-5),
    ("SIM_HOURLY", "hourly", 100, 300),
    ("SIM_JUMPS", "business days", 10, 300),
    ("SIM_CALM", "business days", 15, 40),
])  # fmt: skip
def test_each_file_has_the_frequency_and_price_it_is_for(name: str, label: str, low: float, high: float) -> None:
    series = read_series(SHIPPED / f"{name}.csv", RepairRules())
    assert series.frequency.label == label
    assert series.frame["close"].between(low, high).all()
    returns = np.diff(np.log(series.frame["close"]))
    assert (returns != 0).mean() > 0.97, "rounding must not swallow the moves"


@pytest.mark.parametrize("name", SIMULATIONS)
def test_a_file_reads_back_as_the_series_it_was_written_from(name: str) -> None:
    frame = read_series(SHIPPED / f"{name}.csv", RepairRules()).frame
    made = simulate(name, SIMULATIONS[name])
    assert frame["timestamp"].tolist() == made["timestamp"].tolist()
    for column in ("open", "high", "low", "close", "volume"):
        np.testing.assert_array_equal(frame[column].to_numpy(), made[column].to_numpy(), err_msg=column)


def test_jumps_have_heavy_tails_and_clustered_volatility() -> None:
    returns = np.diff(np.log(simulate("SIM_JUMPS", SIMULATIONS["SIM_JUMPS"])["close"].to_numpy()))
    calm = np.diff(np.log(simulate("SIM_CALM", SIMULATIONS["SIM_CALM"])["close"].to_numpy()))

    def kurtosis(values: np.ndarray) -> float:
        return float(np.mean((values - values.mean()) ** 4) / values.var() ** 2)

    size = np.abs(returns)
    assert kurtosis(returns) > 8 > kurtosis(calm)
    assert np.corrcoef(size[1:], size[:-1])[0, 1] > 0.1


def test_google_is_the_real_series() -> None:
    frame = read_series(SHIPPED / "GOOG.csv", RepairRules()).frame
    assert len(frame) == 1047
    assert frame.iloc[0].tolist()[1:6] == [100.0, 104.06, 95.96, 100.34, 22351900.0]
    assert str(frame["timestamp"].iloc[-1].date()) == "2008-10-14" and frame["close"].iloc[-1] == 362.71


def test_another_seed_gives_another_series() -> None:
    name, simulation = next(iter(SIMULATIONS.items()))
    first, second = simulate(name, simulation, 0), simulate(name, simulation, 1)
    assert not np.array_equal(first["close"], second["close"])
    assert np.array_equal(first["close"], simulate(name, simulation, 0)["close"])


def test_a_universe_does_not_depend_on_its_size(tmp_path: Path) -> None:
    assert main(["--folder", str(tmp_path / "few"), "--symbols", "3", "--rows", "120"]) == 0
    assert main(["--folder", str(tmp_path / "more"), "--symbols", "5", "--rows", "120"]) == 0
    few, more = symbols_in(tmp_path / "few", "all"), symbols_in(tmp_path / "more", "all")
    assert list(few) == ["SIM_00000", "SIM_00001", "SIM_00002"] and len(more) == 5
    for name, path in few.items():
        assert path.read_bytes() == more[name].read_bytes()
        assert len(read_series(path, RepairRules()).frame) == 120


def test_symbols_of_a_universe_differ() -> None:
    universe = list(simulate_universe(20, 50, seed=3))
    assert len({simulation.process.price for _, simulation in universe}) == 20
