"""The command ``multispin tiny-pair``: a byte-level target and a draft distilled from it, made in minutes.

The pair lives in ``multispin_env/speculative/tiny``, so that tests and the scenario ``live`` need no hub.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import torch
import transformers
from rich.console import Console
from rich.progress import Progress
from transformers import LlamaConfig, LlamaForCausalLM

import multispin_env
from multispin_env.evaluation.results import ResultsFolder
from multispin_env.files import write_atomically
from multispin_train.display import CommandProgress
from multispin_train.tiny_pair.corpus import (
    Corpus,
    byte_tokenizer,
    even_windows,
    standard_library,
    token_stream,
    write_prompts,
)
from multispin_train.tiny_pair.recipe import Recipe, Shape
from multispin_train.tiny_pair.training import (
    CurveRow,
    Training,
    acceptance,
    cross_entropy,
    divergence,
    mean_over_windows,
    train,
)

_EVALUATION_WINDOWS = 64


def tiny_pair(output: Path) -> None:
    """Trains the byte-level pair that the package carries.

    Trains a byte-level target on the functions of Python's standard library and distils a draft from it: some 25
    minutes on one core. Writes results.csv (held-out loss and acceptance, as they come) and the pair with its card in
    DIR/pair. Run again with the same arguments to go on after an interruption.

    Example: multispin tiny-pair --output runs/tiny

    Args:
        output: A new folder, or one to go on with.

    Raises:
        FileExistsError: The folder holds something else.
    """
    console = Console()
    with CommandProgress(console) as progress:
        console.print_json(data=train_tiny_pair(output, progress))
    console.print(f"pair: {output / 'pair'}", highlight=False, markup=False, soft_wrap=True)


def train_tiny_pair(output: Path, progress: Progress, recipe: Recipe | None = None) -> dict[str, Any]:
    """Trains the target, distils the draft from it, and writes both.

    Args:
        output: ``results.csv`` and the checkpoints go here, and the finished pair into ``pair``: the folders
            ``target`` and ``draft``, ``prompts.jsonl`` and ``card.json``. Of an interrupted training, the rest.
        progress: Where to show how far it is.
        recipe: How the pair is made; by default as the committed one was.

    Returns:
        The card.
    """
    recipe = recipe or Recipe()
    corpus = standard_library()
    folder = ResultsFolder(
        output,
        {"recipe": asdict(recipe), "corpus": corpus.digest},
        CurveRow,
        unique=("model", "step"),
        allowed={"model": ("target", "draft")},
    )
    tokenizer = byte_tokenizer()
    text = token_stream(tokenizer, corpus.kept)
    evaluation = even_windows(token_stream(tokenizer, corpus.held_out), recipe.window, _EVALUATION_WINDOWS)

    def batches(salt: int) -> Callable[[int], torch.Tensor]:
        def batch(step: int) -> torch.Tensor:
            start = np.random.default_rng([recipe.seed, salt, step]).integers(
                len(text) - recipe.window, size=(recipe.windows, 1)
            )
            return torch.from_numpy(text[start + np.arange(recipe.window)])

        return batch

    target = _network(recipe.target, recipe, len(tokenizer))
    target_batch, draft_batch = batches(0), batches(1)
    train(
        Training("target", target, recipe.target_steps, recipe.target_learning_rate),
        lambda step: cross_entropy(target, target_batch(step)),
        lambda step: CurveRow(
            "target", step, mean_over_windows(lambda windows: cross_entropy(target, windows), evaluation), 0.0
        ),
        folder,
        progress,
    )
    # Distilled from the target as it is stored.
    target.half().float()  # type: ignore[no-untyped-call]

    draft = _network(recipe.draft, recipe, len(tokenizer))

    def distil(step: int) -> torch.Tensor:
        windows = draft_batch(step)
        if step < recipe.draft_steps - recipe.total_variation_steps:
            return divergence(draft, target, windows)
        return 1.0 - acceptance(draft, target, windows)

    def evaluated(step: int) -> CurveRow:
        loss = mean_over_windows(lambda windows: cross_entropy(draft, windows), evaluation)
        return CurveRow(
            "draft", step, loss, mean_over_windows(lambda windows: acceptance(draft, target, windows), evaluation)
        )

    train(Training("draft", draft, recipe.draft_steps, recipe.draft_learning_rate), distil, evaluated, folder, progress)
    networks = {"target": target, "draft": draft}
    pair = output / "pair"
    for name, network in networks.items():
        network.half().save_pretrained(pair / name)  # type: ignore[no-untyped-call]
        tokenizer.save_pretrained(pair / name)
    write_prompts(pair / "prompts.jsonl", corpus.held_out, recipe.prompts_per_task, np.random.default_rng(recipe.seed))
    card = _card(recipe, corpus, networks, folder.rows())
    write_atomically(pair / "card.json", json.dumps(card, indent=2) + "\n")
    return card


def _card(
    recipe: Recipe, corpus: Corpus, networks: Mapping[str, LlamaForCausalLM], rows: Sequence[CurveRow]
) -> dict[str, Any]:
    """What the pair is, for whoever finds it."""
    last = {row.model: row for row in rows}
    return {
        "command": "multispin tiny-pair --output DIR",
        "how": "Both models are trained from random weights and stored as 16-bit floats. The target learns the "
        "corpus by cross-entropy. The draft learns the target's distribution on the same corpus, by "
        "Kullback-Leibler divergence and then by total variation. A token is a byte.",
        "corpus": {
            "text": f"{corpus.modules} top-level modules of the standard library of Python "
            f"{platform.python_version()} (PSF licence), in functions; every tenth module is held out",
            "sha256": corpus.digest,
        },
        "recipe": asdict(recipe),
        "parameters": {name: network.num_parameters() for name, network in networks.items()},
        "held_out": {
            "loss_nats_per_byte": {name: last[name].loss_nats for name in networks},
            "acceptance": last["draft"].acceptance,
        },
        "versions": {
            "python": platform.python_version(),
            "multispin_env": multispin_env.__version__,
            "numpy": np.__version__,
            "tokenizers": tokenizers.__version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }


def _network(shape: Shape, recipe: Recipe, vocabulary: int) -> LlamaForCausalLM:
    torch.manual_seed(recipe.seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=shape.hidden,
            num_hidden_layers=shape.layers,
            intermediate_size=shape.intermediate,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.heads,
            max_position_embeddings=recipe.window,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=vocabulary - 1,
        )
    )
