"""Whether a database is down, or refuses to let the store in: only the one passes by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import Error, OperationalError

from django_persist import Store
from django_persist.drivers.database import DatabaseDriver
from django_persist.drivers.database.errors import is_login_refused
from django_persist.exceptions import StoreUnavailableError
from tests import servers
from tests.aliases import alias, another
from tests.conftest import DATABASE_SERVERS, OpenStore
from tests.drivers.database.conftest import ProxiedStore
from tests.servers.proxy import Fault

IN = 'connection to server at "127.0.0.1", port 5432 failed: '

FROM_POSTGRESQL = {
    f'{IN}FATAL:  password authentication failed for user "x"': True,
    f'{IN}FATAL:  no pg_hba.conf entry for host "127.0.0.1", user "x"': True,
    f'{IN}FATAL:  database "x" does not exist': True,
    # In the language of the server.
    f"{IN}FATAL:  Passwort-Authentifizierung für Benutzer »x« fehlgeschlagen": True,
    f"{IN}fe_sendauth: no password supplied": True,
    f"{IN}FATAL:  sorry, too many clients already": False,
    f'{IN}FATAL:  too many connections for role "x"': False,
    f"{IN}FATAL:  remaining connection slots are reserved for roles with": False,
    f"{IN}FATAL:  the database system is starting up": False,
    f"{IN}FATAL:  server login has been failing, try again later": False,
    f"{IN}FATAL:  server login has been failing, cached error: authentication failed": True,
    f"{IN}Connection refused\n\tIs the server running on that host?": False,
    f"{IN}FATAL:  the database system is starting up\n{IN}FATAL:  no such user": True,
    f"{IN}Connection refused\n{IN}FATAL:  SASL authentication failed": True,
    "couldn't get a connection after 0.10 sec": True,
    "server closed the connection unexpectedly": False,
    "connection timeout expired": False,
    'could not translate host name "db" to address: Name or service not known': False,
}


@pytest.mark.parametrize(("message", "refused"), FROM_POSTGRESQL.items())
@pytest.mark.parametrize("before", ["", "connection failed: "])
def test_what_postgresql_says(message: str, refused: bool, before: str) -> None:
    assert is_login_refused("postgresql", OperationalError(before + message)) is refused


@pytest.mark.parametrize(
    ("code", "refused"),
    [
        *((code, True) for code in (1044, 1045, 1049, 1130, 1251, 1698, 1862, 2059)),
        *((code, False) for code in (2002, 2003, 2005, 2006, 2013, 1040, 1053, 1203, 1226)),
    ],
)
def test_what_mariadb_and_mysql_say(code: int, refused: bool) -> None:
    error: Error = OperationalError(code, "a message")
    assert is_login_refused("mysql", error) is refused


def is_misconfigured(call: Callable[[], object]) -> bool:
    with pytest.raises(StoreUnavailableError) as caught:
        call()
    assert caught.value.maybe_applied is False
    return caught.value.misconfigured


@pytest.mark.parametrize("wrong", [{"USER": "nobody", "PASSWORD": "hush"}, {"NAME": "nowhere"}])
@pytest.mark.parametrize("server", DATABASE_SERVERS)
def test_a_login_that_the_server_refuses(
    server: str, wrong: dict[str, Any], open_store: OpenStore
) -> None:
    open_store(server)
    with alias("wrong", another(server, **wrong)) as name:
        assert is_misconfigured(lambda: Store(DatabaseDriver(name)).incr("a"))


@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.STALLED])
def test_a_server_that_can_not_be_reached(proxied: ProxiedStore, fault: Fault) -> None:
    settings = another(proxied.alias)
    with alias("unreached", settings) as name, proxied.proxy.failing(fault):
        assert not is_misconfigured(lambda: Store(DatabaseDriver(name)).incr("a"))


def test_a_missing_table(django_db_setup: None, django_db_blocker: Any) -> None:
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": servers.folder() / "empty.sqlite3"}
    with django_db_blocker.unblock(), alias("empty", database) as name:
        assert is_misconfigured(lambda: Store(DatabaseDriver(name)).incr("a"))
