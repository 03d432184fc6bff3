"""A one-time token: of all who redeem it at once one gets what it stands for."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from django_persist import Store, persist, stores
from testproject.site.page import NOTE
from testproject.site.recipes.one_time_token import INVALID, OneTimeToken
from tests.processes import race
from tests.recipes.asking import EIGHT, threads
from tests.recipes.conftest import Passes

INVITE = OneTimeToken("invite", as_=int, expires=timedelta(minutes=10))
EACH = 1_667
"""Tokens raced for on each of the six stores: 10,000 together."""


def redeem(i: int, tokens: list[str]) -> list[int]:
    """Return what was got for the tokens, some of them tried at the same moment as by others."""
    got = (INVITE.redeem(stores["default"], token) for token in tokens)
    return [value for value in got if value is not None]


def assert_each_was_redeemed_once(got: list[list[int]]) -> None:
    assert Counter(value for each in got for value in each) == Counter(range(EACH))
    assert sum(1 for each in got if each) > 1, "it was no race"
    assert persist.count("token:") == 0


def issued(store: Store) -> list[str]:
    return [INVITE.issue(store, number) for number in range(EACH)]


def test_ten_thousand_tokens_that_eight_processes_race_for_are_each_redeemed_once(
    shared_store: Store,
) -> None:
    tokens = issued(shared_store)
    assert_each_was_redeemed_once(race(redeem, tokens, processes=EIGHT))


def test_tokens_that_eight_threads_race_for_are_each_redeemed_once(open_store: Any) -> None:
    tokens = issued(open_store("memory"))
    assert_each_was_redeemed_once(threads(redeem, tokens))


def test_the_store_does_not_know_the_token(store: Store) -> None:
    token = INVITE.issue(store, 7)
    [(key, item)] = store.items()
    assert token not in key + repr(item)
    assert INVITE.redeem(store, key.rpartition(":")[2]) is None
    assert INVITE.redeem(store, token) == 7


def test_a_token_is_good_for_its_purpose_alone(store: Store) -> None:
    token = INVITE.issue(store, 7)
    reset = OneTimeToken("reset", as_=int, expires=timedelta(minutes=10))
    assert reset.redeem(store, token) is None
    assert not reset.is_redeemable(store, token)
    assert INVITE.is_redeemable(store, token)
    assert INVITE.redeem(store, token) == 7
    assert not INVITE.is_redeemable(store, token)


def test_a_token_ends(store: Store, passes: Passes) -> None:
    token = INVITE.issue(store, 7)
    passes(599)
    assert INVITE.is_redeemable(store, token)
    passes(2)
    assert INVITE.redeem(store, token) is None


def test_a_token_can_be_revoked(store: Store) -> None:
    token = INVITE.issue(store, 7)
    assert INVITE.revoke(store, token)
    assert INVITE.redeem(store, token) is None


@pytest.mark.parametrize("token", ["", "a" * 10_000, "\0", "é", "\ud800", "a:b"])
def test_what_is_no_token_redeems_nothing(open_store: Any, token: str) -> None:
    assert INVITE.redeem(open_store("memory"), token) is None


def test_all_are_told_the_same(store: Store, client: Client, passes: Passes) -> None:
    """The used, the ended and the invented token have one answer."""
    used, ended = NOTE.issue(store, "a"), NOTE.issue(store, "b")
    assert client.post(f"/links/{used}").status_code == 200
    passes(3601)
    pages = [client.post(f"/links/{token}") for token in (used, ended, "invented")]
    assert {page.status_code for page in pages} == {410}
    assert all(INVALID in page.text for page in pages)
    assert len({page.text for page in pages}) == 1
