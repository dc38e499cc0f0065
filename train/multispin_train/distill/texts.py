"""Texts that a language model writes itself, with the most probable tokens at every position: what a draft learns."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from multispin_env.files import write_atomically
from multispin_env.speculative.reader import cache_argument

# Rows that have ended leave the batch once they are this share of it: leaving costs a copy of the cache.
_ENDED_SHARE = 0.125


@dataclass(frozen=True)
class Texts:
    """A batch of texts, flat: one text after the other.

    Attributes:
        prompt_length: Tokens of each prompt, shape (texts,).
        answer_length: Tokens that the model wrote after it, the end token included, shape (texts,).
        tokens: Prompt and answer of every text, shape (sum of both lengths,).
        log_probability: That of every answer token, at temperature 1, float32, shape (sum of answer lengths,).
        likely_tokens: The most probable tokens at every answer position, shape (sum of answer lengths, kept).
        likely_log_probability: Their log probabilities, float16, same shape.
    """

    prompt_length: NDArray[np.int32]
    answer_length: NDArray[np.int32]
    tokens: NDArray[np.int32]
    log_probability: NDArray[np.float32]
    likely_tokens: NDArray[np.int32]
    likely_log_probability: NDArray[np.float16]

    def save(self, path: Path) -> None:
        """Writes the texts as ``.npz``; the file appears when it is complete."""
        data = io.BytesIO()
        np.savez(data, **asdict(self))
        write_atomically(path, data.getvalue())

    @classmethod
    def load(cls, path: Path) -> Texts:
        """Reads texts back."""
        with np.load(path, allow_pickle=False) as arrays:
            return cls(**{item.name: arrays[item.name] for item in fields(cls)})

    @classmethod
    def join(cls, parts: Sequence[Texts]) -> Texts:
        """One after the other."""
        return cls(**{item.name: np.concatenate([getattr(part, item.name) for part in parts]) for item in fields(cls)})


@torch.inference_mode()
def write_texts(
    model: PreTrainedModel,
    end_tokens: Collection[int],
    prompts: Sequence[Sequence[int]],
    max_tokens: int,
    kept: int,
    generator: torch.Generator,
    advance: Callable[[], object],
) -> Texts:
    """Lets a model answer prompts, in one batch, at temperature 1.

    Args:
        model: A causal language model.
        end_tokens: Tokens that end an answer.
        prompts: Tokens of each prompt.
        max_tokens: Answers are cut off after so many tokens.
        kept: Number of most probable tokens to keep at every position.
        generator: Where the answers' randomness comes from.
        advance: Called after each token of the batch.

    Returns:
        The texts, in the prompts' order.
    """
    width = max(map(len, prompts))
    # Padded on the left: all answers begin at the same place.
    inputs = torch.tensor([[0] * (width - len(prompt)) + list(prompt) for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    rows, cache, cache_name = torch.arange(len(prompts)), None, cache_argument(model)
    answers: list[list[int]] = [[] for _ in prompts]
    likely: list[list[tuple[torch.Tensor, ...]]] = [[] for _ in prompts]
    for _ in range(max_tokens):
        position = (mask.cumsum(1) - 1).clamp(min=0)[:, -inputs.shape[1] :]
        arguments: dict[str, Any] = {cache_name: cache, "use_cache": True, "logits_to_keep": 1}
        output = model(inputs, attention_mask=mask, position_ids=position, **arguments)
        cache = output[cache_name]
        log_probability = output.logits[:, -1].float().log_softmax(-1)
        token = _sample(log_probability.exp(), generator)
        best = log_probability.topk(kept)
        chosen = log_probability.gather(1, token[:, None])[:, 0]
        entries = zip(chosen, best.indices.int(), best.values.half(), strict=True)
        for row, written, entry in zip(rows.tolist(), token.tolist(), entries, strict=True):
            if not answers[row] or answers[row][-1] not in end_tokens:
                answers[row].append(written)
                likely[row].append(entry)
        advance()
        running = torch.tensor([answers[row][-1] not in end_tokens for row in rows.tolist()])
        if not running.any():
            break
        inputs, mask = token[:, None], torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
        if (~running).float().mean() >= _ENDED_SHARE:
            rows, inputs, mask = rows[running], inputs[running], mask[running]
            cache.batch_select_indices(running.nonzero()[:, 0])
    columns = zip(*(entry for text in likely for entry in text), strict=True)
    chosen_values, likely_tokens, likely_values = (torch.stack(column).numpy() for column in columns)
    texts = [[*prompt, *answer] for prompt, answer in zip(prompts, answers, strict=True)]
    return Texts(
        prompt_length=np.array([len(prompt) for prompt in prompts], dtype=np.int32),
        answer_length=np.array([len(answer) for answer in answers], dtype=np.int32),
        tokens=np.concatenate(texts).astype(np.int32),
        log_probability=chosen_values,
        likely_tokens=likely_tokens,
        likely_log_probability=likely_values,
    )


def _sample(probability: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """One token a row by inversion: many times faster than ``torch.multinomial`` over a large vocabulary."""
    reached = probability.cumsum(-1)
    draw = torch.rand(len(probability), 1, generator=generator) * reached[:, -1:]
    # Rounding may lift the draw to the total itself.
    return torch.searchsorted(reached, draw, right=True)[:, 0].clamp(max=probability.shape[-1] - 1)
