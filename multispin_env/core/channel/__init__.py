"""Uplink channels: gains over time, and what is observed of them."""

from collections.abc import Callable

from multispin_env.config import ChannelConfig
from multispin_env.core.channel.base import Channel
from multispin_env.core.channel.block import BlockChannel
from multispin_env.core.channel.gauss_markov import GaussMarkovChannel

__all__ = ["CHANNELS", "Channel", "make_channel"]

# From a kind to what builds a channel of it, given the configuration, the number of users and the rounds of an episode.
CHANNELS: dict[str, Callable[[ChannelConfig, int, int], Channel]] = {
    "block": BlockChannel,
    "gauss-markov": GaussMarkovChannel,
}


def make_channel(config: ChannelConfig, num_users: int, rounds: int) -> Channel:
    """The channel of the kind that the configuration asks for."""
    kind = "gauss-markov" if config.fading_correlation_time_s > 0.0 else "block"
    return CHANNELS[kind](config, num_users, rounds)
