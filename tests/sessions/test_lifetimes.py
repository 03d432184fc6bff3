"""How a session is saved and when it expires. A deleted session stays deleted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.sessions.backends.base import UpdateError
from django.contrib.sessions.exceptions import SessionInterrupted
from django.core.management import call_command
from django.utils import timezone

from django_persist import Store
from django_persist.exceptions import StoreUnavailableError
from django_persist.sessions import SessionStore
from tests.conftest import Elapse, leave_expired
from tests.sessions.saved import again, key, saved


def cycle_key(session: SessionStore, asynchronous: bool) -> None:
    if asynchronous:
        async_to_sync(session.acycle_key)()
    else:
        session.cycle_key()


class TestDeleted:
    @pytest.mark.parametrize("ending", ["delete", "flush", "expiry", "cycle_key"])
    @pytest.mark.parametrize("late", ["changed", "unchanged", "emptied", "ending"])
    def test_late_save_does_not_restore_a_deleted_session(
        self, kept: Store, ending: str, late: str
    ) -> None:
        session, other = saved(a=1), saved(a=2)
        in_flight = again(session)
        in_flight["a"]
        match late:
            case "changed":
                in_flight["b"] = 2
            case "emptied":
                in_flight.clear()
            case "ending":
                in_flight.set_expiry(-1)
        if ending == "expiry":
            session.set_expiry(-1)
            session.save()
        else:
            getattr(session, ending)()
        left = kept.count()
        with pytest.raises(UpdateError):
            in_flight.save()
        assert not session.exists(in_flight.session_key)
        assert kept.count() == left == (2 if ending == "cycle_key" else 1)
        assert dict(again(other).items()) == {"a": 2}

    @pytest.mark.parametrize("asynchronous", [False, True])
    def test_late_cycle_key_does_not_restore_a_deleted_session(
        self, kept: Store, asynchronous: bool
    ) -> None:
        session = saved(a=1)
        in_flight = again(session)
        in_flight["b"] = 2
        session.flush()
        with pytest.raises(SessionInterrupted):
            cycle_key(in_flight, asynchronous)
        assert kept.count() == 0
        # Django's middleware checks this when it sends the response.
        assert not in_flight.is_empty()
        with pytest.raises(UpdateError):
            in_flight.save()
        assert kept.count() == 0

    def test_flush_deletes_the_session(self, kept: Store) -> None:
        session = saved(a=1)
        session.flush()
        assert kept.count() == 0
        assert session.session_key is None
        assert dict(session.items()) == {}

    @pytest.mark.parametrize("asynchronous", [False, True])
    def test_cycle_key_deletes_the_old_session(self, kept: Store, asynchronous: bool) -> None:
        session = again(saved(a=1, deep={"b": []}))
        old = session.session_key
        cycle_key(session, asynchronous)
        assert set(kept.keys()) == {key(session.session_key)}
        assert session.session_key != old
        assert dict(again(session).items()) == {"a": 1, "deep": {"b": []}}
        session["deep"]["b"].append(1)
        session.save()
        assert again(session)["deep"] == {"b": [1]}

    @pytest.mark.parametrize("call", ["create", "remove"])
    def test_interrupted_cycle_key_loses_nothing(
        self, kept: Store, monkeypatch: pytest.MonkeyPatch, call: str
    ) -> None:
        session = saved(a=1)
        in_flight = again(session)

        def stop(*args: Any, **kwargs: Any) -> None:
            raise StoreUnavailableError("It was cut off.")

        with monkeypatch.context() as patch:
            patch.setattr(type(kept.driver), call, stop)
            with pytest.raises(StoreUnavailableError):
                in_flight.cycle_key()
        assert dict(again(session).items()) == {"a": 1}

    def test_cycle_key_of_a_new_session_creates_one(self, kept: Store) -> None:
        session = SessionStore()
        session.cycle_key()
        assert set(kept.keys()) == {key(session.session_key)}


class TestSaving:
    def test_change_inside_a_nested_value_is_saved(self, kept: Store) -> None:
        session = again(saved(cart={"tea": 1}))
        session["cart"]["tea"] = 2
        assert not session.modified
        session.save()
        assert again(session)["cart"] == {"tea": 2}

    def test_true_is_not_saved_as_one(self, kept: Store) -> None:
        session = again(saved(cart={"tea": 1}))
        session["cart"]["tea"] = True
        session.save()
        assert again(session)["cart"]["tea"] is True

    def test_unchanged_session_does_not_undo_another_request(self, kept: Store) -> None:
        """SESSION_SAVE_EVERY_REQUEST also saves sessions that were only read."""
        session = saved(a=1)
        reading, writing = again(session), again(session)
        assert reading["a"] == writing["a"]
        writing["a"] = 2
        writing.save()
        reading.save()
        assert again(session)["a"] == 2

    def test_last_of_two_concurrent_changes_wins(self, kept: Store) -> None:
        session = saved(a=1)
        one, two = again(session), again(session)
        one["b"], two["c"] = 1, 2
        one.save()
        two.save()
        assert dict(again(session).items()) == {"a": 1, "c": 2}


HOUR = 3600


def left(kept: Store, session: SessionStore) -> float:
    item = kept.get_item(key(session.session_key))
    assert item is not None
    assert item.ttl is not None
    return item.ttl.total_seconds()


class TestExpiry:
    @pytest.mark.parametrize(
        ("expiry", "seconds"),
        [
            pytest.param(None, 14 * HOUR, id="the setting"),
            pytest.param(0, 14 * HOUR, id="until the browser is closed, at most the setting"),
            pytest.param(HOUR, HOUR, id="seconds"),
            pytest.param(timedelta(hours=2), 2 * HOUR, id="timedelta"),
            pytest.param("datetime", 3 * HOUR, id="datetime"),
        ],
    )
    def test_entry_expires_with_the_session(
        self, kept: Store, settings: Any, expiry: Any, seconds: float
    ) -> None:
        settings.SESSION_COOKIE_AGE = 14 * HOUR
        if expiry == "datetime":
            expiry = timezone.now() + timedelta(hours=3)
        session = SessionStore()
        session.set_expiry(expiry)
        session.save()
        assert seconds - 30 < left(kept, session) <= seconds
        assert session.get_expire_at_browser_close() is (expiry == 0)
        session = again(session)
        session.set_expiry(5 * HOUR)
        session.save()
        assert 5 * HOUR - 30 < left(kept, session) <= 5 * HOUR

    def test_save_restarts_the_lifetime(self, kept: Store) -> None:
        session = saved(a=1)
        for change in (False, True):
            kept.touch(key(session.session_key), 100)
            session = again(session)
            session["a"] = 2 if change else session["a"]
            session.modified = change
            session.save()
            assert left(kept, session) > 1_000_000

    def test_session_is_gone_when_it_expires(self, store: Store, elapse: Elapse) -> None:
        session = SessionStore()
        session["a"] = 1
        session.set_expiry(60)
        session.save()
        in_flight = again(session)
        in_flight["a"] = 2
        elapse(store, 60.1)
        assert not session.exists(session.session_key)
        with pytest.raises(UpdateError):
            in_flight.save()
        assert dict(again(session).items()) == {}

    def test_session_without_a_lifetime_is_not_kept(self, kept: Store) -> None:
        session = saved(a=1)
        session.set_expiry(timezone.now() - timedelta(days=1))
        session.save()
        assert kept.count() == 0

    @pytest.mark.parametrize("asynchronous", [False, True])
    def test_clearsessions(self, store: Store, settings: Any, asynchronous: bool) -> None:
        settings.SESSION_ENGINE = "django_persist.sessions"
        session = saved(a=1)
        leave_expired(store, {f"sessions:{n}": "" for n in range(5)})
        if asynchronous:
            async_to_sync(SessionStore.aclear_expired)()
        else:
            call_command("clearsessions")
        assert store.driver.expired() == 0
        assert dict(again(session).items()) == {"a": 1}


@pytest.mark.parametrize(
    "expiry", [datetime(9999, 12, 31, tzinfo=UTC), 99_999_999_999, timedelta(days=2_000_000)]
)
def test_an_expiry_that_no_store_takes_is_the_longest(kept: Store, expiry: Any) -> None:
    session = saved(a=1)
    session.set_expiry(expiry)
    session.save()
    assert again(session)["a"] == 1
    item = kept.get_item(key(session.session_key))
    assert item is not None
    assert item.ttl is not None
    assert item.ttl > timedelta(days=364_000)
