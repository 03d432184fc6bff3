"""Packages that watch statements see every call of the store."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections
from django.http import HttpResponse
from django.test import RequestFactory

from django_persist import Store
from django_persist.drivers.database import DatabaseDriver
from tests.aliases import alias, another
from tests.drivers.database.direct.conftest import Count


@pytest.fixture
def sql_panel(settings: Any) -> Iterator[Any]:
    """The toolbar's SQL panel, which replaces methods of the connections, and leaves them there."""
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "debug_toolbar"]
    settings.DEBUG_TOOLBAR_PANELS = ["debug_toolbar.panels.sql.SQLPanel"]
    settings.ROOT_URLCONF = "tests.panels.conftest"
    from debug_toolbar.toolbar import DebugToolbar

    toolbar = DebugToolbar(RequestFactory().get("/"), lambda request: HttpResponse())
    panel: Any
    [panel] = toolbar.panels
    panel.enable_instrumentation()
    yield panel
    panel.disable_instrumentation()
    for wrapper in connections.all():
        for name in ("cursor", "chunked_cursor", "_djdt_cursor", "_djdt_chunked_cursor"):
            vars(wrapper).pop(name, None)


def test_the_debug_toolbar_sees_each_call(
    direct_store: Store, count: Count, sql_panel: Any
) -> None:
    assert count.of(lambda: direct_store.set("key", "other")) == 0
    assert count.of(lambda: direct_store.get("key")) == 0
    statements = [query["sql"] for query in sql_panel._queries]
    assert len(statements) == 2
    assert "INSERT" in statements[0] and "SELECT" in statements[1]


def test_sentry_sees_each_call(database_store: Store) -> None:
    """In a process of its own: its integration of Django can't be undone."""
    using = database_store.driver.using  # type: ignore[attr-defined]
    done = subprocess.run(
        [sys.executable, "-m", "tests.drivers.database.direct.sentry_spans"],
        input=json.dumps(connections[using].settings_dict, default=str),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    before, after = json.loads(done.stdout)
    assert before == []  # Sentry is not there yet: the calls went below the cursor.
    assert len(after) == 2
    assert "INSERT" in after[0] and "SELECT" in after[1]


def instrumentor(vendor: str) -> Any:
    if vendor == "sqlite":
        from opentelemetry.instrumentation.sqlite3 import SQLite3Instrumentor

        return SQLite3Instrumentor()
    if vendor == "postgresql":
        from opentelemetry.instrumentation.psycopg import PsycopgInstrumentor

        return PsycopgInstrumentor()
    # It imports mysqlclient, which is installed only where the tests have a MariaDB or a MySQL.
    from opentelemetry.instrumentation.mysqlclient import MySQLClientInstrumentor

    return MySQLClientInstrumentor()


def test_opentelemetry_sees_each_call(direct_store: Store, count: Count) -> None:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    using = direct_store.driver.using  # type: ignore[attr-defined]
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    watching = instrumentor(connections[using].vendor)
    watching.instrument(tracer_provider=provider, skip_dep_check=True)
    try:
        with alias("watched", another(using)) as name:
            store = Store(DatabaseDriver(name))
            store.get("key")
            exporter.clear()
            assert count.of(lambda: store.set("key", "other")) == 0
            assert count.of(lambda: store.get("key")) == 0
            statements = [str(span.attributes) for span in exporter.get_finished_spans()]
    finally:
        watching.uninstrument()
    assert len(statements) == 2
    assert "INSERT" in statements[0] and "SELECT" in statements[1]
    with alias("unwatched", another(using)) as name:
        store = Store(DatabaseDriver(name))
        store.get("key")
        assert count.of(lambda: store.get("key")) == 1


def test_a_gevent_that_is_only_imported_changes_nothing(direct_store: Store, count: Count) -> None:
    """sentry-sdk imports it wherever it is installed."""
    pytest.importorskip("gevent")
    assert count.of(lambda: direct_store.get("key")) == 1
