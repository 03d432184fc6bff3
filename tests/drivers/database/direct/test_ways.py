"""A statement goes below Django's cursor only where nobody can notice.

Each test shows the direct way without its condition, and the cursor with it.
"""

from __future__ import annotations

import asyncio
import functools
import sqlite3
import sys
import threading
import unittest
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import ModuleType
from typing import Any

import pytest
import wrapt
from django.conf import settings as django_settings
from django.core.exceptions import SynchronousOnlyOperation
from django.db import DatabaseError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.db.transaction import TransactionManagementError
from django.test import SimpleTestCase, override_settings
from django.test.utils import CaptureQueriesContext

from django_persist import Store
from django_persist.checks import check_settings
from django_persist.drivers.database import DatabaseDriver, connection, direct
from tests.aliases import alias, another
from tests.conftest import DATABASE, OpenStore
from tests.drivers.database.direct.conftest import Ways, counting


def wrapper_of(store: Store) -> Any:
    return connections[store.driver.using]  # type: ignore[attr-defined]


# What watches, counts, changes or refuses statements.


@contextmanager
def patched(owner: Any, name: str, value: Any) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(owner, name, value)
        yield


def plain_function(function: Any) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return call


def wrapped_function(function: Any) -> Any:
    return functools.wraps(function)(plain_function(function))


def wrapt_function(function: Any) -> Any:
    return wrapt.FunctionWrapper(function, lambda called, _, args, kwargs: called(*args, **kwargs))


PATCHES = {"function": plain_function, "wraps": wrapped_function, "wrapt": wrapt_function}
METHODS = {
    "execute of CursorWrapper": lambda wrapper: (CursorWrapper, "execute"),
    "_execute of CursorWrapper": lambda wrapper: (CursorWrapper, "_execute"),
    "cursor of the base class": lambda wrapper: (BaseDatabaseWrapper, "cursor"),
    "cursor of the class": lambda wrapper: (type(wrapper), "cursor"),
    "cursor of the connection": lambda wrapper: (wrapper, "cursor"),
    "ensure_connection of the base class": lambda wrapper: (
        BaseDatabaseWrapper,
        "ensure_connection",
    ),
    "ensure_connection of the connection": lambda wrapper: (wrapper, "ensure_connection"),
    "_cursor of the connection": lambda wrapper: (wrapper, "_cursor"),
    "make_cursor of the connection": lambda wrapper: (wrapper, "make_cursor"),
    "create_cursor of the connection": lambda wrapper: (wrapper, "create_cursor"),
    "create_cursor of the class": lambda wrapper: (type(wrapper), "create_cursor"),
}


@pytest.mark.parametrize("patch", PATCHES.values(), ids=PATCHES)
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_patched_method_is_called(
    method: Callable[[Any], tuple[Any, str]],
    patch: Callable[[Any], Any],
    direct_store: Store,
    ways: Ways,
) -> None:
    owner, name = method(wrapper_of(direct_store))
    for _ in range(2):
        with patched(owner, name, patch(getattr(owner, name))):
            assert not ways.is_direct(lambda: direct_store.get("there"))
            assert not ways.is_direct(lambda: direct_store.set("there", 1))
        assert ways.is_direct(lambda: direct_store.get("there"))


@contextmanager
def force_debug_cursor(wrapper: Any) -> Iterator[None]:
    wrapper.force_debug_cursor = True
    yield
    wrapper.force_debug_cursor = False


@contextmanager
def assigned_debug(wrapper: Any) -> Iterator[None]:
    django_settings.DEBUG = True
    yield
    django_settings.DEBUG = False


@contextmanager
def attribute(wrapper: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(wrapper, name)
    setattr(wrapper, name, value)
    yield
    setattr(wrapper, name, before)


@contextmanager
def shared(wrapper: Any) -> Iterator[None]:
    wrapper.inc_thread_sharing()
    yield
    wrapper.dec_thread_sharing()


@contextmanager
def imported(name: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patches:
        patches.setitem(sys.modules, name, ModuleType(name))
        yield


@contextmanager
def health_check(wrapper: Any) -> Iterator[None]:
    wrapper.health_check_enabled, wrapper.health_check_done = True, False
    yield
    assert wrapper.health_check_done  # by the cursor
    wrapper.health_check_enabled = False


CONDITIONS: dict[str, Callable[[Any], AbstractContextManager[Any]]] = {
    "execute_wrapper": lambda wrapper: wrapper.execute_wrapper(
        lambda execute, *args: execute(*args)
    ),
    "force_debug_cursor": force_debug_cursor,
    "DEBUG overridden": lambda wrapper: override_settings(DEBUG=True),
    "DEBUG assigned": assigned_debug,
    "CaptureQueriesContext": CaptureQueriesContext,
    "allow_thread_sharing": shared,
    "gevent": lambda wrapper: imported("gevent"),
    "eventlet": lambda wrapper: imported("eventlet"),
    "CONN_HEALTH_CHECKS": health_check,
    "errors_occurred": lambda wrapper: attribute(wrapper, "errors_occurred", True),
}


@pytest.mark.parametrize("condition", CONDITIONS.values(), ids=CONDITIONS)
def test_a_condition_sends_statements_through_the_cursor(
    condition: Callable[[Any], AbstractContextManager[Any]], direct_store: Store, ways: Ways
) -> None:
    wrapper = wrapper_of(direct_store)
    with condition(wrapper):
        assert not ways.is_direct(lambda: direct_store.get("there"))
    assert ways.is_direct(lambda: direct_store.get("there"))
    with condition(wrapper):
        assert not ways.is_direct(lambda: direct_store.set("there", 1))
    assert ways.is_direct(lambda: direct_store.set("there", 1))


def test_captured_queries_are_those_of_the_store(
    direct_store: Store, ways: Ways, django_assert_num_queries: Any
) -> None:
    wrapper = wrapper_of(direct_store)
    with django_assert_num_queries(1, connection=wrapper):
        direct_store.get("there")
    with CaptureQueriesContext(wrapper) as captured:
        direct_store.get("there")
        direct_store.incr("there")
    assert len(captured) == 2
    assert "django_persist" in captured[0]["sql"]
    assert ways.direct == 1


def test_djangos_guard_of_tests_refuses_the_call(direct_store: Store, ways: Ways) -> None:
    class Case(SimpleTestCase):
        def test(self) -> None:
            with pytest.raises(AssertionError, match="not allowed in SimpleTestCase"):
                direct_store.get("there")

    with patched(BaseDatabaseWrapper, "ensure_connection", BaseDatabaseWrapper.ensure_connection):
        result = unittest.TestSuite([Case("test")]).run(unittest.TestResult())
    assert (result.testsRun, result.failures, result.errors) == (1, [], [])
    # Django leaves the connection's own methods in its attributes.
    for each in connections.all():
        for name, _ in SimpleTestCase._disallowed_connection_methods:  # type: ignore[attr-defined]
            vars(each).pop(name, None)
    direct_store.get("there")  # opens the connection
    assert ways.is_direct(lambda: direct_store.get("there"))


def test_the_blocker_of_pytest_django_refuses_the_call(
    direct_store: Store, ways: Ways, django_db_blocker: Any
) -> None:
    with django_db_blocker.block(), pytest.raises(RuntimeError, match="Database access"):
        direct_store.get("there")
    direct_store.get("there")  # opens the connection
    assert ways.is_direct(lambda: direct_store.get("there"))


def test_an_event_loop_refuses_the_call(direct_store: Store, ways: Ways) -> None:
    async def get() -> None:
        direct_store.get("there")

    with pytest.raises(SynchronousOnlyOperation):
        asyncio.run(get())
    assert ways.is_direct(lambda: direct_store.get("there"))


# A connection or a wrapper of the project's own.


def test_a_backend_of_the_projects_own_goes_through_its_cursor(
    direct_store: Store, ways: Ways
) -> None:
    wrapper = wrapper_of(direct_store)
    own = type("DatabaseWrapper", (type(wrapper),), {})
    wrapper.__class__, before = own, type(wrapper)
    try:
        wrapper.close()
        assert not ways.is_direct(lambda: direct_store.get("there"))
        assert not ways.is_direct(lambda: direct_store.get("there"))
    finally:
        wrapper.__class__ = before
        wrapper.close()
    assert not ways.is_direct(lambda: direct_store.get("there"))  # opens the connection
    assert ways.is_direct(lambda: direct_store.get("there"))


class OwnConnection(sqlite3.Connection):
    pass


@contextmanager
def through(like: str, **options: Any) -> Iterator[Store]:
    """Yield a store on another alias of the same database, with more OPTIONS."""
    settings = another(like)
    with alias("own", {**settings, "OPTIONS": {**settings["OPTIONS"], **options}}) as name:
        store = Store(DatabaseDriver(name))
        store.set("there", 1)
        yield store


def test_a_factory_of_sqlites_goes_through_the_cursor(open_store: OpenStore) -> None:
    open_store("sqlite").set("there", 1)
    open_store("sqlite").get("there")
    for factory, is_direct in ((sqlite3.Connection, True), (OwnConnection, False)):
        with through("default", factory=factory) as store, counting() as ways:
            assert ways.is_direct(functools.partial(store.get, "there")) is is_direct


def test_a_cursor_factory_of_psycopgs_goes_through_it(open_store: OpenStore) -> None:
    from django.db.backends.postgresql.base import Cursor, ServerBindingCursor

    class OwnCursor(Cursor):
        pass

    open_store("postgresql").set("there", 1)
    open_store("postgresql").get("there")
    with through("postgresql", server_side_binding=True) as store, counting() as ways:
        assert wrapper_of(store).connection.cursor_factory is ServerBindingCursor
        assert ways.is_direct(lambda: store.get("there"))
    with through("postgresql") as store, counting() as ways:
        assert ways.is_direct(lambda: store.get("there"))
        raw = wrapper_of(store).connection
        raw.cursor_factory = OwnCursor  # after the connection was first used
        assert not ways.is_direct(lambda: store.get("there"))
        raw.cursor_factory = Cursor
        assert ways.is_direct(lambda: store.get("there"))


# The state of the connection.


def test_a_closed_connection_is_opened_by_the_cursor(direct_store: Store, ways: Ways) -> None:
    for _ in range(2):
        wrapper_of(direct_store).close()
        assert not ways.is_direct(lambda: direct_store.get("there"))
        assert ways.is_direct(lambda: direct_store.get("there"))


def run_in_thread(call: Callable[[], object]) -> BaseException | None:
    raised: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return raised[0] if raised else None


def test_another_thread_uses_the_connection_only_if_shared(direct_store: Store, ways: Ways) -> None:
    wrapper = wrapper_of(direct_store)
    if wrapper.vendor == "sqlite" and wrapper.settings_dict["OPTIONS"].get("check_same_thread"):
        raise AssertionError("Django sets it to False.")

    def get() -> None:
        connections[wrapper.alias] = wrapper
        direct_store.get("there")
        direct_store.get("there")

    error = run_in_thread(get)
    assert isinstance(error, DatabaseError)
    assert "created in thread" in str(error)
    assert ways.direct == 1
    with shared(wrapper):
        assert run_in_thread(get) is None
    assert ways.direct == 1
    assert ways.is_direct(lambda: direct_store.get("there"))


def test_a_transaction_marked_for_rollback_refuses_the_call(
    direct_store: Store, ways: Ways
) -> None:
    using = wrapper_of(direct_store).alias
    with transaction.atomic(using):
        direct_store.get("there")
        assert ways.is_direct(lambda: direct_store.get("there"))
        transaction.set_rollback(True, using)
        with pytest.raises(TransactionManagementError):
            direct_store.get("there")
        assert ways.direct in (2, 3)
    assert ways.is_direct(lambda: direct_store.get("there"))


def test_the_first_statement_of_a_transaction_begins_it_on_postgresql(
    direct_store: Store, ways: Ways
) -> None:
    wrapper = wrapper_of(direct_store)
    begins = wrapper.vendor == "postgresql"
    for _ in range(2):
        with transaction.atomic(wrapper.alias):
            assert ways.is_direct(lambda: direct_store.set("rolled back", 1)) is not begins
            assert ways.is_direct(lambda: direct_store.get("rolled back"))
            transaction.set_rollback(True, wrapper.alias)
        assert direct_store.get("rolled back") is None


@pytest.mark.parametrize("database", ["postgresql", "mariadb", "mysql"])
def test_without_autocommit_nothing_commits_itself(database: str, open_store: OpenStore) -> None:
    plain = open_store(database)
    plain.set("there", 1)
    plain.get("there")
    with alias("own", another(database, AUTOCOMMIT=False)) as name, counting() as ways:
        store = Store(DatabaseDriver(name))
        connections[name].ensure_connection()
        connections[name].rollback()
        begins = connections[name].vendor == "postgresql"
        assert ways.is_direct(lambda: plain.get("there"))
        _ = store.driver.sql  # type: ignore[attr-defined]
        connections[name].rollback()
        assert ways.is_direct(lambda: store.set("there", 2)) is not begins
        assert ways.is_direct(lambda: store.get("there"))
        assert (store.get("there"), plain.get("there")) == (2, 1)
        connections[name].rollback()
        assert store.get("there") == 1
        connections[name].rollback()


def test_a_transaction_that_django_does_not_know_goes_through_the_cursor(
    direct_store: Store, ways: Ways
) -> None:
    wrapper = wrapper_of(direct_store)
    with wrapper.cursor() as cursor:
        cursor.execute("SET autocommit = 0" if wrapper.vendor == "mysql" else "BEGIN")
    assert not ways.is_direct(lambda: direct_store.get("there"))
    with wrapper.cursor() as cursor:
        cursor.execute("COMMIT")
        if wrapper.vendor == "mysql":
            cursor.execute("SET autocommit = 1")
    assert ways.is_direct(lambda: direct_store.get("there"))


def test_a_transaction_that_has_ended_on_sqlite_goes_through_the_cursor(
    open_store: OpenStore,
) -> None:
    store = open_store("sqlite")
    store.set("there", 1)
    store.get("there")
    with counting() as ways:
        with transaction.atomic():
            assert ways.is_direct(lambda: store.get("there"))
            connections["default"].connection.execute("ROLLBACK")
            assert not ways.is_direct(lambda: store.get("there"))
            connections["default"].connection.execute("BEGIN")
        assert ways.is_direct(lambda: store.get("there"))


def test_a_failed_transaction_of_postgresql_goes_through_the_cursor(open_store: OpenStore) -> None:
    store = open_store("postgresql")
    store.set("there", 1)
    store.get("there")
    with counting() as ways, ExitStack() as stack:
        stack.enter_context(transaction.atomic("postgresql"))
        store.get("there")
        assert ways.is_direct(lambda: store.get("there"))
        raw = connections["postgresql"].connection
        with pytest.raises(Exception, match="division by zero"):
            raw.execute("SELECT 1/0")
        with pytest.raises(DatabaseError, match="transaction is aborted"):
            store.get("there")
        assert ways.direct == 1
        transaction.set_rollback(True, "postgresql")


def test_a_pipeline_of_psycopgs_goes_through_the_cursor(open_store: OpenStore) -> None:
    store = open_store("postgresql")
    store.set("there", 1)
    store.get("there")
    with counting() as ways:
        with connections["postgresql"].connection.pipeline():
            assert not ways.is_direct(lambda: store.get("there"))
        assert ways.is_direct(lambda: store.get("there"))


def test_another_encoding_goes_through_the_cursor(open_store: OpenStore) -> None:
    store = open_store("postgresql")
    store.set("there", "ä")
    store.get("there")
    with counting() as ways, connections["postgresql"].cursor() as cursor:
        cursor.execute("SET client_encoding = 'LATIN1'")
        assert not ways.is_direct(lambda: store.get("there"))
        assert store.get("there") == "ä"
        cursor.execute("SET client_encoding = 'UTF8'")
        assert ways.is_direct(lambda: store.get("there"))
        assert store.get("there") == "ä"


def test_a_connection_that_another_thread_waits_on_goes_through_the_cursor(
    open_store: OpenStore,
) -> None:
    store = open_store("postgresql")
    store.set("there", 1)
    store.get("there")
    raw = connections["postgresql"].connection
    got = []
    with counting() as ways:
        listener = threading.Thread(target=lambda: got.extend(raw.notifies(timeout=0.5)))
        with raw.lock:  # as long as psycopg waits there
            listener.start()
        for _ in range(3):
            assert store.get("there") == 1
        listener.join()
        assert ways.is_direct(lambda: store.get("there"))


# The setting.


@pytest.mark.parametrize("database", ["sqlite", "postgresql", "mariadb", "mysql"])
def test_the_option_turns_it_off(database: str, open_store: OpenStore) -> None:
    using = "default" if database == "sqlite" else database
    store = open_store(database)
    store.set("there", 1)
    store.get("there")
    with counting() as ways:
        assert ways.is_direct(lambda: store.get("there"))
        off = open_store(database, OPTIONS={"using": using, "direct": False})
        assert off.get("there") == 1
        assert not ways.is_direct(lambda: off.get("there"))


def test_the_option_is_checked(settings: Any) -> None:
    options = {"using": "default", "direct": "yes"}
    settings.PERSIST = {"default": {"BACKEND": DATABASE, "OPTIONS": options}}
    [error] = [each for each in check_settings() if each.id == "django_persist.E004"]
    assert "direct must be True or False, not str" in error.msg


# What the look-up of the connection and of DEBUG rely on.


def test_a_replaced_or_deleted_connection_is_not_used_again(
    direct_store: Store, ways: Ways
) -> None:
    mine = wrapper_of(direct_store)
    other = mine.copy()
    connections[mine.alias] = other
    direct_store.get("there")
    assert other.connection is not None
    assert ways.is_direct(lambda: direct_store.get("there"))
    del connections[mine.alias]
    other.close()
    direct_store.get("there")
    assert wrapper_of(direct_store) not in (mine, other)
    assert wrapper_of(direct_store).connection is not None
    wrapper_of(direct_store).close()
    connections[mine.alias] = mine
    assert other.connection is None
    direct_store.get("there")
    assert ways.is_direct(lambda: direct_store.get("there"))


def test_django_and_asgiref_keep_connections_and_settings_where_we_read_them() -> None:
    wrapper = connections["default"]
    assert vars(connection.WRAPPERS)["default"] is wrapper, "asgiref keeps them elsewhere"
    assert connection._wrapper("default") is wrapper
    found: list[Any] = []
    thread = threading.Thread(
        target=lambda: found.extend([getattr(connection.WRAPPERS, "default", None)])
    )
    thread.start()
    thread.join()
    assert found == [None], "connections of one thread are seen by another"
    assert django_settings.DEBUG is False
    assert direct.SETTINGS["DEBUG"] is False, "settings keep what was asked elsewhere"
    with override_settings(DEBUG=True):
        assert direct.SETTINGS.get("DEBUG", True) is True
        assert django_settings.DEBUG is True
        assert direct.SETTINGS["DEBUG"] is True
    assert direct.SETTINGS.get("DEBUG", False) is False
