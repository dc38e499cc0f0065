"""The command ``multispin measure``."""

from __future__ import annotations

from pathlib import Path

import tyro
from rich.console import Console

from multispin_train.display import CommandProgress
from multispin_train.measure.measurement import Measurement
from multispin_train.measure.measuring import measure_pair
from multispin_train.measure.profile import summary


def measure(measurement: tyro.conf.OmitArgPrefixes[Measurement], output: Path) -> None:
    """Measures a pair of language models.

    Runs a draft and a target model over prompts: acceptance at every position of texts that the target writes, and the
    times of drafting and verification. Writes DIR/NAME.json, which --model-pair takes, and the rows as they come; run
    again with the same arguments to go on after an interruption. Times are the machine's own, so let it do nothing else
    meanwhile.

    Example: multispin measure --name tiny --draft tiny-draft --target tiny-target --retained-entries 64
    --prompts multispin_env/speculative/tiny/prompts.jsonl --output runs/tiny

    Args:
        measurement: What is measured.
        output: A new folder, or one to go on with.

    Raises:
        ValueError: The models do not fit together, a prompt is longer than their context, or the prompts file is wrong.
        OSError: There is no such file or model, the hub cannot be reached, or the folder holds something else.
    """
    console = Console()
    with CommandProgress(console) as progress:
        file = measure_pair(measurement, output, progress)
    console.print(summary(file))
    console.print(f"profile: {file}", highlight=False, markup=False, soft_wrap=True)
