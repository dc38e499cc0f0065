"""Gymnasium's flat boxes as decisions: actions to allocations and back.

All kinds are gentle: a standard Gaussian, clipped to the box, earns more than .3 of what zeros earn, in every scenario.
"""

from multispin_env.config import SystemConfig
from multispin_env.envs.actions.allocations import check_allocation
from multispin_env.envs.actions.base import DRAFT_LENGTHS, ActionCodec, check_action
from multispin_env.envs.actions.direct import DirectAction
from multispin_env.envs.actions.lengths import LengthsAction
from multispin_env.envs.actions.residual import ResidualAction
from multispin_env.envs.checks import check_choice

# What the environments' argument ``action`` may name.
ACTIONS: dict[str, type[ActionCodec]] = {
    "direct": DirectAction,
    "lengths": LengthsAction,
    "residual": ResidualAction,
}


def make_action_codec(action: str, config: SystemConfig, draft_lengths: str = "heterogeneous") -> ActionCodec:
    """The codec of a kind of action.

    Raises:
        ValueError: There is no such kind, or ``draft_lengths`` is neither ``heterogeneous`` nor ``homogeneous``.
    """
    return ACTIONS[check_choice("action", action, tuple(ACTIONS))](config, draft_lengths)


__all__ = [
    "ACTIONS",
    "DRAFT_LENGTHS",
    "ActionCodec",
    "check_action",
    "check_allocation",
    "make_action_codec",
]
