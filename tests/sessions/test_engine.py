"""What the engine guarantees beyond Django's own tests."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.sessions.backends.base import CreateError, UpdateError
from django.utils import timezone

from django_persist import Store
from django_persist.exceptions import DuplicateKeyError
from django_persist.sessions import SessionStore
from tests.sessions.saved import again, key, saved

CHOSEN = "an-id-that-the-client-chose"


class TestKeys:
    def test_listing_shows_no_id(self, store: Store) -> None:
        session = saved(cart="tea")
        assert session.session_key is not None
        assert set(store.keys()) == {"sessions:" + key(session.session_key)}
        [(_, item)] = store.items()
        assert session.session_key not in item.value

    def test_listed_key_is_not_an_id(self, kept: Store) -> None:
        saved(cart="tea")
        [listed] = kept.keys()
        assert dict(SessionStore(listed).items()) == {}

    @pytest.mark.parametrize("change", ["__setitem__", "set_expiry", "delete", "cycle_key"])
    def test_nothing_is_saved_under_an_id_that_the_client_chose(
        self, kept: Store, change: str
    ) -> None:
        session = SessionStore(CHOSEN)
        arguments = {"__setitem__": ("a", 1), "set_expiry": (100,)}.get(change, ())
        getattr(session, change)(*arguments)
        session.save()
        assert session.session_key not in {None, CHOSEN}
        assert set(kept.keys()) == {key(session.session_key)}

    def test_empty_session_is_not_saved_under_an_id_that_the_client_chose(
        self, kept: Store
    ) -> None:
        session = SessionStore(CHOSEN)
        session.clear()
        with pytest.raises(UpdateError):
            session.save()
        assert kept.count() == 0

    def test_id_is_claimed_by_the_write(self, kept: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        taken, free = saved(of="another").session_key, "f" * 32
        drawn = iter([taken, taken, free])
        monkeypatch.setattr(SessionStore, "_get_new_session_key", lambda self: next(drawn))
        session = saved(of="mine")
        assert session.session_key == free
        assert dict(SessionStore(taken).items()) == {"of": "another"}
        assert dict(again(session).items()) == {"of": "mine"}
        with pytest.raises(CreateError) as raised:
            again(session).save(must_create=True)
        assert isinstance(raised.value.__cause__, DuplicateKeyError)

    def test_error_if_the_store_reports_every_new_id_as_taken(
        self, kept: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        taken = saved().session_key
        monkeypatch.setattr(SessionStore, "_get_new_session_key", lambda self: taken)
        with pytest.raises(RuntimeError, match="the store has an entry for every new id"):
            saved()

    @pytest.mark.parametrize("session_id", ["ü" * 40, "\0" * 8, "x" * 10_000, "a b:c*?[%{};\r\n"])
    def test_any_id_that_a_client_sends_is_accepted(self, kept: Store, session_id: str) -> None:
        session = SessionStore(session_id)
        assert not session.exists(session_id)
        assert session.load() == {}
        assert session.session_key is None
        session.delete(session_id)


class TestData:
    def test_data_reads_back_as_json(self, kept: Store) -> None:
        data = {"tuple": (1, 2), "nested": {5: None}, "text": "Zoë\0\ud800", "large": 2**70}
        assert dict(again(saved(**data)).items()) == json.loads(json.dumps(data))

    def test_data_that_is_not_json_is_refused_and_changes_nothing(self, kept: Store) -> None:
        session = saved(a=1)
        session["when"] = timezone.now()
        with pytest.raises(TypeError, match="not JSON serializable"):
            session.save()
        assert dict(again(session).items()) == {"a": 1}
        with pytest.raises(TypeError, match="not JSON serializable"):
            saved(when=timezone.now())
        assert kept.count() == 1

    def test_session_serializer_setting_is_used(self, kept: Store, settings: Any) -> None:
        settings.SESSION_SERIALIZER = f"{__name__}.Reversed"
        session = saved(a=1)
        assert dict(again(session).items()) == {"a": 1}
        settings.SESSION_SERIALIZER = "django.contrib.sessions.serializers.JSONSerializer"
        assert dict(again(session).items()) == {}

    @pytest.mark.parametrize("value", ["", "text", "a:b:c", 5, {"user": 1}, None, [1]])
    def test_unsigned_data_is_not_a_session(
        self, kept: Store, value: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        session = saved(a=1)
        kept.set(key(session.session_key), value)
        assert dict(again(session).items()) == {}
        [record] = caplog.records
        assert record.name == "django.security.SuspiciousSession"
        assert record.getMessage() == "Session data corrupted"

    def test_editing_entries_cannot_take_over_a_session(self, kept: Store) -> None:
        own, other = saved(user="mine"), saved(user="another's")
        kept.set(key(own.session_key), kept.get(key(other.session_key)))
        assert dict(again(own).items()) == {}

    def test_secret_key_fallbacks_are_accepted(self, kept: Store, settings: Any) -> None:
        session = saved(a=1)
        settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new", [settings.SECRET_KEY]
        assert dict(again(session).items()) == {"a": 1}
        settings.SECRET_KEY_FALLBACKS = []
        assert dict(again(session).items()) == {}


class Reversed:
    def dumps(self, data: Any) -> bytes:
        return json.dumps(data).encode()[::-1]

    def loads(self, text: bytes) -> Any:
        return json.loads(text[::-1])


class TestCorrupt:
    def test_corrupt_entry_counts_as_a_new_session(self, store: Store) -> None:
        session = saved(a=1)
        store.driver.set("sessions:" + key(session.session_key), b"{", None)
        late = again(session)
        late.clear()
        with pytest.raises(UpdateError):
            late.save()
        found = again(session)
        assert dict(found.items()) == {}
        found["b"] = 2
        found.save()
        assert found.session_key not in {None, session.session_key}
        assert dict(again(found).items()) == {"b": 2}
