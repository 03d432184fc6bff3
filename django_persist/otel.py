"""OpenTelemetry for the calls of all stores: `instrument()`. Needs django-persist[otel].

Spans and the histogram `db.client.operation.duration` follow the semantic conventions for database
clients, which are stable since version 1.33.0:
https://opentelemetry.io/docs/specs/semconv/db/
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from json import dumps
from typing import Final
from weakref import WeakKeyDictionary

from opentelemetry.metrics import MeterProvider, get_meter
from opentelemetry.trace import (
    SpanKind,
    StatusCode,
    TracerProvider,
    get_tracer,
    set_span_in_context,
    use_span,
)

from . import __version__
from .drivers.base import Driver
from .keys import MAX_LENGTH
from .tracing import PREFIXED, Call, Tracer, add_tracer, remove_tracer

SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.33.0"
BUCKETS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)
"""The bounds in seconds that the conventions recommend."""
KEYS_SENT: Final = 100

_active: Tracer | None = None
_systems: WeakKeyDictionary[Driver, str] = WeakKeyDictionary()


def instrument(
    *,
    keys: bool = False,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> None:
    """Make a span for each call of a store, and record its duration. Values are never sent.

    With `keys`, a span also has the first 100 keys of the call, or its prefix. Leave it off if keys
    hold personal data. The template of a Key, such as "cart:{user_id}", is always sent: it is the
    span's `db.query.summary` and part of its name.

    The providers default to the global ones. Another call replaces the settings of the first.
    """
    global _active
    uninstrument()
    tracer = get_tracer("django_persist", __version__, tracer_provider, SCHEMA_URL)
    meter = get_meter("django_persist", __version__, meter_provider, SCHEMA_URL)
    histogram = meter.create_histogram(
        "db.client.operation.duration",
        unit="s",
        description="Duration of database client operations.",
        explicit_bucket_boundaries_advisory=BUCKETS,
    )

    @contextmanager
    def trace(call: Call) -> Iterator[None]:
        attributes = _attributes(call)
        span = tracer.start_span(
            _span_name(call),
            # An in-memory database may have internal spans.
            kind=SpanKind.INTERNAL if attributes["db.system.name"] == "memory" else SpanKind.CLIENT,
            attributes={**attributes, **_keys(call)} if keys else attributes,
        )
        try:
            # The caller's own spans are not within a listing, although its code runs meanwhile.
            with nullcontext() if call.is_listing else use_span(span):
                yield
            results = _results(call)
            span.set_attributes(results)
            if call.error is not None:
                span.set_status(StatusCode.ERROR)
            context = set_span_in_context(span)  # An exemplar of the histogram links to the span.
            histogram.record(call.seconds, {**attributes, **results}, context)
        finally:
            span.end()

    _active = trace
    add_tracer(trace)


def uninstrument() -> None:
    """Undo `instrument`. Does nothing without it."""
    global _active
    if _active is not None:
        remove_tracer(_active)
        _active = None


def _span_name(call: Call) -> str:
    return f"{call.name} {call.template or call.alias or ''}".rstrip()


def _attributes(call: Call) -> dict[str, str]:
    """Return what is known when a call begins. These have few different values."""
    attributes = {"db.system.name": _system(call.store.driver), "db.operation.name": call.name}
    if call.alias is not None:
        attributes["db.collection.name"] = call.alias
    if call.template is not None:
        attributes["db.query.summary"] = _span_name(call)
    return attributes


def _results(call: Call) -> dict[str, str]:
    """Return what is known when a call has ended."""
    results = {}
    if call.outcome is not None:
        results["django_persist.outcome"] = call.outcome
    if call.error is not None:
        # Not its message, which can hold a key, or a value if the function of an update raised it.
        results["error.type"] = call.error.__qualname__
    return results


def _keys(call: Call) -> dict[str, str]:
    # A call that is going to be refused can have a key of any length, with anything in it.
    keys = [key[:MAX_LENGTH].encode(errors="replace").decode() for key in call.keys[:KEYS_SENT]]
    if not keys:
        return {}
    if call.name in PREFIXED:
        return {"db.query.parameter.prefix": keys[0]}
    if len(keys) == 1:
        return {"db.query.parameter.key": keys[0]}
    return {"db.query.parameter.keys": dumps(keys, ensure_ascii=False)}


def _system(driver: Driver) -> str:
    """Return `db.system.name`: "postgresql", "mysql", "sqlite", "redis", "memory" or another."""
    try:
        return _systems[driver]
    except KeyError:
        match driver.place().location:
            case ("database", str() as system, *_) | (str() as system, *_):
                pass
            case _:
                system = "django_persist"
        _systems[driver] = system
        return system
