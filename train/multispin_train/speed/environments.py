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

NUM_ENVS = (1, 16, 256, 1024, 4096)
USERS = (5, 20, 100)
TRAINING_NUM_ENVS = (16, 256)
TRAINING_STEPS = 64
ENV_ID = "multispin_env/Heterogeneous-v0"


def vector_environment(num_envs: int, users: int, scenario: str) -> Measurement:
    """User-steps of ``gym.make_vec`` with random actions, episodes' resets included."""
    env = gym.make_vec(ENV_ID, num_envs=num_envs, scenario=scenario, config={"num_users": users})
    env.reset(seed=0)
    actions = np.random.default_rng(0).uniform(-1.0, 1.0, env.action_space.shape).astype(np.float32)
    name = f"make_vec, {scenario}, {num_envs} num_envs, K = {users}"
    return measure("environment", name, "user-steps/s", num_envs * users, lambda: env.step(actions))


def random_number_floor(num_envs: int, users: int) -> Measurement:
    """The same for drawing the random numbers that block fading needs, and nothing else."""
    draws = RoundDraws(np.random.Generator.standard_exponential, 1, users, timing.EPISODE_CALLS)
    draws.reset(Streams([np.random.default_rng(env_index) for env_index in range(num_envs)]).generators("fading"))
    name = f"floor: random numbers of block fading, {num_envs} num_envs, K = {users}"
    return measure("environment", name, "user-steps/s", num_envs * users, draws.next)


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
    """Gymnasium's own CartPole, scalar and 1024 environments, as a familiar yardstick."""
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
        measure(
            "environment", "yardstick: CartPole-v1, 1024 environments", "steps/s", 1024, lambda: vector.step(actions)
        ),
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
    for num_envs in TRAINING_NUM_ENVS:
        env = make_sb3_vec_env(ENV_ID, num_envs, scenario="mobile")
        spent = dict.fromkeys(("environment", "update"), 0.0)

        def timed(function: Callable[..., Any], key: str, spent: dict[str, float] = spent) -> Callable[..., Any]:
            def call(*arguments: Any, **keywords: Any) -> Any:
                begin = time.perf_counter()
                result = function(*arguments, **keywords)
                spent[key] += time.perf_counter() - begin
                return result

            return call

        frames = num_envs * TRAINING_STEPS
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
        name = f"PPO, mobile, {num_envs} num_envs, K = 20"
        measurements.append(
            Measurement("training", name, float(np.median(rates)), min(rates), max(rates), "frames/s", remark)
        )
    return measurements


def memory() -> list[Measurement]:
    """Memory that 4096 environments of 20 users add to a process, at its peak over the first rounds (Linux)."""
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
        Measurement("memory", "peak of make_vec, mobile, 4096 num_envs, K = 20", megabytes, megabytes, megabytes, "MB")
    ]
