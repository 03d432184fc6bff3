"""The store over HTTP: each entry is at /store/<key>, with its value as JSON.

- `PUT /store/<key>` sets the value: 204.
- `POST /store/<key>` creates the entry: 201, or 409 for a duplicate.
- `GET /store/<key>`: 200 with the value and its ETag, or 404.
- `DELETE /store/<key>`: 204, or 404.
- `POST /store/<key>/incr` adds `?by=N` (default 1): 200 with the sum, or 409 if the value is not an
  integer or the sum would be outside 64 bits.

The ETag is the version of the entry. With If-Match a PUT or DELETE applies only to that version, or
with `*` to an entry that exists. A PUT with `If-None-Match: *` only creates: 201. If the condition
doesn't hold, the answer is 412. A GET with If-None-Match is answered with 304 if the value is still
the same. With the setting STORE_API_REQUIRES_CONDITIONS, a PUT or DELETE without such a header is
answered with 428, so that nobody overwrites what they have not seen.

PUT and POST accept `?expires=SECONDS`; incr uses it only when it starts the counter. The key is
everything after /store/, percent-decoded, including slashes, spaces and newlines. (Django leaves
bytes that are not UTF-8 encoded, so %FF and %25FF are the same key.) A POST to a path that ends in
/incr always increments. PUT, GET and DELETE can use a key that ends in /incr itself, and
`POST /store/a/incr/incr` increments the key `a/incr`.

An error is answered with {"error": reason}: 400 for invalid JSON, a key or a parameter; 413 for a
value that is too large; 503 with "maybe_applied" if the store can't be reached; and 503 with
Retry-After for a call that kept losing against other writers.

There is no authentication: this interface is meant for your own machine.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from django import http
from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpResponse, JsonResponse, UnreadablePostError
from django.http.response import HttpResponseBase
from django.utils.decorators import method_decorator
from django.utils.http import parse_etags, quote_etag
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from django_persist import DEFAULT
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
ANY = ["*"]
RETRY_AFTER = "1"


class BadRequestError(Exception):
    """The request is invalid; the message says why."""


class PreconditionError(Exception):
    """A condition of the request does not hold, or (`status` 428) is missing."""

    def __init__(self, message: str, status: int = 412) -> None:
        super().__init__(message)
        self.status = status


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
        except PreconditionError as error:
            return _refused(error.status, error)
        except (DuplicateKeyError, CounterRangeError) as error:
            return _refused(409, error)
        except StoreUnavailableError as error:
            return _refused(503, error, maybe_applied=error.maybe_applied)
        except ContentionError as error:
            response = _refused(503, error)
            response["Retry-After"] = RETRY_AFTER
            return response
        except DecodeError as error:
            # The stored text is not JSON. It isn't the client's fault; PUT and DELETE repair it.
            return _refused(500, error)

    def get(self, request: HttpRequest, key: str) -> HttpResponse:
        self._parameters()
        item = request.persist.get_item(key)
        if item is None:
            return _absent(key)
        etag = quote_etag(item.version)
        seen = parse_etags(request.headers.get("If-None-Match", ""))
        # A value that a proxy has compressed has a weak ETag.
        if seen == ["*"] or etag in [each.removeprefix("W/") for each in seen]:
            return HttpResponse(status=304, headers={"ETag": etag})
        return JsonResponse(item.value, safe=False, headers={"ETag": etag})

    def put(self, request: HttpRequest, key: str) -> HttpResponse:
        store, parameters, value = request.persist, self._parameters("expires"), self._value()
        versions, creates = self._conditions()
        if creates:
            try:
                store.create(key, value, **parameters)
            except DuplicateKeyError as error:
                raise PreconditionError(str(error)) from error
            return HttpResponse(status=201)
        if versions is None:
            store.set(key, value, **parameters)
            return HttpResponse(status=204)
        # Like a PUT without a condition, it gives a new expiry.
        expires = parameters.get("expires", DEFAULT)
        while versions == ANY:
            item = store.get_item(key)
            if item is None:
                break
            if store.replace(key, value, item.version, expires=expires):
                return HttpResponse(status=204)
        if not any(store.replace(key, value, version, expires=expires) for version in versions):
            raise PreconditionError(f"{key!r} is not the entry that If-Match names.")
        return HttpResponse(status=204)

    def post(self, request: HttpRequest, key: str) -> HttpResponse:
        if {"If-Match", "If-None-Match"} & set(request.headers):
            raise BadRequestError("If-Match and If-None-Match are for GET, PUT and DELETE.")
        if key.endswith(INCR):
            return self._incr(key.removesuffix(INCR))
        parameters = self._parameters("expires")
        request.persist.create(key, self._value(), **parameters)
        return HttpResponse(status=201)

    def delete(self, request: HttpRequest, key: str) -> HttpResponse:
        self._parameters()
        versions, creates = self._conditions()
        if creates:
            raise BadRequestError("A DELETE can't have If-None-Match.")
        if versions is None:
            return HttpResponse(status=204) if request.persist.remove(key) else _absent(key)
        expected = [None] if versions == ANY else versions
        if not any(request.persist.remove(key, version=version) for version in expected):
            raise PreconditionError(f"{key!r} is not the entry that If-Match names.")
        return HttpResponse(status=204)

    def _conditions(self) -> tuple[list[str] | None, bool]:
        """Return the versions in If-Match, None without one; and whether the entry must be new."""
        headers = self.request.headers
        match, none_match = headers.get("If-Match"), headers.get("If-None-Match")
        if none_match is not None:
            if match is not None or none_match.strip() != "*":
                raise BadRequestError("A PUT can only have If-Match, or If-None-Match: *.")
            return None, True
        if match is not None:
            # A weak ETag, which starts with W/, never matches here (RFC 9110, section 13.1.1).
            return [etag.strip('"') for etag in parse_etags(match)], False
        if getattr(settings, "STORE_API_REQUIRES_CONDITIONS", False):
            raise PreconditionError("Send If-Match with the ETag, or If-None-Match: *.", 428)
        return None, False

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
            raise BadRequestError("The body is nested too deeply.") from error

    def _parameters(self, *allowed: str) -> dict[str, Any]:
        parsers = {"by": _integer, "expires": _seconds}
        parameters = {}
        for name, texts in self.request.GET.lists():
            if name not in allowed:
                raise BadRequestError(
                    f"Unknown parameter {name!r}. Allowed: {', '.join(allowed) or 'none'}."
                )
            if len(texts) > 1:
                raise BadRequestError(f"The parameter {name} is given {len(texts)} times.")
            parameters[name] = parsers[name](texts[0])
        return parameters


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not allowed")


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
