"""The spans and the histogram of OpenTelemetry."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, get_current_span

from django_persist import Key, Store, persist, stores
from django_persist.drivers.memory import MemoryDriver
from django_persist.exceptions import DuplicateKeyError, InvalidKeyError
from django_persist.otel import BUCKETS, instrument, uninstrument
from tests.conftest import MEMORY, OpenStore

CART = Key("cart:{user_id}", as_=list[str])


class Telemetry:
    """What was exported."""

    def __init__(self) -> None:
        self.exporter, self.reader = InMemorySpanExporter(), InMemoryMetricReader()
        self.tracers, self.meters = TracerProvider(), MeterProvider([self.reader])
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))

    def instrument(self, **options: Any) -> None:
        instrument(tracer_provider=self.tracers, meter_provider=self.meters, **options)

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    def points(self) -> list[HistogramDataPoint]:
        data = self.reader.get_metrics_data()
        if data is None:
            return []
        [metric] = data.resource_metrics[0].scope_metrics[0].metrics
        assert (metric.name, metric.unit) == ("db.client.operation.duration", "s")
        points = list(metric.data.data_points)
        assert all(isinstance(point, HistogramDataPoint) for point in points)
        return points  # type: ignore[return-value]


@pytest.fixture
def instrumented() -> Iterator[Telemetry]:
    telemetry = Telemetry()
    telemetry.instrument()
    yield telemetry
    uninstrument()


@pytest.fixture
def telemetry(settings: Any, instrumented: Telemetry) -> Iterator[Telemetry]:
    """What is exported of two stores in memory."""
    settings.PERSIST = {
        "default": {"BACKEND": MEMORY, "OPTIONS": {"name": "default of otel"}},
        "hot": {"BACKEND": MEMORY, "OPTIONS": {"name": "hot of otel"}, "PREFIX": "secret:"},
    }
    yield instrumented
    uninstrument()
    for alias in stores:
        stores[alias].clear()


def attributes(of: ReadableSpan | HistogramDataPoint) -> dict[str, Any]:
    return dict(of.attributes or {})


def test_each_call_has_a_span_by_the_conventions(telemetry: Telemetry) -> None:
    persist.set("a", 1)
    stores["hot"].namespace("n").get(CART(user_id=4))
    persist.get_many(["a", "b"])
    Store(MemoryDriver("not in PERSIST")).count("a")
    usual = {"db.system.name": "memory"}
    default = usual | {"db.collection.name": "default"}
    assert [(span.name, attributes(span)) for span in telemetry.spans] == [
        ("set default", default | {"db.operation.name": "set"}),
        (
            "get cart:{user_id}",
            usual
            | {
                "db.collection.name": "hot",
                "db.operation.name": "get",
                "db.query.summary": "get cart:{user_id}",
                "django_persist.outcome": "miss",
            },
        ),
        (
            "get_many default",
            default | {"db.operation.name": "get_many", "django_persist.outcome": "partial"},
        ),
        ("count", usual | {"db.operation.name": "count"}),
    ]
    for span in telemetry.spans:
        assert span.status.status_code is StatusCode.UNSET
        assert span.instrumentation_scope is not None
        assert span.instrumentation_scope.name == "django_persist"
        assert span.instrumentation_scope.schema_url


@pytest.mark.parametrize(
    ("server", "system", "kind"),
    [
        ("memory", "memory", SpanKind.INTERNAL),
        ("sqlite", "sqlite", SpanKind.CLIENT),
        ("postgresql", "postgresql", SpanKind.CLIENT),
        ("valkey", "redis", SpanKind.CLIENT),
    ],
)
def test_system_is_that_of_the_driver(
    instrumented: Telemetry, open_store: OpenStore, server: str, system: str, kind: SpanKind
) -> None:
    open_store(server).get("a")
    span = instrumented.spans[-1]
    assert (attributes(span)["db.system.name"], span.kind) == (system, kind)


def test_duration_of_each_call_is_in_the_histogram(telemetry: Telemetry) -> None:
    persist.set("a", 1)
    for key in ("a", "a", "b"):
        persist.get(key)
    persist.get(CART(user_id=4))
    persist.get(CART(user_id=5))
    counts = {
        tuple(
            attributes(point).get(name)
            for name in ("db.operation.name", "django_persist.outcome", "db.query.summary")
        ): point.count
        for point in telemetry.points()
    }
    assert counts == {
        ("set", None, None): 1,
        ("get", "hit", None): 2,
        ("get", "miss", None): 1,
        ("get", "miss", "get cart:{user_id}"): 2,
    }
    for point in telemetry.points():
        assert attributes(point)["db.system.name"] == "memory"
        assert attributes(point)["db.collection.name"] == "default"
        assert tuple(point.explicit_bounds) == BUCKETS
        assert 0 < point.sum < 1


def test_spans_are_nested(telemetry: Telemetry) -> None:
    tracer = telemetry.tracers.get_tracer("a view")
    with tracer.start_as_current_span("a request"):
        persist.update("a", lambda number: number + persist.incr("b"), 1)
        for _ in persist.items():
            with tracer.start_as_current_span("work on a key"):
                pass
    spans = {span.name: span for span in telemetry.spans}
    parents = {
        name: next((each.name for each in spans.values() if each.context == span.parent), None)
        for name, span in spans.items()
    }
    assert parents == {
        "a request": None,
        "update default": "a request",
        "incr default": "update default",
        "items default": "a request",
        "work on a key": "a request",
    }
    assert not get_current_span().get_span_context().is_valid


def test_keys_are_only_sent_if_asked_for(telemetry: Telemetry) -> None:
    def call_some() -> None:
        persist.namespace("n").set("a secret", 1)
        persist.get_many([f"a secret {number}" for number in range(1000)])
        list(persist.keys("a secret"))
        with pytest.raises(InvalidKeyError):
            persist.get("a secret" + "\ud800" * 1000)
        persist.purge()

    call_some()
    assert len(telemetry.spans) == 5
    assert "secret" not in "".join(span.to_json() for span in telemetry.spans)
    telemetry.exporter.clear()
    telemetry.instrument(keys=True)
    call_some()
    sent = [
        {
            name.removeprefix("db.query.parameter."): value
            for name, value in attributes(span).items()
            if "parameter" in name
        }
        for span in telemetry.spans
    ]
    assert sent[0] == {"key": "n:a secret"}
    assert sent[1]["keys"].startswith('["a secret 0", "a secret 1", ')
    assert sent[1]["keys"].endswith(' "a secret 99"]')
    assert sent[2] == {"prefix": "a secret"}
    assert len(sent[3]["key"]) == 255
    assert sent[4] == {}
    sent[3]["key"].encode()
    for point in telemetry.points():
        assert "secret" not in str(attributes(point))


def test_error_has_its_class_and_nothing_that_could_be_a_value(telemetry: Telemetry) -> None:
    persist.create("a", "a secret")
    with pytest.raises(DuplicateKeyError):
        persist.create("a", "a secret")

    def refuses(value: str) -> str:
        raise ValueError(f"Not with {value}.")

    with pytest.raises(ValueError, match="a secret"):
        persist.update("a", refuses)
    persist.get("b", "a secret")
    failed = [span for span in telemetry.spans if span.status.status_code is StatusCode.ERROR]
    assert [attributes(span)["error.type"] for span in failed] == [
        "DuplicateKeyError",
        "ValueError",
    ]
    assert not any(span.events or span.status.description for span in failed)
    assert "secret" not in "".join(span.to_json() for span in telemetry.spans)
    errors = {attributes(point).get("error.type") for point in telemetry.points()}
    assert errors == {None, "DuplicateKeyError", "ValueError"}


@pytest.mark.parametrize(
    "stops",
    [uninstrument, lambda: Telemetry().instrument()],
    ids=["uninstrument", "other providers"],
)
def test_instrumentation_can_be_undone_and_replaced(
    telemetry: Telemetry, stops: Callable[[], None]
) -> None:
    telemetry.instrument()  # As often as you like.
    persist.get("a")
    assert len(telemetry.spans) == 1
    stops()
    persist.get("a")
    assert len(telemetry.spans) == 1
    uninstrument()
    uninstrument()
    assert not hasattr(Store.get, "__wrapped__")


def test_abandoned_listing_ends_its_span(telemetry: Telemetry) -> None:
    persist.set_many({"a": 1, "b": 2})
    assert next(persist.keys())
    persist.items()
    assert [span.name for span in telemetry.spans] == ["set_many default", "keys default"]
    assert telemetry.spans[-1].end_time
