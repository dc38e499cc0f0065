"""The random numbers of the rounds: exogenous, one stream a lane, drawn in blocks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multispin_env.core.round import FloatArray

# A call of a generator costs about a microsecond, so a lane draws for many rounds at once; 20 rounds keep 4096 lanes
# of 20 users near 100 MB. The block never depends on the number of lanes: a lane's stream is the same in any batch.
BLOCK_ROUNDS = 20
# Lanes that are drawn before they are copied into their places, which are far apart: several at a time copy faster.
_LANES_PER_COPY = 16


class RoundDraws:
    """Standard normal and exponential variates for every round, lane and user.

    A lane's numbers come from its own generator, in an order that no action changes. So two controllers on one seed
    meet the same world, and a lane is the same whether it is simulated alone or beside others.
    """

    def __init__(self, num_lanes: int, num_users: int, num_normals: int, num_exponentials: int, rounds: int) -> None:
        # One more than the rounds that are played: the last observation looks at a round that is not.
        self._episode_rounds = rounds + 1
        block = min(BLOCK_ROUNDS, self._episode_rounds)
        self._normals = np.empty((block, num_normals, num_lanes, num_users))
        self._exponentials = np.empty((block, num_exponentials, num_lanes, num_users))
        self._generators: Sequence[np.random.Generator] = ()
        self._drawn = 0

    def reset(self, generators: Sequence[np.random.Generator]) -> None:
        """Starts an episode with one generator a lane."""
        self._generators = generators
        self._drawn = 0

    def draw(self) -> tuple[FloatArray, FloatArray]:
        """The next round's normals and exponentials, each (kind, lanes, users). Read-only: the buffer is reused.

        Raises:
            RuntimeError: The episode has ended.
        """
        if self._drawn == self._episode_rounds:
            raise RuntimeError(f"the episode ended after {self._episode_rounds - 1} rounds; call reset first")
        row = self._drawn % len(self._normals)
        if row == 0:
            self._fill(min(len(self._normals), self._episode_rounds - self._drawn))
        self._drawn += 1
        return self._normals[row], self._exponentials[row]

    def _fill(self, rounds: int) -> None:
        for start in range(0, len(self._generators), _LANES_PER_COPY):
            generators = self._generators[start : start + _LANES_PER_COPY]
            lanes = slice(start, start + len(generators))
            for block, draw in (
                (self._normals, np.random.Generator.standard_normal),
                (self._exponentials, np.random.Generator.standard_exponential),
            ):
                drawn = np.empty((len(generators), rounds, block.shape[1], block.shape[3]))
                for generator, out in zip(generators, drawn, strict=True):
                    draw(generator, out=out)
                block[:rounds, :, lanes] = drawn.transpose(1, 2, 0, 3)
