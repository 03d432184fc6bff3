"""The one-time token recipe: only one of many concurrent callers redeems a token."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from django_persist import Store, persist, stores
from testproject.site.page import NOTE
from testproject.site.recipes.one_time_token import INVALID, OneTimeToken
from tests.extent import LONG
from tests.processes import race
from tests.recipes.conftest import Advance
from tests.recipes.helpers import EIGHT, in_threads

INVITE = OneTimeToken("invite", as_=int, expires=timedelta(minutes=10))
EACH = 1_667 if LONG else 500
"""The number of tokens on each of the six stores: 3,000 or 10,000 in total."""


def redeem(i: int, tokens: list[str]) -> list[int]:
    """Try to redeem all tokens, as other callers do at the same time; return the values."""
    got = (INVITE.redeem(stores["default"], token) for token in tokens)
    return [value for value in got if value is not None]


def assert_each_was_redeemed_once(got: list[list[int]]) -> None:
    assert Counter(value for each in got for value in each) == Counter(range(EACH))
    assert sum(1 for each in got if each) > 1, "the callers did not race"
    assert persist.count("token:") == 0


def issued(store: Store) -> list[str]:
    return [INVITE.issue(store, number) for number in range(EACH)]


def test_eight_processes_redeem_each_token_once(
    shared_store: Store,
) -> None:
    tokens = issued(shared_store)
    assert_each_was_redeemed_once(race(redeem, tokens, processes=EIGHT))


def test_eight_threads_redeem_each_token_once(open_store: Any) -> None:
    tokens = issued(open_store("memory"))
    assert_each_was_redeemed_once(in_threads(redeem, tokens))


def test_the_store_does_not_know_the_token(store: Store) -> None:
    token = INVITE.issue(store, 7)
    [(key, item)] = store.items()
    assert token not in key + repr(item)
    assert INVITE.redeem(store, key.rpartition(":")[2]) is None
    assert INVITE.redeem(store, token) == 7


def test_a_token_works_only_for_its_purpose(store: Store) -> None:
    token = INVITE.issue(store, 7)
    reset = OneTimeToken("reset", as_=int, expires=timedelta(minutes=10))
    assert reset.redeem(store, token) is None
    assert not reset.is_redeemable(store, token)
    assert INVITE.is_redeemable(store, token)
    assert INVITE.redeem(store, token) == 7
    assert not INVITE.is_redeemable(store, token)


def test_a_token_expires(store: Store, advance: Advance) -> None:
    token = INVITE.issue(store, 7)
    advance(599)
    assert INVITE.is_redeemable(store, token)
    advance(2)
    assert INVITE.redeem(store, token) is None


def test_a_token_can_be_revoked(store: Store) -> None:
    token = INVITE.issue(store, 7)
    assert INVITE.revoke(store, token)
    assert INVITE.redeem(store, token) is None


@pytest.mark.parametrize("token", ["", "a" * 10_000, "\0", "é", "\ud800", "a:b"])
def test_an_invalid_token_redeems_nothing(open_store: Any, token: str) -> None:
    assert INVITE.redeem(open_store("memory"), token) is None


def test_used_expired_and_invented_tokens_get_the_same_answer(
    store: Store, client: Client, advance: Advance
) -> None:
    used, expired = NOTE.issue(store, "a"), NOTE.issue(store, "b")
    assert client.post(f"/links/{used}").status_code == 200
    advance(3601)
    pages = [client.post(f"/links/{token}") for token in (used, expired, "invented")]
    assert {page.status_code for page in pages} == {410}
    assert all(INVALID in page.text for page in pages)
    assert len({page.text for page in pages}) == 1
