"""The purge as a task. The tasks framework is part of Django 6.0 and newer."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import django
import pytest
from django.db import connections

from django_persist import stores
from django_persist.exceptions import InvalidStoreError, StoreUnavailableError
from django_persist.store import Store
from tests import aliases
from tests.conftest import BACKENDS, MEMORY, OpenStore, leave_expired
from tests.servers import free_port

if django.VERSION < (6, 0):

    def test_without_the_framework_the_error_names_the_way_out() -> None:
        with pytest.raises(ImportError, match=r"needs Django 6\.0 .*manage\.py purge_persist"):
            import django_persist.tasks  # noqa: F401

else:
    from django.tasks import TaskResultStatus, task_backends
    from django.tasks.backends.dummy import DummyBackend

    from django_persist.tasks import purge

    @pytest.fixture
    def store(open_store: OpenStore) -> Store:
        """The default store, with five expired entries and a live one."""
        store = open_store("sqlite")
        leave_expired(store, {f"old:{number}": number for number in range(5)})
        store.set("new", 1)
        return store

    def test_task_purges_and_returns_the_numbers(store: Store) -> None:
        result = purge.enqueue()
        assert result.status is TaskResultStatus.SUCCESSFUL
        assert result.return_value == {"default": 5}
        assert store.driver.expired() == 0
        assert list(store.keys()) == ["new"]
        assert purge.enqueue().return_value == {"default": 0}

    def test_task_stops_at_max_seconds_and_the_next_one_continues(store: Store) -> None:
        result = purge.enqueue(batch_size=1, max_seconds=0.000001)
        assert result.return_value == {"default": 1}
        assert purge.enqueue(batch_size=1).return_value == {"default": 4}

    def test_task_purges_one_place_once_and_one_store_if_asked(store: Store, settings: Any) -> None:
        [config] = settings.PERSIST.values()
        settings.PERSIST = {
            "default": {**config, "PREFIX": "a:"},
            "other": {**config, "PREFIX": "b:"},
            "memory": {"BACKEND": MEMORY, "OPTIONS": {"name": "tasks"}},
        }
        assert purge.enqueue(store="memory").return_value == {"memory": 0}
        assert purge.enqueue(batch_size=2).return_value == {"default": 5, "memory": 0}

    @pytest.mark.parametrize(
        ("arguments", "error"),
        [
            ({"store": "nowhere"}, InvalidStoreError),
            ({"batch_size": 0}, ValueError),
            ({"batch_size": True}, ValueError),
            ({"max_seconds": "soon"}, TypeError),
        ],
    )
    def test_task_refuses_invalid_arguments(
        store: Store, arguments: dict[str, Any], error: type[Exception]
    ) -> None:
        result = purge.enqueue(**arguments)
        assert result.status is TaskResultStatus.FAILED
        assert issubclass(result.errors[0].exception_class, error)
        assert store.driver.expired() == 5

    @pytest.mark.parametrize("unreachable", [("away",), ("away", "gone")])
    def test_task_fails_after_it_has_purged_the_stores_that_it_can_reach(
        store: Store, settings: Any, unreachable: tuple[str, ...]
    ) -> None:
        database = {**connections["postgresql"].settings_dict, "PORT": free_port()}
        postgresql = BACKENDS["postgresql"]
        with aliases.alias("away", database), aliases.alias("gone", {**database, "NAME": "gone"}):
            settings.PERSIST = {
                **{alias: {**postgresql, "OPTIONS": {"using": alias}} for alias in unreachable},
                **settings.PERSIST,
            }
            result = purge.enqueue()
            assert result.status is TaskResultStatus.FAILED
            [error] = result.errors
            wanted = StoreUnavailableError if len(unreachable) == 1 else ExceptionGroup
            assert issubclass(error.exception_class, wanted)
            for alias in unreachable:
                assert f"{alias!r}" in error.traceback
            assert stores["default"].driver.expired() == 0

    def test_task_can_be_enqueued_on_another_backend(settings: Any) -> None:
        """Its arguments are JSON, and it is found by its path."""
        settings.TASKS = {"default": {"BACKEND": "django.tasks.backends.dummy.DummyBackend"}}
        backend = task_backends["default"]
        assert isinstance(backend, DummyBackend)
        purge.enqueue("hot", batch_size=10, max_seconds=1.5)
        [result] = backend.results
        assert result.task.module_path == "django_persist.tasks.purge"
        assert (result.args, result.kwargs) == (["hot"], {"batch_size": 10, "max_seconds": 1.5})


def test_the_package_does_not_load_the_task() -> None:
    code = (
        "import django, sys; django.setup(); from django_persist import persist; persist.driver;"
        "assert 'django_persist.tasks' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
