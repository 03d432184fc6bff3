"""Idempotency keys for POST views, as in draft-ietf-httpapi-idempotency-key-header-07."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import wraps
from hashlib import sha256
from typing import Concatenate, Final, ParamSpec

from django.db import DatabaseError
from django.http import HttpResponse, JsonResponse
from django.template.response import SimpleTemplateResponse

from django_persist import REMOVE, Key, Remove
from django_persist.exceptions import PersistError
from django_persist.http import HttpRequest

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponse]


@dataclass
class Attempt:
    """A request with an idempotency key, and its answer once the view has returned."""

    owner: str
    payload: str
    answer: tuple[int, dict[str, str], bytes] | None = None


ATTEMPT: Final = Key("idempotency:{digest}", as_=Attempt)
HEADERS: Final = ("Content-Type", "Content-Language", "Location")
RETRYABLE: Final = (408, 425, 429, *range(500, 600))


def caller(request: HttpRequest) -> str:
    """Return the caller that the key belongs to: the user, or anyone with these credentials."""
    user = request.user
    return f"user {user.pk}" if user.is_authenticated else request.headers.get("Authorization", "")


@dataclass(frozen=True, kw_only=True)
class IdempotencyKey:
    """Decorates a view to run once per Idempotency-Key of a caller, and to repeat its answer.

    `lease` must be longer than any request takes. An answer is repeated for as long as `keep`.
    """

    lease: timedelta = timedelta(minutes=2)
    keep: timedelta = timedelta(days=1)
    required: bool = True
    max_bytes: int = 256 * 1024
    scope: Callable[[HttpRequest], str] = caller

    def __call__(self, view: View[P]) -> View[P]:
        @wraps(view)
        def wrapped(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
            given = request.headers.get("Idempotency-Key", "")
            if request.method not in ("POST", "PATCH") or not (given or self.required):
                return view(request, *args, **kwargs)
            if not given:
                return _problem(400, "This needs the header Idempotency-Key.")
            where = (request.method, request.get_host(), request.path)
            key = ATTEMPT(digest=_digest(self.scope(request), *where, given))
            mine = Attempt(secrets.token_hex(16), _payload(request))
            found, created = request.persist.get_or_create(key, mine, expires=self.lease)
            if found.payload != mine.payload:
                return _problem(422, "This Idempotency-Key was used for another request.")
            if found.answer is not None:
                status, headers, body = found.answer
                return HttpResponse(body, status=status, headers=headers)
            if not created:
                return _problem(409, "A request with this Idempotency-Key is under way.")
            try:
                response = view(request, *args, **kwargs)
                outcome = self._outcome(mine, response)
            except BaseException:
                with suppress(PersistError, DatabaseError):  # The lease will end it.
                    self._settle(request, key, mine, REMOVE)
                raise
            self._settle(request, key, mine, outcome)
            return response

        return wrapped

    def _outcome(self, mine: Attempt, response: HttpResponse) -> Attempt | Remove:
        if response.streaming:
            raise TypeError("A streaming response can't be kept, so the view can't be repeated.")
        if response.status_code in RETRYABLE:
            return REMOVE
        if isinstance(response, SimpleTemplateResponse):
            response.render()
        if len(response.content) > self.max_bytes:
            return mine  # The answer can't be repeated, and the view must not run again: 409.
        headers = {name: response[name] for name in HEADERS if name in response}
        return replace(mine, answer=(response.status_code, headers, response.content))

    def _settle(
        self, request: HttpRequest, key: Key[Attempt], mine: Attempt, outcome: Attempt | Remove
    ) -> None:
        def settle(found: Attempt) -> Attempt | Remove:
            if found.owner != mine.owner:
                raise LookupError("The lease ended, and another caller has the key now.")
            return outcome

        with suppress(LookupError):
            request.persist.update(key, settle, mine, expires=self.keep)


def _payload(request: HttpRequest) -> str:
    """Return a digest of the request's content. Forms are parsed: their boundary is random."""
    query, kind = request.META.get("QUERY_STRING"), request.content_type
    if kind != "multipart/form-data":
        return _digest(query, kind, request.body)
    files = [(name, [(f.name, f.size) for f in each]) for name, each in request.FILES.lists()]
    return _digest(query, kind, list(request.POST.lists()), files)


def _digest(*parts: object) -> str:
    return sha256(repr(parts).encode()).hexdigest()


def _problem(status: int, title: str) -> HttpResponse:
    problem = {"title": title, "status": status}
    return JsonResponse(problem, status=status, content_type="application/problem+json")
