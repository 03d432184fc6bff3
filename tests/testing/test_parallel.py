"""Tests of a project that run in parallel processes on one Redis server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

from tests import servers

SETTINGS = """
    SECRET_KEY = "of a project"
    INSTALLED_APPS = ["django_persist"]
    CACHES = {{
        "default": {{
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": {url!r},
            "KEY_PREFIX": {prefix!r},
        }}
    }}
    PERSIST = {{
        "default": {{
            "BACKEND": "django_persist.drivers.redis.RedisDriver",
            "OPTIONS": {{"cache": "default"}},
        }}
    }}
"""

# As in docs/how-to/testing.md. In addition each process waits for the other.
TESTS = """
    import os
    import time
    from pathlib import Path

    from django.conf import settings
    from django.test import SimpleTestCase, override_settings

    from django_persist import persist, stores
    from django_persist.testing import override_persist


    class OnRedis(SimpleTestCase):
        def setUp(self):
            own = {**settings.PERSIST["default"], "PREFIX": f"test-{os.getpid()}:"}
            self.enterContext(override_settings(PERSIST={**settings.PERSIST, "default": own}))
            self.addCleanup(stores["default"].clear)


    def wait_for_both(name):
        Path(f"{name}-{os.getpid()}").touch()
        give_up = time.monotonic() + 60
        while len(list(Path().glob(f"{name}-*"))) < 2:
            assert time.monotonic() < give_up
            time.sleep(0.01)


    class First(OnRedis):
        def test(self):
            persist.set("a", os.getpid())
            wait_for_both("redis")
            assert list(persist.keys()) == ["a"]
            assert persist.get("a") == os.getpid()
            wait_for_both("read")
            assert persist.clear() == 1

        @override_persist()
        def test_in_memory(self):
            persist.set("a", os.getpid())
            wait_for_both("memory")
            assert persist.get("a") == os.getpid()
            assert persist.place().location[0] == "own memory"


    class Second(First):
        pass
"""


def test_each_process_has_its_own_keys(tmp_path: Path) -> None:
    settings = SETTINGS.format(url=servers.valkey(), prefix=f"{servers.run()}_parallel")
    (tmp_path / "project_settings.py").write_text(dedent(settings))
    (tmp_path / "tests.py").write_text(dedent(TESTS))
    result = subprocess.run(
        [sys.executable, "-W", "error", "-m", "django", "test", "--parallel", "2", "tests"],
        cwd=tmp_path,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "project_settings", "PYTHONPATH": "."},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "Ran 4 tests" in result.stderr
