"""What a draft learns from its target's texts: batches of them, and cross-entropy and acceptance at every token."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from multispin_env.speculative.trimmed import TrimmedLlamaForCausalLM
from multispin_train.distill.texts import Texts
from multispin_train.prompts import TASKS

# Batches' worth of texts that are sorted by length together.
_POOL = 16


@dataclass(frozen=True)
class Corpus:
    """Texts of one split, with where each begins.

    Attributes:
        texts: The texts.
        task: Task of each, as a place in ``TASKS``.
        first_token: Where each text begins among the tokens.
        first_answer: Where each answer begins among the answer positions.
    """

    texts: Texts
    task: NDArray[np.int64]
    first_token: NDArray[np.int64]
    first_answer: NDArray[np.int64]

    @classmethod
    def load(cls, folder: Path, split: str) -> Corpus:
        """Reads all files of a split: ``SPLIT-TASK-*.npz``."""
        files = {file: task for task, name in enumerate(TASKS) for file in sorted(folder.glob(f"{split}-{name}-*.npz"))}
        parts = [Texts.load(file) for file in files]
        texts = Texts.join(parts)
        lengths = texts.prompt_length + texts.answer_length
        return cls(
            texts=texts,
            task=np.repeat(list(files.values()), [len(part.prompt_length) for part in parts]),
            first_token=np.cumsum(lengths) - lengths,
            first_answer=np.cumsum(texts.answer_length) - texts.answer_length,
        )

    def frequent_tokens(self, count: int, vocabulary: int) -> torch.Tensor:
        """The tokens that the target is most likely to write, by expected count, in ascending order.

        Args:
            count: How many.
            vocabulary: How many there are.

        Raises:
            ValueError: More than there are.
        """
        if count > vocabulary:
            raise ValueError(f"head_size must be at most the target's vocabulary, {vocabulary}, got {count}")
        probability = np.exp(self.texts.likely_log_probability.ravel(), dtype=np.float64)
        expected = np.bincount(self.texts.likely_tokens.ravel(), probability, minlength=vocabulary)
        return torch.from_numpy(np.sort(np.argsort(-expected, kind="stable")[:count]))

    def batches(self, epochs: int, size: int, seed: int) -> list[NDArray[np.int64]]:
        """The texts of each training step; those of one step are of about one length, so that little is padding."""
        generator = np.random.default_rng(seed)
        lengths = self.texts.prompt_length + self.texts.answer_length
        steps = []
        for _ in range(epochs):
            order = generator.permutation(len(lengths))
            pools = [order[first : first + _POOL * size] for first in range(0, len(order), _POOL * size)]
            alike = np.concatenate([pool[np.argsort(lengths[pool], kind="stable")] for pool in pools])
            epoch = [alike[first : first + size] for first in range(0, len(alike), size)]
            steps += [epoch[index] for index in generator.permutation(len(epoch))]
        return steps


@dataclass(frozen=True)
class Batch:
    """Some texts, padded behind, and what the target says of their answer positions.

    Attributes:
        inputs: Tokens, shape (texts, longest).
        before: Where the token before each answer token is in the flattened inputs, shape (positions,).
        owner: Which of the batch's texts each position is of, shape (positions,).
        written: The answer tokens, shape (positions,).
        log_probability: Theirs by the target, shape (positions,).
        likely: The target's most probable tokens, shape (positions, kept).
        likely_probability: Their probabilities, same shape.
    """

    inputs: torch.Tensor
    before: torch.Tensor
    owner: torch.Tensor
    written: torch.Tensor
    log_probability: torch.Tensor
    likely: torch.Tensor
    likely_probability: torch.Tensor

    @classmethod
    def of(cls, corpus: Corpus, chosen: NDArray[np.int64]) -> Batch:
        """The chosen texts of a corpus."""
        texts = corpus.texts
        prompts, answers = texts.prompt_length[chosen], texts.answer_length[chosen]
        longest = int((prompts + answers).max())
        inputs = np.zeros((len(chosen), longest), dtype=np.int64)
        for row, (first, length) in enumerate(zip(corpus.first_token[chosen], prompts + answers, strict=True)):
            inputs[row, :length] = texts.tokens[first : first + length]
        owner = np.repeat(np.arange(len(chosen)), answers)
        within = np.concatenate([np.arange(length) for length in answers])
        place = owner * longest + prompts[owner] + within
        position = corpus.first_answer[chosen][owner] + within
        return cls(
            inputs=torch.from_numpy(inputs),
            before=torch.from_numpy(place - 1),
            owner=torch.from_numpy(owner),
            written=torch.from_numpy(inputs.ravel()[place]),
            log_probability=torch.from_numpy(texts.log_probability[position]),
            likely=torch.from_numpy(texts.likely_tokens[position].astype(np.int64)),
            likely_probability=torch.from_numpy(texts.likely_log_probability[position].astype(np.float32)).exp(),
        )


class Judge:
    """What the target thinks of a draft: cross-entropy and acceptance at every answer position.

    The target's probabilities p are known at its most probable tokens, and at the token written. The sums over all
    other tokens are estimated by the latter: where x is drawn from p, f(x) / p(x) is unbiased for the sum of f.
    """

    def __init__(self, draft: TrimmedLlamaForCausalLM) -> None:
        self._draft = draft
        self._row = torch.full((draft.config.vocab_size,), -1, dtype=torch.int64)
        self._row[draft.head_tokens] = torch.arange(len(draft.head_tokens))

    def __call__(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Cross-entropy -sum p ln q over what the draft can say, and acceptance sum min(p, q), shapes (positions,)."""
        with torch.autocast("cpu", torch.bfloat16, enabled=fast_type() == torch.bfloat16):
            hidden = self._draft.model(input_ids=batch.inputs, use_cache=False).last_hidden_state
            logits = self._draft.lm_head(hidden.flatten(0, 1)[batch.before])
        log_q = logits.float().log_softmax(-1)
        rows, row = self._row[batch.likely], self._row[batch.written]
        sayable, likely_p = rows >= 0, batch.likely_probability
        likely_log_q = log_q.gather(1, rows.clamp(min=0))
        written_log_q = log_q.gather(1, row.clamp(min=0)[:, None])[:, 0]
        # The written token stands for all that are not among the likely ones, when it is none of them itself.
        stands = (row >= 0) & ~(batch.likely == batch.written[:, None]).any(1)
        entropy = (likely_p * likely_log_q * sayable).sum(1) + written_log_q * stands
        shared = (torch.minimum(likely_p, likely_log_q.exp()) * sayable).sum(1)
        accepted = shared + (written_log_q - batch.log_probability).clamp(max=0.0).exp() * stands
        return -entropy, accepted


def fast_type() -> torch.dtype:
    """Half precision where the processor computes in it, single precision elsewhere."""
    return torch.bfloat16 if torch.cpu.get_capabilities().get("avx512_bf16") else torch.float32
