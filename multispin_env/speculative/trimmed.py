"""A Llama that can only say the tokens of a list: small language models spend most of their time on unlikely tokens."""

from __future__ import annotations

import functools
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM
from transformers.modeling_outputs import CausalLMOutputWithPast


class TrimmedLlamaConfig(LlamaConfig):  # type: ignore[no-untyped-call]
    """That of a Llama, and how many tokens it can say.

    Attributes:
        head_size: Number of tokens that the model can say.
    """

    model_type = "trimmed_llama"

    head_size: int = 4096


class TrimmedLlamaForCausalLM(LlamaForCausalLM):  # type: ignore[no-untyped-call]
    """A Llama whose head has a row for some tokens only; it reads all of them.

    The logits are over the whole vocabulary, minus infinity at tokens that it cannot say. As a draft model it stays
    lossless: what a draft never proposes, the server's corrections do (eq. 5).

    Importing this module makes ``AutoModelForCausalLM`` load such models.
    """

    config_class = TrimmedLlamaConfig
    _tied_weights_keys: dict[str, str] = {}  # noqa: RUF012 - Transformers' own is declared so

    head_tokens: torch.Tensor
    """The tokens it can say, in the order of the head's rows, shape (head_size,)."""

    def __init__(self, config: TrimmedLlamaConfig) -> None:
        super().__init__(config)
        self.lm_head = torch.nn.Linear(config.hidden_size, config.head_size, bias=False)
        self.register_buffer("head_tokens", torch.arange(config.head_size))
        self.post_init()  # type: ignore[no-untyped-call]

    # Readers ask for the names of its arguments.
    @functools.wraps(LlamaForCausalLM.forward)
    def forward(self, *args: Any, **kwargs: Any) -> CausalLMOutputWithPast:  # type: ignore[override]
        """That of a Llama, without ``labels``."""
        output = super().forward(*args, **kwargs)
        logits = output.logits.new_full((*output.logits.shape[:-1], self.config.vocab_size), -torch.inf)
        output.logits = logits.index_copy(-1, self.head_tokens, output.logits)
        return output


AutoConfig.register(TrimmedLlamaConfig.model_type, TrimmedLlamaConfig)
AutoModelForCausalLM.register(TrimmedLlamaConfig, TrimmedLlamaForCausalLM)


def cut(target: LlamaForCausalLM, layers: tuple[int, ...], tokens: torch.Tensor) -> TrimmedLlamaForCausalLM:
    """A model of some of a Llama's layers and the head's rows of some tokens, with its weights.

    Args:
        target: The Llama.
        layers: Which of its layers, in order.
        tokens: The tokens that the model can say, different ones.

    Raises:
        ValueError: The target has no such layer.
    """
    depth = target.config.num_hidden_layers
    if not layers or not all(0 <= layer < depth for layer in layers):
        raise ValueError(f"layers must be some of the target's, 0 to {depth - 1}, got {layers}")
    values = target.config.to_dict()
    values.update(num_hidden_layers=len(layers), head_size=len(tokens), tie_word_embeddings=False)
    for name in ("model_type", "architectures", "quantization_config", "_name_or_path", "layer_types"):
        values.pop(name, None)
    model = TrimmedLlamaForCausalLM(TrimmedLlamaConfig(**values))
    theirs = target.model.state_dict()
    ours = {name: value for name, value in theirs.items() if not name.startswith("layers.")}
    for index, layer in enumerate(layers):
        prefix = f"layers.{layer}."
        ours |= {
            name.replace(prefix, f"layers.{index}.", 1): value
            for name, value in theirs.items()
            if name.startswith(prefix)
        }
    model.model.load_state_dict(ours)
    with torch.no_grad():
        model.lm_head.weight.copy_(target.lm_head.weight[tokens])
        model.head_tokens.copy_(tokens)
    return model
