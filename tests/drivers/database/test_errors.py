"""Which error a call raises for each error of the server: the servers themselves raise them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import pytest
from django.db import Error, OperationalError, connections, transaction
from django.db.backends.utils import CursorWrapper

from django_persist import Store
from django_persist.drivers.database.connection import Connection
from django_persist.drivers.database.errors import Outcome, classify
from django_persist.exceptions import ContentionError, PersistError, StoreUnavailableError
from tests.conftest import MYSQLS


def codes(postgresql: str, both: str, mysql: str = "") -> list[tuple[str, str]]:
    """Return codes of PostgreSQL, of MariaDB and MySQL, and of MySQL alone."""
    return [
        *(("postgresql", code) for code in postgresql.split()),
        *(("mariadb", code) for code in both.split()),
        *(("mysql", code) for code in f"{both} {mysql}".split()),
    ]


LOST = codes("40001 40P01", "1020 1213 3572", "3101")
WAITED = codes("55P03", "1205")
IDLE = codes("57P05", "4031")
NO_TABLE = codes("42P01", "1146")
REFUSED = codes(
    "25006 53000 53100 53200 53300 53400 57014 57P03 58000 58030 XX001 XX002",
    "3 1021 1026 1030 1034 1037 1040 1041 1047 1114 1194 1203 1206 1226 1290 1317 1399 1637 1712"
    " 1792 1836 1969 3024",
    "1874 3032 3100 3781 3782 3783 3989",
)
CUT_OFF = codes(
    "08000 08003 08006 08P01 25P03 25P04 40003 57P01 57P02",
    "1053 1080 1152 1153 1154 1155 1156 1157 1158 1159 1160 1161 1184 1927",
    "3169 4081 4082",
)
CUT_OFF_BY_CLIENT = [2006, 2013, 2014, 2026, 2027, 2055]
"""Codes of the client library, which it takes from no server."""
# A broken transaction, a missing privilege, an internal error, an invalid statement.
OTHER = codes("25P02 42501 XX000 42601", "1044 1064 1142")


def raising(database: str, code: str) -> Callable[[CursorWrapper], None]:
    """Return a function that makes the server raise an error."""
    statement = (
        f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{code}'; END $$"
        if database == "postgresql"
        else f"SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {code}"
    )
    return lambda cursor: cursor.execute(statement)


@pytest.mark.parametrize(("database", "code"), LOST)
def test_a_call_that_lost_is_retried(
    database: str, code: str, open_store: Callable[..., Store]
) -> None:
    open_store(database)
    tries = []

    def work(cursor: CursorWrapper) -> str:
        tries.append(cursor)
        if len(tries) < 3:
            raising(database, code)(cursor)
        return "done"

    assert Connection(database).run(work, writes=True) == "done"
    assert len(tries) == 3
    tries.clear()
    with pytest.raises(ContentionError) as caught, transaction.atomic(database):
        Connection(database).run(work, writes=True)
    assert isinstance(caught.value.__cause__, Error)
    assert len(tries) == 1


@pytest.mark.parametrize("in_transaction", [False, True])
@pytest.mark.parametrize(("database", "code"), WAITED)
def test_a_call_that_has_waited_is_not_retried(
    database: str, code: str, in_transaction: bool, open_store: Callable[..., Store]
) -> None:
    open_store(database)
    tries = []

    def work(cursor: CursorWrapper) -> None:
        tries.append(cursor)
        raising(database, code)(cursor)

    block = transaction.atomic(database) if in_transaction else nullcontext()
    with pytest.raises(ContentionError, match="as long as its settings say") as caught, block:
        Connection(database).run(work, writes=True)
    assert isinstance(caught.value.__cause__, Error)
    assert len(tries) == 1


@pytest.mark.parametrize(("database", "code"), IDLE)
def test_a_connection_that_was_ended_while_idle_is_opened_again_once(
    database: str, code: str, open_store: Callable[..., Store]
) -> None:
    open_store(database)
    tries = []

    def work(cursor: CursorWrapper) -> str:
        tries.append(cursor.connection)
        if len(tries) % 2:
            raising(database, code)(cursor)
        return "done"

    assert Connection(database).run(work, writes=True) == "done"
    assert len(set(map(id, tries))) == 2
    with pytest.raises(StoreUnavailableError, match="cut off") as caught:
        Connection(database).run(raising(database, code), writes=True)
    assert not caught.value.maybe_applied
    with pytest.raises(StoreUnavailableError), transaction.atomic(database):
        Connection(database).run(raising(database, code), writes=True)


@pytest.mark.parametrize(("database", "code"), NO_TABLE)
def test_a_missing_table_is_named(
    database: str, code: str, open_store: Callable[..., Store]
) -> None:
    open_store(database)
    with pytest.raises(StoreUnavailableError, match="manage.py migrate --database") as caught:
        Connection(database).run(raising(database, code), writes=True)
    assert not caught.value.maybe_applied


@pytest.mark.parametrize("atomic", [False, True])
@pytest.mark.parametrize(("database", "code"), REFUSED)
def test_a_refused_call_changes_nothing(
    database: str, code: str, atomic: bool, open_store: Callable[..., Store]
) -> None:
    open_store(database)
    with pytest.raises(StoreUnavailableError, match="refused") as caught:
        Connection(database).run(raising(database, code), writes=True, atomic=atomic)
    assert caught.value.maybe_applied is False
    assert isinstance(caught.value.__cause__, Error)


@pytest.mark.parametrize("writes", [False, True])
@pytest.mark.parametrize(("database", "code"), CUT_OFF)
def test_a_call_that_is_cut_off_may_have_applied(
    database: str, code: str, writes: bool, open_store: Callable[..., Store]
) -> None:
    open_store(database)
    with pytest.raises(StoreUnavailableError, match="cut off") as caught:
        Connection(database).run(raising(database, code), writes=writes)
    assert caught.value.maybe_applied is writes
    with pytest.raises(StoreUnavailableError) as caught, transaction.atomic(database):
        Connection(database).run(raising(database, code), writes=writes)
    assert caught.value.maybe_applied is False


@pytest.mark.parametrize("code", CUT_OFF_BY_CLIENT)
def test_a_call_that_the_client_library_cuts_off(code: int) -> None:
    assert classify("mysql", OperationalError(code, "a message")) is Outcome.CUT_OFF


@pytest.mark.parametrize("database", MYSQLS)
def test_an_answer_that_nobody_has_read_costs_one_call(
    database: str, open_store: Callable[..., Store]
) -> None:
    """What an interruption can leave: "Commands out of sync", for every later call."""
    store = open_store(database)
    store.set("key", 1)
    connections[database].connection.query("SELECT 1")
    with pytest.raises(StoreUnavailableError, match="cut off") as caught:
        store.set("key", 2)
    assert "2014" in str(caught.value.__cause__)
    assert store.get("key") == 1
    assert store.incr("key") == 2


@pytest.mark.parametrize(("database", "code"), OTHER)
def test_other_errors_stay_what_they_are(
    database: str, code: str, open_store: Callable[..., Store]
) -> None:
    open_store(database)
    with pytest.raises(Error) as caught:
        Connection(database).run(raising(database, code), writes=True)
    assert not isinstance(caught.value, PersistError)
    assert connections[database].is_usable()
