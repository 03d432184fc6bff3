"""The types of the public API: mypy and pyright check this file, nothing runs it.

A line with an error is marked for each of them: `type: ignore` for mypy and `pyright: ignore` for
pyright. Both fail if there is no error on such a line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, assert_type
from uuid import UUID

from django.http import HttpResponse, JsonResponse
from django.views import View
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from django_persist import DEFAULT, KEEP, REMOVE, Item, Key, Store, persist, stores
from django_persist.contrib.idempotency import IdempotencyKey
from django_persist.contrib.lock import Lease, Lock, Slots
from django_persist.contrib.one_time import OneTimeCode, OneTimeToken
from django_persist.contrib.rate_limit import RateLimit, Usage, address, header, user
from django_persist.contrib.rest import IdempotencyMixin, PersistThrottle
from django_persist.http import HttpRequest
from django_persist.store import Remove
from django_persist.testing import override_persist


@dataclass
class Cart:
    lines: list[str] = field(default_factory=list[str])


CART = Key("cart:{user_id}", as_=Cart, expires=timedelta(days=7))
NOTE = Key("note", as_=str | None)
TAGS = Key("tags", as_=list[str])
PLAIN = Key("plain")


def add(cart: Cart) -> Cart:
    return Cart([*cart.lines, "tea"])


def empty(cart: Cart) -> Cart | Remove:
    return cart if cart.lines else REMOVE


def where_a_store_comes_from(request: HttpRequest) -> None:
    assert_type(request.persist, Store)
    assert_type(request.persist.get(CART(user_id=1)), Cart | None)
    assert_type(request.path, str)
    assert_type(persist, Store)
    assert_type(stores["hot"], Store)
    assert_type(list(stores), list[str])
    assert_type(persist.namespace("carts"), Store)
    persist.namespace(4)
    persist.namespace(1.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def keys(uuid: UUID) -> None:
    assert_type(CART, Key[Cart])
    assert_type(CART(user_id=uuid), Key[Cart])
    assert_type(NOTE, Key[str | None])
    assert_type(TAGS, Key[list[str]])
    assert_type(PLAIN, Key[Any])
    CART(user_id=1.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Key("a", as_=5)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    Key("a", expires=KEEP)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]


def from_list(plain: Any) -> dict[str, Any]:
    return {"lines": plain}


def upgrades(store: Store) -> None:
    key = Key("cart:{user_id}", as_=Cart, upgrade=from_list)
    assert_type(key, Key[Cart])
    assert_type(key(user_id=1), Key[Cart])
    assert_type(key.upgrade, Callable[[Any], Any] | None)
    assert_type(Key("a", as_=int | None, upgrade=lambda plain: plain["a"]), Key[int | None])
    assert_type(Key("a", as_=list[Cart], expires=60, upgrade=None), Key[list[Cart]])
    assert_type(store.get(key(user_id=1)), Cart | None)
    assert_type(store.get_many([key(user_id=1)]), dict[Key[Cart], Cart])
    assert_type(store.update(key(user_id=1), add), Cart)
    assert_type(store.get_or_create(key(user_id=1), Cart), tuple[Cart, bool])
    Key("a", upgrade=from_list)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    Key("a", as_=Cart, upgrade="from_list")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    Key("a", as_=Cart, upgrade=lambda: [1])  # type: ignore[arg-type, misc]  # pyright: ignore[reportArgumentType]


def reading(store: Store, key: str) -> None:
    assert_type(store.get(key), Any)
    assert_type(store.get(key, 0), Any)
    assert_type(store.get(PLAIN), Any | None)
    assert_type(store.get(key, as_=int), int | None)
    assert_type(store.get(key, as_=int, strict=True), int | None)
    assert_type(store.get(key, 0, as_=int), int)
    assert_type(store.get(key, "none", as_=int), int | str)
    assert_type(store.get(key, as_=int | str), int | str | None)
    assert_type(store.get(key, as_=list[Cart]), list[Cart] | None)
    assert_type(store.get(CART), Cart | None)
    assert_type(store.get(CART, Cart()), Cart)
    assert_type(store.get(CART, "none"), Cart | str)
    assert_type(store.get(NOTE), str | None)
    assert_type(store.get(CART, as_=int), int | None)
    assert_type(key in store, bool)

    assert_type(store.get_item(key), Item[Any] | None)
    assert_type(store.get_item(key, as_=int), Item[int] | None)
    assert_type(store.get_item(CART), Item[Cart] | None)
    if item := store.get_item(CART):
        assert_type(item.value, Cart)
        assert_type(item.expires_at, datetime | None)
        assert_type(item.ttl, timedelta | None)
        assert_type(item.version, str)
        assert_type(store.replace(CART, Cart(), item.version), bool)
        assert_type(store.replace(key, 1, item.version, expires=None), bool)
        assert_type(store.remove(CART, version=item.version), bool)
        item.value = Cart()  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]

    assert_type(store.pop(key), Any)
    assert_type(store.pop(key, as_=int), int | None)
    assert_type(store.pop(key, 0, as_=int), int)
    assert_type(store.pop(CART), Cart | None)
    assert_type(store.pop(CART, Cart()), Cart)
    assert_type(store.pop(CART, as_=int), int | None)

    store.get(5)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    store.get(key, as_=5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    store.pop(key, as_=5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    wrong: int = store.get(CART, Cart())  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    missing: Cart = store.get(CART)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    assert_type((wrong, missing), tuple[int, Cart])


def many(store: Store) -> None:
    assert_type(store.get_many(["a"]), dict[str, Any])
    assert_type(store.get_many(["a"], as_=int), dict[str, int])
    assert_type(store.get_many([CART(user_id=1)]), dict[Key[Cart], Cart])
    assert_type(store.get_many([CART(user_id=1)], as_=int), dict[Key[Any], int])
    assert_type(store.get_many(["a", CART(user_id=1)]), dict[str | Key[Any], Any])
    assert_type(store.get_many(["a", CART(user_id=1)], as_=int), dict[str | Key[Any], int])
    store.set_many({"a": 1})
    store.set_many({CART(user_id=1): Cart()}, expires=KEEP)
    mixed: dict[str | Key[Any], Any] = {"a": 1, CART(user_id=1): Cart()}
    store.set_many(mixed, expires=60)
    assert_type(store.remove_many(["a", CART(user_id=1)]), int)
    assert_type(store.keys(), Iterator[str])
    assert_type(store.items("a:"), Iterator[tuple[str, Item[Any]]])
    assert_type((store.count(), store.clear(), store.purge()), tuple[int, int, int])
    store.get_many([1])  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
    store.set_many({1: 1})  # type: ignore[dict-item]  # pyright: ignore[reportCallIssue, reportArgumentType]


def writing(store: Store) -> None:
    store.create("a", 1)
    store.create(CART(user_id=1), Cart(), expires=timedelta(days=1))
    store.create("a", 1, expires=None)
    store.set("a", 1, expires=KEEP)
    store.set("a", 1, expires=DEFAULT)
    assert_type(store.touch("a"), bool)
    assert_type(store.remove(CART(user_id=1)), bool)
    assert_type(store.incr("a", 2, expires=60), int)
    assert_type(store.incr("a", at_least=0, at_most=None), int)
    store.incr("a", at_most="1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    store.replace("a", 1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    store.replace("a", 1, 5)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    store.create("a", 1, expires=KEEP)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    store.touch("a", KEEP)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    store.set("a", 1, expires="60")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    store.incr("a", "1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    store.incr("a", expires=KEEP)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def typed_writing(store: Store, key: str | Key[Any], names: Key[list[Cart]]) -> None:
    cart, count, version = CART(user_id=1), Key("count", as_=int), "version"
    store.create(cart, Cart())
    store.set(cart, Cart(), expires=KEEP)
    store.set(NOTE, None)
    store.set(NOTE, "text")
    store.set(TAGS, ["a"])
    store.set(names, [Cart()])
    store.set(PLAIN, object())
    store.set(key, 1)
    assert_type(store.replace(cart, Cart(), version), bool)
    assert_type(store.incr(count), int)
    assert_type(store.incr(PLAIN), int)
    store.create(cart, ["tea"])  # type: ignore[misc]  # pyright: ignore[reportCallIssue, reportArgumentType]
    store.set(cart, ["tea"])  # type: ignore[misc]  # pyright: ignore[reportCallIssue, reportArgumentType]
    store.set(cart, None)  # type: ignore[misc]  # pyright: ignore[reportCallIssue, reportArgumentType]
    store.set(NOTE, 1)  # type: ignore[misc]  # pyright: ignore[reportCallIssue, reportArgumentType]
    store.set(TAGS, [1])  # type: ignore[misc]  # pyright: ignore[reportCallIssue, reportArgumentType]
    store.set(names, Cart())  # type: ignore[misc]  # pyright: ignore[reportCallIssue, reportArgumentType]
    store.replace(cart, ["tea"], version)  # type: ignore[misc]  # pyright: ignore[reportCallIssue, reportArgumentType]
    store.incr(cart)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def typed_writing_of_many(store: Store) -> None:
    cart = CART(user_id=1)
    store.set_many({cart: Cart(), CART(user_id=2): Cart()})
    assert_type(store.create_many({cart: Cart()}), list[Key[Cart]])
    assert_type(store.create_many({"a": 1}), list[str])
    mixed: dict[str | Key[Any], Any] = {"a": 1, cart: Cart(), NOTE: "text"}
    keys: dict[Key[Any], Any] = {cart: Cart(), NOTE: "text"}
    assert_type(store.create_many(mixed), list[Any])
    store.set_many(keys)
    store.set_many({cart: ["tea"]})  # type: ignore[misc]  # pyright: ignore[reportCallIssue, reportArgumentType]
    store.create_many({cart: ["tea"]})  # type: ignore[misc]  # pyright: ignore[reportCallIssue, reportArgumentType]


def update(store: Store, key: str) -> None:
    assert_type(store.update(key, lambda value: value), Any)
    assert_type(store.update(key, lambda number: number + 1, 0, as_=int), int)
    assert_type(store.update(key, lambda tags: [*tags, "new"], [], as_=list[str]), list[str])
    assert_type(store.update(CART, add), Cart)
    assert_type(store.update(CART, add, Cart), Cart)
    assert_type(store.update(CART, add, Cart(), expires=KEEP), Cart)
    assert_type(store.update(CART, lambda cart: cart), Cart)
    assert_type(store.update(NOTE, lambda note: note or "", None), str | None)
    assert_type(store.update(TAGS, lambda tags: [*tags, "new"], list), list[str])
    assert_type(store.update(PLAIN, lambda value: value), Any)
    assert_type(store.update(key, add, as_=Cart), Cart)
    # If the function may return REMOVE, update may return None.
    assert_type(store.update(CART, empty), Cart | None)
    assert_type(store.update(key, empty, Cart, as_=Cart), Cart | None)
    assert_type(store.update(CART, lambda cart: REMOVE), Cart | None)
    assert_type(store.update(CART, lambda cart: cart if cart.lines else REMOVE), Cart | None)

    store.update(TAGS, add)  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
    store.update(key, add, as_=int)  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
    store.update(CART, add, 5)  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
    store.update(CART, lambda cart: cart.lines)  # type: ignore[arg-type, return-value]  # pyright: ignore[reportCallIssue, reportArgumentType]
    # pyright widens the type of `as_` by that of the default, so only mypy finds this error.
    store.update(key, lambda number: number, "none", as_=int)  # type: ignore[arg-type]


def get_or_create(store: Store, key: str) -> None:
    assert_type(store.get_or_create(key, 0), tuple[Any, bool])
    assert_type(store.get_or_create(key, 0, as_=int), tuple[int, bool])
    assert_type(store.get_or_create(key, lambda: 0, as_=int), tuple[int, bool])
    assert_type(store.get_or_create(CART, Cart), tuple[Cart, bool])
    assert_type(store.get_or_create(CART, Cart()), tuple[Cart, bool])
    assert_type(store.get_or_create(NOTE, None), tuple[str | None, bool])
    store.get_or_create(CART, 5)  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
    store.get_or_create(key, 0, expires=KEEP)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    store.get_or_create(key, "none", as_=int)  # type: ignore[arg-type]


def locks(store: Store) -> None:
    with Lock(store, "report", lease=300, wait=timedelta(seconds=5)) as lock:
        assert_type(lock, Lease)
        assert_type(lock.number, int)
        assert_type(lock.token, str)
        lock.renew()
    with Slots(store, 5, 4) as slot, Lock(store, "report").adopt("token") as adopted:
        assert_type(slot.slot, int)
        assert_type(adopted, Lease)
    assert_type(Slots(store, "gpu", 4).owners(), list[str])
    assert_type(Lock(store, "report").acquire(), Lease)
    Lock(store, "report", lease=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Slots(store, "gpu")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def one_time(store: Store) -> None:
    token = OneTimeToken("login", as_=Cart, expires=60)
    assert_type(token.issue(store, Cart()), str)
    assert_type(token.redeem(store, "token"), Cart | None)
    assert_type(OneTimeToken("a", as_=int | str, expires=60).redeem(store, ""), int | str | None)
    token.issue(store, 5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    code = OneTimeCode("login", expires=timedelta(minutes=10))
    assert_type(code.issue(store, 5), str)
    assert_type(code.redeem(store, 5, "123456"), bool)
    assert_type(code.tries_left(store, 5), int)
    OneTimeCode("login")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def in_tests() -> None:
    with override_persist("hot") as store:
        assert_type(store, Store)
    override_persist(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@override_persist()
def a_test(number: int) -> str:
    return str(number)


assert_type(a_test(1), str)


@IdempotencyKey(keep=timedelta(hours=1), retryable={429, *range(500, 600)})
def order(request: HttpRequest, product: str) -> JsonResponse:
    return JsonResponse({"order": request.persist.incr("orders"), "product": product})


@IdempotencyKey(required=False)
class OrderView(View): ...


class OrderSet(IdempotencyMixin, ViewSet):
    idempotency = IdempotencyKey(scope=lambda request: request.headers["X-Api-Key"])

    def create(self, request: Request) -> Response:
        return Response(status=201)


def idempotent_views(request: HttpRequest) -> None:
    assert_type(order(request, "tea"), JsonResponse)
    order(request, 5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(OrderView(), OrderView)
    OrderSet.as_view({"post": "create"})
    IdempotencyKey(lease=60)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def rate_limits(request: HttpRequest) -> None:
    limit = RateLimit("5/15m", name="login", methods=["POST"], by=partial(address, own_proxies=1))
    assert_type(RateLimit(name="a", limit=5, window=timedelta(minutes=1), sliding=True), RateLimit)
    RateLimit("1/m", name="a", by=user, store=stores["hot"], fail_open=True)
    RateLimit("1/m", name="a", by=header("X-Api-Key"))
    RateLimit("1/m", name="a", by=lambda request: request.session.session_key)
    RateLimit("1/m", name="a", by=lambda request: 1.5)  # type: ignore[arg-type,return-value]  # pyright: ignore[reportArgumentType]
    RateLimit(name="a", limit=5)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    RateLimit("1/m", limit=5, name="a")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    assert_type(limit.hit(request), Usage)
    assert_type(limit.hit("ann"), Usage)
    assert_type(limit.peek(4).remaining, int)
    assert_type(limit.hit(request).retry_after, timedelta)
    assert_type(limit.reset(request), bool)
    assert_type(limit.key(request), Key[int])
    limit.hit(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    @limit
    def view(request: HttpRequest, number: int) -> HttpResponse:
        return HttpResponse(number)

    assert_type(view(request, 4), HttpResponse)
    view(request, "4")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


class Burst(PersistThrottle):
    scope = "burst"
    sliding = True

    def get_caller(self, request: Any, view: APIView) -> str:
        return "one"


class Search(APIView):
    throttle_classes = [Burst]
