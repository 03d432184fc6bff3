"""A process that forks while a thread writes to memory: the child has whole entries."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

FORKS = 150

CODE = f"""
import os, sys, threading
from datetime import timedelta
from django.conf import settings
settings.configure()
from django_persist import Store
from django_persist.drivers.memory import MemoryDriver

store = Store(MemoryDriver())
stop = False

def write():
    driver, n = store.driver, 0
    while not stop:
        n += 1
        key = f"a{{n % 50}}"
        driver.set(key, b"1", timedelta(seconds=1 + n % 7))
        driver.touch(key, timedelta(seconds=2 + n % 9))
        driver.remove(f"a{{(n + 25) % 50}}")
        if n % 10 == 0:
            store.set_many(dict.fromkeys(("x", "y", "z"), n), expires=1 + n % 5)

def check():
    found = store.get_many(["x", "y", "z"])
    assert len(set(found.values())) <= 1 and len(found) in (0, 3), found
    keys = [f"a{{i}}" for i in range(50)]
    for key in keys:
        store.set(key, "child")
    memory = store.driver.memory
    later = 10**18
    for _ in range(20):
        memory.sweep(later)
    assert store.get_many(keys) == dict.fromkeys(keys, "child")
    assert memory.slots.keys() == set(keys), memory.slots.keys() - set(keys)

thread = threading.Thread(target=write)
thread.start()
bad = 0
for _ in range({FORKS}):
    pid = os.fork()
    if pid == 0:
        try:
            check()
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    bad += os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0
stop = True
thread.join()
sys.exit(bad)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_that_is_forked_while_a_thread_writes_has_whole_entries() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CODE],
        timeout=120,
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
