"""Gymnasium's flat boxes as decisions: actions to allocations and back.

How gentle the actions are, measured over 16 episodes of 40 rounds: the mean over rounds of the goodput of zeros (z,
tok/s), and the share of it that a standard Gaussian, clipped to the box, earns (g). 20 users, a length each:

========================== ============ ============ ============ ============ ============ ============
scenario, pair             direct z     g            lengths z    g            residual z   g
========================== ============ ============ ============ ============ ============ ============
paper, llama2              146.0        .39          149.7        .50          156.9        .37
requests, qwen3.5          143.8        .66          147.5        .80          202.5        .50
mobile, llama2             115.7        .47          115.2        .50          122.5        .43
mobile, llama2, 100 users  123.9        .43          123.8        .72          138.0        .45
mobile, llama2, no Doppler 111.0        .47          110.8        .50          120.8        .43
mobile, qwen3.5            105.6        .61          105.5        .59          118.0        .53
thermal, llama2            115.2        .46          115.2        .49          121.8        .43
measured, llama2           136.4        .46          136.9        .51          139.3        .42
trace, smollm2             74.1         .45          73.9         .62          88.9         .44
========================== ============ ============ ============ ============ ============ ============
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
