"""What a controller is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from multispin_env import Allocation, RoundView, SystemConfig


class Controller(ABC):
    """Decides a round from what the protocol reveals. Batched over lanes, deterministic.

    Some remember earlier rounds: whoever plays one says when episodes begin and shows it all their rounds, in order.

    Attributes:
        name: Stable name, used in tables and files.
        sees_truth: Whether ``act`` needs a :class:`~multispin_env.core.TrueView`, which no real controller gets.
    """

    name: ClassVar[str]
    sees_truth: ClassVar[bool] = False

    def system(self, config: SystemConfig) -> SystemConfig:
        """The system that this scheme runs on: the one given, unless the scheme changes who does what."""
        return config

    def begin(self, lanes: int) -> None:  # noqa: B027 (most have nothing to forget)
        """An episode begins in each of so many lanes: what is remembered is of others."""

    @abstractmethod
    def act(self, view: RoundView) -> Allocation:
        """The round's decision, arrays (lanes, users)."""
