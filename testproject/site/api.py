"""The store over HTTP: one entry under each /store/<key>, its value as JSON.

- `PUT /store/<key>` sets: 204.
- `POST /store/<key>` creates: 201, or 409 for a duplicate.
- `GET /store/<key>`: 200 with the value, or 404.
- `DELETE /store/<key>`: 204, or 404.
- `POST /store/<key>/incr` adds `?by=N` (1 without it): 200 with the sum, 409 where the value is no
  integer or the sum would leave 64 bits.

Those that store take `?expires=SECONDS`; for incr it counts only where that starts the counter. A
key is all that comes after /store/, percent-decoded: slashes, spaces and newlines are part of it
(bytes that are no UTF-8 stay as they are sent: to Django %FF is what %25FF is).
A POST to a path that ends in /incr always counts; an entry whose own key ends so is there for PUT,
GET and DELETE, and POST `/store/a/incr/incr` counts under `a/incr`.

What is refused answers {"error": reason}: 400 for JSON, a key or a parameter, 413 for too large a
value, 503 for a store that can't be reached, with "maybe_applied", and 503 with Retry-After for a
call that kept losing against other writers.

It asks nobody who they are: it is made for one's own machine.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from django import http
from django.core.exceptions import RequestDataTooBig
from django.http import HttpResponse, JsonResponse, UnreadablePostError
from django.http.response import HttpResponseBase
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from django_persist.exceptions import (
    ContentionError,
    CounterRangeError,
    DecodeError,
    DuplicateKeyError,
    EncodeError,
    InvalidExpiryError,
    InvalidKeyError,
    StoreUnavailableError,
    ValueTooLargeError,
)
from django_persist.http import HttpRequest

INCR = "/incr"
RETRY_AFTER = "1"


class BadRequestError(Exception):
    """What the client sent can't be understood; the message says why."""


@method_decorator(csrf_exempt, name="dispatch")
class Entry(View):
    request: HttpRequest

    def dispatch(self, request: http.HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return super().dispatch(request, *args, **kwargs)
        except (RequestDataTooBig, ValueTooLargeError) as error:
            return _refused(413, error)
        except (
            BadRequestError,
            UnreadablePostError,
            InvalidKeyError,
            InvalidExpiryError,
            EncodeError,
        ) as error:
            return _refused(400, error)
        except (DuplicateKeyError, CounterRangeError) as error:
            return _refused(409, error)
        except StoreUnavailableError as error:
            return _refused(503, error, maybe_applied=error.maybe_applied)
        except ContentionError as error:
            response = _refused(503, error)
            response["Retry-After"] = RETRY_AFTER
            return response
        except DecodeError as error:
            # What is stored is no JSON: nothing that the client did, but PUT and DELETE mend it.
            return _refused(500, error)

    def get(self, request: HttpRequest, key: str) -> HttpResponse:
        self._parameters()
        item = request.persist.get_item(key)
        if item is None:
            return _absent(key)
        return JsonResponse(item.value, safe=False)

    def put(self, request: HttpRequest, key: str) -> HttpResponse:
        parameters = self._parameters("expires")
        request.persist.set(key, self._value(), **parameters)
        return HttpResponse(status=204)

    def post(self, request: HttpRequest, key: str) -> HttpResponse:
        if key.endswith(INCR):
            return self._incr(key.removesuffix(INCR))
        parameters = self._parameters("expires")
        request.persist.create(key, self._value(), **parameters)
        return HttpResponse(status=201)

    def delete(self, request: HttpRequest, key: str) -> HttpResponse:
        self._parameters()
        return HttpResponse(status=204) if request.persist.remove(key) else _absent(key)

    def _incr(self, key: str) -> HttpResponse:
        parameters = self._parameters("by", "expires")
        try:
            return JsonResponse(self.request.persist.incr(key, **parameters), safe=False)
        except DecodeError as error:
            return _refused(409, error)

    def _value(self) -> Any:
        try:
            return json.loads(self.request.body, parse_constant=_no_constant)
        except ValueError as error:
            raise BadRequestError(f"The body is not JSON: {error}.") from error
        except RecursionError as error:
            raise BadRequestError("The body is nested too deep.") from error

    def _parameters(self, *allowed: str) -> dict[str, Any]:
        parsers = {"by": _integer, "expires": _seconds}
        parameters = {}
        for name, texts in self.request.GET.lists():
            if name not in allowed:
                raise BadRequestError(
                    f"Unknown parameter {name!r}; known are: {', '.join(allowed) or 'none'}."
                )
            if len(texts) > 1:
                raise BadRequestError(f"The parameter {name} is there {len(texts)} times.")
            parameters[name] = parsers[name](texts[0])
        return parameters


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"it has no {name}")


def _integer(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,30}", text, re.ASCII):
        raise BadRequestError("by must be an integer.")
    return int(text)


def _seconds(text: str) -> float:
    if not re.fullmatch(r"-?[0-9]{1,30}(\.[0-9]{1,30})?", text, re.ASCII):
        raise BadRequestError("expires must be a number of seconds.")
    return float(text)


def _absent(key: str) -> HttpResponse:
    return JsonResponse({"error": f"There is no live entry {key!r}."}, status=404)


def _refused(status: int, error: Exception, **more: Any) -> HttpResponse:
    return JsonResponse({"error": str(error), **more}, status=status)
