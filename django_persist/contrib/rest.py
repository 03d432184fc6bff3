"""For Django REST framework, which the extra `rest` installs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.exceptions import APIException
from rest_framework.renderers import BrowsableAPIRenderer
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSetMixin

from ..http import HttpRequest
from ._views import Call, ViewDecorator
from .idempotency import IdempotencyKey, RefusedError, Run

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
    Errors are DRF's: your EXCEPTION_HANDLER and the renderers answer them. The forms of the
    browsable API can't send the header, so they need none.
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
        return _AroundView(cls.idempotency)(super().as_view(*args, **initkwargs))

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        run: Run | None = getattr(request, RUN, None)
        if run is None:
            return
        if not run.given and isinstance(request.accepted_renderer, BrowsableAPIRenderer):
            run.enter()
            return
        try:
            answer = run.begin(self.idempotency.scope(cast("HttpRequest", request)))
        except RefusedError as error:
            refused = APIException(error.title, code="idempotency_key")
            refused.status_code = error.status
            raise refused from error
        if answer is not None:
            raise _RepeatedError(answer)

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
