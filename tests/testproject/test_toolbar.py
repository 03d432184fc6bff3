"""With DEBUG=1 the site has the toolbar with our panel."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.testproject.test_demo import run

ASK = """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "testproject.settings"
import django
django.setup()
from django.test import Client
print(Client(headers={"host": "localhost"}).get("/").content.decode())
"""


@pytest.mark.parametrize(("debug", "panels"), [("1", 1), ("0", 0)])
def test_the_toolbar_is_there_with_debug(tmp_path: Path, debug: str, panels: int) -> None:
    result = run(tmp_path, "-c", ASK, DEBUG=debug, PERSIST_STORE="memory")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count('id="djdt-PersistPanel"') == panels
    assert "<code>incr</code>" in result.stdout
