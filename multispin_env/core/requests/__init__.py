"""Requests: what decides how much of a draft is accepted, and when a text ends."""

from collections.abc import Callable

from multispin_env.config import SystemConfig
from multispin_env.core.requests.base import GenerationState, RequestModel
from multispin_env.core.requests.replayed import ReplayedRequests
from multispin_env.core.requests.synthetic import SyntheticRequests
from multispin_env.profiles import load_traces

__all__ = ["REQUEST_MODELS", "GenerationState", "RequestModel", "make_requests"]


def _synthetic(config: SystemConfig) -> RequestModel:
    return SyntheticRequests(config.requests, config.num_users, config.episode_rounds)


def _replayed(config: SystemConfig) -> RequestModel:
    assert config.requests.trace is not None
    return ReplayedRequests(config.requests, load_traces(config.requests.trace), config.num_users)


def _live(config: SystemConfig) -> RequestModel:
    from multispin_env.speculative.live import LiveRequests  # here, as it stands above the core

    assert config.requests.live is not None
    return LiveRequests(config.requests, config.requests.live, config.num_users)


# From a kind to what builds requests of it.
REQUEST_MODELS: dict[str, Callable[[SystemConfig], RequestModel]] = {
    "synthetic": _synthetic,
    "replayed": _replayed,
    "live": _live,
}


def make_requests(config: SystemConfig) -> RequestModel:
    """The requests of the kind that the configuration asks for.

    Raises:
        ConfigError: The pair has nothing to replay, or not for every task.
    """
    if config.requests.trace is not None:
        kind = "replayed"
    elif config.requests.live is not None:
        kind = "live"
    else:
        kind = "synthetic"
    return REQUEST_MODELS[kind](config)
