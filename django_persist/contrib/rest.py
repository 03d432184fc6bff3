"""For Django REST framework, which the extra `rest` installs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.exceptions import APIException
from rest_framework.renderers import BrowsableAPIRenderer
from rest_framework.settings import api_settings
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSetMixin

from ..http import HttpRequest
from ..store import Store
from ._views import Call, ViewDecorator
from .idempotency import IdempotencyKey, RefusedError, Run
from .rate_limit import Caller, RateLimit, Usage, add_fields, user, wait_seconds

__all__ = ["IdempotencyMixin", "PersistThrottle"]

if TYPE_CHECKING:
    from rest_framework.request import Request
    from rest_framework.response import Response

    Base = APIView
else:
    Base = object

# Idempotency.

RUN: Final = "_persist_idempotency"
"""The attribute of the request with its Run."""


class IdempotencyMixin(Base):
    """Makes the POST and PATCH of an APIView or a ViewSet run once per Idempotency-Key.

    Put it before DRF's class: `class Orders(IdempotencyMixin, ModelViewSet)`. `idempotency` has the
    settings; its `scope` gets DRF's Request. DRF authenticates, checks permissions and throttles
    before the key is claimed and before the view's transaction begins, also for a repeated request.
    An `initial` of your own must call super's, which claims the key. Errors are DRF's: your
    EXCEPTION_HANDLER and the renderers answer them. The forms of the browsable API can't send the
    header, so they need none.
    """

    idempotency: ClassVar[IdempotencyKey] = IdempotencyKey()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        before = cls.__mro__[: cls.__mro__.index(IdempotencyMixin)]
        if APIView in before or ViewSetMixin in before:
            raise TypeError(
                f"In {cls.__qualname__}, IdempotencyMixin must come before DRF's class."
            )

    @classmethod
    def as_view(cls, *args: Any, **initkwargs: Any) -> Any:
        key = initkwargs.get("idempotency", cls.idempotency)
        return _AroundView(key)(super().as_view(*args, **initkwargs))

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        run: Run | None = getattr(request, RUN, None)
        if run is None:
            return
        if run.given or not isinstance(request.accepted_renderer, BrowsableAPIRenderer):
            try:
                answer = run.begin(self.idempotency.scope(cast("HttpRequest", request)))
            except RefusedError as error:
                refused = APIException(error.title, code="idempotency_key")
                refused.status_code = error.status
                raise refused from error
            if answer is not None:
                raise _RepeatedError(answer)
        run.enter()

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, _RepeatedError):
            return exc.answer  # type: ignore[return-value]  # DRF finishes any HttpResponse
        run: Run | None = getattr(self.request, RUN, None)
        if run is None or run.has_entered:
            return super().handle_exception(exc)
        # DRF marks the transactions for rollback, which are not to be those of a TestCase.
        with run.call.atomic():
            return super().handle_exception(exc)


class _RepeatedError(Exception):
    """Leaves DRF's `initial` with the answer to repeat."""

    def __init__(self, answer: HttpResponse) -> None:
        super().__init__()
        self.answer = answer


class _AroundView(ViewDecorator):
    """Stands around the view of an IdempotencyMixin, which claims the key inside."""

    needs_every_alias = True

    label = "IdempotencyMixin"

    def __init__(self, key: IdempotencyKey) -> None:
        self.key = key
        self.store = key.store

    def around(self, request: HttpRequest, call: Call) -> HttpResponseBase:
        run = Run(self.key, request, call)
        if not run.is_concerned:
            return call()
        run.read()
        setattr(request, RUN, run)
        return run.answer()


# Throttles.


class PersistThrottle(BaseThrottle):
    """A throttle that counts in a store, exactly: of concurrent requests no more pass than allowed.

        class Burst(PersistThrottle):
            scope = "burst"     # its rate is DEFAULT_THROTTLE_RATES["burst"], such as "60/min"

    Used as it is, it throttles the views that have a `throttle_scope`. A rate of None throttles
    nothing. Rates are those of DRF, or have a number before their unit ("5/15m"). `sliding`,
    `store` and `fail_open` are those of RateLimit; a RateLimit of the same name as the scope shares
    its count. Each response gets the header fields that RateLimit sets.

    It counts the signed-in user, or the address of anyone else. X-Forwarded-For only matters with
    NUM_PROXIES, the number of your own proxies, by the rules of `rate_limit.address`.

    DRF throttles within the view. With ATOMIC_REQUESTS that is within its transaction, so the store
    must be elsewhere: `manage.py check` says so, and a request raises ImproperlyConfigured.
    """

    scope: ClassVar[str | None] = None
    rate: ClassVar[str | None] = None
    """The rate, instead of the one that DEFAULT_THROTTLE_RATES has for the scope."""

    THROTTLE_RATES: ClassVar[Mapping[str, str | None] | None] = None
    """The rates by their scopes, instead of DEFAULT_THROTTLE_RATES."""

    sliding: ClassVar[bool] = False
    store: ClassVar[Store | None] = None
    fail_open: ClassVar[bool] = False

    _usage: Usage | None = None

    def get_caller(self, request: Request, view: APIView) -> Caller | None:
        """Return whom to count a request for; None to let it pass."""
        return user(cast("HttpRequest", request), api_settings.NUM_PROXIES or 0)

    def get_limit(self, request: Request | None, view: Any) -> RateLimit | None:
        """Return the limit of a view; None if it has none.

        Raises ImproperlyConfigured for a scope without a rate, and for an invalid rate.
        """
        scope = self.scope or getattr(view, "throttle_scope", None)
        if scope is None:
            if self.rate is not None:
                raise ImproperlyConfigured(f"{type(self).__name__} has a rate, and needs a scope.")
            return None
        rates: Any = self.THROTTLE_RATES
        if rates is None:
            rates = api_settings.DEFAULT_THROTTLE_RATES
        if self.rate is None and scope not in rates:
            raise ImproperlyConfigured(f"DEFAULT_THROTTLE_RATES has no rate for {scope!r}.")
        rate = self.rate or rates[scope]
        if rate is None:
            return None
        try:
            return RateLimit(
                rate,
                name=scope,
                sliding=self.sliding,
                by=lambda _: None if request is None else self.get_caller(request, view),
                store=self.store,
                fail_open=self.fail_open,
            )
        except (TypeError, ValueError) as error:
            raise ImproperlyConfigured(f"The throttle scope {scope!r}: {error}") from error

    def allow_request(self, request: Request, view: APIView) -> bool:
        limit = self.get_limit(request, view)
        usage = None if limit is None else limit.count(cast("HttpRequest", request))
        self._usage = usage
        if limit is None or usage is None:
            return True
        add_fields(view.headers, limit, usage)
        return usage.passed

    def wait(self) -> float | None:
        """Return the seconds until a request would pass."""
        return None if self._usage is None else wait_seconds(self._usage.retry_after)
