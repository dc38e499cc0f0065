"""Training of the tiny models: from checkpoint to checkpoint, with what is minimised and what is measured."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from multispin_agents.tensors import read_state, write_state
from rich.progress import Progress
from transformers import LlamaForCausalLM

from multispin_env.evaluation.results import ResultsFolder

_CHECKPOINT_STEPS = 100
_WARMUP_STEPS = 50


@dataclass(frozen=True)
class CurveRow:
    """One line of ``results.csv``: a model at a checkpoint, on windows of held-out modules.

    Attributes:
        model: ``target`` or ``draft``.
        step: Steps trained.
        loss_nats: Cross-entropy with the text, nats a byte.
        acceptance: Mean over positions of ``sum_x min(q(x), p(x))``, p the finished target's distribution; 0 for the
            target while there is none.
    """

    model: str
    step: int
    loss_nats: float
    acceptance: float


@dataclass(frozen=True)
class Training:
    """What is trained, and how long.

    Attributes:
        name: The model's.
        network: The model, trained in place.
        steps: Training steps.
        learning_rate: The largest learning rate.
    """

    name: str
    network: LlamaForCausalLM
    steps: int
    learning_rate: float


def train(
    training: Training,
    loss: Callable[[int], torch.Tensor],
    evaluate: Callable[[int], CurveRow],
    folder: ResultsFolder[CurveRow],
    progress: Progress,
) -> None:
    """Trains to the end, from the last checkpoint if there is one. A step is decided by its number alone."""
    optimizer = torch.optim.AdamW(training.network.parameters(), lr=training.learning_rate, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _warm_cosine(step, training.steps))
    state: dict[str, Any] = {"network": training.network, "optimizer": optimizer, "schedule": schedule}
    checkpoint = folder.path / f"{training.name}.pt"
    done = 0
    if checkpoint.exists():
        saved = read_state(checkpoint)
        for name, part in state.items():
            part.load_state_dict(saved[name])
        done = saved["steps"]

    task = progress.add_task(training.name, total=training.steps, completed=done)
    for step in range(done, training.steps):
        optimizer.zero_grad()
        loss(step).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(training.network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        progress.advance(task)
        if (step + 1) % _CHECKPOINT_STEPS == 0 or step + 1 == training.steps:
            if not any((row.model, row.step) == (training.name, step + 1) for row in folder.rows()):
                folder.append([evaluate(step + 1)])
            write_state(checkpoint, {"steps": step + 1, **{name: part.state_dict() for name, part in state.items()}})


def _warm_cosine(step: int, steps: int) -> float:
    return min(1.0, (step + 1) / _WARMUP_STEPS) * (0.51 + 0.49 * math.cos(math.pi * min(1.0, step / steps)))


def mean_over_windows(measure: Callable[[torch.Tensor], torch.Tensor], windows: torch.Tensor) -> float:
    """The mean of a measure over windows of text, without gradients."""
    with torch.inference_mode():
        return float(np.mean([measure(batch).item() for batch in torch.split(windows, 8)]))


def cross_entropy(network: LlamaForCausalLM, windows: torch.Tensor) -> torch.Tensor:
    """Cross-entropy with the text, nats a token."""
    logits = network(input_ids=windows).logits[:, :-1]
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())


def divergence(draft: LlamaForCausalLM, target: LlamaForCausalLM, windows: torch.Tensor) -> torch.Tensor:
    """Kullback-Leibler divergence of the draft from the target, nats a token."""
    with torch.no_grad():
        wanted = torch.log_softmax(target(input_ids=windows).logits, dim=-1)
    found = torch.log_softmax(draft(input_ids=windows).logits, dim=-1)
    return torch.nn.functional.kl_div(found, wanted, log_target=True, reduction="none").sum(-1).mean()


def acceptance(draft: LlamaForCausalLM, target: LlamaForCausalLM, windows: torch.Tensor) -> torch.Tensor:
    """Mean probability that a draft is accepted."""
    with torch.no_grad():
        wanted = torch.softmax(target(input_ids=windows).logits, dim=-1)
    return torch.minimum(torch.softmax(draft(input_ids=windows).logits, dim=-1), wanted).sum(-1).mean()
