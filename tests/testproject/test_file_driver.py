"""The driver that the documentation shows: the contract, and its file."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
import time_machine

from django_persist import Store
from django_persist.contract import DriverContract
from django_persist.drivers.base import Driver
from django_persist.exceptions import InvalidStoreError, StoreUnavailableError
from testproject.file_driver import FileDriver


@pytest.fixture
def driver(tmp_path: Path) -> FileDriver:
    return FileDriver(str(tmp_path / "entries.json"))


# It takes ten seconds of a processor: each write replaces a file.
@pytest.mark.costly
class TestFileDriver(DriverContract):
    @pytest.fixture
    def driver(self, tmp_path: Path) -> Driver:
        return FileDriver(str(tmp_path / "entries.json"))

    @pytest.fixture
    def elapse(self) -> Iterator[Callable[[float], None]]:
        with time_machine.travel(time.time(), tick=True) as clock:
            yield clock.shift


def _count(path: str) -> None:
    store = Store(FileDriver(path))
    for _ in range(50):
        store.incr("n")


def test_processes_wait_for_each_other(driver: FileDriver) -> None:
    with ProcessPoolExecutor(4, get_context("spawn")) as pool:
        list(pool.map(_count, [str(driver.path)] * 4))
    assert Store(driver).get("n") == 200


def test_the_next_write_drops_expired_entries(driver: FileDriver) -> None:
    store = Store(driver)
    with time_machine.travel(time.time() - 60):
        store.set_many({"a": 1, "b": 2}, expires=1)
    assert store.count() == 0
    store.set("c", 3)
    assert json.loads(driver.path.read_text()) == {"c": ["3", None]}


def test_a_missing_folder_is_refused_and_a_deleted_one_is_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    with pytest.raises(InvalidStoreError, match="is not a folder"):
        FileDriver(str(folder / "entries.json"))
    folder.mkdir()
    store = Store(FileDriver(str(folder / "entries.json")))
    folder.rmdir()
    for call in (lambda: store.set("a", 1), lambda: store.get("a")):
        with pytest.raises(StoreUnavailableError, match="No such file") as caught:
            call()
        assert not caught.value.maybe_applied


def test_a_file_that_can_not_be_replaced_is_an_error(driver: FileDriver) -> None:
    store = Store(driver)
    store.set("a", 1)
    driver.path.with_suffix(".new").mkdir()
    with pytest.raises(StoreUnavailableError, match="Is a directory"):
        store.set("a", 2)
    assert store.get("a") == 1
