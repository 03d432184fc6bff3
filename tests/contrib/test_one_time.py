"""One-time tokens and codes: one of many callers redeems, and no guess is free."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.views import View
from rest_framework.exceptions import ValidationError
from rest_framework.views import APIView

from django_persist import Store, persist, stores
from django_persist.contrib import one_time
from django_persist.contrib.one_time import OneTimeCode, OneTimeToken
from django_persist.exceptions import InvalidExpiryError, InvalidKeyError, StoreUnavailableError
from django_persist.memory import Memory
from django_persist.testing import OwnMemoryDriver
from testproject.site.page import INVALID, NOTE
from tests.conftest import BACKENDS
from tests.contrib.conftest import Advance, Serve
from tests.extent import LONG
from tests.interruptions.alarms import INTERRUPTED, alarms, at_random
from tests.interruptions.moments import each_moment
from tests.processes import race
from tests.recipes.helpers import EIGHT, child, in_threads, kill
from tests.servers import Server
from tests.servers.proxy import Fault, Proxy

INVITE = OneTimeToken("invite", as_=int, expires=timedelta(minutes=10))
EACH = 1_667 if LONG else 100
"""The number of tokens on each store."""

LOGIN = OneTimeCode("login", expires=timedelta(minutes=10), tries=5)
USER = 7

FILES = (
    "django_persist/contrib/one_time.py",
    "django_persist/store.py",
    "django_persist/memory.py",
)


# Tokens.


def redeem(i: int, tokens: list[str]) -> list[int]:
    """Try to redeem all tokens, as other callers do at the same time; return the values."""
    tokens = tokens[::-1] if i % 2 else tokens
    got = (INVITE.redeem(stores["default"], token) for token in tokens)
    return [value for value in got if value is not None]


def assert_each_is_redeemed_once(store: Store, run: Callable[[list[str]], list[list[int]]]) -> None:
    """Let callers redeem all tokens, again if one of them was done before the others began."""
    for _ in range(20):
        got = run([INVITE.issue(store, number) for number in range(EACH)])
        assert Counter(value for each in got for value in each) == Counter(range(EACH))
        assert store.count("token:") == 0
        if sum(1 for each in got if each) > 1:
            return
    pytest.fail("The callers did not race.")


def test_eight_processes_redeem_each_token_once(shared_store: Store) -> None:
    assert_each_is_redeemed_once(shared_store, lambda tokens: race(redeem, tokens, processes=EIGHT))


def test_eight_threads_redeem_each_token_once(open_store: Any) -> None:
    assert_each_is_redeemed_once(open_store("memory"), lambda tokens: in_threads(redeem, tokens))


def redeem_and_say(line: Connection, tokens: list[str]) -> None:
    for token in tokens:
        line.send(INVITE.redeem(persist, token))
    line.poll(30)  # until it is killed


def test_what_a_killed_process_has_redeemed_stays_redeemed(shared_store: Store) -> None:
    tokens = [INVITE.issue(shared_store, number) for number in range(200)]
    with child(redeem_and_say, tokens) as (process, line):
        said = [line.recv() for _ in range(20)]
        kill(process)
        while line.poll():
            try:
                said.append(line.recv())
            except EOFError:
                break
    left = redeem(0, tokens)
    # One that was redeemed but not said is lost with the process.
    assert sorted(said + left) in (
        list(range(200)),
        [number for number in range(200) if number != len(said)],
    )


def test_the_store_does_not_know_the_token(store: Store) -> None:
    token = INVITE.issue(store, 7)
    [(key, item)] = store.items()
    assert token not in key + repr(item)
    assert INVITE.redeem(store, key.rpartition(":")[2]) is None
    assert INVITE.redeem(store, token) == 7


def test_a_token_works_only_for_its_purpose(store: Store) -> None:
    token = INVITE.issue(store, 7)
    reset = OneTimeToken("reset", as_=int, expires=timedelta(minutes=10))
    assert reset.redeem(store, token) is None
    assert not reset.is_redeemable(store, token)
    assert INVITE.is_redeemable(store, token)
    assert INVITE.redeem(store, token) == 7
    assert not INVITE.is_redeemable(store, token)


def test_a_token_expires(store: Store, advance: Advance) -> None:
    token = INVITE.issue(store, 7)
    advance(599)
    assert INVITE.is_redeemable(store, token)
    advance(2)
    assert INVITE.redeem(store, token) is None


def test_a_token_can_be_revoked(store: Store) -> None:
    token = INVITE.issue(store, 7)
    assert INVITE.revoke(store, token)
    assert not INVITE.revoke(store, token)
    assert INVITE.redeem(store, token) is None


@pytest.mark.parametrize("token", ["", "a" * 10_000, "\0", "é", "\ud800", "a:b"])
def test_an_invalid_token_redeems_nothing(open_store: Any, token: str) -> None:
    assert INVITE.redeem(open_store("memory"), token) is None


def test_a_rollback_makes_a_token_valid_again(database_store: Store) -> None:
    using = database_store.driver.using  # type: ignore[attr-defined]
    token = INVITE.issue(database_store, 7)
    with pytest.raises(ZeroDivisionError), transaction.atomic(using):
        assert INVITE.redeem(database_store, token) == 7
        raise ZeroDivisionError
    assert INVITE.redeem(database_store, token) == 7


def test_used_expired_and_invented_tokens_get_the_same_answer(
    store: Store, client: Client, advance: Advance
) -> None:
    used, expired = NOTE.issue(store, "a"), NOTE.issue(store, "b")
    assert client.post(f"/links/{used}").status_code == 200
    advance(3601)
    pages = [client.post(f"/links/{token}") for token in (used, expired, "invented")]
    assert {page.status_code for page in pages} == {410}
    assert all(INVALID in page.text for page in pages)
    assert len({page.text for page in pages}) == 1


# Codes.


def wrong(code: str, n: int = 1) -> str:
    """Return another code of as many digits."""
    return f"{(int(code) + n) % 10 ** len(code):0{len(code)}}"


def test_a_code_works_once(store: Store) -> None:
    code = LOGIN.issue(store, USER)
    assert len(code) == 6
    assert code.isascii()
    assert code.isdigit()
    assert LOGIN.redeem(store, USER, code)
    assert not LOGIN.redeem(store, USER, code)
    assert store.count() == 0


def test_a_wrong_guess_costs_a_try_and_not_the_code(store: Store) -> None:
    code = LOGIN.issue(store, USER)
    for guess, left in [(wrong(code), 4), ("", 3), (code[:-1], 2), (code + "0", 1)]:
        assert not LOGIN.redeem(store, USER, guess)
        assert LOGIN.tries_left(store, USER) == left
    assert LOGIN.redeem(store, USER, code)
    assert LOGIN.tries_left(store, USER) == 0


def test_the_last_wrong_guess_voids_the_code(store: Store) -> None:
    code = LOGIN.issue(store, USER)
    for n in range(1, 6):
        assert not LOGIN.redeem(store, USER, wrong(code, n))
    assert LOGIN.tries_left(store, USER) == 0
    assert not LOGIN.redeem(store, USER, code)
    assert store.count() == 0


def test_a_wrong_guess_does_not_make_the_code_live_longer(store: Store, advance: Advance) -> None:
    code = LOGIN.issue(store, USER)
    advance(500)
    assert not LOGIN.redeem(store, USER, wrong(code))
    assert LOGIN.tries_left(store, USER) == 4
    advance(101)
    assert LOGIN.tries_left(store, USER) == 0
    assert not LOGIN.redeem(store, USER, code)


def test_a_new_code_replaces_the_old_one_with_its_tries(store: Store) -> None:
    first = LOGIN.issue(store, USER)
    LOGIN.redeem(store, USER, wrong(first))
    second = LOGIN.issue(store, USER)
    while second == first:
        second = LOGIN.issue(store, USER)
    assert LOGIN.tries_left(store, USER) == 5
    assert not LOGIN.redeem(store, USER, first)
    assert LOGIN.redeem(store, USER, second)


def test_a_code_is_for_one_subject_and_one_purpose(store: Store) -> None:
    code = LOGIN.issue(store, USER)
    other = OneTimeCode("phone", expires=600)
    guesses: list[tuple[OneTimeCode, str | int]] = [(LOGIN, 8), (LOGIN, "7:"), (other, USER)]
    for purpose, subject in guesses:
        assert not purpose.redeem(store, subject, code)
    assert LOGIN.tries_left(store, USER) == 5
    # Even someone who can write to the store can't use a code for someone else.
    store.set(str(LOGIN.key(8)), store.get(str(LOGIN.key(USER))))
    assert not LOGIN.redeem(store, 8, code)
    assert LOGIN.redeem(store, "7", code)


def test_a_code_can_be_revoked(store: Store) -> None:
    code = LOGIN.issue(store, USER)
    assert LOGIN.revoke(store, USER)
    assert not LOGIN.revoke(store, USER)
    assert not LOGIN.redeem(store, USER, code)


@pytest.mark.parametrize("typed", ["{0} {1}", " {0}{1}\n", "{0}\u00a0{1}"])
def test_spaces_do_not_count(open_store: Any, typed: str) -> None:
    store = open_store("memory")
    code = LOGIN.issue(store, USER)
    assert LOGIN.redeem(store, USER, typed.format(code[:3], code[3:]))


@pytest.mark.parametrize("code", ["", "a" * 10_000, "\0", "\ud800", "٠١٢٣٤٥"])
@pytest.mark.parametrize("subject", [USER, "\0", "\ud800", "a" * 300])
def test_what_can_be_no_code_or_subject_is_wrong(
    open_store: Any, subject: str | int, code: str
) -> None:
    store = open_store("memory")
    LOGIN.issue(store, USER)
    assert not LOGIN.redeem(store, subject, code)
    assert LOGIN.tries_left(store, USER) == (4 if subject == USER else 5)
    if subject != USER:
        with pytest.raises(InvalidKeyError):
            LOGIN.issue(store, subject)


def test_the_store_does_not_know_the_code(store: Store, settings: Any) -> None:
    code = LOGIN.issue(store, USER)
    [(key, item)] = store.items()
    assert code not in key + repr(item)
    settings.SECRET_KEY = "another"
    assert not LOGIN.redeem(store, USER, code)


def test_codes_are_of_all_numbers_of_their_length(open_store: Any) -> None:
    store = open_store("memory")
    short = OneTimeCode("short", expires=60, digits=4)
    codes = {short.issue(store, USER) for _ in range(2_000)}
    assert {len(code) for code in codes} == {4}
    assert len(codes) > 1_000
    assert any(code.startswith("0") for code in codes)
    assert any(code.startswith("9") for code in codes)
    assert len(OneTimeCode("long", expires=60, digits=12).issue(store, USER)) == 12


@pytest.mark.parametrize("is_right", [True, False])
def test_digests_are_compared_in_constant_time(
    open_store: Any, monkeypatch: pytest.MonkeyPatch, is_right: bool
) -> None:
    store = open_store("memory")
    code = LOGIN.issue(store, USER)
    compared: list[tuple[str, str]] = []

    def compare(*digests: str) -> bool:
        compared.append(digests)  # type: ignore[arg-type]
        return is_right

    monkeypatch.setattr(one_time, "constant_time_compare", compare)
    assert LOGIN.redeem(store, USER, wrong(code) if is_right else code) is is_right
    [digests] = compared
    assert {len(digest) for digest in digests} == {64}


@pytest.mark.parametrize(
    ("error", "arguments"),
    [
        (ValueError, {"digits": 3}),
        (ValueError, {"tries": 0}),
        (TypeError, {"expires": None}),
        (TypeError, {"expires": datetime(2100, 1, 1, tzinfo=UTC)}),
        (InvalidExpiryError, {"expires": 0}),
    ],
)
def test_invalid_arguments_are_refused_at_once(
    error: type[Exception], arguments: dict[str, Any]
) -> None:
    with pytest.raises(error):
        OneTimeCode(**{"purpose": "login", "expires": 60, **arguments})
    if "expires" in arguments:
        with pytest.raises(error):
            OneTimeToken("invite", as_=int, **arguments)


def guess(i: int, guesses: list[list[str]], tries: int) -> list[bool]:
    """Guess the codes of many subjects, as other processes do; return what was right."""
    login = OneTimeCode("login", expires=600, tries=tries)
    return [login.redeem(persist, subject, own) for subject, own in enumerate(guesses[i])]


SUBJECTS = 100 if LONG else 15


def test_of_eight_processes_with_the_right_code_one_wins(shared_store: Store) -> None:
    codes = [LOGIN.issue(shared_store, subject) for subject in range(SUBJECTS)]
    for right in zip(*race(guess, [codes] * EIGHT, 5, processes=EIGHT), strict=True):
        assert sum(right) == 1


def test_of_eight_processes_the_one_with_the_right_code_wins(shared_store: Store) -> None:
    login = OneTimeCode("login", expires=600, tries=EIGHT)
    codes = [login.issue(shared_store, subject) for subject in range(SUBJECTS)]
    guesses = [[wrong(code, i) for code in codes] for i in range(EIGHT)]
    for right in zip(*race(guess, guesses, EIGHT, processes=EIGHT), strict=True):
        assert right == (True, *[False] * 7)


@pytest.mark.parametrize("tries", [EIGHT, EIGHT + 1])
def test_of_eight_processes_each_wrong_guess_costs_exactly_one_try(
    shared_store: Store, tries: int
) -> None:
    login = OneTimeCode("login", expires=600, tries=tries)
    codes = [login.issue(shared_store, subject) for subject in range(SUBJECTS)]
    guesses = [[wrong(code, i + 1) for code in codes] for i in range(EIGHT)]
    assert not any(map(any, race(guess, guesses, tries, processes=EIGHT)))
    for subject, code in enumerate(codes):
        assert login.tries_left(shared_store, subject) == tries - EIGHT
        assert login.redeem(shared_store, subject, code) is (tries > EIGHT)


@pytest.mark.parametrize("call", ["redeem", "wrong"])
def test_a_code_in_a_transaction_on_the_same_database_is_refused(
    database_store: Store, call: str
) -> None:
    using = database_store.driver.using  # type: ignore[attr-defined]
    with transaction.atomic(using):
        code = LOGIN.issue(database_store, USER)
    guessed = code if call == "redeem" else wrong(code)
    with (
        pytest.raises(ImproperlyConfigured, match=r"OneTimeCode\.redeem"),
        transaction.atomic(using),
    ):
        LOGIN.redeem(database_store, USER, guessed)
    assert LOGIN.tries_left(database_store, USER) == 5


def guess_and_fail(request: HttpRequest) -> HttpResponse:
    """Answer as views do whose error rolls the request's transaction back."""
    if LOGIN.redeem(persist, USER, request.GET["code"]):
        return HttpResponse()
    raise ValidationError


class GuessView(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        return guess_and_fail(request)


class GuessAPIView(APIView):
    def get(self, request: Any) -> HttpResponse:
        return guess_and_fail(request)


VIEWS: dict[str, Callable[[], Any]] = {
    "function": lambda: partial(guess_and_fail),
    "class": GuessView.as_view,
    "rest": GuessAPIView.as_view,
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_no_guess_is_free_under_atomic_requests(
    open_store: Any,
    client: Client,
    serve: Serve,
    atomic_requests: Callable[[str], None],
    view: Callable[[], Any],
) -> None:
    store = open_store("sqlite")
    atomic_requests("default")
    serve(view(), free=transaction.non_atomic_requests(view()))
    code = LOGIN.issue(store, USER)
    for guessed in (code, wrong(code)):
        with pytest.raises(ImproperlyConfigured):
            client.get("/", {"code": guessed})
    assert LOGIN.tries_left(store, USER) == 5
    client.raise_request_exception = False
    assert client.get("/free", {"code": wrong(code)}).status_code >= 400
    assert LOGIN.tries_left(store, USER) == 4
    assert client.get("/free", {"code": code}).status_code == 200


@pytest.mark.django_db
def test_the_transaction_around_a_test_does_not_count(settings: Any) -> None:
    settings.PERSIST = {"default": BACKENDS["sqlite"]}
    code = LOGIN.issue(persist, USER)
    assert not LOGIN.redeem(persist, USER, wrong(code))
    assert LOGIN.redeem(persist, USER, code)


# Faults.


def test_what_was_used_up_stays_used_up_when_the_server_is_killed(
    killable: tuple[Server, Store],
) -> None:
    server, store = killable
    code, token, used = LOGIN.issue(store, USER), INVITE.issue(store, 1), INVITE.issue(store, 2)
    assert not LOGIN.redeem(store, USER, wrong(code))
    assert INVITE.redeem(store, used) == 2
    server.kill()
    with pytest.raises(StoreUnavailableError):
        LOGIN.redeem(store, USER, code)
    with pytest.raises(StoreUnavailableError):
        INVITE.redeem(store, token)
    server.start()
    assert LOGIN.tries_left(store, USER) == 4
    assert INVITE.redeem(store, used) is None
    assert INVITE.redeem(store, token) == 1
    assert LOGIN.redeem(store, USER, code)


@pytest.mark.parametrize("is_right", [False, True])
@pytest.mark.parametrize("fault", [Fault.BEFORE, Fault.BETWEEN, Fault.WITHIN])
def test_a_connection_that_is_cut_gives_no_free_guess(
    proxy: Proxy, fault: Fault, is_right: bool
) -> None:
    used, failed = 0 if is_right else 4, []
    for step in range(4):  # More than a guess takes.
        code = LOGIN.issue(persist, USER)
        proxy.strike(fault, step)
        try:
            answer = LOGIN.redeem(persist, USER, code if is_right else wrong(code))
        except StoreUnavailableError as error:
            failed.append(step)
            assert LOGIN.tries_left(persist, USER) in ({5, used} if error.maybe_applied else {5})
        else:
            proxy.calm()
            assert answer is is_right
            assert LOGIN.tries_left(persist, USER) == used
    assert failed[:2] == [0, 1]
    assert len(failed) < 4


def test_an_interrupted_guess_is_not_free() -> None:
    """Whoever sees the answer has paid for it with a try, at whatever moment it is stopped."""
    seen: list[tuple[Store, list[bool]]] = []

    def make_call(offset: int) -> Callable[[], object]:
        store = Store(OwnMemoryDriver(Memory()))
        code = LOGIN.issue(store, USER)
        answers: list[bool] = []
        seen.append((store, answers))
        return lambda: answers.append(LOGIN.redeem(store, USER, wrong(code, offset)))

    for offset in (0, 1):
        moments = 0
        for _ in each_moment(lambda offset=offset: make_call(offset), FILES):  # type: ignore[misc]
            moments += 1
            store, answers = seen[-1]
            left = LOGIN.tries_left(store, USER)
            assert left in ({5, 4} if offset else {5, 0})
            assert answers == [] or left < 5
        assert moments > 20


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_token_that_is_interrupted_by_alarms_is_redeemed_at_most_once(store: Store) -> None:
    tokens = [INVITE.issue(store, number) for number in range(1_000 if LONG else 80)]
    started = time.perf_counter()
    assert INVITE.redeem(store, tokens.pop()) == len(tokens)
    typical = time.perf_counter() - started
    interruptions, answers = 0, Counter[int]()
    with alarms() as interrupted:
        for number, token in enumerate(tokens):
            moment = at_random(typical)
            answer = interrupted(lambda token=token: INVITE.redeem(store, token), moment)
            interruptions += answer is INTERRUPTED
            answers[number] += answer == number
            answers[number] += INVITE.redeem(store, token) == number
            assert INVITE.redeem(store, token) is None
    assert interruptions
    assert max(answers.values()) == 1
