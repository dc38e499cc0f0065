"""What a pair of models must have in common, and whether a model reads side by side as it does alone: tried at load.

A reader asks of a model what not every one gives: keys and values that can be cut back, and that neither other texts of
the batch nor padding change how a text is read. Architectures are too many to be listed, so each model reads a short
text in every way that is asked of it later, and must give the same distributions each time.

The cost is seven passes of at most twelve tokens, one of them over 256 columns of cache. Only a model whose
configuration names a window that :func:`~multispin_env.speculative.reader.longest_text` does not know reads a text
longer than that window, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

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
        ValueError: They do not, and the first such token is named, or they have none.
    """
    ours, theirs = draft.get_vocab(), target.get_vocab()
    if not theirs:
        raise ValueError(f"target {target_name!r} cannot be used: its tokenizer has no tokens")
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
    short = _text(vocabulary, count)
    ways: dict[str, Callable[[], FloatArray]] = {
        "in pieces, behind rejected drafts and beside another text": lambda: _in_pieces(new_reader(2), short),
        "beside one at other positions": lambda: _beside_other_positions(network, new_reader(1), short),
        "beside a longer one": lambda: _beside_a_longer_text(new_reader(2), short, far),
    }
    _compare(name, "", lambda: _alone(network, new_reader(1), short), ways)
    if windows:
        longer = _text(vocabulary, max(windows) + count)
        ways = {"in pieces": lambda: _in_pieces(new_reader(2), longer)}
        _compare(name, f" of {len(longer)} tokens", lambda: _alone(network, new_reader(1), longer), ways)


def _compare(
    name: str, which: str, alone: Callable[[], FloatArray], ways: Mapping[str, Callable[[], FloatArray]]
) -> None:
    expected = _tried(name, f"a text{which} alone", alone)
    for how, way in ways.items():
        found = _tried(name, f"a text{which} {how}", way)
        difference = 0.5 * float(np.max(np.sum(np.abs(found - expected), axis=-1)))
        if difference > _TOLERANCE:
            raise ValueError(
                f"{name} cannot be used: it reads a text{which} {how} otherwise than alone and at once (its "
                f"distributions differ by up to {difference:.2f} in total variation)"
            )


def _tried(name: str, how: str, way: Callable[[], FloatArray]) -> FloatArray:
    try:
        return way()
    except NoDistributionError as error:
        raise ValueError(f"{name} cannot be used: {error}") from error
    except Exception as error:  # whatever an architecture raises that was not made for this
        raise ValueError(f"{name} cannot be used: to read {how} ends with {type(error).__name__}: {error}") from error


def _alone(network: PreTrainedModel, reader: TextReader, text: list[int]) -> FloatArray:
    with torch.inference_mode():
        logits = network(input_ids=torch.tensor([text], device=network.device)).logits
    return reader.distributions(logits[0])


def _in_pieces(reader: TextReader, text: list[int]) -> FloatArray:
    """A text in both rows, by different pieces, and drafts in between that are rejected."""
    found: tuple[list[FloatArray], list[FloatArray]] = ([], [])
    for stops in ((2, 1), (6, 7), (len(text), len(text))):
        rows = [row for row in range(2) if reader.length[row] < min(stops[row], len(text))]
        if not rows:
            continue
        new = [text[reader.length[row] : stops[row]] for row in rows]
        for row, distributions in zip(rows, reader.forward(rows, new), strict=True):
            found[row].append(distributions)
        kept = list(reader.length)
        if max(kept) <= min(2, reader.context - 3):
            reader.forward([1, 0], [[text[-1]] * 3, text[:1]])
            for row in range(2):
                reader.truncate(row, kept[row])
    return np.stack([np.concatenate(pieces) for pieces in found])


def _beside_other_positions(network: PreTrainedModel, reader: TextReader, text: list[int]) -> FloatArray:
    """A text in a batch with one at the last of the model's positions, without a cache: so it costs no memory."""
    count = len(text)
    positions = torch.arange(count) + torch.tensor([[0], [reader.context - count]])
    hidden = torch.full((count, count), torch.finfo(network.dtype).min, dtype=network.dtype).triu(1)
    with torch.inference_mode():
        logits = network(
            input_ids=torch.tensor([text, text], device=network.device),
            attention_mask=hidden.expand(2, 1, count, count).to(network.device),
            position_ids=positions.to(network.device),
        ).logits
    return reader.distributions(logits[0])


def _beside_a_longer_text(reader: TextReader, text: list[int], far: int) -> FloatArray:
    """A text in a batch with one that ends at the column ``far``; what that one says, or has read, is of no account."""
    reader.length[1] = far - len(text)
    return reader.forward([0, 1], [text, text])[0]


def _text(vocabulary: int, count: int) -> list[int]:
    """Tokens from all over the vocabulary."""
    tokens: list[int] = np.random.default_rng(0).integers(vocabulary, size=count).tolist()
    return tokens


def _unknown_windows(network: PreTrainedModel) -> Iterator[int]:
    """Numbers of a model's configuration that may be lengths from which on it reads otherwise."""
    for name, value in network.config.get_text_config().to_dict().items():
        if isinstance(value, int) and value > 1 and _WINDOW_NAMES.search(name) and name not in _KNOWN_WINDOWS:
            yield value
