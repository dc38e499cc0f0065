"""What the world of mobile is like: rounds that end, and pictures of them."""

import csv
from pathlib import Path

import numpy as np
import pytest
from multispin_train.world import command
from multispin_train.world.fades import try_remedy
from multispin_train.world.latencies import LIMIT_S, LatencyRow, play_latencies
from multispin_train.world.pictures import find_upload

from multispin_env import PAPER_PAIRS, make_config
from multispin_env.evaluation.results import read_rows

WORLD = Path(__file__).parents[2] / "docs" / "world"


@pytest.mark.parametrize("pair", PAPER_PAIRS)
def test_no_round_of_64_episodes_takes_a_minute_under_uniform(pair):
    rows = play_latencies("uniform", pair, make_config("mobile", pair), 64)
    longest = rows[-1]
    assert (longest.longer, longest.rounds) == (0.0, 64 * 200)
    assert longest.latency_s < LIMIT_S
    # The page's table is of this world.
    (committed,) = (
        row
        for row in read_rows(WORLD / "latency" / "results.csv", LatencyRow)
        if (row.model_pair, row.controller, row.longer) == (pair, "uniform", 0.0)
    )
    assert committed.latency_s == pytest.approx(longest.latency_s, rel=1e-3)


@pytest.mark.parametrize("pair", PAPER_PAIRS)
def test_no_round_of_16_episodes_takes_a_minute_under_predictive(pair):
    longest = play_latencies("predictive", pair, make_config("mobile", pair), 16)[-1]
    assert (longest.longer, longest.rounds) == (0.0, 16 * 200)
    assert longest.latency_s < LIMIT_S


def test_an_upload_under_way_sends_what_it_has_and_faster_than_the_fade_that_was_seen_let_expect():
    upload = find_upload(make_config("mobile"))
    assert upload.frozen_s > 2.0 * upload.live_s
    sending = upload.time_s <= upload.live_s
    sent = upload.bandwidth_hz * np.trapezoid(upload.rate[sending], upload.time_s[sending])
    assert sent == pytest.approx(upload.bits, rel=0.05)


def test_a_system_whose_fades_do_not_go_by_has_no_such_upload():
    still = make_config("mobile", config={"channel": {"speeds_m_s": [0.0]}, "episode_rounds": 3})
    with pytest.raises(ValueError, match="no upload of this system"):
        find_upload(still)


def test_the_command_draws_every_picture_and_goes_on_where_it_was(tmp_path, monkeypatch):
    short = {"num_users": 4, "episode_rounds": 12}
    monkeypatch.setattr(command, "make_config", lambda scenario, pair: make_config(scenario, pair, short))
    output = tmp_path / "out"
    command.world(output, seeds=2)
    for name in ("channel", "upload", "latency", "fades", "measured"):
        assert 10_000 < (output / f"{name}.png").stat().st_size < 200_000
    with (output / "latency" / "results.csv").open(encoding="utf-8") as opened:
        rows = list(csv.DictReader(opened))
    assert {row["model_pair"] for row in rows} == set(PAPER_PAIRS)
    assert {"uniform", "heterogeneous", "posterior", "clairvoyant", "fixed"} <= {row["controller"] for row in rows}
    before = (output / "latency" / "results.csv").read_bytes()
    monkeypatch.setattr(command, "play_latencies", None)  # nothing is played again
    command.world(output, seeds=2)
    assert (output / "latency" / "results.csv").read_bytes() == before


def test_the_paper_s_controller_leaves_a_fading_user_too_much_and_to_expect_the_fade_s_end_wins():
    config = make_config("mobile", config={"episode_rounds": 60})
    observed, expected = (try_remedy(told, "llama2", config, 8) for told in ("the rate observed", "the rate expected"))
    assert observed.depth_db[0] < -20.0
    assert observed.relative_share[0] > 2.0 * expected.relative_share[0]
    assert np.mean(expected.goodput) > np.mean(observed.goodput)


def test_pictures_of_the_page_are_small():
    pictures = sorted(WORLD.glob("*.png"))
    assert [picture.stem for picture in pictures] == ["channel", "fades", "latency", "measured", "upload"]
    assert all(picture.stat().st_size < 200_000 for picture in pictures)
