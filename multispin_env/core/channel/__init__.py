"""Uplink channels: what a user's band carries over time, and what is observed of it."""

from multispin_env.config import ChannelConfig
from multispin_env.core.channel.base import Channel
from multispin_env.core.channel.block import BlockChannel
from multispin_env.core.channel.mobility import MobilityChannel
from multispin_env.core.channel.trace import TraceChannel

__all__ = ["CHANNELS", "Channel", "make_channel"]

# From a kind to the channels of it.
# (The section of the configuration is registered in multispin_env.config.CHANNEL_CONFIGS.)
CHANNELS: dict[str, type[Channel]] = {
    "block": BlockChannel,
    "mobility": MobilityChannel,
    "trace": TraceChannel,
}


def make_channel(config: ChannelConfig, num_users: int, rounds: int) -> Channel:
    """The channel of the kind that the configuration asks for."""
    return CHANNELS[config.kind](config, num_users, rounds)
