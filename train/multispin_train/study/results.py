"""A study's rows by setting and player, and the statistics of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from multispin_env.evaluation.statistics import Estimate, interquartile_mean
from multispin_train.study.plan import StudyRow


class Results:
    """The rows by setting and player, as arrays of goodput.

    Args:
        rows: All of a study's.
    """

    def __init__(self, rows: Sequence[StudyRow]) -> None:
        found: dict[tuple[str, str], dict[tuple[int, int], StudyRow]] = {}
        for row in rows:
            found.setdefault((row.setting, row.player), {})[row.training_seed, row.seed] = row
        self._rows = found

    def has(self, setting: str, player: str) -> bool:
        """Whether a player was played; in an unfinished study some were not yet."""
        return (setting, player) in self._rows

    def goodput(self, setting: str, player: str) -> NDArray[np.float64]:
        """Goodput, (training seeds, evaluation seeds); a controller has one training seed."""
        rows = self._rows[setting, player]
        training_seeds, seeds = (sorted({key[part] for key in rows}) for part in (0, 1))
        return np.array([[rows[one, seed].goodput_tok_s for seed in seeds] for one in training_seeds])

    def decision_us(self, setting: str, player: str) -> float:
        """Median time of a decision."""
        return float(np.median([row.decision_us for row in self._rows[setting, player].values()]))

    def mean(self, setting: str, player: str) -> Estimate:
        """Interquartile mean over training and evaluation seeds."""
        return interquartile_mean(self.goodput(setting, player))

    def ratio(self, setting: str, player: str, other: str) -> Estimate:
        """The same of the ratio to another player, over the episodes that both have played, paired."""
        episodes = np.intersect1d(self._seeds(setting, player), self._seeds(setting, other))
        ours, theirs = (
            self.goodput(setting, who)[:, np.isin(self._seeds(setting, who), episodes)] for who in (player, other)
        )
        return interquartile_mean(ours / (theirs if len(theirs) == 1 else theirs.mean(axis=0)))

    def gain(self, setting: str, player: str, other: str) -> Estimate:
        """The ratio less 1."""
        return Estimate(*(value - 1.0 for value in self.ratio(setting, player, other)))

    def _seeds(self, setting: str, player: str) -> NDArray[np.int64]:
        return np.unique([seed for _, seed in self._rows[setting, player]])

    def training_range(self, setting: str, player: str) -> tuple[float, float]:
        """The least and the most that one training seed reaches."""
        each = [interquartile_mean(one).value for one in self.goodput(setting, player)]
        return min(each), max(each)
