"""Staff users who are logged in to the admin, and what they see of the entries of a store."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import urlencode

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Permission, User
from django.contrib.messages import get_messages
from django.contrib.sessions.models import Session
from django.db import connections
from django.test import Client, RequestFactory
from django.urls import reverse

from django_persist import Store
from django_persist.admin import EntryAdmin
from django_persist.admin.listing import EntryChangeList
from django_persist.drivers.database import DatabaseDriver
from django_persist.models import Entry

LIST = "/admin/django_persist/entry/"

Row: TypeAlias = tuple[Any, int | None]


@dataclass(frozen=True)
class Staff:
    """A user who is logged in to the admin."""

    client: Client
    user: User

    def change_list(self, **query: str) -> Any:
        response: Any = self.client.get(LIST, query)
        assert response.status_code == 200
        return response.context["cl"]

    def follow(self, link: str) -> EntryChangeList:
        """Return the change list that a link of the list leads to, without rendering the page."""
        assert link.startswith("?")
        request = RequestFactory().get(LIST + link)
        request.user = self.user
        response: Any = EntryAdmin(Entry, admin.site).changelist_view(request)
        change_list: EntryChangeList = response.context_data["cl"]
        return change_list

    def keys(self, **query: str) -> list[str]:
        """Return the listed keys, without rendering the page."""
        return [entry.pk for entry in self.follow("?" + urlencode(query)).result_list]

    def page(self, **query: str) -> str:
        return self.client.get(LIST, query).text

    def address(self, key: str, view: str = "change") -> str:
        return reverse(f"admin:django_persist_entry_{view}", args=[quote(key)])

    def open(self, key: str) -> dict[str, str]:
        """Open the form of an entry; return what a browser would submit without any change."""
        response: Any = self.client.get(self.address(key))
        assert response.status_code == 200, response
        return fields(response.context["adminform"].form)

    def save(self, key: str | None, sent: dict[str, str]) -> Any:
        """Submit the form of an entry, or of a new one for None. Return its errors, or None."""
        address = LIST + "add/" if key is None else self.address(key)
        # Browsers submit line breaks as CR LF.
        sent = {name: text.replace("\n", "\r\n") for name, text in sent.items()}
        response: Any = self.client.post(address, sent)
        if response.status_code == 302:
            return None
        assert response.status_code == 200, response
        return dict(response.context["adminform"].form.errors)

    def add(self, key: str, text: str, date: str = "", time: str = "") -> Any:
        sent = {"key": key, "text": text, "expires_at_0": date, "expires_at_1": time}
        return self.save(None, sent)

    def act(self, action: str, *keys: str) -> list[str]:
        """Run an action on the list; return the messages."""
        sent = {"action": action, "index": "0", "_selected_action": keys, "post": "yes"}
        response = self.client.post(LIST, sent)
        messages = [str(message) for message in get_messages(response.wsgi_request)]
        self.client.get(LIST)  # Shows the messages, so that they don't appear again.
        return messages

    def log(self) -> list[tuple[str, str]]:
        """Return the admin's log of this user, oldest first."""
        entries = LogEntry.objects.filter(user=self.user).order_by("pk")
        return [(entry.object_repr, entry.get_change_message()) for entry in entries]


def fields(form: Any) -> dict[str, str]:
    """Return the data that the HTML of a form would submit."""
    sent = {}
    for bound in form:
        page = str(bound)
        for tag in re.findall(r"<input[^>]*>", page):
            value = re.search(r'value="([^"]*)"', tag)
            [name] = re.findall(r'name="([^"]*)"', tag)
            sent[name] = html.unescape(value[1]) if value else ""
        for name, text in re.findall(r'(?s)<textarea name="(\w+)"[^>]*>\n?(.*?)</textarea>', page):
            sent[name] = html.unescape(text)
    return sent


LetIn: TypeAlias = Callable[..., Staff]


@pytest.fixture
def let_in(open_store: Any) -> Iterator[LetIn]:
    """Return a function that logs in a new user, with some permissions for entries or with all."""
    made: list[User] = []

    def let_in_(*actions: str) -> Staff:
        name = f"staff{len(made)}"
        user = User.objects.create_user(name, is_staff=True, is_superuser=not actions)
        for action in actions:
            user.user_permissions.add(Permission.objects.get(codename=f"{action}_entry"))
        made.append(user)
        client = Client()
        client.force_login(user)
        return Staff(client, user)

    yield let_in_
    for user in made:
        user.delete()
    Session.objects.all().delete()


@pytest.fixture
def staff(database_store: Store, let_in: LetIn) -> Staff:
    """A superuser, with the entries on each database in turn."""
    return let_in()


@pytest.fixture
def sqlite_staff(open_store: Any, let_in: LetIn) -> Staff:
    """A superuser, with the entries on SQLite, for tests in which the database doesn't matter."""
    open_store("sqlite")
    return let_in()


def driver_of(store: Store) -> DatabaseDriver:
    assert isinstance(store.driver, DatabaseDriver)
    return store.driver


def put(store: Store, key: str, text: str | bytes, expires_at: int | None = None) -> None:
    """Insert a row with any text as its value, valid or not."""
    with connections[driver_of(store).using].cursor() as cursor:
        value = "CAST(%s AS TEXT)" if isinstance(text, bytes) else "%s"
        statement = f"INSERT INTO django_persist_entry VALUES (%s, {value}, %s)"
        cursor.execute(statement, [key, text, expires_at])


def row(store: Store, key: str) -> Row | None:
    """Return the stored text and expiry of a row."""
    with connections[driver_of(store).using].cursor() as cursor:
        name = cursor.db.ops.quote_name("key")
        value = "CAST(value AS BLOB)" if cursor.db.vendor == "sqlite" else "value"
        cursor.execute(
            f"SELECT {value}, expires_at FROM django_persist_entry WHERE {name} = %s", [key]
        )
        found = cursor.fetchone()
    if found is None:
        return None
    text = found[0].decode() if isinstance(found[0], bytes) else found[0]
    return text, found[1]
