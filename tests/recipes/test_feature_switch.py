"""A feature switch: off by default, the same for one caller, and read once in a request."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from django_persist import Store, persist
from testproject.site.recipes.feature_switch import FeatureSwitch
from tests.processes import race
from tests.recipes.asking import EIGHT, asked

SWITCH = FeatureSwitch("search")
CALLERS = [f"user {n}" for n in range(2000)]


def those_who_have_it(switch: FeatureSwitch = SWITCH) -> set[str]:
    request = asked("GET")
    return {caller for caller in CALLERS if switch.is_on(request, caller)}


def test_it_is_off_until_someone_says_otherwise(store: Store) -> None:
    assert those_who_have_it() == set()
    store.set(SWITCH.key, 100)
    assert those_who_have_it() == set(CALLERS)
    store.set(SWITCH.key, 0)
    assert those_who_have_it() == set()


def test_it_is_on_for_so_many_in_a_hundred(open_store: Any) -> None:
    store = open_store("memory")
    before: set[str] = set()
    for percent in (1, 10, 25, 50, 90):
        store.set("switch:search", percent)
        have = those_who_have_it()
        assert before < have, "who had it has lost it"
        assert abs(len(have) - len(CALLERS) * percent / 100) < 0.03 * len(CALLERS)
        before = have


def test_two_switches_choose_differently(open_store: Any) -> None:
    store, other = open_store("memory"), FeatureSwitch("export")
    store.set_many({SWITCH.key: 50, other.key: 50})
    both = those_who_have_it() & those_who_have_it(other)
    assert 0.2 * len(CALLERS) < len(both) < 0.3 * len(CALLERS)


def test_all_processes_say_the_same(shared_store: Store) -> None:
    shared_store.set(SWITCH.key, 50)
    said = race(who_has_it, processes=EIGHT)
    assert all(each == said[0] for each in said)
    # On every machine, and after every upgrade.
    assert [n for n in range(12) if f"user {n}" in said[0]] == [0, 2, 4, 5, 8, 11]


def who_has_it(i: int) -> set[str]:
    return those_who_have_it()


def test_it_is_read_once_in_a_request(
    database_store: Store, django_assert_num_queries: Any
) -> None:
    database_store.set(SWITCH.key, 50)
    request = asked("GET")
    using = database_store.driver.using  # type: ignore[attr-defined]
    with django_assert_num_queries(1, using=using):
        first = {caller for caller in CALLERS if SWITCH.is_on(request, caller)}
    database_store.set(SWITCH.key, 0)
    assert {caller for caller in CALLERS if SWITCH.is_on(request, caller)} == first
    assert those_who_have_it() == set()


@pytest.mark.parametrize("value", ["all", None, 50.5, {"percent": 50}])
def test_what_is_no_number_is_off_and_logged(
    store: Store, value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    store.set("switch:search", value)
    assert those_who_have_it() == set()
    assert "switch:search" in caplog.text


def test_without_a_store_it_is_off(gone: None, caplog: pytest.LogCaptureFixture) -> None:
    assert those_who_have_it() == set()
    assert "The feature switch 'search' is off." in caplog.text


def test_the_page_shows_it(store: Store, client: Client) -> None:
    for percent, shown in (("100", "on"), ("0", "off")):
        assert client.post("/switch", {"percent": percent}).status_code == 302
        assert f'<strong id="new-colour">{shown}</strong>' in client.post("/knock").text
    assert persist.get("switch:new-colour") == 0
    assert client.post("/switch", {"percent": "7"}).status_code == 400
