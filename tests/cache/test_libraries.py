"""Libraries that keep state in the cache pass their own tests with a PersistCache."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import rest_framework

import django_persist
from tests import extent, servers, upstream

pytestmark = pytest.mark.costly

RUN = Path(__file__).with_name("run_library.py")
PACKAGE = Path(django_persist.__file__).parents[1]

# The version, the SHA-256 of its sdist, and how many tests use the cache.
LIBRARIES: dict[str, tuple[str, str | None, int]] = {
    "django-axes": (
        "8.3.1",
        "d57e923c0ba33cf45275253dd1313c3a3ff04bec686b38d677beb2b3d43c7bcd",
        63,
    ),
    "django-ratelimit": (
        "4.1.0",
        "555943b283045b917ad59f196829530d63be2a39adb72788d985b90c81ba808b",
        52,
    ),
    # Whichever version is installed.
    "djangorestframework": (rest_framework.__version__, None, 29),
}

# They expect a view that answers as if the limit were reached, or not checked, while the cache is
# down. A store that is down raises StoreUnavailableError, which django-ratelimit doesn't catch.
DOWN = [
    f"django_ratelimit.tests.CacheFailTests.{name}"
    for name in (
        "test_fail_open_setting",
        "test_is_ratelimited_cache_connection_error_with_increment",
        "test_is_ratelimited_cache_connection_error_with_increment_redis",
        "test_is_ratelimited_cache_connection_error_without_increment",
        "test_limit_on_cache_connection_error",
    )
]


# Each run takes up to five seconds of a processor.
RUNS = [
    ("django-axes", "database"),
    *([("django-axes", "valkey")] if extent.LONG else []),
    ("django-ratelimit", "database"),
    ("django-ratelimit", "valkey"),
    ("djangorestframework", "database"),
    ("djangorestframework", "valkey"),
]


@pytest.mark.parametrize(("library", "store"), RUNS)
def test_a_library_passes_its_own_tests(library: str, store: str) -> None:
    version, sha256, number = LIBRARIES[library]
    try:
        folder = upstream.unpack(upstream.sdist(library, version, sha256))
    except upstream.UnavailableError as error:
        if "CI" in os.environ:
            raise
        pytest.skip(str(error))
    done = subprocess.run(
        [sys.executable, RUN, library, store],
        cwd=folder,
        env={**os.environ, "PERSIST_TEST_VALKEY": servers.valkey(), "PYTHONPATH": str(PACKAGE)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout)
    assert result["not passed"] == (DOWN if library == "django-ratelimit" else []), done.stderr
    assert result["run"] >= number
