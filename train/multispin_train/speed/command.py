"""The command ``multispin speed``."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from multispin_env import SCENARIOS
from multispin_env.evaluation.results import claim_folder
from multispin_env.files import write_atomically
from multispin_train.display import CommandProgress
from multispin_train.speed import decisions, environments
from multispin_train.speed.report import draw_speed, tables
from multispin_train.speed.timing import Measurement


def speed(output: Path) -> None:
    """Measures how fast environment, optimum and training are.

    Measures them beside floors and references. Takes a few minutes, on an otherwise idle machine; writes speed.json and
    speed.png, prints rates and ratios. Each figure is the median of several repetitions, with the slowest and the
    fastest.

    Example: multispin speed --output runs/speed

    Args:
        output: A new folder, or one of an earlier run.

    Raises:
        FileExistsError: The folder holds something else.
    """
    console = Console()
    with CommandProgress(console) as progress:
        measurements = measure_all(output, progress)
    for table in tables(measurements):
        console.print(table)
    console.print(f"measurements: {output / 'speed.json'}", highlight=False, markup=False, soft_wrap=True)


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
        *(
            partial(environments.vector_environment, num_envs, users, "mobile")
            for users in environments.USERS
            for num_envs in environments.NUM_ENVS
        ),
        *(partial(environments.vector_environment, 1024, 20, scenario) for scenario in drawn if scenario != "mobile"),
        partial(environments.random_number_floor, 1024, 20),
        *(partial(environments.scalar_environment, scenario) for scenario in drawn),
        environments.cart_pole,
        environments.mobile_env,
        decisions.solvers,
        environments.training,
        environments.memory,
    ]
    measurements: list[Measurement] = []
    for job in progress.track(jobs, description="speed"):
        found = job()
        measurements += found if isinstance(found, list) else [found]
    machine = {"python": platform.python_version(), "numpy": np.__version__, "machine": platform.machine()}
    document = {"machine": machine, "measurements": [asdict(measurement) for measurement in measurements]}
    write_atomically(output / "speed.json", json.dumps(document, indent=2) + "\n")
    draw_speed(output / "speed.png", measurements)
    return measurements
