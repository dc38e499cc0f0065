"""The command ``multispin fit``."""

from __future__ import annotations

from pathlib import Path

import tyro
from rich.console import Console

from multispin_train.display import CommandProgress
from multispin_train.fit.learning_curve import best_rows
from multispin_train.fit.training import Training, train


def fit(training: tyro.conf.OmitArgPrefixes[Training], output: Path) -> None:
    """Trains agents on one scenario.

    Trains an agent per seed and evaluates it as it learns, beside the heterogeneous and the predictive controller, on
    seeds that no benchmark uses. Writes results.csv (the evaluations), learning_curve.png and, for each seed, the best
    policy with its card in DIR/policies, which benchmark --policy takes. tensorboard --logdir DIR shows the losses,
    rewards and evaluations as they come. Run again with the same arguments to go on after an interruption: the result
    is the same. Networks bring observations to about unit size by fixed constants, and rewards come so, hence a policy
    needs no statistics beside it.

    Example: multispin fit --scenario mobile --seeds 3 --output runs/fit-mobile

    Args:
        training: What is trained.
        output: A new folder, or one to go on with.

    Raises:
        FileExistsError: The folder holds something else.
        KeyboardInterrupt: It was interrupted; the message says what was kept.
    """
    console = Console()
    folder = training.open_folder(output)
    with CommandProgress(console) as progress:
        rows = train(training, folder, progress)
    for row in best_rows(rows):
        console.print(
            f"{row.controller:<16}{row.goodput_tok_s:7.1f} tok/s {100.0 * row.gain:+6.1f} % over heterogeneous",
            highlight=False,
        )
    for what, where in (("learning curve", "learning_curve.png"), ("policies", "policies")):
        console.print(f"{what}: {output / where}", highlight=False, markup=False, soft_wrap=True)
