"""A site with its sessions in a store, on each server in turn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User

from django_persist import Store
from tests.conftest import OpenStore

ENGINE = "django_persist.sessions"


@pytest.fixture
def kept(store: Store) -> Store:
    """The namespace with the sessions, on each server in turn."""
    return store.namespace("sessions")


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
