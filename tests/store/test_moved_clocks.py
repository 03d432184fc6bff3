"""time-machine and freezegun move the clock of the database driver and the memory driver."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
import time_machine
from django.utils import timezone
from freezegun import freeze_time

from django_persist import Item, Key, Store
from django_persist.drivers.memory import MemoryDriver
from django_persist.exceptions import DecodeError, InvalidExpiryError
from tests.conftest import DATABASES

if TYPE_CHECKING:
    from tests.conftest import OpenStore

MoveTo: TypeAlias = Callable[[datetime], object]
Freeze: TypeAlias = Callable[[datetime], AbstractContextManager[MoveTo]]

START = datetime(2030, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MICROSECOND = timedelta(microseconds=1)


@contextmanager
def by_freezegun(start: datetime) -> Iterator[MoveTo]:
    with freeze_time(start) as clock:
        yield clock.move_to


@contextmanager
def by_time_machine(start: datetime) -> Iterator[MoveTo]:
    with time_machine.travel(start, tick=False) as clock:
        yield clock.move_to


@pytest.fixture(params=[by_freezegun, by_time_machine])
def freeze(request: pytest.FixtureRequest) -> Freeze:
    """Each tool, in turn."""
    tool: Freeze = request.param
    return tool


@pytest.fixture(params=[*DATABASES, "memory"])
def store(request: pytest.FixtureRequest, open_store: OpenStore) -> Store:
    """The default store, on each server that goes by the application's clock, in turn."""
    return open_store(request.param)


def test_an_entry_expires_when_the_clock_gets_there(store: Store, freeze: Freeze) -> None:
    with freeze(START) as move_to:
        store.set("a", 1, expires=60)
        move_to(START + 60 * SECOND - MICROSECOND)
        assert store.get_item("a") == Item(1, START + 60 * SECOND)
        assert not store.driver.expired()
        with pytest.raises(InvalidExpiryError):
            store.touch("a", timezone.now())
        move_to(START + 60 * SECOND)
        assert store.get("a") is None
        assert list(store.items()) == []
        store.create("a", 2)
        assert store.incr("tries", expires=timezone.now() + SECOND) == 1
        move_to(START + 61 * SECOND)
        assert store.incr("tries") == 1
        store.set("b", 3, expires=SECOND)
        move_to(START + 63 * SECOND)
        assert store.purge() == 1
        assert sorted(store.keys()) == ["a", "tries"]


@pytest.mark.parametrize("microsecond", [0, 1, 500_000, 999_999])
def test_purge_takes_what_expires_now_and_nothing_that_expires_later(
    store: Store, freeze: Freeze, microsecond: int
) -> None:
    end = START + 60 * SECOND + microsecond * MICROSECOND
    expiries = {
        "a second ago": end - SECOND,
        "just now": end - MICROSECOND,
        "now": end,
        "soon": end + MICROSECOND,
        "in a second": end + SECOND,
    }
    with freeze(START) as move_to:
        for key, expires_at in expiries.items():
            store.set(key, key, expires=expires_at)
        store.set("never", "never")
        move_to(end)
        live = {key: Item(key, expiries[key]) for key in ("soon", "in a second")}
        live["never"] = Item("never", None)
        assert store.driver.expired() == 3
        assert store.purge() == 3
        assert dict(store.items()) == live
        assert store.driver.expired() == 0
        assert store.purge() == 0
        move_to(end + MICROSECOND)
        assert store.purge() == 1
        assert sorted(store.keys()) == ["in a second", "never"]


def test_it_expires_wherever_within_a_second_the_clock_was_stopped(
    store: Store, freeze: Freeze
) -> None:
    for microseconds in range(1, 1_000_000, 50_021):
        moment = START + timedelta(microseconds=microseconds)
        with freeze(moment) as move_to:
            store.set("a", 1, expires=60)
            store.set("b", 1, expires=moment + 60 * SECOND)
            move_to(moment + 60 * SECOND - MICROSECOND)
            assert store.get_many(["a", "b"]) == {"a": 1, "b": 1}
            move_to(moment + 60 * SECOND)
            assert ("a" in store, store.get("b")) == (False, None)


def test_expired_entries_are_deleted_when_the_clock_is_moved(
    open_store: OpenStore, freeze: Freeze
) -> None:
    store = open_store("memory")
    assert isinstance(store.driver, MemoryDriver)
    with freeze(START) as move_to:
        store.set_many(dict.fromkeys(map(str, range(10)), 1), expires=60)
        move_to(START + 62 * SECOND)
        assert len(store.driver.memory.slots) == 10
        assert store.get("x") is None
        assert len(store.driver.memory.slots) == 0


# freezegun replaces the classes datetime and date, in this module too.


@dataclass
class Visit:
    at: datetime
    day: date
    then: list[datetime | None]


@dataclass
class Other:
    at: datetime


class Moment(datetime):
    pass


def visit() -> Visit:
    return Visit(timezone.now(), timezone.now().date(), [timezone.now(), None])


@pytest.fixture
def memory(open_store: OpenStore) -> Store:
    """A store in memory."""
    return open_store("memory")


def test_a_type_can_be_used_first_while_the_clock_is_stopped(memory: Store, freeze: Freeze) -> None:
    class Local(Visit):
        pass

    with freeze(START):
        memory.set("visit", visit())
        assert memory.get("visit", as_=Visit, strict=True) == visit()
        memory.set("local", Local(**vars(visit())))
        assert memory.get("local", as_=Local, strict=True) == Local(**vars(visit()))
        expected = visit()
    assert memory.get("visit", as_=Visit, strict=True) == expected
    memory.set("visit", visit())
    assert memory.get("visit", as_=Visit, strict=True).day == timezone.now().date()  # type: ignore[union-attr]


def test_datetimes_and_dates_are_decoded_while_the_clock_is_stopped(
    memory: Store, freeze: Freeze
) -> None:
    at = Key("at", as_=datetime)
    with freeze(START):
        now, today = timezone.now(), timezone.now().date()
        forms: list[tuple[Any, Any]] = [
            (now, datetime),
            (today, date),
            ([now], list[datetime]),
            ({today: now}, dict[date, datetime]),
            (now, datetime | None),
            (None, date | None),
        ]
        for value, form in forms:
            memory.set("a", value)
            assert memory.get("a", as_=form, strict=True) == value
        memory.set(at, now)
        assert memory.get(at) == now
        assert memory.update(at, lambda moment: moment + SECOND) == now + SECOND
    assert memory.get(at, strict=True) == START + SECOND


def test_other_values_are_not_datetimes_while_the_clock_is_stopped(
    memory: Store, freeze: Freeze
) -> None:
    memory.set("a", "a secret")
    with freeze(START):
        assert memory.get("a", as_=date) is None
        for form in (datetime, list[date], Other):
            with pytest.raises(DecodeError) as caught:
                memory.get("a", as_=form, strict=True)
            assert "secret" not in str(caught.value)
        with pytest.raises(TypeError, match="Moment can't be validated"):
            memory.get("a", as_=Moment)
    with pytest.raises(TypeError, match="Moment can't be validated"):
        memory.get("a", as_=Moment)
