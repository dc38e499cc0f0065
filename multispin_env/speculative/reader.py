"""A causal language model that reads the texts of several users at once.

Each user's text has its own row of one cache of keys and values, from column 0 on: the cache is padded behind its
texts, never inside. A forward pass writes each row's new tokens behind the row's end, wherever that is, and a query
sees the columns up to its own position. So rows of any lengths share a batch, shorter inputs are padded with tokens
behind the row's end, which nothing sees and the next tokens overwrite, and forgetting rejected drafts means setting
a row's length back.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from transformers import Cache, PreTrainedConfig, PreTrainedModel

from multispin_env.speculative.sampling import FloatArray

_FIRST_COLUMNS = 64


class NoDistributionError(ValueError):
    """Logits that stand for no distribution.

    Attributes:
        place: The first token behind which they do not, counted from 0.
    """

    def __init__(self, complaint: str, place: int) -> None:
        super().__init__(complaint)
        self.place = place

    def __str__(self) -> str:
        return f"{super().__str__()}, behind token {self.place}"


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
        temperature: Divides the logits, in [1e-6, 1e6].
        unknown_tokens: Tokens among these that cannot come, as the tokenizer has none of that number.
        name: What errors call the model; by default, where it was loaded from.

    Attributes:
        context: Tokens that the longest text can have.
        length: Tokens read of each text.
        vocabulary: As given.
    """

    def __init__(
        self,
        network: PreTrainedModel,
        rows: int,
        vocabulary: int,
        temperature: float = 1.0,
        unknown_tokens: Sequence[int] = (),
        name: str | None = None,
    ) -> None:
        check_temperature(temperature)
        self._network = network
        self._name = name or f"model {network.name_or_path!r}"
        self.vocabulary = vocabulary
        self._unknown_tokens = list(unknown_tokens)
        self._temperature = temperature
        self._cache = _RowCache(rows)
        self._cache_argument = cache_argument(network)
        self._can_skip_logits = "logits_to_keep" in inspect.signature(network.forward).parameters
        self.context = longest_text(network)
        self.length = [0] * rows

    def forward(self, rows: Sequence[int], tokens: Sequence[Sequence[int]]) -> list[FloatArray]:
        """Reads on in some of the texts.

        Args:
            rows: The texts.
            tokens: The tokens that follow in each, at least one.

        Returns:
            For each of the texts, the distribution of the next token behind each token read, (tokens, vocabulary).

        Raises:
            ValueError: A text is longer than the model's context.
            NoDistributionError: A logit is NaN or infinity, or all behind a token are minus infinity.
        """
        before = [self.length[row] for row in rows]
        counts = [len(new) for new in tokens]
        found = self._pass(rows, tokens, max(counts))
        # All in one piece, but only what stands behind tokens: behind padding there may be anything.
        logits = torch.cat([lines[:count] for lines, count in zip(found, counts, strict=True)])
        try:
            distributions = self.distributions(logits)
        except NoDistributionError as error:
            ends = np.cumsum(counts)
            which = int(np.searchsorted(ends, error.place, side="right"))
            place = before[which] + error.place - int(ends[which] - counts[which])
            for row, length in zip(rows, before, strict=True):
                self.truncate(row, length)
            raise NoDistributionError(f"{error.args[0]}, in text {rows[which]}", place) from None
        return np.split(distributions, np.cumsum(counts)[:-1])

    def distributions(self, logits: torch.Tensor) -> FloatArray:
        """The distributions that logits stand for, at the reader's temperature and over its vocabulary.

        Args:
            logits: (places, any width).

        Returns:
            (places, vocabulary), or narrower where the logits are.

        Raises:
            NoDistributionError: A logit is NaN or infinity, or all of a place are minus infinity.
        """
        logits = logits[:, : self.vocabulary].double()
        if self._unknown_tokens:
            logits = logits.index_fill(-1, torch.tensor(self._unknown_tokens, device=logits.device), -torch.inf)
        found = torch.softmax(logits / self._temperature, dim=-1)
        if bool(found[:, 0].isnan().any()):  # one entry of a distribution tells of all
            place = int(found[:, 0].isnan().nonzero()[0])
            largest = float(logits[place].amax())
            what = "all logits are -inf" if largest == -math.inf else f"a logit must be finite or -inf, got {largest}"
            raise NoDistributionError(f"{self._name} has no distribution: {what}", place)
        return found.cpu().numpy()

    def prefill(self, rows: Sequence[int], tokens: Sequence[Sequence[int]]) -> None:
        """Reads on in some of the texts without telling how they go on: for prompts. As :meth:`forward` otherwise."""
        self._pass(rows, tokens, 1)

    def truncate(self, row: int, length: int) -> None:
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
        arguments: dict[str, Any] = {self._cache_argument: self._cache}
        if self._can_skip_logits:
            arguments["logits_to_keep"] = logits_to_keep
        with torch.inference_mode():
            logits = self._network(
                input_ids=torch.from_numpy(padded).to(device),
                attention_mask=mask[:, np.newaxis],
                # Padding must not ask for positions that the model does not have.
                position_ids=columns.clamp(max=self.context - 1),
                use_cache=True,
                **arguments,
            ).logits
        for row, new in zip(rows, tokens, strict=True):
            self.length[row] += len(new)
        return logits


def check_temperature(temperature: float) -> None:
    """Whether logits can be divided by it.

    Raises:
        ValueError: They cannot: it is not in [1e-6, 1e6].
    """
    if not 1e-6 <= temperature <= 1e6:
        raise ValueError(f"temperature must be a number in [1e-6, 1e6], got {temperature!r}")


def cache_argument(network: PreTrainedModel) -> str:
    """What the model's ``forward`` calls its keys and values: ``cache``, and ``past_key_values`` in older Transformers.

    Raises:
        ValueError: It takes none.
    """
    parameters = inspect.signature(network.forward).parameters
    for name in ("cache", "past_key_values"):
        if name in parameters:
            return name
    raise ValueError(
        f"model {network.name_or_path!r} cannot draft or verify: a {network.config.model_type} keeps no keys and "
        "values of what it has read"
    )


def longest_text(network: PreTrainedModel) -> int:
    """Tokens that a model can read as it would alone and at once.

    These are its positions, less where it has a window of attention, as all of a text must be in it, or a length from
    which on it turns its positions otherwise (dynamic and long RoPE), which the shorter texts of a batch must not feel.

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
    limits = [positions, *_rope_switches(config)]
    if kinds is None or "sliding_attention" in kinds:
        limits.append(getattr(config, "sliding_window", None))
    if "local" in getattr(config, "attention_layers", ()):  # GPT-Neo
        limits.append(getattr(config, "window_size", None))
    return min(int(limit) for limit in limits if limit)


def _rope_switches(config: PreTrainedConfig) -> Iterator[int | None]:
    """Lengths at which a model changes the frequencies of its rotary positions, for all of a batch."""
    parameters = getattr(config, "rope_parameters", None) or {}
    for rope in (parameters, *parameters.values()):  # of the model, or of each type of layer
        if isinstance(rope, dict) and rope.get("rope_type") in ("dynamic", "longrope"):
            yield rope.get("original_max_position_embeddings")
            yield getattr(config, "original_max_position_embeddings", None)
