"""How the tiny pair is made: the shapes of its models and the course of their training."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A Llama of this shape, input and output embedding tied.

    Attributes:
        hidden: Width.
        layers: Depth.
        intermediate: Width of the feed-forward layers.
        heads: Attention heads.
    """

    hidden: int
    layers: int
    intermediate: int
    heads: int


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the pair is made.

    Attributes:
        seed: Decides initial weights and batches.
        target: The target's shape.
        draft: The draft's shape.
        target_steps: Training steps of the target.
        draft_steps: Training steps of the draft.
        total_variation_steps: The last of them, in which the draft minimises total variation, which is what
            acceptance is made of; before, Kullback-Leibler divergence, whose gradient finds the way.
        windows: Windows of text a step.
        window: Tokens a window; also the longest text that the models read.
        target_learning_rate: Largest learning rate of the target.
        draft_learning_rate: Largest learning rate of the draft.
        prompts_per_task: Prompts to write for each of the tasks.
    """

    seed: int = 0
    target: Shape = field(default_factory=lambda: Shape(hidden=128, layers=3, intermediate=256, heads=4))
    draft: Shape = field(default_factory=lambda: Shape(hidden=48, layers=1, intermediate=128, heads=3))
    target_steps: int = 2000
    draft_steps: int = 1500
    total_variation_steps: int = 750
    windows: int = 8
    window: int = 512
    target_learning_rate: float = 3e-3
    draft_learning_rate: float = 6e-3
    prompts_per_task: int = 32
