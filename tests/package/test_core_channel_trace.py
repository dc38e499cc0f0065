"""Measured uplinks: files read strictly, and uploads that follow them exactly."""

import numpy as np
import pytest

from multispin_env.config import ConfigError, TraceChannelConfig
from multispin_env.core import OUTDATED
from multispin_env.core.channel import make_channel
from multispin_env.core.channel.trace import TraceChannel
from multispin_env.core.channel.uplinks import load_uplink, read_packets, read_rates
from multispin_env.core.streams import Streams

EVERY = np.arange(2)
SHAPE = 2, 5


def written(path, text):
    path.write_text(text, encoding="utf-8")
    return str(path)


def opened(path, mean=4.0, time_s=0.0):
    channel = make_channel(TraceChannelConfig(path=path, mean_spectral_efficiency=mean), SHAPE[1], 10)
    channel.reset(Streams([np.random.default_rng(env_index) for env_index in range(2)]))
    channel.begin_round(np.full((2, 1), time_s))
    return channel


@pytest.fixture
def stepped(tmp_path):
    """Rates 1, 0 and 3 for a second, a half and two; mean 2."""
    return written(tmp_path / "stepped.csv", "time_s,rate\n10,1\n11,0\n11.5,3\n13.5,0\n")


def test_a_table_holds_rates_from_edge_to_edge(stepped):
    uplink = load_uplink(stepped)
    np.testing.assert_array_equal(uplink.edge_s, [0.0, 1.0, 1.5, 3.5])
    np.testing.assert_array_equal(uplink.rate, [1.0, 0.0, 3.0])
    assert uplink.mean == 2.0


def test_packets_are_counted_in_windows():
    uplink = read_packets("0\n3\n3\n\n25\n61\n", "some")
    np.testing.assert_allclose(uplink.edge_s, [0.0, 0.02, 0.04, 0.06, 0.08])
    np.testing.assert_allclose(uplink.rate * 0.02, np.array([3, 1, 0, 1]) * 12_000)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must hold a time in milliseconds in each line, got no line"),
        ("1\n2.5\n", r"line 2: must be a time in whole milliseconds of at most 8 digits, got '2\.5'"),
        ("1\n-2\n", "line 2: must be a time in whole milliseconds of at most 8 digits, got '-2'"),
        ("5\n\n4\n", "line 3: times must not fall, got 4 after 5"),
        ("1\n" + "9" * 4000, "line 2: must be a time in whole milliseconds"),
        ("1\n٣\n", "line 2: must be a time in whole milliseconds"),
    ],
)
def test_a_bad_packet_trace_is_refused_with_the_line(text, message, tmp_path):
    path = written(tmp_path / "bad.up", text)
    with pytest.raises(ConfigError, match=message) as caught:
        opened(path)
    assert path in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: must be the header time_s,rate, got ''"),
        ("time,rate\n0,1\n1,0\n", "line 1: must be the header time_s,rate, got 'time,rate'"),
        ("time_s,rate\n0,1\n", "must have at least two lines"),
        ("time_s,rate\n0,0\n1,5\n", "a rate above 0 but in the last"),
        ("time_s,rate\n0,1\n1\n", "line 3: must be two numbers, time_s,rate, got '1'"),
        ("time_s,rate\n0,1\n1,2,3\n", "line 3: must be two numbers, time_s,rate, got '1,2,3'"),
        ("time_s,rate\n0,1\none,2\n", "line 3: must be two numbers, time_s,rate, got 'one,2'"),
        ("time_s,rate\n0,1\n0,2\n", "line 3: times must be finite and rise, got '0'"),
        ("time_s,rate\n0,1\nnan,2\n", "line 3: times must be finite and rise, got 'nan'"),
        ("time_s,rate\n0,1\n1,-2\n", r"line 3: a rate must be in \[0, 1e15\], got '-2'"),
        ("time_s,rate\n0,1\n1,inf\n", r"line 3: a rate must be in \[0, 1e15\], got 'inf'"),
    ],
)
def test_a_bad_table_is_refused_with_the_line(text, message, tmp_path):
    path = written(tmp_path / "bad.csv", text)
    with pytest.raises(ConfigError, match=message) as caught:
        opened(path)
    assert path in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.up cannot be read: No such file"):
        opened(str(tmp_path / "nowhere.up"))


def test_the_file_is_scaled_to_the_stated_mean_and_goes_round_and_round(stepped):
    channel = opened(stepped, mean=4.0)
    times = (np.arange(70_000) + 0.5)[:, np.newaxis, np.newaxis] * 1e-4
    rates = channel.spectral_efficiency_at(times, EVERY)
    assert set(np.unique(rates)) == {0.0, 2.0, 6.0}
    np.testing.assert_allclose(rates.mean(axis=0), 4.0, rtol=1e-3)
    np.testing.assert_array_equal(rates[:35_000], rates[35_000:])
    assert len(np.unique(np.argmax(rates > 5.0, axis=0))) > 5  # every user at a place of its own


@pytest.mark.parametrize("bits_per_hz", [0.01, 0.5, 3.0, 13.9, 14.0, 14.1, 1000.3])
def test_an_upload_ends_when_its_integral_is_what_it_has_to_send(bits_per_hz, stepped):
    channel = opened(stepped)
    start_s = np.random.default_rng(0).uniform(0.0, 20.0, SHAPE)
    upload_s = channel.upload_s(start_s, np.full(SHAPE, 1e3 * bits_per_hz), np.full(SHAPE, 1e3))
    for place in np.ndindex(SHAPE):
        cells = 400_000
        middles = start_s[place] + (np.arange(cells) + 0.5) / cells * upload_s[place]
        times = np.zeros((cells, *SHAPE))
        times[(slice(None), *place)] = middles
        sent = channel.spectral_efficiency_at(times, EVERY)[(slice(None), *place)].mean() * upload_s[place]
        assert sent == pytest.approx(bits_per_hz, rel=1e-3)
        # At the end the rate is not 0: an upload does not wait for nothing.
        times[0][place] = start_s[place] + upload_s[place] * (1.0 - 1e-9) - 1e-9
        assert channel.spectral_efficiency_at(times[0], EVERY)[place] > 0.0


def test_what_is_observed_is_what_came_before_and_never_nothing(stepped):
    channel = opened(stepped, time_s=5.0)
    assert channel.csi == OUTDATED
    times = 5.0 - 0.1 * (np.arange(2000) + 0.5)[:, np.newaxis, np.newaxis] / 2000
    before = channel.spectral_efficiency_at(times, EVERY).mean(axis=0)
    np.testing.assert_allclose(channel.observed_spectral_efficiency, np.maximum(before, 0.1523), atol=0.01)
    for time_s in np.arange(0.0, 3.5, 0.05):
        channel.begin_round(np.full((2, 1), time_s))
        assert np.all(channel.observed_spectral_efficiency >= 0.1523)
        assert np.all(channel.long_term_spectral_efficiency > 3.0)
    assert not channel.doppler_known


def test_the_shipped_example_runs():
    uplink = load_uplink("example")
    assert uplink.edge_s[-1] == pytest.approx(120.0)
    assert isinstance(make_channel(TraceChannelConfig(), 3, 5), TraceChannel)


@pytest.mark.parametrize("name", ["verizon-lte-short.up", "tmobile-lte-short.up"])
def test_measured_packet_traces_are_read(name, uplinks):
    uplink = load_uplink(str(uplinks / name))
    sent_bits = np.sum(uplink.rate * np.diff(uplink.edge_s))
    lines = len((uplinks / name).read_text().split())
    assert sent_bits == pytest.approx(lines * 12_000)
    # Its figures on windows of .1 s, as published with the files.
    windows = uplink.rate[: len(uplink.rate) // 5 * 5].reshape(-1, 5).mean(axis=1)
    expected = {"verizon-lte-short.up": 0.59, "tmobile-lte-short.up": 0.63}[name]
    assert windows.std() / windows.mean() == pytest.approx(expected, abs=0.01)


def test_a_table_of_numbers_in_any_notation_is_read():
    uplink = read_rates("time_s,rate\n-1e0, 2.5e3\n+0.5,1\n2,0\n", "some")
    np.testing.assert_array_equal(uplink.edge_s, [0.0, 1.5, 3.0])
