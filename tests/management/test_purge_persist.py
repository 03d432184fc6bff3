"""manage.py purge_persist."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.db import connections

from django_persist import Store, stores
from django_persist.exceptions import StoreUnavailableError
from tests.aliases import alias, another, migrate
from tests.conftest import BACKENDS, DATABASE_SERVERS, DATABASES, MYSQLS, leave_expired
from tests.processes import race
from tests.servers import free_port

Elapse = Callable[[Store, float], None]


def run(*args: str) -> str:
    out = io.StringIO()
    call_command("purge_persist", *args, stdout=out)
    return out.getvalue()


@pytest.fixture(params=[*DATABASES, "memory"])
def store(
    request: pytest.FixtureRequest, open_store: Callable[..., Store], elapse: Elapse
) -> Store:
    """A store with five expired and two live entries."""
    store: Store = open_store(request.param)
    store.set_many({f"old:{i}": i for i in range(5)}, expires=10)
    store.set_many({"new": 1}, expires=60)
    store.set_many({"permanent": 1})
    elapse(store, 20)
    return store


def test_purge_deletes_expired_entries_and_reports_the_count(store: Store) -> None:
    assert run().startswith("5 expired entries deleted from default in ")
    assert store.driver.expired() == 0
    assert sorted(store.keys()) == ["new", "permanent"]
    assert run().startswith("0 expired entries deleted")


def test_purge_deletes_everything_with_small_batches(store: Store) -> None:
    assert run("--batch-size=2").startswith("5 expired entries")
    assert store.driver.expired() == 0


def test_dry_run_of_purge_deletes_nothing(store: Store) -> None:
    assert run("--dry-run").startswith("5 expired entries would be deleted from default")
    assert store.driver.expired() == 5


def test_purge_stops_at_max_seconds(store: Store) -> None:
    out = run("--batch-size=1", "--max-seconds=0.000001")
    assert out.startswith("1 expired entry deleted")
    assert "stopped at --max-seconds" in out
    assert store.driver.expired() == 4


def test_purge_counts_stores_that_share_a_place_once(store: Store, settings: Any) -> None:
    [config] = settings.PERSIST.values()
    settings.PERSIST = {
        "default": {**config, "PREFIX": "a:"},
        "other": {**config, "PREFIX": "b:"},
    }
    assert run("--dry-run").startswith("5 expired entries would be deleted from default in")
    assert run("--store=other").startswith("5 expired entries deleted from other in")


def test_purge_shows_progress_only_on_a_terminal(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("purge_persist", "--batch-size=2")
    assert capsys.readouterr().err == ""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    store.set("old", 1, expires=0.000001)
    shown = Terminal()
    call_command("purge_persist", stdout=io.StringIO(), stderr=shown)
    assert "\rdefault: 1 expired entry deleted" in shown.getvalue()


def test_purge_json_output(store: Store, settings: Any) -> None:
    output = json.loads(run("--json", "--dry-run"))
    assert output.pop("seconds") >= 0
    assert output == {"would_be_deleted": {"default": 5}, "complete": True}
    output = json.loads(run("--json", "--batch-size=1", "--max-seconds=0.000001"))
    assert (output["deleted"], output["complete"]) == ({"default": 1}, False)
    output = json.loads(run("--json"))
    assert (output["deleted"], output["complete"]) == ({"default": 4}, True)


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (StoreUnavailableError("Gone.", maybe_applied=True), 3, "may have taken effect"),
        (KeyboardInterrupt(), 130, "Stopped. The last batch may have been deleted as well"),
    ],
)
def test_interrupted_purge_reports_how_much_it_deleted(
    store: Store,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    code: int,
    says: str,
) -> None:
    purge = store.driver.purge

    def fail_after_two(batch_size: int) -> Iterator[int]:
        yield from islice(purge(batch_size), 2)
        raise error

    with monkeypatch.context() as patch, pytest.raises(CommandError, match=says) as raised:
        patch.setattr(store.driver, "purge", fail_after_two)
        call_command("purge_persist", "--batch-size=1")
    assert raised.value.returncode == code
    out = capsys.readouterr().out
    deleted = int(out.split()[0])
    assert 2 <= deleted < 5
    assert "; not complete." in out
    assert store.driver.expired() == 5 - deleted


@pytest.mark.parametrize("server", ["valkey"])
def test_purge_does_nothing_on_redis(server: str, open_store: Callable[..., Store]) -> None:
    open_store(server).set("key", 1, expires=0.01)
    assert run().startswith("0 expired entries deleted from default")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--store=nowhere"], "PERSIST has no store 'nowhere'"),
        (["--batch-size=0"], "at least 1"),
        (["--max-seconds=-1"], "more than 0"),
        (["--max-seconds=nan"], "more than 0"),
    ],
)
def test_purge_reports_invalid_arguments(args: list[str], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        run(*args)


def test_purge_fails_if_a_store_is_unreachable(
    settings: Any, django_db_blocker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = {**connections["postgresql"].settings_dict, "PORT": free_port()}
    monkeypatch.setitem(connections.settings, "away", away)
    settings.PERSIST = {"default": {**BACKENDS["sqlite"], "OPTIONS": {"using": "away"}}}
    with (
        django_db_blocker.unblock(),
        pytest.raises(CommandError, match="The database 'away' could not be connected to"),
    ):
        run()
    del connections["away"]


def write_or_purge(i: int) -> str:
    if i < 2:
        return run("--batch-size=20")
    for n in range(i, 300, 4):
        stores["default"].set(f"key:{n}", "new", expires=60)
    return ""


def test_concurrent_purges_and_writers(database_store: Store) -> None:
    leave_expired(database_store, {f"key:{n}": "old" for n in range(300)})
    race(write_or_purge)
    assert database_store.get_many([f"key:{n}" for n in range(300)]) == {
        f"key:{n}": "new" for n in range(2, 300)
    }


@contextmanager
def elsewhere(server: str, folder: Path) -> Iterator[dict[str, Any]]:
    """The settings of a second place on a server, which only OPTIONS tell from the first."""
    settings = another(server)
    name = f"elsewhere_{settings['NAME']}"
    if server == "postgresql":
        create, drop = f'CREATE SCHEMA "{name}"', f'DROP SCHEMA "{name}" CASCADE'
        options = {"options": f"-c search_path={name}"}
    else:
        create, drop = f"CREATE DATABASE `{name}`", f"DROP DATABASE `{name}`"
        file = folder / "elsewhere.cnf"
        file.write_text(f"[client]\ndatabase = {name}\n")
        options = {"read_default_file": str(file)}
        settings |= {"NAME": ""}
    with connections[server].cursor() as cursor:
        cursor.execute(create)
    try:
        yield {**settings, "OPTIONS": {**settings["OPTIONS"], **options}}
    finally:
        with connections[server].cursor() as cursor:
            cursor.execute(drop)


@pytest.mark.parametrize("server", DATABASE_SERVERS)
def test_purge_finds_each_place_that_only_options_tell_apart(
    server: str, open_store: Callable[..., Store], settings: Any, tmp_path: Path
) -> None:
    open_store(server)
    here = {**another(server), "OPTIONS": dict(another(server)["OPTIONS"])}
    if server in MYSQLS:  # Neither alias has a NAME: their files have.
        file = tmp_path / "here.cnf"
        file.write_text(f"[client]\ndatabase = {here['NAME']}\n")
        here |= {"NAME": "", "OPTIONS": {**here["OPTIONS"], "read_default_file": str(file)}}
    with (
        elsewhere(server, tmp_path) as there,
        alias("here", here),
        alias("there", there),
    ):
        migrate("there")
        settings.PERSIST = {
            "default": {**BACKENDS[server], "OPTIONS": {"using": "here"}},
            "other": {**BACKENDS[server], "OPTIONS": {"using": "there"}},
        }
        for name, number in (("default", 2), ("other", 3)):
            leave_expired(stores[name], {f"{name} {i}": i for i in range(number)})
        assert "django_persist.E005" not in {m.id for m in run_checks(tags=["django_persist"])}
        assert run().startswith("5 expired entries deleted from default, other")
        assert [stores[name].driver.expired() for name in ("default", "other")] == [0, 0]
        stores["other"].set("key", "there")
        assert "key" not in stores["default"]
        connections["there"].close()
