"""Gymnasium's flat boxes as decisions: actions to allocations and back.

How gentle the actions are, measured over 16 episodes of 40 rounds: the mean over rounds of the goodput of zeros (z,
tok/s), and the share of it that a standard Gaussian, clipped to the box, earns (g). 20 users, a length each:

========================== ============ ============ ============ ============ ============ ============
scenario, pair             direct z     g            lengths z    g            residual z   g
========================== ============ ============ ============ ============ ============ ============
paper, llama2              144.5        .39          148.3        .50          155.0        .36
requests, qwen3.5          141.2        .68          144.9        .82          222.6        .49
mobile, llama2             115.5        .47          116.8        .57          131.6        .48
mobile, llama2, 100 users  127.6        .42          129.2        .68          161.6        .45
mobile, llama2, no Doppler 112.1        .47          98.9         .56          122.7        .48
mobile, qwen3.5            112.6        .62          114.3        .71          136.9        .57
thermal, llama2            115.3        .46          116.2        .57          131.1        .48
measured, llama2           132.5        .45          129.8        .55          138.6        .46
trace, smollm2             87.7         .38          82.2         .52          186.9        .56
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
