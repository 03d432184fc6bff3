"""A choice between strategies, some of which are more likely than others."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st


def weighted(*branches: tuple[int, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    """Draw from one of the strategies. A strategy's weight says how likely it is."""
    tickets = [branch for weight, branch in branches for _ in range(weight)]
    return st.integers(0, len(tickets) - 1).flatmap(lambda ticket: tickets[ticket])
