"""What a pair of models must have in common, and whether a model reads side by side as it does alone: tried at load.

A reader asks of a model what not every one gives: keys and values that can be cut back, and that neither other texts of
the batch nor padding change what a text is read as. Architectures are too many to be listed, so each model reads a short
text in every way that is asked of it later, and must give the same distributions each time.

The cost is some fourteen passes of at most twelve tokens, and a cache of two rows and 256 columns. Only a model whose configuration names a window that
:func:`~multispin_env.speculative.reader.longest_text` does not know reads a text longer than that window, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from multispin_env.speculative.reader import NoDistributionError, TextReader
from multispin_env.speculative.sampling import FloatArray

# Total variation by which a model's distributions may differ between ways of reading a text: well above the rounding
# of 16-bit floats, well below what a wrong mask or wrong positions do.
_TOLERANCE = 0.05
_TOKENS = 12
# Columns of the cache at which a longer text ends that stands beside.
_FAR_COLUMNS = 256
_WINDOW_NAMES = re.compile("window|chunk|local|span|block_size")
_KNOWN_WINDOWS = ("sliding_window", "window_size", "max_window_layers")


def check_same_tokens(
    draft: PreTrainedTokenizerBase, target: PreTrainedTokenizerBase, draft_name: str, target_name: str
) -> None:
    """Whether the tokenizers give every token the same number.

    Raises:
        ValueError: They do not; the first such token is named.
    """
    ours, theirs = draft.get_vocab(), target.get_vocab()
    if ours == theirs:
        return
    token = min(token for token in {*ours, *theirs} if ours.get(token) != theirs.get(token))
    raise ValueError(
        f"draft and target must share a tokenizer, but that of draft {draft_name!r} has {len(ours)} tokens and that of "
        f"target {target_name!r} {len(theirs)}; {token!r}, for one, is number {ours.get(token)} and {theirs.get(token)}"
    )


def check_embedding(network: PreTrainedModel, vocabulary: int, name: str) -> None:
    """Whether a model can read every token that a text can have.

    Args:
        network: The model.
        vocabulary: Tokens that the target can write.
        name: What the error calls the model.

    Raises:
        ValueError: It cannot.
    """
    rows = embedded_tokens(network)
    if rows < vocabulary:
        raise ValueError(
            f"{name} cannot be used: it can read {rows} different tokens, and texts have {vocabulary}, as many as the "
            "target can write of those that the tokenizer has"
        )


def embedded_tokens(network: PreTrainedModel) -> int:
    """Number of different tokens that a model can read."""
    embedding = network.get_input_embeddings()
    return int(getattr(embedding, "num_embeddings", network.config.get_text_config().vocab_size))


def check_reading(network: PreTrainedModel, new_reader: Callable[[int], TextReader], name: str) -> None:
    """Whether the model reads a text the same way in every way that a reader asks of it.

    The measure is a plain pass over the text alone and at once, without mask, positions or cache.

    Args:
        network: The model.
        new_reader: Makes a reader of the model with so many rows.
        name: What errors call the model.

    Raises:
        ValueError: It does not, it fails in one of these ways, or it gives no distribution.
    """
    context, vocabulary = new_reader(1).context, new_reader(1).vocabulary
    count = min(_TOKENS, context)
    windows = [window for window in _unknown_windows(network) if window < context - count]
    far = min(context, max([_FAR_COLUMNS, *windows]))
    trials: list[tuple[str, Callable[[], tuple[FloatArray, FloatArray]]]] = [
        ("in pieces, behind rejected drafts and beside another text", lambda: _in_pieces(network, new_reader(2), count)),
        ("beside one at other positions", lambda: _beside_other_positions(network, new_reader(1), count)),
        ("beside a longer one", lambda: _beside_a_longer_text(network, new_reader(2), count, far)),
    ]
    if windows:
        longer = max(windows) + count
        trials.append((f"of {longer} tokens in pieces", lambda: _in_pieces(network, new_reader(2), longer)))
    for how, trial in trials:
        try:
            found, expected = trial()
        except NoDistributionError as error:
            raise ValueError(f"{name} cannot be used: {error}") from error
        except Exception as error:  # whatever an architecture raises that was not made for this
            raise ValueError(
                f"{name} cannot be used: to read a text {how} ends with {type(error).__name__}: {error}"
            ) from error
        if found.shape[-1] < vocabulary:
            raise ValueError(
                f"{name} cannot be used: it tells of {found.shape[-1]} tokens how probable they are, and texts have "
                f"{vocabulary}"
            )
        difference = 0.5 * float(np.max(np.sum(np.abs(found - expected), axis=-1)))
        if difference > _TOLERANCE:
            raise ValueError(
                f"{name} cannot be used: it reads a text {how} otherwise than alone and at once (its distributions "
                f"differ by up to {difference:.2f} in total variation)"
            )


def _in_pieces(network: PreTrainedModel, reader: TextReader, count: int) -> tuple[FloatArray, FloatArray]:
    """A text in both rows, by different pieces, each with drafts in between that are rejected."""
    text = _text(reader, count)
    found: tuple[list[FloatArray], list[FloatArray]] = ([], [])
    for stops in ((2, 1), (5, 1), (6, 7), (count, 8), (count, count)):
        rows = [row for row in range(2) if reader.length[row] < min(stops[row], count)]
        new = [text[reader.length[row] : stops[row]] for row in rows]
        for row, distributions in zip(rows, reader.read(rows, new) if rows else (), strict=True):
            found[row].append(distributions)
        kept = list(reader.length)
        room = min(3, reader.context - max(kept))
        if room > 0:
            reader.read([1, 0], [text[:room], text[-1:]])
        for row in range(2):
            reader.forget(row, kept[row])
    expected = _alone(network, reader, text)
    return np.stack([np.concatenate(pieces) for pieces in found]), np.stack([expected, expected])


def _beside_other_positions(
    network: PreTrainedModel, reader: TextReader, count: int
) -> tuple[FloatArray, FloatArray]:
    """A text in a batch with one at the last of the model's positions, without a cache: so it costs no memory."""
    text = _text(reader, count)
    positions = torch.arange(count) + torch.tensor([[0], [reader.context - count]])
    hidden = torch.full((count, count), torch.finfo(network.dtype).min, dtype=network.dtype).triu(1)
    with torch.inference_mode():
        logits = network(
            input_ids=torch.tensor([text, text], device=network.device),
            attention_mask=hidden.expand(2, 1, count, count).to(network.device),
            position_ids=positions.to(network.device),
        ).logits
    return reader.distributions(logits[0]), _alone(network, reader, text)


def _beside_a_longer_text(
    network: PreTrainedModel, reader: TextReader, count: int, far: int
) -> tuple[FloatArray, FloatArray]:
    """A text in a batch with one that ends at the column ``far``; what that one says, or has read, is of no account."""
    text = _text(reader, count)
    reader.length[1] = far - count
    found = reader.read([0, 1], [text, text])[0]
    return found, _alone(network, reader, text)


def _alone(network: PreTrainedModel, reader: TextReader, text: list[int]) -> FloatArray:
    with torch.inference_mode():
        logits = network(input_ids=torch.tensor([text], device=network.device)).logits
    return reader.distributions(logits[0])


def _text(reader: TextReader, count: int) -> list[int]:
    """Tokens from all over the vocabulary."""
    tokens: list[int] = np.random.default_rng(0).integers(reader.vocabulary, size=count).tolist()
    return tokens


def _unknown_windows(network: PreTrainedModel) -> Iterator[int]:
    """Numbers of a model's configuration that may be lengths from which on it reads otherwise."""
    for name, value in network.config.get_text_config().to_dict().items():
        if isinstance(value, int) and value > 1 and _WINDOW_NAMES.search(name) and name not in _KNOWN_WINDOWS:
            yield value
