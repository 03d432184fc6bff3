"""The feature switch recipe: off by default, stable for a caller, read once per request."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from django_persist import Store, persist
from testproject.site.recipes.feature_switch import FeatureSwitch
from tests.processes import race
from tests.recipes.helpers import EIGHT, make_request

SWITCH = FeatureSwitch("search")
CALLERS = [f"user {n}" for n in range(2000)]


def callers_with_feature(switch: FeatureSwitch = SWITCH) -> set[str]:
    request = make_request("GET")
    return {caller for caller in CALLERS if switch.is_on(request, caller)}


def test_it_is_off_by_default(store: Store) -> None:
    assert callers_with_feature() == set()
    store.set(SWITCH.key, 100)
    assert callers_with_feature() == set(CALLERS)
    store.set(SWITCH.key, 0)
    assert callers_with_feature() == set()


def test_it_is_on_for_the_given_percentage(open_store: Any) -> None:
    store = open_store("memory")
    before: set[str] = set()
    for percent in (1, 10, 25, 50, 90):
        store.set("switch:search", percent)
        have = callers_with_feature()
        assert before < have, "a caller has lost the feature"
        assert abs(len(have) - len(CALLERS) * percent / 100) < 0.03 * len(CALLERS)
        before = have


def test_two_switches_select_different_callers(open_store: Any) -> None:
    store, other = open_store("memory"), FeatureSwitch("export")
    store.set_many({SWITCH.key: 50, other.key: 50})
    both = callers_with_feature() & callers_with_feature(other)
    assert 0.2 * len(CALLERS) < len(both) < 0.3 * len(CALLERS)


def test_all_processes_agree(shared_store: Store) -> None:
    shared_store.set(SWITCH.key, 50)
    answers = race(callers_with_feature_in, processes=EIGHT)
    assert all(each == answers[0] for each in answers)
    # The same on every machine, and after every upgrade.
    assert [n for n in range(12) if f"user {n}" in answers[0]] == [0, 2, 4, 5, 8, 11]


def callers_with_feature_in(i: int) -> set[str]:
    return callers_with_feature()


def test_it_is_read_once_per_request(database_store: Store, django_assert_num_queries: Any) -> None:
    database_store.set(SWITCH.key, 50)
    request = make_request("GET")
    using = database_store.driver.using  # type: ignore[attr-defined]
    with django_assert_num_queries(1, using=using):
        first = {caller for caller in CALLERS if SWITCH.is_on(request, caller)}
    database_store.set(SWITCH.key, 0)
    assert {caller for caller in CALLERS if SWITCH.is_on(request, caller)} == first
    assert callers_with_feature() == set()


@pytest.mark.parametrize("value", ["all", None, 50.5, {"percent": 50}])
def test_a_value_that_is_not_a_number_is_off_and_logged(
    store: Store, value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    store.set("switch:search", value)
    assert callers_with_feature() == set()
    assert "switch:search" in caplog.text


def test_without_a_store_it_is_off(
    unreachable_store: None, caplog: pytest.LogCaptureFixture
) -> None:
    assert callers_with_feature() == set()
    assert "The feature switch 'search' is off." in caplog.text


def test_the_page_shows_it(store: Store, client: Client) -> None:
    for percent, shown in (("100", "on"), ("0", "off")):
        assert client.post("/switch", {"percent": percent}).status_code == 302
        assert f'<strong id="new-colour">{shown}</strong>' in client.get("/").text
    assert persist.get("switch:new-colour") == 0
    assert client.post("/switch", {"percent": "7"}).status_code == 400
