"""The rate limit recipe: exact under concurrency, with Retry-After from the entry's expiry."""

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
from tests.recipes.conftest import Advance
from tests.recipes.helpers import EIGHT, in_threads, make_request

LIMIT = RateLimit(name="race", limit=100, window=timedelta(minutes=10))
MINUTE = timedelta(minutes=1)


def answer(request: HttpRequest) -> HttpResponse:
    return HttpResponse("passed")


def statuses(i: int, number: int = 40) -> list[int]:
    view = LIMIT(answer)
    return [view(make_request()).status_code for _ in range(number)]


def test_exactly_limit_requests_of_eight_processes_pass(shared_store: Store) -> None:
    answers = [status for each in race(statuses, processes=EIGHT) for status in each]
    assert answers.count(200) == LIMIT.limit
    assert answers.count(429) == EIGHT * 40 - LIMIT.limit


def test_exactly_limit_requests_of_eight_threads_pass(open_store: Any) -> None:
    open_store("memory")
    answers = [status for each in in_threads(statuses) for status in each]
    assert answers.count(200) == LIMIT.limit


def test_the_page_refuses_until_the_window_ends(
    store: Store, client: Client, advance: Advance
) -> None:
    for _ in range(KNOCKS_ALLOWED):
        assert client.post("/knock").status_code == 200
    assert 8 <= int(client.post("/knock")["Retry-After"]) <= 10
    advance(4)
    response = client.post("/knock")
    assert response.status_code == 429
    assert 4 <= int(response["Retry-After"]) <= 6
    advance(6)
    assert client.post("/knock").status_code == 200


def test_refused_requests_do_not_extend_the_window(store: Store, advance: Advance) -> None:
    view = RateLimit(name="once", limit=1, window=MINUTE)(answer)
    view(make_request())
    for _ in range(3):
        advance(19)
        assert view(make_request()).status_code == 429
    advance(19)
    assert view(make_request()).status_code == 200


def test_limits_can_be_combined_and_reset(store: Store) -> None:
    short = RateLimit(name="short", limit=2, window=MINUTE)
    long = RateLimit(name="long", limit=3, window=timedelta(hours=1))
    view = long(short(answer))
    assert [view(make_request()).status_code for _ in range(3)] == [200, 200, 429]
    assert persist.remove(short.key(make_request()))
    # The third was counted by the longer one.
    assert [view(make_request()).status_code for _ in range(1)] == [429]
    assert persist.remove(long.key(make_request()))
    assert view(make_request()).status_code == 200


def test_each_caller_has_their_own_window(store: Store) -> None:
    view = RateLimit(name="each", limit=1, window=MINUTE)(answer)
    assert view(make_request(REMOTE_ADDR="192.0.2.1")).status_code == 200
    assert view(make_request(REMOTE_ADDR="192.0.2.2")).status_code == 200
    assert view(make_request(REMOTE_ADDR="192.0.2.1")).status_code == 429
    by_user = RateLimit(name="users", limit=1, window=MINUTE, by=lambda request: str(request.user))
    assert by_user(answer)(make_request(user=1)).status_code == 200
    assert by_user(answer)(make_request(user=1)).status_code == 429


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
def test_a_client_can_not_choose_its_address(
    remote: str, forwarded: str, own_proxies: int, expected: str
) -> None:
    headers = {"X-Forwarded-For": forwarded} if forwarded else None
    request = make_request(headers=headers, REMOTE_ADDR=remote)
    assert address(request, own_proxies) == expected
    limit = RateLimit(
        name="n", limit=1, window=MINUTE, by=partial(address, own_proxies=own_proxies)
    )
    assert limit.key(request).name.startswith("rate:n:")


def test_without_a_store_it_is_closed(unreachable_store: None) -> None:
    with pytest.raises(StoreUnavailableError):
        LIMIT(answer)(make_request())


def test_without_a_store_it_is_open_if_configured(
    unreachable_store: None, caplog: pytest.LogCaptureFixture
) -> None:
    view = RateLimit(name="open", limit=1, window=MINUTE, fail_open=True)(answer)
    assert [view(make_request()).status_code for _ in range(3)] == [200] * 3
    assert "The rate limit 'open' lets all requests pass." in caplog.text


def test_a_rollback_undoes_the_count(database_store: Store) -> None:
    limit = RateLimit(name="undone", limit=1, window=MINUTE)
    using = database_store.driver.using  # type: ignore[attr-defined]
    with pytest.raises(ZeroDivisionError), transaction.atomic(using):
        limit(answer)(make_request())
        raise ZeroDivisionError
    assert persist.get(limit.key(make_request())) is None
