"""Which calls the panel records for a request."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from threading import Barrier
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.test import AsyncClient, Client

from django_persist import Store, persist
from django_persist.contract.threads import together
from tests.panels.conftest import Visit, request_id, visit, work


def test_nothing_is_recorded_if_the_toolbar_or_the_panel_is_off(settings: Any) -> None:
    from debug_toolbar.store import get_store

    persist.get("a")
    assert visit(lambda request: None).calls == []
    work.append(lambda request: persist.incr("calls"))
    client = Client()
    client.cookies["djdtPersistPanel"] = "off"
    assert get_store().panel(request_id(client.get("/page")), "PersistPanel") == {}
    settings.INTERNAL_IPS = []
    assert b"djDebug" not in Client().get("/page").content
    assert persist.get("calls") == 2


def test_failed_request_ends_the_recording() -> None:
    def fails(request: Any) -> None:
        persist.get("a")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        visit(fails)
    persist.get("b")
    assert visit(lambda request: persist.get("c")).keys() == [["c"]]


def test_nested_request_has_its_own_calls() -> None:
    def asks_within(request: Any) -> None:
        persist.get("outer")
        work.append(lambda request: persist.get("inner"))
        assert Visit(Client().get("/page")).keys() == [["inner"]]
        persist.get("outer again")

    assert visit(asks_within).keys() == [["outer"], ["outer again"]]


def test_requests_in_threads_have_their_own_calls() -> None:
    barrier = Barrier(8)

    def works(request: Any) -> None:
        number = request.GET["number"]
        for _ in range(20):
            barrier.wait(60)
            request.persist.incr(number)

    work.append(works)
    visits = together(lambda number: Visit(Client().get(f"/page?number={number}")))
    for number, found in enumerate(visits):
        assert found.keys() == [[str(number)]] * 20


def test_requests_in_coroutines_have_their_own_calls() -> None:
    async def works(request: Any) -> None:
        number = request.GET["number"]
        for _ in range(5):
            await asyncio.sleep(0)
            request.persist.incr(number)
            await sync_to_async(persist.get)(number)  # type: ignore[call-arg]

    async def ask_at_once() -> list[Any]:
        pages = (AsyncClient().get(f"/async?number={number}") for number in range(4))
        return await asyncio.gather(*pages)

    work.append(works)
    for number, response in enumerate(asyncio.run(ask_at_once())):
        found = Visit(response)
        assert found.keys() == [[str(number)]] * 10
        assert [call["name"] for call in found.calls] == ["incr", "get"] * 5


def test_without_the_toolbar_the_panel_is_not_imported() -> None:
    assert hasattr(Store.get, "__wrapped__")
    code = (
        "import django; django.setup(); import sys; from django_persist import Store;"
        "assert not hasattr(Store.get, '__wrapped__');"
        "assert not {'debug_toolbar', 'django_persist.panels'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
