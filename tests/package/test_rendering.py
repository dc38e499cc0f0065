"""Pictures of a round, as text and as an array."""

import re
import sys

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import DependencyNotInstalled, ResetNeeded

from multispin_env import Allocation
from multispin_env.envs import MultiSpinEnv, MultiSpinVectorEnv, picture, raster
from multispin_env.envs.picture import TimeAxis, draw_round

HETEROGENEOUS = "multispin_env/Heterogeneous-v0"
MODES = ("ansi", "rgb_array")
every_mode = pytest.mark.parametrize("mode", MODES)


def make(mode, **arguments):
    return gym.make(HETEROGENEOUS, render_mode=mode, **arguments).unwrapped


def random_action(env, seed=0):
    return np.random.default_rng(seed).uniform(-1.0, 1.0, env.action_space.shape).astype(np.float32)


def test_the_text_tells_the_round():
    env = make("ansi", config={"num_users": 4})
    env.reset(seed=0)
    info = env.step(random_action(env))[4]
    text = env.render()
    assert f"goodput {info['goodput']:.1f} tok/s: {info['tokens'].sum()} tokens in {info['latency_s']:.3f} s" in text
    rows = [line.split() for line in text.splitlines()[2:6]]
    slowest = np.argmax(info["drafting_s"] + info["upload_s"])
    for user, row in enumerate(rows):
        assert row[:3] == [str(user), str(info["draft_length"][user]), f"{100 * info['bandwidth_share'][user]:.2f}"]
        assert row[3:6] == [
            f"{info['drafting_s'][user]:.3f}",
            f"{info['upload_s'][user]:.3f}",
            str(info["tokens"][user]),
        ]
        assert (row[6:] == ["slowest"]) == (user == slowest)


def test_the_text_tells_what_is_known_of_the_next_round():
    env = make("ansi", scenario="mobile", config={"num_users": 3})
    env.reset(seed=0)
    env.step(random_action(env))
    view = env.round_view()
    rows = env.render().split("next round:")[1].splitlines()[1:]
    assert len(rows) == 3
    for user, row in enumerate(rows):
        assert row.split() == [
            str(user),
            f"{view.drafting_latency_s[0, user]:.4f}",
            f"{view.observed_spectral_efficiency[0, user]:.2f}",
            f"{view.long_term_spectral_efficiency[0, user]:.2f}",
            f"{view.task_acceptance_mean[0, user]:.3f}",
            f"{view.request_accepted[0, user]}/{view.request_tested[0, user]}",
        ]


def occurrences(frame, colour):
    """Pixels of a colour, (height, width)."""
    return np.all(frame == np.array(colour, dtype=np.uint8), axis=-1)


@pytest.mark.parametrize("users", [1, 17, 20, 40, 57])
def test_a_frame_is_an_array_of_bytes_of_one_size_that_shows_the_round(world, users):
    env = make("rgb_array", **world, config={"num_users": users})
    env.reset(seed=0)
    frames = [env.render()]
    for seed in range(2):
        env.step(random_action(env, seed))
        frames.append(env.render())
    for frame in frames:
        assert frame.dtype == np.uint8
        assert frame.shape == frames[0].shape == (*frame.shape[:2], 3)
        assert not any(side % 2 for side in frame.shape[:2])  # video codecs want even sizes
        assert frame.std() > 5.0
        assert occurrences(frame, picture._CHANNEL).any()  # what is known, from the first frame on
    assert np.any(frames[0] != frames[1])
    assert np.any(frames[1] != frames[2])


@every_mode
def test_rendering_twice_gives_the_same_and_does_not_change_the_world(mode):
    env, twin = make(mode, scenario="thermal"), make(mode, scenario="thermal")
    for both in (env, twin):
        both.reset(seed=0)
    for seed in range(2):
        step = env.step(random_action(env, seed))
        np.testing.assert_array_equal(env.render(), env.render())
        np.testing.assert_array_equal(step[0], twin.step(random_action(env, seed))[0])


@every_mode
def test_a_new_episode_begins_with_no_round_played(mode):
    env = make(mode)
    env.reset(seed=0)
    first = env.render()
    env.step(random_action(env))
    played = env.render()
    env.reset(seed=0)
    np.testing.assert_array_equal(env.render(), first)
    assert np.any(np.asarray(played) != np.asarray(first))
    assert mode != "ansi" or first.startswith("no round played yet")


@every_mode
def test_the_environments_of_a_vector_environment_are_rendered_one_by_one(mode):
    config = {"num_users": 3}
    envs = gym.make_vec(HETEROGENEOUS, 2, render_mode=mode, config=config)
    envs.reset(seed=4)
    actions = np.random.default_rng(0).uniform(-1.0, 1.0, envs.action_space.shape).astype(np.float32)
    envs.step(actions)
    frames = envs.render()
    assert isinstance(frames, tuple)
    assert len(frames) == 2
    for env_index, frame in enumerate(frames):
        env = make(mode, config=config)
        env.reset(seed=4 + env_index)
        env.step(actions[env_index])
        np.testing.assert_array_equal(frame, env.render())


@every_mode
@pytest.mark.parametrize("make_any", [gym.make, gym.make_vec])
def test_rendering_needs_a_reset(make_any, mode):
    env = make_any(HETEROGENEOUS, render_mode=mode).unwrapped
    with pytest.raises(ResetNeeded, match="render was called before the first reset"):
        env.render()


@pytest.mark.parametrize("environment", [MultiSpinEnv, MultiSpinVectorEnv])
@pytest.mark.parametrize("mode", ["human", "svg", 3])
def test_an_unknown_render_mode_is_refused_with_the_known_ones(mode, environment):
    with pytest.raises(ValueError, match=rf"render_mode must be one of 'ansi', 'rgb_array', got {mode!r}"):
        environment(render_mode=mode)


def test_rendering_without_a_mode_warns_and_gives_nothing():
    env = make(None)
    env.reset(seed=0)
    with pytest.warns(UserWarning, match="without a render_mode"):
        assert env.render() is None
    envs = gym.make_vec(HETEROGENEOUS, 2)
    envs.reset(seed=0)
    assert envs.render() is None


def test_a_missing_matplotlib_is_named_with_what_installs_it(monkeypatch):
    env = make("rgb_array")
    env.reset(seed=0)
    raster._font.cache_clear()
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(DependencyNotInstalled, match=re.escape('pip install "multispin_env[plot]"')):
        env.render()


def played(simulator, lengths, shares):
    """The picture of a round, and what it brought."""
    outcome = simulator.step(Allocation(np.array([lengths]), np.array([shares])))
    return draw_round(simulator.view(), outcome, 0), outcome


def test_the_others_stay_readable_when_one_upload_takes_fifty_times_as_long(start):
    simulator = start(num_users=20)
    weight = 1.0 / simulator.view().observed_spectral_efficiency[0]
    weight[3] /= 50.0
    frame, outcome = played(simulator, np.full(20, 8), weight / weight.sum())
    assert outcome.upload_s[0, 3] == pytest.approx(50.0 * np.median(outcome.upload_s[0]))
    lengths = occurrences(frame, picture._UPLOAD)[84:].sum(axis=1)  # below the legend
    height = 20
    rows = [lengths[user * height + height // 2] for user in range(20)]
    assert min(rows) > 50
    assert max(rows) == rows[3] < 10 * min(rows)


def test_a_bar_is_as_long_as_its_time(start):
    frame, outcome = played(start(num_users=4), np.array([3, 6, 9, 12]), np.full(4, 0.25))
    drafts = occurrences(frame, picture._DRAFT)[84:].sum(axis=1)
    pixels = [drafts[user * 44 + 22] for user in range(4)]
    verification_s = outcome.latency_s[0] - outcome.multi_access_s[0]
    per_second = occurrences(frame, picture._VERIFICATION)[84:].sum(axis=1).max() / verification_s
    np.testing.assert_allclose(pixels, outcome.drafting_s[0] * per_second, atol=1.5)


@pytest.mark.parametrize("finish_s", [[0.3], [0.3, 0.5, 0.4], [0.3, 15.0], [0.3, 0.35, 2.0, 15.0], [1e-3] * 5 + [1e4]])
def test_the_time_axis_runs_one_way_from_edge_to_edge(finish_s):
    finish_s = np.array(finish_s)
    end_s = finish_s.max() + 0.3
    axis = TimeAxis.fitted(finish_s, end_s, 100.0, 500.0)
    times = np.linspace(0.0, end_s, 1001)
    pixels = np.array([axis(time_s) for time_s in times])
    assert np.all(np.diff(pixels) > 0.0)
    assert (axis(0.0), axis(end_s)) == pytest.approx((100.0, 500.0))
    ticks = axis.ticks()
    assert 3 <= len(ticks) <= 7
    assert ticks[0] == 0.0
    assert ticks[-1] <= axis.seconds[1] * (1.0 + 1e-9)
    # What lies on the axis' straight parts keeps its scale, also behind the break.
    assert (axis.gap is None) == (finish_s.max() < 3.0)
    if axis.gap is not None:
        slope = (axis(ticks[1]) - axis(0.0)) / ticks[1]
        assert axis(end_s) - axis(finish_s.max()) == pytest.approx(0.3 * slope)


def test_text_is_written_where_it_belongs():
    left, right, centre = (raster.Raster(200, 40) for _ in range(3))
    left.text(50, 20, "12.5 s")
    right.text(50 + raster.text_width("12.5 s"), 20, "12.5 s", align="right")
    centre.text(50 + raster.text_width("12.5 s") / 2, 20, "12.5 s", align="centre")
    np.testing.assert_array_equal(left.pixels, right.pixels)
    np.testing.assert_array_equal(left.pixels, centre.pixels)
    inked = np.argwhere(left.pixels[..., 0] < 128)
    assert inked[:, 0].min() >= 12
    assert inked[:, 0].max() <= 28
    assert inked[:, 1].min() >= 50
    assert inked[:, 1].max() < 50 + raster.text_width("12.5 s")
    other = raster.Raster(200, 40)
    other.text(50, 20, "12.6 s")
    assert np.any(other.pixels != left.pixels)


def test_text_beyond_the_edge_is_cut_off():
    image = raster.Raster(20, 10)
    image.text(15, 9, "much too long")
    image.text(-40, 2, "left of it")
    assert image.pixels.shape == (10, 20, 3)
