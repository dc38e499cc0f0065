"""What a round's view shows of a user as numbers: declared once, by the component that they come from."""

from __future__ import annotations

from typing import NamedTuple


class Feature(NamedTuple):
    """An attribute of :class:`~multispin_env.core.view.RoundView` as it stands in observations.

    Attributes:
        name: The attribute, an array (num_envs, num_users) of numbers of at least 0.
        unit: What it is divided by.
        limit: Where it is cut off, before the division.
    """

    name: str
    unit: float
    limit: float
