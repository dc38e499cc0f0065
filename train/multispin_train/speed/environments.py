"""How fast the environment, the optimum and training are, beside floors and familiar yardsticks, in one run."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from multispin_env.core.streams import RoundDraws, Streams
from multispin_train.speed import timing
from multispin_train.speed.timing import Measurement, measure

LANES = (1, 16, 256, 1024, 4096)
USERS = (5, 20, 100)
TRAINING_LANES = (16, 256)
TRAINING_STEPS = 64
ENV_ID = "multispin_env/Heterogeneous-v0"
_NORMAL, _EXPONENTIAL = np.random.Generator.standard_normal, np.random.Generator.standard_exponential
# What a round draws for each user: the kind and how many.
_STILL = {"fading": (_EXPONENTIAL, 1), "outcome": (_EXPONENTIAL, 1)}
_MOVING = {"fading": (_NORMAL, 4), "shadowing": (_NORMAL, 1), "drift": (_NORMAL, 1), "outcome": (_EXPONENTIAL, 1)}
DRAWS: dict[str, dict[str, tuple[Callable[..., Any], int]]] = {
    "paper": _STILL,
    "requests": _STILL,
    "mobile": _MOVING,
    "thermal": _MOVING,
}


def vector_environment(lanes: int, users: int, scenario: str) -> Measurement:
    """User-steps of ``gym.make_vec`` with random actions, episodes' resets included."""
    env = gym.make_vec(ENV_ID, num_envs=lanes, scenario=scenario, config={"num_users": users})
    env.reset(seed=0)
    actions = np.random.default_rng(0).uniform(-1.0, 1.0, env.action_space.shape).astype(np.float32)
    name = f"make_vec, {scenario}, {lanes} lanes, K = {users}"
    return measure("environment", name, "user-steps/s", lanes * users, lambda: env.step(actions))


def random_number_floor(lanes: int, users: int, scenario: str) -> Measurement:
    """The same for drawing the random numbers that the step needs, and nothing else."""
    streams = Streams([np.random.default_rng(lane) for lane in range(lanes)])
    draws = []
    for stream, (draw, per_user) in DRAWS[scenario].items():
        draws.append(RoundDraws(draw, per_user, users, timing.EPISODE_CALLS))
        draws[-1].reset(streams.generators(stream))
    name = f"floor: random numbers, {scenario}, {lanes} lanes, K = {users}"
    return measure("environment", name, "user-steps/s", lanes * users, lambda: [some.next() for some in draws])


def scalar_environment(scenario: str) -> Measurement:
    """Steps of ``gym.make`` with one random action, episodes' resets included."""
    env = gym.make(ENV_ID, scenario=scenario)
    env.reset(seed=0)
    action = np.random.default_rng(0).uniform(-1.0, 1.0, env.action_space.shape).astype(np.float32)

    def step() -> None:
        if env.step(action)[3]:
            env.reset()

    return measure("environment", f"gym.make, {scenario}, K = 20", "steps/s", 1, step)


def cart_pole() -> list[Measurement]:
    """Gymnasium's own CartPole, scalar and 1024 lanes, as a familiar yardstick."""
    scalar = gym.make("CartPole-v1")
    scalar.reset(seed=0)

    def step() -> None:
        _, _, terminated, truncated, _ = scalar.step(0)
        if terminated or truncated:
            scalar.reset()

    vector = gym.make_vec("CartPole-v1", num_envs=1024, vectorization_mode="vector_entry_point")
    vector.reset(seed=0)
    actions = np.zeros(1024, dtype=np.int64)
    return [
        measure("environment", "yardstick: CartPole-v1, gym.make", "steps/s", 1, step),
        measure("environment", "yardstick: CartPole-v1, 1024 lanes", "steps/s", 1024, lambda: vector.step(actions)),
    ]


def mobile_env() -> list[Measurement]:
    """The nearest peer, in user-steps, where it is installed."""
    if importlib.util.find_spec("mobile_env") is None:
        return []
    importlib.import_module("mobile_env")
    measurements = []
    for size in ("small", "medium", "large"):
        env = gym.make(f"mobile-{size}-central-v0")
        env.reset(seed=0)
        action = env.action_space.sample()
        users = len(env.unwrapped.users)  # type: ignore[attr-defined]

        def step(env: gym.Env[Any, Any] = env, action: Any = action) -> None:
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()

        name = f"peer: mobile-env {size}, {users} users"
        measurements.append(measure("environment", name, "user-steps/s", users, step))
    return measurements


def training() -> list[Measurement]:
    """Frames per second of stable-baselines3's PPO through our adapter, and where the time goes."""
    if importlib.util.find_spec("stable_baselines3") is None:
        return []
    from stable_baselines3 import PPO

    from multispin_env.integrations.sb3 import make_sb3_vec_env

    measurements = []
    for lanes in TRAINING_LANES:
        env = make_sb3_vec_env(ENV_ID, lanes, scenario="mobile")
        spent = dict.fromkeys(("environment", "update"), 0.0)

        def timed(function: Callable[..., Any], key: str, spent: dict[str, float] = spent) -> Callable[..., Any]:
            def call(*arguments: Any, **keywords: Any) -> Any:
                begin = time.perf_counter()
                result = function(*arguments, **keywords)
                spent[key] += time.perf_counter() - begin
                return result

            return call

        frames = lanes * TRAINING_STEPS
        model = PPO("MlpPolicy", env, n_steps=TRAINING_STEPS, batch_size=frames // 4, n_epochs=4, device="cpu", seed=0)
        model.learn(frames)  # the first iteration sets things up
        env.step_wait = timed(env.step_wait, "environment")  # type: ignore[method-assign]
        model.train = timed(model.train, "update")  # type: ignore[method-assign]
        rates, total = [], 0.0
        for _ in range(timing.REPETITIONS):
            begin = time.perf_counter()
            model.learn(frames, reset_num_timesteps=False)
            rates.append(frames / (time.perf_counter() - begin))
            total += time.perf_counter() - begin
        shares = {key: seconds / total for key, seconds in spent.items()}
        remark = (
            f"environment {shares['environment']:.0%}, update {shares['update']:.0%}, "
            f"policy and the rest {1.0 - sum(shares.values()):.0%}"
        )
        name = f"PPO, mobile, {lanes} lanes, K = 20"
        measurements.append(
            Measurement("training", name, float(np.median(rates)), min(rates), max(rates), "frames/s", remark)
        )
    return measurements


def memory() -> list[Measurement]:
    """Memory that 4096 lanes of 20 users add to a process, at its peak over an episode's first rounds (Linux)."""
    if not Path("/proc/self/status").exists():
        return []
    code = (
        "import re, gymnasium as gym, numpy as np, multispin_env\n"
        "peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]) / 1024\n"
        "before = peak()\n"
        f"env = gym.make_vec({ENV_ID!r}, num_envs=4096, scenario='mobile')\n"
        "env.reset(seed=0)\n"
        "for _ in range(30): env.step(np.zeros(env.action_space.shape, np.float32))\n"
        "print(peak() - before)"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    megabytes = float(run.stdout)
    return [
        Measurement("memory", "peak of make_vec, mobile, 4096 lanes, K = 20", megabytes, megabytes, megabytes, "MB")
    ]
