"""The test project's site, in the settings of the test run."""

from __future__ import annotations

from typing import Any

import pytest

from testproject import settings as site_settings

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def site(settings: Any) -> None:
    settings.ROOT_URLCONF = "testproject.urls"
    settings.TEMPLATES = site_settings.TEMPLATES
