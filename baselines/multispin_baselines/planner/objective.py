"""What a planner maximises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from multispin_env.core.equations import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Objective:
    """What is maximised in some rounds: utility per second, or utility less the price of the seconds.

    Attributes:
        utility: Of each user's draft by its length from 0 on, in tokens, (rounds, users, lengths).
        time_price: Of a second, in tokens, (rounds,); None to maximise the ratio.
    """

    utility: FloatArray
    time_price: FloatArray | None = None

    def take(self, rounds: IntArray) -> Self:
        """That of some rounds."""
        price = self.time_price
        return type(self)(self.utility[rounds], None if price is None else price[rounds])

    def of_drafts(self, length: IntArray) -> FloatArray:
        """Utility of each user's draft, (..., rounds, users)."""
        table = np.broadcast_to(self.utility, (*length.shape, self.utility.shape[-1]))
        return np.take_along_axis(table, length[..., np.newaxis], axis=-1)[..., 0]

    def value(self, utility: FloatArray, seconds: FloatArray) -> FloatArray:
        """Of all users' utility and the round's seconds, both (..., rounds)."""
        return utility / seconds if self.time_price is None else utility - self.time_price * seconds
