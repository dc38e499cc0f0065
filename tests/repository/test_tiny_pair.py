"""The tiny pair: what is shipped is whole, and the command makes such pairs, interrupted or not."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from multispin_train.tiny_pair import command, corpus, training
from multispin_train.tiny_pair.command import train_tiny_pair
from multispin_train.tiny_pair.corpus import Corpus
from multispin_train.tiny_pair.recipe import Recipe, Shape
from rich.progress import Progress

from multispin_env.speculative.models import TINY, load_pair, tiny_pair
from multispin_env.speculative.prompts import read_prompts

pytestmark = pytest.mark.live

SMALL = Recipe(
    target=Shape(hidden=16, layers=1, intermediate=16, heads=2),
    draft=Shape(hidden=8, layers=1, intermediate=8, heads=2),
    target_steps=6,
    draft_steps=6,
    total_variation_steps=2,
    windows=2,
    window=32,
    prompts_per_task=1,
)
FUNCTIONS = [
    "def f(x):\n    return x\n",
    'def g(x):\n    """Some words of text."""\n    return x\n',
    "def h(x):\n    y = x\n    y += 1\n    y += 2\n    return y\n",
]


@pytest.fixture(autouse=True)
def small_library(monkeypatch):
    monkeypatch.setattr(command, "standard_library", lambda: Corpus(3, "digest", 20 * FUNCTIONS, FUNCTIONS))
    monkeypatch.setattr(training, "_CHECKPOINT_STEPS", 2)


def trained(path):
    with Progress(disable=True) as progress:
        return train_tiny_pair(path, progress, SMALL)


def test_a_training_interrupted_anywhere_ends_as_the_one_that_was_not(tmp_path, monkeypatch):
    card = trained(tmp_path / "whole")
    step, calls = torch.optim.AdamW.step, []

    def interrupted(*arguments, **keywords):
        calls.append(1)
        if len(calls) in (4, 11):
            raise KeyboardInterrupt
        return step(*arguments, **keywords)

    monkeypatch.setattr(torch.optim.AdamW, "step", interrupted)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path / "cut")
    assert trained(tmp_path / "cut") == card
    for name in ("results.csv", "pair/target/model.safetensors", "pair/draft/model.safetensors", "pair/prompts.jsonl"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()

    pair = load_pair(tmp_path / "cut" / "pair" / "draft", tmp_path / "cut" / "pair" / "target")
    assert pair.target.num_parameters() == card["parameters"]["target"]
    assert [prompt.task for prompt in read_prompts(tmp_path / "cut" / "pair" / "prompts.jsonl")] == list(
        corpus.PROMPT_TASKS
    )


def test_the_library_is_cut_into_functions_that_end():
    source = (
        'import os\n\n\nclass A:\n    """Text.\n\n    More.\n    """\n\n'
        "    def f(self):\n        pass\n\n\ndef g():\n    pass\n"
    )
    assert corpus.functions(source) == [
        "import os\n",
        'class A:\n    """Text.\n\n    More.\n    """\n',
        "def f(self):\n    pass\n",
        "def g():\n    pass\n",
    ]


def test_the_shipped_pair_is_the_one_on_its_card():
    card = json.loads((TINY / "card.json").read_text(encoding="utf-8"))
    pair = tiny_pair()
    for name, network in (("target", pair.target), ("draft", pair.draft)):
        assert network.num_parameters() == card["parameters"][name]
        assert network.config.max_position_embeddings == card["recipe"]["window"]
    assert card["recipe"] == json.loads(json.dumps(dataclasses.asdict(Recipe())))
    prompts = read_prompts(TINY / "prompts.jsonl")
    assert len(prompts) == 3 * card["recipe"]["prompts_per_task"]
    assert sum(file.stat().st_size for file in TINY.rglob("*") if file.is_file()) < 1.3e6


def test_the_shipped_target_writes_python():
    pair = tiny_pair()
    reader = pair.reader(pair.target, 1)
    text = pair.encode("def __len__(self):\n    return len(se")
    (distributions,) = reader.forward([0], [text])
    assert pair.decode([int(np.argmax(distributions[-1]))]) == "l"
