"""The HTTP interface of the test project, with each of its statuses."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.test import AsyncClient, Client

from django_persist import Store, persist
from django_persist.exceptions import ContentionError, StoreUnavailableError
from tests import servers

pytestmark = pytest.mark.django_db


def post(client: Client, path: str, body: str = "") -> Any:
    return client.post(path, body, content_type="application/json")


def put(client: Client, path: str, body: str = "1") -> Any:
    return client.put(path, body, content_type="application/json")


def test_put_sets_and_get_gets(client: Client) -> None:
    response = put(client, "/store/greeting", '{"hello": ["world", null, 1.5]}')
    assert (response.status_code, response.content) == (204, b"")
    response = client.get("/store/greeting")
    assert (response.status_code, response["Content-Type"]) == (200, "application/json")
    assert response.json() == {"hello": ["world", None, 1.5]}
    assert put(client, "/store/greeting", "2").status_code == 204
    assert client.get("/store/greeting").json() == 2
    assert client.head("/store/greeting").status_code == 200


def test_post_creates_once(client: Client) -> None:
    response = post(client, "/store/greeting", '"hello"')
    assert (response.status_code, response.content) == (201, b"")
    response = post(client, "/store/greeting", '"good day"')
    assert response.status_code == 409
    assert "'greeting' already has a live entry" in response.json()["error"]
    assert persist.get("greeting") == "hello"


def test_get_and_delete_answer_404_without_an_entry(client: Client) -> None:
    for method in client.get, client.delete:
        response = method("/store/nothing")
        assert response.status_code == 404
        assert "nothing" in response.json()["error"]
    persist.set("greeting", "hello")
    assert client.delete("/store/greeting").status_code == 204
    assert client.delete("/store/greeting").status_code == 404
    assert "greeting" not in persist


def test_null_is_a_value(client: Client) -> None:
    assert post(client, "/store/nothing", "null").status_code == 201
    response = client.get("/store/nothing")
    assert (response.status_code, response.content) == (200, b"null")
    assert post(client, "/store/nothing", "null").status_code == 409


@pytest.mark.parametrize("method", ["put", "post"])
def test_expires_is_in_seconds(client: Client, method: str) -> None:
    response = getattr(client, method)(
        "/store/flash?expires=90.5", "1", content_type="application/json"
    )
    assert response.status_code < 300
    item = persist.get_item("flash")
    assert item is not None
    assert item.ttl is not None
    assert timedelta(seconds=80) < item.ttl <= timedelta(seconds=90.5)


def test_an_expired_entry_is_absent_and_can_be_created(client: Client, elapse: Any) -> None:
    assert post(client, "/store/flash?expires=10", "1").status_code == 201
    elapse(persist, 11)
    assert client.get("/store/flash").status_code == 404
    assert client.delete("/store/flash").status_code == 404
    assert post(client, "/store/flash", "2").status_code == 201


def test_incr_counts(client: Client) -> None:
    assert [post(client, "/store/visits/incr").json() for _ in range(3)] == [1, 2, 3]
    assert post(client, "/store/visits/incr?by=-5").json() == -2
    assert client.get("/store/visits").json() == -2


def test_incr_uses_expires_only_to_start_a_counter(client: Client) -> None:
    assert post(client, "/store/visits/incr?expires=60&by=2").json() == 2
    assert post(client, "/store/visits/incr?expires=6000").json() == 3
    item = persist.get_item("visits")
    assert item is not None
    assert item.ttl is not None
    assert item.ttl <= timedelta(seconds=60)


def test_incr_refuses_values_that_are_not_integers_or_too_large(client: Client) -> None:
    persist.set("greeting", "hello")
    response = post(client, "/store/greeting/incr")
    assert response.status_code == 409
    assert "int" in response.json()["error"]
    assert persist.get("greeting") == "hello"
    persist.set("most", 2**63 - 1)
    response = post(client, "/store/most/incr")
    assert response.status_code == 409
    assert "64 bits" in response.json()["error"]
    assert persist.get("most") == 2**63 - 1


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/store/a/b", "a/b"),
        ("/store/a%2Fb", "a/b"),
        ("/store//a/", "/a/"),
        ("/store/a%20b%3Fc", "a b?c"),
        ("/store/line%0Abreak%0A", "line\nbreak\n"),
        ("/store/%C3%A9%F0%9F%8E%89", "é🎉"),
        ("/store/%25FF", "%FF"),
        ("/store/incr", "incr"),
    ],
)
def test_the_key_is_everything_after_store(client: Client, path: str, key: str) -> None:
    assert post(client, path, '"value"').status_code == 201
    assert list(persist.keys()) == [key]
    assert client.get(path).json() == "value"
    assert client.delete(path).status_code == 204


def test_a_key_that_ends_in_incr(client: Client) -> None:
    assert put(client, "/store/a/incr", "5").status_code == 204
    assert post(client, "/store/a/incr/incr").json() == 6
    assert post(client, "/store/a/incr").json() == 1
    assert persist.get_many(["a", "a/incr"]) == {"a": 1, "a/incr": 6}
    assert client.delete("/store/a/incr").status_code == 204


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/store/", "at least one character"),
        ("/store/" + "a" * 256, "255"),
        ("/store/a%00b", "NUL"),
        ("/store/a?expires=0", "positive"),
        ("/store/a?expires=-1", "positive"),
        ("/store/a?expires=1" + "0" * 20, "at most"),
        ("/store/a?expires=soon", "seconds"),
        ("/store/a?expires=nan", "seconds"),
        ("/store/a?expires=", "seconds"),
        ("/store/a?expires=1&expires=2", "2 times"),
        ("/store/a?expire=1", "Unknown parameter 'expire'"),
        ("/store/a?by=1", "Unknown parameter 'by'"),
    ],
)
def test_bad_keys_and_parameters_are_refused(client: Client, path: str, reason: str) -> None:
    for method in put, post:
        response = method(client, path, "1")
        assert response.status_code == 400
        assert reason in response.json()["error"]
    assert persist.count() == 0


@pytest.mark.parametrize("by", ["1.5", "one", "", "1e3", "9" * 31])
def test_a_bad_by_is_refused(client: Client, by: str) -> None:
    response = post(client, f"/store/a/incr?by={by}")
    assert response.status_code == 400
    assert "integer" in response.json()["error"]


@pytest.mark.parametrize("method", ["get", "delete"])
def test_reading_takes_no_parameters(client: Client, method: str) -> None:
    persist.set("a", 1)
    assert getattr(client, method)("/store/a?expires=5").status_code == 400
    assert persist.get("a") == 1


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "hello",
        "{'a': 1}",
        "NaN",
        "[1e999]",
        "9" * 5000,
        '"\\ud800"',
        "[" * 100_000,
        "[" * 1000 + "]" * 1000,
    ],
)
def test_bad_json_is_refused(client: Client, body: str) -> None:
    for method in put, post:
        response = method(client, "/store/a", body)
        assert response.status_code == 400
        assert response.json()["error"]
    assert persist.count() == 0


def test_invalid_utf_8_is_refused(client: Client) -> None:
    response = client.put("/store/a", b'"\xff"', content_type="application/json")
    assert response.status_code == 400


def test_a_value_that_is_too_large_is_refused(client: Client, settings: Any) -> None:
    settings.PERSIST = {
        "default": {
            "BACKEND": "django_persist.drivers.database.DatabaseDriver",
            "MAX_VALUE_BYTES": 100,
        }
    }
    assert put(client, "/store/a", json.dumps("a" * 98)).status_code == 204
    response = put(client, "/store/a", json.dumps("b" * 99))
    assert response.status_code == 413
    assert "100" in response.json()["error"]
    assert persist.get("a") == "a" * 98


def test_a_body_that_is_too_large_is_refused(client: Client, settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    response = put(client, "/store/a", json.dumps("a" * 100))
    assert response.status_code == 413
    assert response.json()["error"]


def test_other_methods_are_not_allowed(client: Client) -> None:
    response = client.patch("/store/a")
    assert response.status_code == 405
    assert {"GET", "PUT", "POST", "DELETE"} <= set(response["Allow"].split(", "))


def test_a_store_that_can_not_be_reached(client: Client, settings: Any) -> None:
    settings.CACHES = {
        "gone": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": f"redis://127.0.0.1:{servers.free_port()}/0",
        }
    }
    settings.PERSIST = {
        "default": {
            "BACKEND": "django_persist.drivers.redis.RedisDriver",
            "OPTIONS": {"cache": "gone"},
        }
    }
    for response in (
        client.get("/store/a"),
        put(client, "/store/a"),
        post(client, "/store/a", "1"),
        post(client, "/store/a/incr"),
        client.delete("/store/a"),
    ):
        assert response.status_code == 503
        assert response.json()["error"]
        assert response.json()["maybe_applied"] is False
    response = client.get("/")
    assert response.status_code == 503
    assert "can't be reached" in response.text


def test_a_write_whose_reply_was_lost(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*args: Any, **kwargs: Any) -> None:
        raise StoreUnavailableError("The reply was lost.", maybe_applied=True)

    monkeypatch.setattr(Store, "set", lost)
    response = put(client, "/store/a")
    assert response.status_code == 503
    assert response.json() == {"error": "The reply was lost.", "maybe_applied": True}


def test_a_write_that_kept_losing(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*args: Any, **kwargs: Any) -> None:
        raise ContentionError("It kept losing.")

    monkeypatch.setattr(Store, "incr", lost)
    response = post(client, "/store/a/incr")
    assert (response.status_code, response["Retry-After"]) == (503, "1")
    assert response.json() == {"error": "It kept losing."}


def test_the_interface_needs_no_csrf_token() -> None:
    client = Client(enforce_csrf_checks=True)
    assert put(client, "/store/a").status_code == 204
    assert client.post("/knock").status_code == 403


def test_under_asgi(async_client: AsyncClient) -> None:
    path = "/store/a%20b"
    response = async_to_sync(async_client.put)(path, "1", content_type="application/json")
    assert response.status_code == 204
    assert async_to_sync(async_client.get)(path).json() == 1
    assert persist.get("a b") == 1


# Conditions.


def send(client: Client, method: str, body: str = "1", **headers: str) -> Any:
    content = {} if method == "get" else {"data": body, "content_type": "application/json"}
    return getattr(client, method)("/store/a", headers=headers, **content)


def etag_of(client: Client) -> str:
    return str(client.get("/store/a")["ETag"])


def test_the_etag_is_the_version(client: Client) -> None:
    persist.set("a", {"n": 1})
    item = persist.get_item("a")
    assert item is not None
    assert etag_of(client) == f'"{item.version}"'
    persist.touch("a", 60)
    assert etag_of(client) == f'"{item.version}"'
    persist.set("a", {"n": 2})
    assert etag_of(client) != f'"{item.version}"'


def test_a_value_that_is_still_the_same_is_not_sent_again(client: Client) -> None:
    persist.set("a", [1])
    etag = etag_of(client)
    for header in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        response = send(client, "get", if_none_match=header)
        assert (response.status_code, response.content, response["ETag"]) == (304, b"", etag)
    for header in ('"other"', etag.strip('"')):
        assert send(client, "get", if_none_match=header).json() == [1]
    persist.set("a", [2])
    assert send(client, "get", if_none_match=etag).json() == [2]
    persist.remove("a")
    assert send(client, "get", if_none_match="*").status_code == 404


def test_if_match_applies_to_that_version_alone(client: Client) -> None:
    persist.set("a", 1, expires=60)
    first = etag_of(client)
    assert send(client, "put", "2", if_match=first).status_code == 204
    item = persist.get_item("a")
    assert item is not None
    assert (item.value, item.expires_at) == (2, None)
    for method in ("put", "delete"):
        for header in (first, f"W/{etag_of(client)}", '"', ""):
            response = send(client, method, "3", if_match=header)
            assert response.status_code == 412, (method, header)
            assert "If-Match" in response.json()["error"]
    assert persist.get("a") == 2
    assert send(client, "put", "3", if_match=f"{first}, {etag_of(client)}").status_code == 204
    assert send(client, "put", "4", if_match="*").status_code == 204
    assert persist.get("a") == 4
    assert send(client, "delete", if_match=f"{first}, {etag_of(client)}").status_code == 204
    assert "a" not in persist
    for method in ("put", "delete"):
        for header in (first, "*"):
            assert send(client, method, if_match=header).status_code == 412
    assert "a" not in persist


def test_if_none_match_creates(client: Client) -> None:
    assert send(client, "put", "1", if_none_match="*").status_code == 201
    assert send(client, "put", "2", if_none_match="*").status_code == 412
    assert persist.get("a") == 1


def test_conditions_that_can_not_be_kept_are_refused(client: Client) -> None:
    persist.set("a", 1)
    etag = etag_of(client)
    assert send(client, "put", if_none_match=etag).status_code == 400
    assert send(client, "put", if_none_match="*", if_match=etag).status_code == 400
    assert send(client, "delete", if_none_match="*").status_code == 400
    for path in ("/store/a", "/store/a/incr"):
        response = client.post(path, "1", "application/json", headers={"if-match": etag})
        assert response.status_code == 400
    assert persist.get("a") == 1


def test_a_condition_can_be_required(client: Client, settings: Any) -> None:
    settings.STORE_API_REQUIRES_CONDITIONS = True
    assert send(client, "put").status_code == 428
    assert send(client, "put", if_none_match="*").status_code == 201
    for method in ("put", "delete"):
        response = send(client, method, "2")
        assert response.status_code == 428
        assert "If-Match" in response.json()["error"]
    assert persist.get("a") == 1
    assert send(client, "put", "2", if_match=etag_of(client)).status_code == 204
    assert send(client, "delete", if_match=etag_of(client)).status_code == 204
