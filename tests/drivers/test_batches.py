"""A batch is as large as its time allows."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest

from django_persist.drivers.batches import EXCLUSIVE_SECONDS, MOST, PAUSE, SECONDS, batches


def run(monkeypatch: pytest.MonkeyPatch, first: int, number: int, seconds_each: float) -> list[int]:
    """Return the sizes of the first batches, if deleting an entry takes some time."""
    moment = 0.0
    sizes: list[int] = []
    monkeypatch.setattr(time, "monotonic", lambda: moment)

    def delete(size: int) -> tuple[int, bool]:
        nonlocal moment
        moment += seconds_each * size
        sizes.append(size)
        return size, len(sizes) < number

    assert list(batches(first, delete)) == sizes
    return sizes


def test_what_is_quick_is_done_in_ever_larger_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, 10, 7, 0.0) == [10, 20, 40, 80, 160, 10 * MOST, 10 * MOST]


def test_what_is_slow_is_done_in_small_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, 10, 6, 1.0) == [10, 5, 2, 1, 1, 1]


@pytest.mark.parametrize("first", [1, 7, 1000])
def test_they_come_to_take_the_time_that_they_may(
    monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    each = SECONDS / (5 * first)
    assert run(monkeypatch, first, 10, each)[-1] in (5 * first - 1, 5 * first)


def test_the_last_one_is_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, 10, 1, 0.0) == [10]


def test_who_keeps_all_others_waiting_does_so_for_less_and_lets_them_in_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    moment = 0.0
    spans: list[tuple[float, float]] = []
    each = EXCLUSIVE_SECONDS / 500

    def sleep(seconds: float) -> None:
        nonlocal moment
        moment += seconds

    def delete(size: int) -> tuple[int, bool]:
        nonlocal moment
        started = moment
        moment += each * size
        spans.append((started, moment))
        return size, len(spans) < 10

    monkeypatch.setattr(time, "monotonic", lambda: moment)
    monkeypatch.setattr(time, "sleep", sleep)
    sizes = list(batches(100, delete, exclusive=True))
    assert sizes[:3] == [100, 200, 400]
    assert sizes[-1] in (499, 500)
    for (started, ended), (following, _) in pairwise(spans):
        assert following - ended == pytest.approx((ended - started) * PAUSE)
    assert moment == spans[-1][1]  # none after the last
