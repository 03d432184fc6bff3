"""A site with its sessions in a store, on each server in turn."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import User

from django_persist import Store
from tests import clock
from tests.conftest import Elapse, OpenStore

ENGINE = "django_persist.sessions"


@pytest.fixture
def kept(store: Store) -> Store:
    """The namespace with the sessions, on each server in turn."""
    return store.namespace("sessions")


@pytest.fixture
def elapse() -> Iterator[Elapse]:
    """Return a function that lets seconds pass for a store, on Redis without waiting."""
    with time_machine.travel(time.time(), tick=True) as traveller:
        yield lambda store, seconds: clock.elapse(store, seconds, traveller)


@pytest.fixture
def site(settings: Any) -> None:
    """The views of this folder, with sessions."""
    settings.SESSION_ENGINE = ENGINE
    settings.ROOT_URLCONF = "tests.sessions.views"
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def user(site: None, open_store: OpenStore) -> Iterator[User]:
    """A user who can log in as "ada" with "secret". The stores are not in a transaction."""
    user = User.objects.create_user("ada", password="secret")
    yield user
    user.delete()
