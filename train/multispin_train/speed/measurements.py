"""How fast the environment, the optimum and training are, beside floors and familiar yardsticks, in one run."""

from __future__ import annotations

import importlib.util
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from rich.progress import Progress
from rich.table import Table

from multispin_env import SCENARIOS
from multispin_env.core.streams import RoundDraws, Streams
from multispin_env.evaluation.plots import new_figure, save
from multispin_env.evaluation.results import claim_folder
from multispin_env.evaluation.tables import new_table
from multispin_env.files import write_atomically
from multispin_train.speed import decisions, timing
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

    from multispin_env.sb3 import make_sb3_vec_env

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


def measure_all(output: Path, progress: Progress) -> list[Measurement]:
    """Takes every measurement, writes ``speed.json`` and ``speed.png`` and returns the measurements.

    Args:
        output: A new or empty folder, or one of an earlier run.
        progress: Where progress is shown.

    Raises:
        FileExistsError: The folder holds something else.
    """
    claim_folder(output, {"command": "speed"})
    # Measured requests are replayed with a pair that has some, and models write at their own speed.
    drawn = [scenario for scenario in SCENARIOS if scenario not in ("trace", "live")]
    jobs: list[Callable[[], Measurement | list[Measurement]]] = [
        *(partial(vector_environment, lanes, users, "mobile") for users in USERS for lanes in LANES),
        *(partial(vector_environment, 1024, 20, scenario) for scenario in drawn if scenario != "mobile"),
        *(partial(random_number_floor, 1024, 20, scenario) for scenario in drawn),
        *(partial(scalar_environment, scenario) for scenario in drawn),
        cart_pole,
        mobile_env,
        decisions.solvers,
        training,
        memory,
    ]
    measurements: list[Measurement] = []
    for job in progress.track(jobs, description="speed"):
        found = job()
        measurements += found if isinstance(found, list) else [found]
    machine = {"python": platform.python_version(), "numpy": np.__version__, "machine": platform.machine()}
    document = {"machine": machine, "measurements": [asdict(measurement) for measurement in measurements]}
    write_atomically(output / "speed.json", json.dumps(document, indent=2) + "\n")
    _picture(output / "speed.png", measurements)
    return measurements


def ratios(measurements: Sequence[Measurement]) -> list[tuple[str, float]]:
    """The comparisons that hold on any machine: one rate over another of the same run."""
    rate = {measurement.name: measurement.rate for measurement in measurements}
    pairs = [
        (
            "time of a step of mobile (1024 lanes, K = 20) over drawing its random numbers",
            "floor: random numbers, mobile, 1024 lanes, K = 20",
            "make_vec, mobile, 1024 lanes, K = 20",
        ),
        *(
            (
                f"solve_heterogeneous (batch of 1024) over {name}, K = {users}",
                f"solve_heterogeneous, K = {users}, batch of 1024",
                f"reference: {name}, K = {users}",
            )
            for users in decisions.REFERENCE_USERS
            for name in decisions.REFERENCES
        ),
    ]
    return [(text, rate[above] / rate[below]) for text, above, below in pairs]


def tables(measurements: Sequence[Measurement]) -> list[Table]:
    """The measurements and the ratios, for the terminal."""
    result = []
    for section in dict.fromkeys(measurement.section for measurement in measurements):
        table = _table(section, "", "median", "slowest", "fastest", "")
        for measurement in (m for m in measurements if m.section == section):
            rates = (f"{rate:,.0f}" for rate in (measurement.rate, measurement.low, measurement.high))
            table.add_row(measurement.name, *rates, measurement.unit)
            if measurement.remark:
                table.add_row(f"[dim]  {measurement.remark}[/]")
        result.append(table)
    table = _table("ratios", "", "times")
    for text, value in ratios(measurements):
        table.add_row(text, f"{value:,.1f}")
    return [*result, table]


def _table(title: str, *columns: str) -> Table:
    table = new_table(title)
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if 0 < place < 4 else "left")
    return table


def _picture(path: Path, measurements: Sequence[Measurement]) -> None:
    rate = {measurement.name: measurement.rate for measurement in measurements}
    figure, (environment, solving) = new_figure(9.0, 4.6, columns=2)
    for users, colour in zip(USERS, ("#99ccee", "#4477aa", "#113355"), strict=True):
        values = [rate[f"make_vec, mobile, {lanes} lanes, K = {users}"] for lanes in LANES]
        environment.loglog(LANES, values, "o-", color=colour, label=f"mobile, K = {users}")
    floor = rate["floor: random numbers, mobile, 1024 lanes, K = 20"]
    environment.axhline(floor, color="black", linestyle=":", label="its random numbers alone")
    environment.set_xlabel("lanes")
    environment.set_ylabel("user-steps per second")
    environment.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2, frameon=False, fontsize=8)
    for rounds, marker in zip(decisions.SOLVER_BATCHES, ("s", "o"), strict=True):
        for solve, colour in (("solve_homogeneous", "#4477aa"), ("solve_heterogeneous", "#ee6677")):
            values = [rate[f"{solve}, K = {users}, batch of {rounds}"] for users in decisions.SOLVER_USERS]
            label = f"{solve.removeprefix('solve_')}, batch of {rounds}"
            solving.loglog(decisions.SOLVER_USERS, values, f"{marker}-", color=colour, label=label)
    for name, colour in zip(decisions.REFERENCES, ("#ccbb44", "#997700", "#228833"), strict=True):
        values = [rate[f"reference: {name}, K = {users}"] for users in decisions.REFERENCE_USERS]
        solving.loglog(decisions.REFERENCE_USERS, values, "^-", color=colour, label=name)
    solving.set_xlabel("users K")
    solving.set_ylabel("decisions per second")
    solving.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2, frameon=False, fontsize=8)
    save(figure, path)
