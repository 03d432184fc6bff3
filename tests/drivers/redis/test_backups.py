"""Entries of every kind in a server that starts with the files of another."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest

from django_persist import Store
from tests.drivers.redis.conftest import MakeDriver
from tests.mixed import fill, state
from tests.servers.valkey_servers import ValkeyServer


@pytest.mark.parametrize("file", ["dump.rdb", "appendonlydir"])
def test_every_entry_is_in_the_files_of_the_server(
    file: str, own_server: Callable[..., ValkeyServer], make_driver: MakeDriver
) -> None:
    options = ("--appendonly", "yes" if file == "appendonlydir" else "no")
    source, target = own_server(*options), own_server(*options)
    before = fill(Store(make_driver(source.url)))
    if file == "dump.rdb":
        source.client.save()
    source.stop()
    target.kill()
    shutil.rmtree(target.folder / file, ignore_errors=True)
    shutil.move(source.folder / file, target.folder / file)
    target.start()
    assert state(Store(make_driver(target.url))) == before
