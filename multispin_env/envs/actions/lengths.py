"""Actions that are draft lengths alone."""

from __future__ import annotations

from multispin_env.config import SystemConfig
from multispin_env.core.equations import Allocation, FloatArray
from multispin_env.core.view import RoundView
from multispin_env.envs.actions.base import ActionCodec
from multispin_env.optimal import (
    RatePredictor,
    RoundProblem,
    equalize_bandwidth,
    typical_delay_s,
)


class LengthsAction(ActionCodec):
    """Draft lengths; the closed form splits the band, so that at the predicted rates all drafts arrive together.

    That is Lemma 3, with one length for all Lemma 1. ``encode`` returns the lengths exactly; shares are no part of the
    action.
    """

    def __init__(self, config: SystemConfig, draft_lengths: str) -> None:
        super().__init__(config, draft_lengths)
        self._predicted = RatePredictor(typical_delay_s(config))

    def numbers(self) -> int:
        """The lengths."""
        return self.num_lengths

    def _allocation(self, numbers: FloatArray, view: RoundView) -> Allocation:
        lengths = self.lengths(numbers)
        rate = self._predicted(view)
        _, shares = equalize_bandwidth(RoundProblem.from_view(view, spectral_efficiency=rate), lengths)
        return Allocation(lengths, shares)

    def _numbers(self, allocation: Allocation, view: RoundView) -> FloatArray:
        return self.length_numbers(allocation.draft_length)
