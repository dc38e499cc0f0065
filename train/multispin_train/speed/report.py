"""Speeds in tables and in a picture, and the ratios that hold on any machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from multispin_env.evaluation.plots import BLUE, BROWN, GREEN, RED, SHADES, YELLOW, new_figure, save
from multispin_env.evaluation.tables import new_table
from multispin_train.speed import decisions, environments
from multispin_train.speed.timing import Measurement


def ratios(measurements: Sequence[Measurement]) -> list[tuple[str, float]]:
    """The comparisons that hold on any machine: one rate over another of the same run."""
    rate = {measurement.name: measurement.rate for measurement in measurements}
    pairs = [
        (
            "time of a step of paper (1024 num_envs, K = 20) over drawing its random numbers",
            "floor: random numbers of block fading, 1024 num_envs, K = 20",
            "make_vec, paper, 1024 num_envs, K = 20",
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


def draw_speed(path: Path, measurements: Sequence[Measurement]) -> None:
    """Draws rates of the environment and of the solvers, beside floor and references."""
    rate = {measurement.name: measurement.rate for measurement in measurements}
    figure, (environment, solving) = new_figure(9.0, 4.6, columns=2)
    for users, colour in zip(environments.USERS, SHADES, strict=True):
        values = [rate[f"make_vec, mobile, {num_envs} num_envs, K = {users}"] for num_envs in environments.NUM_ENVS]
        environment.loglog(environments.NUM_ENVS, values, "o-", color=colour, label=f"mobile, K = {users}")
    floor = rate["floor: random numbers of block fading, 1024 num_envs, K = 20"]
    environment.axhline(floor, color="black", linestyle=":", label="random numbers of block fading alone")
    environment.set_xlabel("environments")
    environment.set_ylabel("user-steps per second")
    environment.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2, frameon=False, fontsize=8)
    for rounds, marker in zip(decisions.SOLVER_BATCHES, ("s", "o"), strict=True):
        for solve, colour in (("solve_homogeneous", BLUE), ("solve_heterogeneous", RED)):
            values = [rate[f"{solve}, K = {users}, batch of {rounds}"] for users in decisions.SOLVER_USERS]
            label = f"{solve.removeprefix('solve_')}, batch of {rounds}"
            solving.loglog(decisions.SOLVER_USERS, values, f"{marker}-", color=colour, label=label)
    for name, colour in zip(decisions.REFERENCES, (YELLOW, BROWN, GREEN), strict=True):
        values = [rate[f"reference: {name}, K = {users}"] for users in decisions.REFERENCE_USERS]
        solving.loglog(decisions.REFERENCE_USERS, values, "^-", color=colour, label=name)
    solving.set_xlabel("users K")
    solving.set_ylabel("decisions per second")
    solving.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2, frameon=False, fontsize=8)
    save(figure, path)
