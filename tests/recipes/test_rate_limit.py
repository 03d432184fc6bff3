"""A rate limit: exact under a race, and told by the entry itself when it ends."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import transaction
from django.http import HttpResponse
from django.test import Client

from django_persist import Store, persist
from django_persist.exceptions import StoreUnavailableError
from django_persist.http import HttpRequest
from testproject.site.page import KNOCKS_ALLOWED
from testproject.site.recipes.rate_limit import RateLimit, address
from tests.processes import race
from tests.recipes.asking import EIGHT, asked, threads
from tests.recipes.conftest import Passes

LIMIT = RateLimit(name="race", limit=100, window=timedelta(minutes=10))
MINUTE = timedelta(minutes=1)


def answer(request: HttpRequest) -> HttpResponse:
    return HttpResponse("passed")


def statuses(i: int, number: int = 40) -> list[int]:
    view = LIMIT(answer)
    return [view(asked()).status_code for _ in range(number)]


def test_of_eight_processes_that_race_exactly_so_many_requests_pass(shared_store: Store) -> None:
    answers = [status for each in race(statuses, processes=EIGHT) for status in each]
    assert answers.count(200) == LIMIT.limit
    assert answers.count(429) == EIGHT * 40 - LIMIT.limit


def test_of_eight_threads_that_race_exactly_so_many_requests_pass(open_store: Any) -> None:
    open_store("memory")
    answers = [status for each in threads(statuses) for status in each]
    assert answers.count(200) == LIMIT.limit


def test_the_page_refuses_until_the_window_ends(
    store: Store, client: Client, passes: Passes
) -> None:
    for _ in range(KNOCKS_ALLOWED):
        assert client.post("/knock").status_code == 200
    assert 8 <= int(client.post("/knock")["Retry-After"]) <= 10
    passes(4)
    response = client.post("/knock")
    assert response.status_code == 429
    assert 4 <= int(response["Retry-After"]) <= 6
    passes(6)
    assert client.post("/knock").status_code == 200


def test_what_is_refused_does_not_prolong_the_window(store: Store, passes: Passes) -> None:
    view = RateLimit(name="once", limit=1, window=MINUTE)(answer)
    view(asked())
    for _ in range(3):
        passes(19)
        assert view(asked()).status_code == 429
    passes(19)
    assert view(asked()).status_code == 200


def test_limits_can_be_stacked_and_forgiven(store: Store) -> None:
    short = RateLimit(name="short", limit=2, window=MINUTE)
    long = RateLimit(name="long", limit=3, window=timedelta(hours=1))
    view = long(short(answer))
    assert [view(asked()).status_code for _ in range(3)] == [200, 200, 429]
    assert persist.remove(short.key(asked()))
    # The third was counted by the longer one.
    assert [view(asked()).status_code for _ in range(1)] == [429]
    assert persist.remove(long.key(asked()))
    assert view(asked()).status_code == 200


def test_each_caller_has_a_window_of_their_own(store: Store) -> None:
    view = RateLimit(name="each", limit=1, window=MINUTE)(answer)
    assert view(asked(REMOTE_ADDR="192.0.2.1")).status_code == 200
    assert view(asked(REMOTE_ADDR="192.0.2.2")).status_code == 200
    assert view(asked(REMOTE_ADDR="192.0.2.1")).status_code == 429
    by_user = RateLimit(name="users", limit=1, window=MINUTE, by=lambda request: str(request.user))
    assert by_user(answer)(asked(user=1)).status_code == 200
    assert by_user(answer)(asked(user=1)).status_code == 429


@pytest.mark.parametrize(
    ("remote", "forwarded", "own_proxies", "expected"),
    [
        ("192.0.2.1", "203.0.113.9", 0, "192.0.2.1"),
        ("10.0.0.1", "203.0.113.9", 1, "203.0.113.9"),
        ("10.0.0.1", "198.51.100.7, 203.0.113.9", 1, "203.0.113.9"),
        ("10.0.0.1", "forged, 203.0.113.9, 10.0.0.2", 2, "203.0.113.9"),
        ("2001:db8:0:7:1::5", "", 0, "2001:db8:0:7::/64"),
        ("2001:db8:0:7:9::6", "", 0, "2001:db8:0:7::/64"),
        ("::ffff:192.0.2.1", "", 0, "192.0.2.1"),
        ("", "", 0, ""),
        ("10.0.0.1", "", 1, ""),
        ("10.0.0.1", "x" * 5000, 1, ""),
    ],
)
def test_the_address_is_one_that_the_client_can_not_choose(
    remote: str, forwarded: str, own_proxies: int, expected: str
) -> None:
    headers = {"X-Forwarded-For": forwarded} if forwarded else None
    request = asked(headers=headers, REMOTE_ADDR=remote)
    assert address(request, own_proxies) == expected
    limit = RateLimit(
        name="n", limit=1, window=MINUTE, by=partial(address, own_proxies=own_proxies)
    )
    assert limit.key(request).name.startswith("rate:n:")


def test_without_a_store_it_is_closed(gone: None) -> None:
    with pytest.raises(StoreUnavailableError):
        LIMIT(answer)(asked())


def test_without_a_store_it_is_open_if_so_chosen(
    gone: None, caplog: pytest.LogCaptureFixture
) -> None:
    view = RateLimit(name="open", limit=1, window=MINUTE, fail_open=True)(answer)
    assert [view(asked()).status_code for _ in range(3)] == [200] * 3
    assert "The rate limit 'open' lets all pass." in caplog.text


def test_a_rollback_takes_back_the_count(database_store: Store) -> None:
    limit = RateLimit(name="undone", limit=1, window=MINUTE)
    using = database_store.driver.using  # type: ignore[attr-defined]
    with pytest.raises(ZeroDivisionError), transaction.atomic(using):
        limit(answer)(asked())
        raise ZeroDivisionError
    assert persist.get(limit.key(asked())) is None
