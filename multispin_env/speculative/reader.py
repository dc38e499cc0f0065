"""A causal language model that reads the texts of several users at once.

Each user's text has its own row of one cache of keys and values, from column 0 on: the cache is padded behind its
texts, never inside. A forward pass writes each row's new tokens behind the row's end, wherever that is, and a query
sees the columns up to its own position. So rows of any lengths share a batch, shorter inputs are padded with tokens
behind the row's end, which nothing sees and the next tokens overwrite, and forgetting rejected drafts means setting
a row's length back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import Cache, PreTrainedModel

from multispin_env.speculative.sampling import FloatArray

_FIRST_COLUMNS = 64


class _RowCache(Cache):
    """Keys and values of every row and layer, (rows, heads, columns, head size); grows as texts do."""

    def __init__(self, rows: int) -> None:
        super().__init__(layers=[])
        self._num_rows = rows
        self._num_columns = _FIRST_COLUMNS
        self._kept: list[list[torch.Tensor]] = []

    def aim(self, rows: torch.Tensor, columns: torch.Tensor) -> None:
        """Says where the next forward pass writes: its rows of the cache, and their columns, (rows, tokens)."""
        self._rows, self._columns = rows, columns
        self._first_rows = rows.tolist() == list(range(len(rows)))
        self._seen = int(columns.max()) + 1
        while self._num_columns < self._seen:
            self._num_columns *= 2

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Writes a layer's new keys and values and returns all that the pass may see, (rows, heads, columns, size)."""
        new = (key_states, value_states)
        if layer_idx == len(self._kept):
            self._kept.append(
                [states.new_empty((self._num_rows, states.shape[1], 0, states.shape[3])) for states in new]
            )
        kept = self._kept[layer_idx]
        for which, states in enumerate(new):
            if kept[which].shape[2] < self._num_columns:
                grown = states.new_zeros((self._num_rows, states.shape[1], self._num_columns, states.shape[3]))
                grown[:, :, : kept[which].shape[2]] = kept[which]
                kept[which] = grown
            kept[which][self._rows[:, None], :, self._columns] = states.transpose(1, 2)
        keys, values = kept
        # The first rows need no copy, and mostly it is all of them.
        chosen = slice(len(self._rows)) if self._first_rows else self._rows
        return keys[chosen, :, : self._seen], values[chosen, :, : self._seen]


class TextReader:
    """Reads texts, each in its own row, and tells how the model goes on.

    Which rows share a pass changes the order of floating-point sums and nothing else: probabilities agree to rounding.

    Args:
        network: The model.
        rows: Number of texts.
        vocabulary: Tokens that can come; logits beyond them are padding.
        temperature: Divides the logits; above 0.

    Attributes:
        context: Tokens that the longest text can have.
        length: Tokens read of each text.
        vocabulary: As given.
    """

    def __init__(self, network: PreTrainedModel, rows: int, vocabulary: int, temperature: float = 1.0) -> None:
        if not temperature > 0.0:
            raise ValueError(f"temperature must be a number above 0, got {temperature!r}")
        self._network = network
        self.vocabulary = vocabulary
        self._temperature = temperature
        self._cache = _RowCache(rows)
        self.context = longest_text(network)
        self.length = [0] * rows

    def read(self, rows: Sequence[int], tokens: Sequence[Sequence[int]]) -> list[FloatArray]:
        """Reads on in some of the texts.

        Args:
            rows: The texts.
            tokens: The tokens that follow in each, at least one.

        Returns:
            For each of the texts, the distribution of the next token behind each token read, (tokens, vocabulary).

        Raises:
            ValueError: A text is longer than the model's context.
        """
        logits = self._pass(rows, tokens, max(map(len, tokens)))
        found = torch.softmax(logits[..., : self.vocabulary].double() / self._temperature, dim=-1).cpu().numpy()
        return [distributions[: len(new)] for distributions, new in zip(found, tokens, strict=True)]

    def skim(self, rows: Sequence[int], tokens: Sequence[Sequence[int]]) -> None:
        """Reads on in some of the texts without telling how they go on: for prompts. As :meth:`read` otherwise."""
        self._pass(rows, tokens, 1)

    def forget(self, row: int, length: int) -> None:
        """Cuts a text to its first tokens; it may be shorter already."""
        self.length[row] = min(self.length[row], length)

    def _pass(self, rows: Sequence[int], tokens: Sequence[Sequence[int]], logits_to_keep: int) -> torch.Tensor:
        start = np.array([self.length[row] for row in rows])
        count = np.array([len(new) for new in tokens])
        if np.any(start + count > self.context):
            raise ValueError(
                f"a text must have at most {self.context} tokens, the context of the model, got {np.max(start + count)}"
            )
        padded = np.zeros((len(rows), count.max()), dtype=np.int64)
        for line, new in zip(padded, tokens, strict=True):
            line[: len(new)] = new
        device = self._network.device
        columns = torch.from_numpy(start[:, np.newaxis] + np.arange(count.max())).to(device)
        self._cache.aim(torch.tensor(rows, device=device), columns)
        seen = torch.arange(int(columns.max()) + 1, device=device) <= columns[:, :, np.newaxis]
        forbidden = torch.finfo(self._network.dtype).min
        mask = torch.zeros(seen.shape, dtype=self._network.dtype, device=device).masked_fill(~seen, forbidden)
        with torch.inference_mode():
            logits = self._network(
                input_ids=torch.from_numpy(padded).to(device),
                attention_mask=mask[:, np.newaxis],
                # Padding must not ask for positions that the model does not have.
                position_ids=columns.clamp(max=self.context - 1),
                past_key_values=self._cache,
                use_cache=True,
                logits_to_keep=logits_to_keep,
            ).logits
        for row, new in zip(rows, tokens, strict=True):
            self.length[row] += len(new)
        return logits


def longest_text(network: PreTrainedModel) -> int:
    """Tokens that a model can read: its positions, and no more than a sliding window where it has one.

    Raises:
        ValueError: The model keeps a running state, which cannot forget rejected drafts.
    """
    config = network.config.get_text_config()
    kinds = getattr(config, "layer_types", None)
    positions = getattr(config, "max_position_embeddings", None)
    if positions is None or not set(kinds or ()) <= {"full_attention", "sliding_attention"}:
        raise ValueError(
            f"model {network.name_or_path!r} cannot draft or verify: its layers must be full or sliding attention over "
            f"a known number of positions, got {', '.join(sorted(set(kinds or ()))) or config.model_type}; a running "
            "state cannot forget rejected drafts"
        )
    window = getattr(config, "sliding_window", None)
    if window and (kinds is None or "sliding_attention" in kinds):
        return int(min(positions, window))
    return int(positions)
