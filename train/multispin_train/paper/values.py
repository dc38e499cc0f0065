"""What the paper reports (arXiv 2606.04581, figures 6 to 8), as quantities that can be computed again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from multispin_env import SystemConfig, make_config

# A pair, a controller and a system to the scheme's mean goodput there, in tokens per second.
Goodput = Callable[[str, str, SystemConfig], float]


@dataclass(frozen=True, kw_only=True)
class PaperValue:
    """One number read off the paper.

    Attributes:
        figure: The figure it is from.
        model_pair: The pair.
        scheme: The controller whose goodput it is about.
        over: The controller that this goodput is divided by; None if the value is tokens per second.
        config: Where it was taken, as changed fields of the `paper` scenario.
        value: The paper's value.
    """

    figure: int
    model_pair: str
    scheme: str = "heterogeneous"
    over: str | None
    config: Mapping[str, Any] = field(default_factory=dict)
    value: float

    def text(self) -> str:
        """What is measured, in words."""
        system = self.system()
        what = f"{self.scheme} / {self.over}" if self.over else f"{self.scheme}, tok/s"
        return f"{what} at K = {system.num_users}, {system.bandwidth_hz / 1e6:g} MHz"

    def system(self, changes: Mapping[str, Any] | None = None) -> SystemConfig:
        """The system it was taken in, with further changes."""
        return make_config("paper", self.model_pair, self.config).updated(changes or {})

    def ours(self, goodput: Goodput, changes: Mapping[str, Any] | None = None) -> float:
        """The same quantity by our goodput."""
        system = self.system(changes)
        value = goodput(self.model_pair, self.scheme, system)
        return value / goodput(self.model_pair, self.over, system) if self.over else value


FIGURE_7_BANDWIDTH_HZ = 5e6

PAPER_VALUES = (
    PaperValue(figure=6, model_pair="llama2", over=None, value=145.0),
    PaperValue(figure=6, model_pair="qwen3.5", over=None, value=153.0),
    PaperValue(figure=6, model_pair="llama2", over="p2p", value=4.6),
    PaperValue(figure=6, model_pair="llama2", over="centralized", value=2.5),
    PaperValue(figure=6, model_pair="qwen3.5", over="centralized", value=3.0),
    PaperValue(figure=7, model_pair="llama2", over="fixed", config={"bandwidth_hz": FIGURE_7_BANDWIDTH_HZ}, value=1.88),
    PaperValue(
        figure=7, model_pair="qwen3.5", over="fixed", config={"bandwidth_hz": FIGURE_7_BANDWIDTH_HZ}, value=1.88
    ),
    PaperValue(figure=8, model_pair="llama2", over="fixed", config={"num_users": 10}, value=1.21),
    PaperValue(figure=8, model_pair="llama2", over="fixed", config={"num_users": 24}, value=1.67),
    PaperValue(figure=8, model_pair="qwen3.5", over="fixed", config={"num_users": 10}, value=1.29),
    PaperValue(figure=8, model_pair="qwen3.5", over="fixed", config={"num_users": 24}, value=1.80),
)
