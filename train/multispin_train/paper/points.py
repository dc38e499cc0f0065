"""The simulated points of the paper's figures: which systems, and their goodput, played once and kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from multispin_baselines import make_controller
from rich.progress import Progress

from multispin_env import PAPER_PAIRS, SystemConfig, make_config
from multispin_env.evaluation.reference import FIRST_EVALUATION_SEED
from multispin_env.evaluation.results import ResultsFolder
from multispin_env.evaluation.rollout import play
from multispin_env.evaluation.statistics import interquartile_mean
from multispin_train.paper.values import FIGURE_7_BANDWIDTH_HZ

ROUNDS = 50
SCHEMES = ("fixed", "uniform", "homogeneous", "heterogeneous")
# Beside them in figure 6, in one system each.
SINGLE_SCHEMES = ("p2p", "centralized")
# The systems along the axes of figures 7 and 8.
SWEEPS: dict[str, tuple[float, ...]] = {
    "bandwidth_hz": (FIGURE_7_BANDWIDTH_HZ, 7.5e6, 10e6, 12.5e6, 15e6, 17.5e6, 20e6),
    "num_users": (10, 12, 14, 16, 18, 20, 22, 24),
}


@dataclass(frozen=True)
class PointRow:
    """One line of ``results.csv``: a scheme in a system.

    ``mean_round_goodput`` is the mean over rounds, as the paper's curves must be; ``total_goodput`` is total tokens
    over total seconds. Both are interquartile means over seeds, the first with its 95 % interval.
    """

    model_pair: str
    scheme: str
    num_users: int
    bandwidth_hz: float
    mean_round_goodput: float
    low: float
    high: float
    total_goodput: float


class Points:
    """Simulated points of the figures, each played once.

    Args:
        output: The results folder.
        seeds: Episodes a point.
        progress: Where progress is shown.
    """

    def __init__(self, output: Path, seeds: int, progress: Progress) -> None:
        self._seeds = range(FIRST_EVALUATION_SEED, FIRST_EVALUATION_SEED + seeds)
        self._progress = progress
        systems = {pair: make_config("paper", pair).to_dict() for pair in PAPER_PAIRS}
        self._folder = ResultsFolder(
            output,
            {"seeds": seeds, "rounds": ROUNDS, "systems": systems},
            PointRow,
            unique=("model_pair", "scheme", "num_users", "bandwidth_hz"),
            allowed={"model_pair": PAPER_PAIRS, "scheme": (*SINGLE_SCHEMES, *SCHEMES)},
        )
        self._rows = {self._key(r.model_pair, r.scheme, r.num_users, r.bandwidth_hz): r for r in self._folder.rows()}

    def sweep(self, pair: str, field: str) -> dict[str, list[PointRow]]:
        """The four schemes' points along one field of the system."""
        values = SWEEPS[field]
        task = self._progress.add_task(f"{field} / {pair}", total=len(SCHEMES) * len(values))
        rows: dict[str, list[PointRow]] = {scheme: [] for scheme in SCHEMES}
        for value in values:
            system = make_config("paper", pair, {field: value})
            for scheme in SCHEMES:
                rows[scheme].append(self.point(pair, scheme, system))
                self._progress.advance(task)
        return rows

    def goodput(self, pair: str, scheme: str, config: SystemConfig) -> float:
        """A scheme's mean goodput over rounds."""
        return self.point(pair, scheme, config).mean_round_goodput

    def point(self, pair: str, scheme: str, config: SystemConfig) -> PointRow:
        """A scheme's point in a system, played if it is not there yet."""
        key = self._key(pair, scheme, config.num_users, config.bandwidth_hz)
        if key not in self._rows:
            episodes = play(make_controller(scheme, pair), config.updated({"episode_rounds": ROUNDS}), self._seeds)
            estimate = interquartile_mean([episode.mean_round_goodput for episode in episodes])
            total = interquartile_mean([episode.goodput_tok_s for episode in episodes])
            self._rows[key] = PointRow(*key, *estimate, total.value)
            self._folder.append([self._rows[key]])
        return self._rows[key]

    @staticmethod
    def _key(pair: str, scheme: str, num_users: int, bandwidth_hz: float) -> tuple[str, str, int, float]:
        return pair, scheme, num_users, bandwidth_hz
