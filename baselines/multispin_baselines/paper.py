"""The schemes that the paper compares (arXiv 2606.04581, section VI)."""

from __future__ import annotations

import numpy as np

from multispin_env import Allocation, RoundView, SystemConfig
from multispin_env.evaluation.controller import Controller
from multispin_env.optimal import (
    RoundProblem,
    solve_algorithm1,
    solve_fixed_bandwidth,
    solve_heterogeneous,
    solve_homogeneous,
)


class Fixed(Controller):
    """Fixed BW&L: eight tokens and an equal share for everybody."""

    name = "fixed"
    draft_length = 8

    def act(self, view: RoundView) -> Allocation:
        """The same in every round."""
        shape = view.drafting_latency_s.shape
        length = min(self.draft_length, view.config.max_draft_length)
        return Allocation(np.full(shape, length), np.full(shape, 1.0 / shape[-1]))


class UniformBandwidth(Controller):
    """Uni-BW: an equal share for everybody, and the best lengths for it."""

    name = "uniform"

    def act(self, view: RoundView) -> Allocation:
        """Exact optimum over the lengths for equal shares."""
        return solve_fixed_bandwidth(RoundProblem.from_view(view), 1.0 / view.config.num_users).allocation


class Homogeneous(Controller):
    """Homo-Multi-SPIN: one length for all, bandwidth by Lemma 1."""

    name = "homogeneous"

    def act(self, view: RoundView) -> Allocation:
        """The homogeneous optimum for what is observed and the tasks' mean acceptance."""
        return solve_homogeneous(RoundProblem.from_view(view)).allocation


class Heterogeneous(Controller):
    """Hete-Multi-SPIN, solved to the certified optimum where the paper searches a grid."""

    name = "heterogeneous"

    def act(self, view: RoundView) -> Allocation:
        """The heterogeneous optimum for what is observed and the tasks' mean acceptance."""
        return solve_heterogeneous(RoundProblem.from_view(view)).allocation


class Algorithm1(Controller):
    """Hete-Multi-SPIN as the paper solves it: a grid over latency and multiplier."""

    name = "algorithm1"

    def act(self, view: RoundView) -> Allocation:
        """The best of the grid's rounded points."""
        return solve_algorithm1(RoundProblem.from_view(view)).allocation


class PointToPoint(Homogeneous):
    """P2P-SPIN: one user alone, with the whole band and the server to itself."""

    name = "p2p"

    def transform_config(self, config: SystemConfig) -> SystemConfig:
        """A system of one user."""
        return config.updated({"num_users": 1})


class Centralized(Homogeneous):
    """Cen-SPIN: the server drafts as well, for one user after the other, and nothing is uploaded.

    The paper does not say how the server batches its drafting. One user after the other is what its figure 6 implies:
    the time per token and user fitted to it is close to what is measured for such models on an A100.

    Args:
        server_drafting_latency_s: Time in which the server drafts one token of one user.
    """

    name = "centralized"

    def __init__(self, server_drafting_latency_s: float) -> None:
        self._server_drafting_latency_s = server_drafting_latency_s

    def transform_config(self, config: SystemConfig) -> SystemConfig:
        """A system of equal devices, each as slow as the server is for all, whose uploads (1 bit) take no time."""
        return config.updated(
            {
                "drafting_latency_s": config.num_users * self._server_drafting_latency_s,
                "drafting_latency_spread": 0.0,
                "heat": {"slowdown": 0.0},
                "payload_bits": 1.0,
            }
        )
