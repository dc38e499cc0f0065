"""Measured uplinks beside our models: statistics that are known, and the command."""

import dataclasses
import io
import json

import numpy as np
import pytest
from multispin_train.channel.comparison import ChannelRow, Comparison, compare, summary, table
from multispin_train.channel.sources import measured_rates, model_rates, models
from multispin_train.channel.statistics import CELL_S, Rates, autocorrelation, rate_statistics
from multispin_train.cli import main
from rich.console import Console
from scipy.special import j0

from multispin_env import make_config
from multispin_env.config import ConfigError, MobilityChannelConfig
from multispin_env.evaluation.results import read_rows


def written(path, text):
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.fixture
def square(tmp_path):
    """A rate of 1 and of 3, half a second each, for 40 s."""
    lines = [f"{0.5 * step},{1 + 2 * (step % 2)}" for step in range(80)]
    return written(tmp_path / "square.csv", "\n".join(["time_s,rate", *lines, "40,0\n"]))


@pytest.fixture
def packets(tmp_path):
    """A packet every 2 ms in even tenths of a second and none in odd ones, for 20 s."""
    return written(tmp_path / "some.up", "".join(f"{ms}\n" for ms in range(0, 20_000, 2) if ms // 100 % 2 == 0))


def test_statistics_of_a_random_sequence_with_a_known_memory():
    rng = np.random.default_rng(0)
    correlation, steps = np.exp(-0.1 / 2.0), 40_000
    noise = rng.standard_normal(steps)
    values = np.empty(steps)
    values[0] = noise[0]
    for step in range(1, steps):
        values[step] = correlation * values[step - 1] + np.sqrt(1.0 - correlation**2) * noise[step]
    logarithm = 0.4 * values
    found = rate_statistics(Rates(np.repeat(np.exp(logarithm), 10), 0.1))
    spread = np.sqrt(np.expm1(0.4**2))
    assert np.isnan(found.variation_10ms)
    assert found.mean == pytest.approx(np.exp(0.08), rel=0.03)
    assert found.variation_100ms == pytest.approx(spread, rel=0.05)
    assert found.variation_1s < found.variation_100ms
    # Of a log-normal process the autocorrelation is (exp(s^2 rho) - 1) / (exp(s^2) - 1).
    rho = np.log1p(np.exp(-1.0) * np.expm1(0.4**2)) / 0.4**2
    assert found.correlation_s == pytest.approx(-2.0 * np.log(rho), rel=0.15)
    # The change over .2 s is log-normal, too.
    width = 0.4 * np.sqrt(2.0 * (1.0 - correlation**2))
    assert found.ratio_5 == pytest.approx(np.exp(-1.645 * width), rel=0.03)
    assert found.ratio_50 == pytest.approx(1.0, abs=0.02)
    assert found.ratio_95 == pytest.approx(np.exp(1.645 * width), rel=0.03)
    quartiles = np.exp(0.6745 * width * np.array([-1.0, 1.0]))
    assert (found.ratio_25, found.ratio_75) == pytest.approx(tuple(quartiles), rel=0.03)


def test_a_rate_that_stands_still_varies_in_nothing_and_remembers_for_ever():
    found = rate_statistics(Rates(np.full(1000, 3.0), 0.01))
    assert (found.variation_10ms, found.variation_1s, found.ratio_5, found.ratio_95) == (0.0, 0.0, 1.0, 1.0)
    assert np.isnan(found.correlation_s)


def test_a_table_and_a_packet_trace_are_read_as_rates(square, packets):
    table = measured_rates(square)
    assert len(table.cell) == 4000
    assert table.resolution_s == 0.5
    np.testing.assert_allclose(table.cell[:100], np.repeat([1.0, 3.0], 50))
    found = rate_statistics(table)
    assert np.isnan(found.variation_100ms)
    assert found.variation_1s == pytest.approx(0.0, abs=1e-9)

    trace = measured_rates(packets)
    assert trace.resolution_s == pytest.approx(CELL_S)
    np.testing.assert_allclose(trace.cell[:20], np.repeat([5 * 12_000 / CELL_S, 0.0], 10))
    found = rate_statistics(trace)
    assert found.variation_10ms == pytest.approx(1.0, abs=0.01)
    assert found.variation_100ms == pytest.approx(1.0, abs=0.01)
    assert found.ratio_50 == 1.0  # windows without a packet are left out
    assert autocorrelation(trace)[1] == pytest.approx(-1.0, abs=0.02)


def test_models_go_as_their_doppler_shift_says():
    config = MobilityChannelConfig(power_to_noise=0.01, speeds_m_s=(0.02, 0.05), shadowing_std_db=0.0)
    parts = models(config)
    assert list(parts) == ["0.02 m/s", "0.05 m/s"]
    for name, speed in (("0.02 m/s", 0.02), ("0.05 m/s", 0.05)):
        # At a low signal to noise ratio the rate is proportional to the power, whose autocorrelation is J0 squared.
        users = model_rates(parts[name], 40, 120.0)
        assert len(users[0].cell) == 12_000
        curve = np.mean([autocorrelation(user) for user in users], axis=0)
        lags = np.arange(20) * 0.1
        shift = speed * 3.5e9 / 299_792_458.0
        np.testing.assert_allclose(curve[:20], j0(2.0 * np.pi * shift * lags) ** 2, atol=0.1)


def test_files_and_models_stand_side_by_side(square, packets, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    output = tmp_path / "out"
    words = ["channel", square, packets, "--users", "3", "--output", str(output)]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.split("picture:")[0].splitlines())) <= 80
    rows = read_rows(output / "results.csv", ChannelRow)
    assert [(row.kind, row.source) for row in rows[:2]] == [("file", "square.csv"), ("file", "some.up")]
    assert [row.source for row in rows[2:]] == [f"{speed} m/s" for speed in ("0.01", "0.1", "1.4") for _ in range(3)]
    assert {row.seconds for row in rows[2:]} == {40.0}
    found = json.loads((output / "summary.json").read_text(encoding="utf-8"))
    report = (output / "report.md").read_text(encoding="utf-8")
    for name, values in found.items():
        assert name in printed
        assert f"| {name} | " in report
        of_name = [row.variation_1s for row in rows if row.source == name]
        assert values["variation_1s"] == np.median(of_name)
    assert found["square.csv"]["variation_10ms"] is None
    assert 20_000 < (output / "channel.png").stat().st_size < 200_000

    before = (output / "results.csv").read_bytes()
    assert main(words) == 0
    assert (output / "results.csv").read_bytes() == before
    assert main(["channel", square, "--output", str(output)]) == 2
    assert "results for another files" in capsys.readouterr().err


def test_the_table_cuts_no_number_beside_a_long_name(square):
    name = "a-name-of-24-letters.csv"
    (source,) = (source for source in compare(Comparison(files=(square,), users=1)) if source.kind == "file")
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(table([dataclasses.replace(source, name=name)]))
    printed = console.export_text()
    assert name in printed
    assert "…" not in printed


def test_a_scenario_that_replays_a_file_is_a_model_as_well():
    sources = compare(Comparison(files=("example",), scenario="measured", users=3))
    found = summary(sources)
    assert list(found) == ["example", "trace example"]
    assert found["trace example"]["variation_1s"] == pytest.approx(found["example"]["variation_1s"], rel=0.05)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"files": ()}, "files must be at least one"),
        ({"files": ("example", "example")}, "files must have names of their own, got example, example"),
        ({"files": ("example",), "scenario": "paper"}, "whose channel goes on in time, got one of kind block"),
        ({"files": ("example",), "users": 0}, "users must be an integer in"),
    ],
)
def test_what_cannot_be_compared_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        Comparison(**values)


def test_a_bad_file_is_named_with_the_line(tmp_path, capsys):
    bad = written(tmp_path / "bad.up", "1\nx\n")
    assert main(["channel", bad, "--output", str(tmp_path / "out")]) == 2
    assert "bad.up: line 2: must be a time in whole milliseconds" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    with pytest.raises(ConfigError, match=r"must last 1 s at least, got 0\.1 s"):
        measured_rates(written(tmp_path / "short.csv", "time_s,rate\n0,1\n0.1,0\n"))


@pytest.mark.parametrize(
    ("name", "variations", "correlation_s", "ratio_low"),
    [
        ("verizon-lte-short.up", (0.59, 0.52), (3.0, 4.0), 0.43),
        ("tmobile-lte-short.up", (0.63, 0.60), (29.0, 34.0), 0.54),
    ],
)
def test_measured_files_have_the_figures_that_are_known_of_them(name, variations, correlation_s, ratio_low, uplinks):
    found = rate_statistics(measured_rates(str(uplinks / name)))
    assert (found.variation_100ms, found.variation_1s) == pytest.approx(variations, abs=0.01)
    assert correlation_s[0] <= found.correlation_s <= correlation_s[1]
    assert found.ratio_5 == pytest.approx(ratio_low, abs=0.01)


def test_the_default_scenario_s_speeds_are_the_models():
    channel = make_config("mobile").channel
    assert list(models(channel)) == [f"{speed:g} m/s" for speed in channel.speeds_m_s]
