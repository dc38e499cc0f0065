"""Stable-Baselines3's own check of every environment."""

import gymnasium as gym
import pytest
from stable_baselines3.common.env_checker import check_env

from multispin_env import MODEL_PAIRS


@pytest.mark.parametrize("model_pair", MODEL_PAIRS)
@pytest.mark.parametrize("action", ["direct", "lengths", "residual"])
@pytest.mark.parametrize("lengths", ["Homogeneous", "Heterogeneous"])
def test_stable_baselines_check_passes_without_a_warning(lengths, action, world):
    env = gym.make(f"multispin_env/{lengths}-v0", **world, action=action)
    # Warnings are errors here (pyproject.toml), so that passing means that there was none.
    check_env(env, warn=True, skip_render_check=True)
    env.close()


@pytest.mark.parametrize("render_mode", ["ansi", "rgb_array"])
def test_stable_baselines_check_passes_with_rendering(render_mode):
    env = gym.make("multispin_env/Heterogeneous-v0", scenario="thermal", render_mode=render_mode)
    check_env(env, warn=True, skip_render_check=False)
    env.close()


def test_stable_baselines_check_passes_where_rounding_led_out_of_the_space():
    config = {"drafting_latency_spread": 0.0, "drafting_latency_s": 0.0107}
    check_env(gym.make("multispin_env/Heterogeneous-v0", config=config), warn=True, skip_render_check=True)
