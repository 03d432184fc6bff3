"""The commands in their own processes: exit codes, pipes, Ctrl-C and unavailable servers."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.db import ProgrammingError

from django_persist import Store, stores
from django_persist.management.command import StoreCommand
from tests import aliases, servers
from tests.conftest import BACKENDS, MEMORY, OpenStore, leave_expired
from tests.management.commands import Result, call, finish, persist, run, start
from tests.management.exports import contents, entry, fill, lines
from tests.servers.proxy import Fault, Proxy

MANY = 5000
# A stream is closed or piped in the same way whatever the server.
ON_TWO = ["sqlite", pytest.param("valkey", marks=pytest.mark.costly)]


def wait_until(ready: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def interrupt(process: subprocess.Popen[bytes]) -> Any:
    """Send Ctrl-C to a process, and wait until it ends."""
    process.send_signal(signal.SIGINT)
    return finish(process)


# Exit codes and pipes.


@pytest.mark.parametrize("server", ["valkey"])
def test_exit_codes(store: Store) -> None:
    store.set("key", {"a": "é"})
    expected = {
        # Django's own options may also come after the subcommand.
        ("get", "key", "--settings", "tests.management.process_settings"): (0, '{"a":"é"}\n'),
        ("set", "new", "-", "--expires=1h", "--verbosity", "0"): (0, ""),
        ("get", "none"): (1, ""),
        ("set", "key", "1", "--expires=soon"): (2, ""),
        ("set", "key", "nonsense"): (2, ""),
    }
    processes = [start("persist", *args) for args in expected]
    for (args, (code, out)), process in zip(expected.items(), processes, strict=True):
        result = finish(process, b"[1]")
        assert (result.code, result.out) == (code, out), args
        assert bool(result.err) == bool(code), args
        assert "Traceback" not in result.err, args
    assert store.get("new") == [1]


@pytest.mark.parametrize("server", ON_TWO)
def test_export_can_be_piped_into_import(store: Store) -> None:
    fill(store)
    before = contents(store)
    exported = run("persist", "export")
    assert (exported.code, exported.err) == (0, "")
    store.clear()
    result = run("persist", "import", "-", stdin=exported.out.encode())
    assert result == (0, "2,500 entries stored in default.\n", "")
    assert contents(store) == before


@pytest.mark.parametrize("server", ON_TWO)
@pytest.mark.parametrize("subcommand", ["keys", "export"])
def test_closed_pipe_ends_the_command_without_an_error(store: Store, subcommand: str) -> None:
    store.set_many({f"{'key' * 20}:{n}": n for n in range(3000)})  # More than fits into a pipe.
    process = start("persist", subcommand, stdin=subprocess.DEVNULL)
    assert process.stdout and process.stderr
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(60) == 141
    assert process.stderr.read() == b""
    process.stderr.close()


@pytest.mark.parametrize("server", ["sqlite"])
def test_output_is_utf_8_whatever_the_locale(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    store.set("schlüssel", "é")
    calls = (("keys",), ("get", "schlüssel"), ("export",))
    keys, get, export = map(finish, [start("persist", *args) for args in calls])
    assert keys.out == "schlüssel\n"
    assert get.out == '"é"\n'
    assert '"value":"é"' in export.out


@pytest.mark.costly
@pytest.mark.parametrize("server", ["sqlite"])
def test_arguments_are_utf_8_whatever_the_locale(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("LC_ALL", "C"), ("PYTHONUTF8", "0"), ("PYTHONCOERCECLOCALE", "0")):
        monkeypatch.setenv(name, value)
    assert run("persist", "set", "schlüssel", '"é"').code == 0
    assert dict(store.items()).keys() == {"schlüssel"}
    calls = [("get", "schlüssel"), ("keys", "schlü"), ("export", "--prefix=schlü")]
    for result in map(finish, [start("persist", *args) for args in calls]):
        assert result.code == 0, result.err
        assert "é" in result.out or "schlüssel" in result.out
    assert run("persist", "remove", "schlüssel").code == 0
    assert not store.count()


@pytest.mark.costly
@pytest.mark.parametrize("server", ["sqlite"])
@pytest.mark.parametrize("descriptor", [0, 1])
def test_a_closed_stream_ends_the_command_before_it_does_anything(
    store: Store, descriptor: int
) -> None:
    store.set("key", 1)
    by_descriptor = {
        0: [("persist", "import"), ("persist", "set", "new", "-"), ("persist", "clear")],
        1: [("persist", "keys"), ("persist", "set", "new", "1"), ("purge_persist",)],
    }
    name = ("stdin", "stdout")[descriptor]
    processes = [
        start(*args, **{name: None}, preexec_fn=partial(os.close, descriptor))
        for args in by_descriptor[descriptor]
    ]
    for process in processes:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 1
        assert f"Standard {name[3:]}put is closed".encode() in err
        assert b"Traceback" not in err
    assert list(store.keys()) == ["key"]


@pytest.mark.parametrize("server", ["sqlite"])
def test_an_export_to_a_pipe_by_its_name(store: Store, tmp_path: Path) -> None:
    fill(store, 3)
    piped = run("persist", "export", "/dev/stdout")
    assert piped.code == 0, piped.err
    assert f"{piped.out[piped.out.index('{') :]}".count('"key":') == 3
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as file:
        substituted = start("persist", "export", f"/dev/fd/{writing}", pass_fds=[writing])
        os.close(writing)
        exported = file.read()
    assert finish(substituted).code == 0
    assert exported.count(b'"key":') == 3
    assert exported.splitlines()[-1] == b'{"end":{"entries":3,"left_out":0}}'


# Ctrl-C.


@pytest.mark.parametrize("server", ["postgresql", "valkey"])
def test_interrupted_import_continues_when_run_again(store: Store) -> None:
    data = lines(*(entry(f"key:{n}", n) for n in range(MANY)))
    part = b"".join(data.splitlines(keepends=True)[:2500])
    process = start("persist", "import", "--json")
    assert process.stdin
    process.stdin.write(part)
    process.stdin.flush()
    # Each thousand is stored once it has been read; then the command waits for more.
    wait_until(lambda: store.count() == 2000)
    time.sleep(0.1)
    result = interrupt(process)
    assert result.code == 130
    assert result.json["complete"] is False
    assert result.json["stored"] == 2000
    assert result.json["uncertain"] == 0
    assert result.err == "CommandError: Stopped. Run the same command again to continue.\n"
    result = persist("import", stdin=data)
    assert result == (0, "3,000 entries stored in default; 2,000 already there.\n", "")
    assert store.count() == MANY


@pytest.fixture
def proxied(open_store: OpenStore, settings: Any, django_db_blocker: Any) -> Iterator[Proxy]:
    """A proxy to Valkey for the store "far". The store "default" is in SQLite."""
    proxy = Proxy(int(servers.valkey().rpartition(":")[2].partition("/")[0]))
    near = open_store("valkey")
    open_store("sqlite")
    far = {**settings.CACHES["valkey"], "LOCATION": f"redis://127.0.0.1:{proxy.port}/0"}
    settings.CACHES = {**settings.CACHES, "far": far}
    settings.PERSIST = {
        "default": BACKENDS["sqlite"],
        "far": {**BACKENDS["valkey"], "OPTIONS": {"cache": "far"}},
    }
    yield proxy
    proxy.close()
    near.driver.remove_many(list(near.driver.keys("")))


def test_interrupted_copy_reports_what_is_uncertain(proxied: Proxy) -> None:
    fill(stores["default"], MANY)
    # After some replies, the next one never comes.
    proxied.strike(Fault.STALLED, after=6)
    process = start("persist", "copy", "default", "far", "--json")
    wait_until(lambda: len(proxied.requests) >= 7)
    time.sleep(0.2)
    result = interrupt(process)
    assert result.code == 130
    counts = result.json
    assert counts["complete"] is False
    proxied.fault = None
    copied = stores["far"].count()
    assert counts["stored"] <= copied <= counts["stored"] + counts["uncertain"]
    assert counts["stored"] % 1000 == 0
    result = persist("copy", "default", "far", "--json")
    assert result.code == 0
    assert (result.json["stored"], result.json["unchanged"]) == (MANY - copied, copied)


@pytest.mark.parametrize("fault", [Fault.BEFORE, Fault.BETWEEN])
def test_copy_with_a_lost_connection_reports_what_is_uncertain(
    proxied: Proxy, fault: Fault
) -> None:
    fill(stores["default"], 3000, expires=3600)
    assert persist("copy", "default", "far").code == 0  # Now the server has cached the script.
    uncertain = []
    # Each of three batches takes two requests: one for the server's clock and one to write.
    for after in range(6):
        stores["far"].clear()
        proxied.strike(fault, after)
        result = persist("copy", "default", "far", "--json")
        counts = result.json
        assert result.code == 3
        assert counts["complete"] is False
        assert "Run the same command again to continue." in result.err
        copied = stores["far"].count()
        assert counts["stored"] <= copied <= counts["stored"] + counts["uncertain"]
        assert ("may have taken effect" in result.err) == (counts["uncertain"] > 0)
        uncertain.append(counts["uncertain"])
        assert persist("copy", "default", "far").code == 0
        assert contents(stores["far"]) == contents(stores["default"])
    assert set(uncertain) == {0, 1000}


def test_interrupted_export_does_not_change_the_file(proxied: Proxy, tmp_path: Path) -> None:
    fill(stores["far"], MANY)
    file = tmp_path / "backup.jsonl"
    file.write_text("old")
    proxied.strike(Fault.STALLED, after=4)
    process = start("persist", "export", str(file), "--store=far")
    wait_until(lambda: len(proxied.requests) >= 5)
    time.sleep(0.2)
    result = interrupt(process)
    assert (result.code, result.out) == (130, "")
    assert result.err == f"CommandError: Stopped. {file} was not changed.\n"
    assert file.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["backup.jsonl"]


@pytest.mark.parametrize("server", ["sqlite"])
def test_ctrl_c_at_the_prompt_of_clear_deletes_nothing(store: Store) -> None:
    store.set("key", 1)
    process = start("persist", "clear")
    assert process.stderr
    question = os.read(process.stderr.fileno(), 1000)
    assert b"[y/N]" in question
    result = interrupt(process)
    assert (result.code, result.out) == (130, "")
    assert "Stopped." in result.err
    assert "key" in store


# Unavailable servers.


@pytest.fixture(params=["redis", "database"])
def away(
    request: pytest.FixtureRequest, open_store: OpenStore, settings: Any, free_port: int
) -> Iterator[str]:
    """A store "away" whose server doesn't exist, and an available store "default"."""
    open_store("sqlite")
    cache = {**settings.CACHES["valkey"], "LOCATION": f"redis://127.0.0.1:{free_port}"}
    settings.CACHES = {**settings.CACHES, "away": cache}
    with aliases.alias("away", aliases.another("postgresql", PORT=free_port)):
        config = (
            {**BACKENDS["valkey"], "OPTIONS": {"cache": "away"}}
            if request.param == "redis"
            else {**BACKENDS["postgresql"], "OPTIONS": {"using": "away"}}
        )
        settings.PERSIST = {"default": BACKENDS["sqlite"], "away": config}
        yield str(request.param)


CALLS = [
    ("get", "key", "--store=away"),
    ("set", "key", "1", "--store=away"),
    ("remove", "key", "--store=away"),
    ("keys", "--store=away"),
    ("clear", "--store=away", "--no-input"),
    ("stats",),
    ("export", "--store=away"),
    ("import", "--store=away"),
    ("copy", "away", "default"),
    ("copy", "default", "away"),
]


UNAVAILABLE = {"redis": "can't be reached", "database": "could not be connected to"}


def assert_away(away: str, result: Result, args: tuple[str, ...]) -> None:
    assert result.code == 3, args
    assert UNAVAILABLE[away] in result.err, args
    assert "The operation in progress had no effect." in result.err, args
    assert "Traceback" not in result.err, args


@pytest.mark.parametrize("args", CALLS, ids=" ".join)
def test_every_subcommand_exits_with_3_if_the_store_is_unavailable(
    away: str, args: tuple[str, ...]
) -> None:
    stores["default"].set("key", 1)
    assert_away(away, persist(*args, stdin=lines(entry("key", 1))), args)


def test_process_exits_with_3_if_the_store_is_unavailable(away: str) -> None:
    assert_away(away, run("persist", *CALLS[0]), CALLS[0])
    assert call("purge_persist", "--store=away").code == (3 if away == "database" else 0)


@pytest.mark.parametrize("command", [("purge_persist",), ("persist", "stats")], ids=" ".join)
def test_each_unavailable_store_is_named_and_the_others_are_served(
    open_store: OpenStore, settings: Any, free_port: int, command: tuple[str, ...]
) -> None:
    store = open_store("sqlite")
    leave_expired(store, {"old": 1})
    with (
        aliases.alias("away", aliases.another("postgresql", PORT=free_port)),
        aliases.alias("gone", aliases.another("postgresql", PORT=free_port, NAME="gone")),
    ):
        settings.PERSIST = {
            **{
                alias: {**BACKENDS["postgresql"], "OPTIONS": {"using": alias}}
                for alias in ("away", "gone")
            },
            "default": BACKENDS["sqlite"],
        }
        result = call(*command)
    assert result.code == 3
    for alias in ("away", "gone"):
        assert f"{alias}: The database '{alias}' could not be connected to" in result.err
    if command == ("purge_persist",):
        assert store.driver.expired() == 0
    else:
        assert "  expired  1\n" in result.out


def test_missing_table_is_reported(open_store: OpenStore, settings: Any) -> None:
    open_store("sqlite")
    with aliases.alias("empty", aliases.sqlite()):
        settings.PERSIST = {"default": {**BACKENDS["sqlite"], "OPTIONS": {"using": "empty"}}}
        result = run("persist", "set", "key", '"secret"')
        assert (result.code, result.out) == (3, "")
        assert "run `manage.py migrate --database empty`" in result.err
        assert "secret" not in result.err
        assert call("purge_persist").code == 3


@pytest.mark.parametrize("server", ["sqlite"])
def test_other_database_errors_are_reported_without_their_message(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise ProgrammingError("no such column, near 'secret'")

    monkeypatch.setattr(store.driver, "set", fail)
    result = persist("set", "key", '"secret"')
    message = "The database raised ProgrammingError.\n"
    assert result == (3, "", message)


IN_MEMORY = [
    ("set", "key", "1", "--store=scratch"),
    ("get", "key", "--store=scratch"),
    ("remove", "key", "--store=scratch"),
    ("keys", "--store=scratch"),
    ("clear", "--no-input", "--store=scratch"),
    ("export", "--store=scratch"),
    ("import", "--store=scratch"),
    ("copy", "default", "scratch"),
    ("copy", "scratch", "default"),
]


@pytest.fixture
def scratch(open_store: OpenStore, settings: Any) -> None:
    """A store in memory beside the default one."""
    open_store("sqlite").set("key", "of the default")
    memory = {"BACKEND": MEMORY, "OPTIONS": {"name": "scratch of a command"}}
    settings.PERSIST = {**settings.PERSIST, "scratch": memory}


def test_a_process_has_no_part_in_a_store_in_memory(scratch: None) -> None:
    """A process that ends would read nothing from it, and lose what it writes."""
    for args in (IN_MEMORY[0], *random.sample(IN_MEMORY[1:], 2)):
        result = run("persist", *args, stdin=lines(entry("key", 1)))
        assert (result.code, result.out) == (2, ""), args
        assert "scratch is in memory: each process has its own entries" in result.err
    assert stores["default"].get("key") == "of the default"


@pytest.mark.parametrize("args", IN_MEMORY, ids=" ".join)
def test_a_command_in_memory_is_refused_only_as_a_process(
    scratch: None, args: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    stores["scratch"].set("key", "of the process")
    with monkeypatch.context() as patch:
        patch.setattr(StoreCommand, "is_process", True)
        result = persist(*args, stdin=lines(entry("key", 1)))
        assert (result.code, result.out) == (2, "")
        assert "Nothing was done." in result.err
    assert stores["scratch"].get("key") == "of the process"
    assert persist(*args, "--json", stdin=lines(entry("key", 1))).code in (0, 1)
    stores["scratch"].clear()


def test_stats_says_whose_entries_a_store_in_memory_has(scratch: None) -> None:
    result = run("persist", "stats")
    assert result.code == 0
    assert "note     each process has its own entries; these are of this one" in result.out
    assert "note" not in persist("stats", "--store=default", "--json").json["default"]
