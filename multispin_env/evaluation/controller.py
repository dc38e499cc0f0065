"""What a controller is: ``act(view) -> Allocation``, and what else it may say about itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol, runtime_checkable

from multispin_env import Allocation, RoundView, SystemConfig


@runtime_checkable
class SupportsAct(Protocol):
    """Anything that decides rounds; :func:`as_controller` fills in the rest of :class:`Controller`."""

    def act(self, view: RoundView, /) -> Allocation:
        """The round's decision, arrays (num_envs, users)."""
        ...


class Controller(ABC):
    """Decides a round from what the protocol reveals. Batched over environments, deterministic.

    Only ``act`` has to be written. A controller may remember earlier rounds: whoever plays one calls ``reset`` when
    episodes begin and shows it all their rounds, in order.

    Attributes:
        name: Stable name, used in tables and files; the class's name unless it is given.
        privileged: Whether ``act`` needs a :class:`~multispin_env.core.TrueView`, which no real controller gets.
    """

    name: str
    privileged: bool = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not hasattr(cls, "name"):
            cls.name = cls.__name__

    def transform_config(self, config: SystemConfig) -> SystemConfig:
        """The system that this scheme runs on: the one given, unless the scheme changes who does what."""
        return config

    def reset(self, num_envs: int) -> None:  # noqa: B027 (most have nothing to forget)
        """An episode begins in each of ``num_envs`` environments: what is remembered is of others."""

    @abstractmethod
    def act(self, view: RoundView) -> Allocation:
        """The round's decision, arrays (num_envs, users)."""


def as_controller(decider: SupportsAct) -> Controller:
    """The :class:`Controller` that an object with ``act`` is, with the defaults for whatever it lacks."""
    return decider if isinstance(decider, Controller) else _ActOnly(decider)


class _ActOnly(Controller):
    """An object with ``act`` that does not inherit from :class:`Controller`."""

    def __init__(self, decider: SupportsAct) -> None:
        self._decider = decider
        self.name = getattr(decider, "name", type(decider).__name__)
        self.privileged = bool(getattr(decider, "privileged", False))

    def transform_config(self, config: SystemConfig) -> SystemConfig:
        transform = getattr(self._decider, "transform_config", super().transform_config)
        transformed: SystemConfig = transform(config)
        return transformed

    def reset(self, num_envs: int) -> None:
        getattr(self._decider, "reset", super().reset)(num_envs)

    def act(self, view: RoundView) -> Allocation:
        return self._decider.act(view)
