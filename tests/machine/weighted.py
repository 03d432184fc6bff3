"""A choice of which some branches come up more often than others."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st


def weighted(*branches: tuple[int, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    """Draw from one of the strategies: each so many times out of all."""
    tickets = [branch for weight, branch in branches for _ in range(weight)]
    return st.integers(0, len(tickets) - 1).flatmap(lambda ticket: tickets[ticket])
