"""Idempotency keys: a request that is sent twice runs once, and gets the same answer.

The header is that of draft-ietf-httpapi-idempotency-key-header-07.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Container
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from hashlib import sha256
from typing import Any, ClassVar, Final

from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from django.core.handlers.exception import response_for_exception
from django.db import DatabaseError, transaction
from django.http import Http404, HttpResponse, JsonResponse
from django.http.multipartparser import MultiPartParserError
from django.http.response import HttpResponseBase
from django.template.response import SimpleTemplateResponse

from .. import REMOVE, Key, Remove, Store
from ..exceptions import EncodeError, PersistError
from ..expiry import parse_lifetime
from ..http import HttpRequest
from ._bodies import BodyTooLargeError, digest_of_request
from ._transactions import alias_of
from ._views import Call, ViewDecorator

__all__ = ["IdempotencyKey", "caller"]

METHODS: Final = ("POST", "PATCH")
RETRYABLE: Final = frozenset({401, 403, 408, 425, 429, *range(500, 600)})
"""The statuses that free the key."""

NOT_REPEATED: Final = ("set-cookie", "date")
MARKS: Final[tuple[str, ...]] = ("xframe_options_exempt", "_csp_config", "_csp_ro_config")
"""What Django's decorators set on a response, for its middleware to read."""

ANSWERED: Final = (
    *(Http404, PermissionDenied, BadRequest, SuspiciousOperation, MultiPartParserError),
)
"""The exceptions that Django answers with a status under 500."""

logger = logging.getLogger("django_persist")


@dataclass
class Answer:
    """A response to repeat: everything but its cookies."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    marks: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, response: HttpResponse) -> Answer:
        headers = [pair for pair in response.items() if pair[0].lower() not in NOT_REPEATED]
        marks = {name: vars(response)[name] for name in MARKS if name in vars(response)}
        return cls(response.status_code, headers, response.content, marks)

    def response(self) -> HttpResponse:
        response = HttpResponse(self.body, status=self.status)
        del response["Content-Type"]  # HttpResponse gives it one, if there is none.
        for name, value in self.headers:
            response[name] = value
        vars(response).update(self.marks)
        return response


@dataclass
class Attempt:
    """A request with an idempotency key, and its answer once the view has returned."""

    owner: str
    payload: str
    answer: Answer | None = None


ATTEMPT: Final = Key("idempotency:{digest}", as_=Attempt)


class RefusedError(Exception):
    """The request is refused before the view runs."""

    def __init__(self, status: int, title: str) -> None:
        super().__init__(title)
        self.status = status
        self.title = title

    def response(self) -> HttpResponse:
        problem = {"title": self.title, "status": self.status}
        return JsonResponse(problem, status=self.status, content_type="application/problem+json")


class StreamingError(TypeError):
    """The response is streaming, so it can't be stored and repeated."""


def caller(request: HttpRequest) -> str:
    """Return the caller that a key belongs to: the user, or anyone with the same credentials.

    The first word says which of them, so that no header makes a client another user.
    """
    user = getattr(request, "user", None)
    if user is not None and user.is_authenticated and user.pk is not None:
        kind = user.__class__
        return f"user {kind.__module__}.{kind.__qualname__} {user.pk}"
    credentials = request.headers.get("Authorization")
    return "anyone" if credentials is None else f"credentials {credentials}"


@dataclass(frozen=True, kw_only=True, eq=False)
class IdempotencyKey(ViewDecorator):
    """Decorates a view to run once per Idempotency-Key of a caller, and to repeat its answer.

    `lease` is how long after a crash another request may run the view: longer than any request
    takes. An answer is repeated for as long as `keep`. An answer with a status in `retryable` is
    not kept: it frees the key, as an exception does. `max_bytes` bounds the answers that are kept,
    `max_request_bytes` the bodies of requests: a larger one is answered with 413. With
    `required=False`, a request without the header runs the view unprotected. `scope` returns who
    the caller is, and `store` is the store, instead of `request.persist`.

    With ATOMIC_REQUESTS, the key is claimed before the view's transaction begins. If the store is
    in the same database, the answer is stored in that transaction, together with the view's work.

    For views of Django REST framework, `django_persist.contrib.rest` has a mixin.
    """

    lease: timedelta = timedelta(minutes=2)
    keep: timedelta = timedelta(days=1)
    required: bool = True
    max_bytes: int = 256 * 1024
    max_request_bytes: int = 10 * 1024 * 1024
    retryable: Container[int] = RETRYABLE
    scope: Callable[[HttpRequest], str] = caller
    store: Store | None = None

    needs_every_alias: ClassVar[bool] = True
    works_in_drf: ClassVar[bool] = False

    def __post_init__(self) -> None:
        parse_lifetime("lease", self.lease)
        parse_lifetime("keep", self.keep)

    def around(self, request: HttpRequest, call: Call) -> HttpResponseBase:
        run = Run(self, request, call)
        if not run.is_concerned:
            return call()
        run.read()
        view = call.api_view()
        scope = self.scope(request) if view is None else self._scope_in_drf(request, view, call)
        if isinstance(scope, HttpResponseBase):
            return scope
        try:
            answer = run.begin(scope)
        except RefusedError as error:
            return error.response()
        return answer or run.answer()

    def _scope_in_drf(self, request: HttpRequest, view: Any, call: Call) -> str | HttpResponseBase:
        """Return the caller that DRF finds, or the response of the view if it refuses the caller.

        DRF only authenticates in its dispatch. This lets the view's authenticators find the caller
        before, and leaves the request as it was.
        """
        from rest_framework.exceptions import APIException  # there is a view of DRF's

        args, kwargs = view.args, view.kwargs
        known = {name: vars(request).get(name) for name in ("user", "auth")}
        api_request = view.initialize_request(request, *args, **kwargs)
        view.request, view.headers = api_request, view.default_response_headers
        view.format_kwarg = view.get_format_suffix(**kwargs)
        try:
            # What APIView.initial does before it authenticates. A 406 must not be kept.
            accepted = view.perform_content_negotiation(api_request)
            api_request.accepted_renderer, api_request.accepted_media_type = accepted
            version = view.determine_version(api_request, *args, **kwargs)
            api_request.version, api_request.versioning_scheme = version
            _ = api_request.user  # A scope that asks for no user must not let anyone in.
            return self.scope(api_request)
        except (APIException, Http404, PermissionDenied) as error:
            # DRF marks the transactions for rollback, which are not to be those of a TestCase.
            with call.atomic():
                refused: HttpResponseBase = view.handle_exception(error)
            view.finalize_response(api_request, refused, *args, **kwargs)
            return refused
        finally:
            # DRF sets both. SessionAuthentication would take its user for one that has a session.
            for name, value in known.items():
                vars(request).pop(name, None)
                if value is not None:
                    setattr(request, name, value)


class Run:
    """A request that may have an idempotency key, from the claim to the stored answer."""

    def __init__(self, key: IdempotencyKey, request: HttpRequest, call: Call) -> None:
        self.given = request.headers.get("Idempotency-Key", "")
        self.has_entered = False
        self.is_concerned = request.method in METHODS and bool(self.given or key.required)
        self._settings = key
        self._request = request
        self.call = call
        self._store = key.store or request.persist
        self._transactions = ExitStack()
        self._is_committed = self._is_settled = False
        self._mine = Attempt(secrets.token_hex(16), "")
        self._refused: RefusedError | None = None
        self._key: Key[Attempt] | None = None
        self._outcome: Attempt | Remove | None = None

    def read(self) -> None:
        """Take a digest of what was sent, before anything else reads it."""
        if not self.given:
            self._refused = RefusedError(400, "This needs the header Idempotency-Key.")
            return
        try:
            self._mine.payload = digest_of_request(self._request, self._settings.max_request_bytes)
        except BodyTooLargeError:
            self._refused = RefusedError(413, "The body is too large for an Idempotency-Key.")

    def begin(self, scope: str) -> HttpResponse | None:
        """Claim the key, or return the answer to repeat.

        Raises RefusedError.
        """
        if self._refused is not None:
            raise self._refused
        request = self._request
        parts = (scope, request.method, request.get_host(), request.path, self.given)
        key = ATTEMPT(digest=sha256(repr(parts).encode()).hexdigest())
        found, created = self._store.get_or_create(key, self._mine, expires=self._settings.lease)
        if found.payload != self._mine.payload:
            raise RefusedError(422, "This Idempotency-Key was used for another request.")
        if found.answer is not None:
            return found.answer.response()
        if not created:
            raise RefusedError(409, "A request with this Idempotency-Key is under way.")
        self._key = key
        return None

    def enter(self) -> None:
        """Enter the view's transactions, which `answer` leaves."""
        self.has_entered = True
        self._transactions.enter_context(self.call.atomic())
        for outermost in self.call.aliases[:1]:
            transaction.on_commit(partial(setattr, self, "_is_committed", True), outermost)

    def answer(self) -> HttpResponseBase:
        """Run the view, store its answer if the key was claimed, and return it.

        An exception that Django answers with a status under 500 counts as that answer.
        """
        try:
            try:
                response = self._in_transactions()
            except ANSWERED as error:
                response = response_for_exception(self._request, error)
            if self._key is None:
                return response
            if self._outcome is None:
                self._outcome = self._outcome_of(response)
        except RefusedError as error:
            return error.response()
        except BaseException as error:
            self._settle_after(error)
            raise
        if not self._is_settled:
            try:
                self._settle(self._outcome)
            except (PersistError, DatabaseError):
                logger.exception(
                    "An answer could not be stored: once the lease of its Idempotency-Key ends, a "
                    "repeated request runs the view again."
                )
        return response

    def _in_transactions(self) -> HttpResponseBase:
        with self._transactions:
            if self._key is not None:  # Else the view claims the key, and then enters them.
                self.enter()
            response = self.call.view()
            if self._key is None or any(map(transaction.get_rollback, self.call.aliases)):
                return response
            self._outcome = self._outcome_of(response)
            if alias_of(self._store) in self.call.aliases:
                # The answer is committed with the work, or neither is.
                self._is_settled = self._settle(self._outcome)
                if not self._is_settled:
                    raise RefusedError(409, "Another request has taken over this Idempotency-Key.")
            return response

    def _outcome_of(self, response: HttpResponseBase) -> Attempt | Remove:
        """Return what to store under the key. An Attempt without an answer keeps it closed."""
        if response.status_code in self._settings.retryable:
            return REMOVE
        if not isinstance(response, HttpResponse):
            raise StreamingError("A streaming response can't be stored, so it can't be repeated.")
        if isinstance(response, SimpleTemplateResponse):
            response.render()
        if len(response.content) > self._settings.max_bytes:
            return self._mine
        return replace(self._mine, answer=Answer.of(response))

    def _settle_after(self, error: BaseException) -> None:
        """Free the key, unless the work is committed or its answer can't be repeated."""
        outcome: Attempt | Remove = REMOVE
        if self._is_committed and self._outcome is not None:
            outcome = self._outcome  # A callback of on_commit has failed.
        elif isinstance(error, StreamingError):
            outcome = self._mine
        with suppress(PersistError, DatabaseError):  # The lease will end it.
            self._settle(outcome)

    def _settle(self, outcome: Attempt | Remove) -> bool:
        """Store the outcome, if the key is still this request's; return whether it was."""
        if self._key is None:
            return True
        try:
            return self._replace(self._key, outcome)
        except EncodeError:  # It is too large for this store.
            return self._replace(self._key, self._mine)

    def _replace(self, key: Key[Attempt], outcome: Attempt | Remove) -> bool:
        def change(found: Attempt) -> Attempt | Remove:
            if found.owner != self._mine.owner or found.answer is not None:
                raise LookupError
            return outcome

        try:
            self._store.update(key, change, self._mine, expires=self._settings.keep)
        except LookupError:
            return False
        return True
