"""Turns timings into figures: medians with their spread, as tables and as JSON."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from statistics import median, quantiles
from typing import Any

from .targets import cpu_target, target
from .timing import Timing

PACKAGES = ("Django", "msgspec", "psycopg", "mysqlclient", "redis", "django-redis", "hiredis")
SMALL = 100
"""The size of values, in bytes, that the targets are set for."""


@dataclass(frozen=True)
class Spread:
    """A median, with the first and the last decile, and the least of all figures."""

    median: float
    low: float
    high: float
    least: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> Spread:
        tenths = quantiles(figures, n=10, method="inclusive")
        return cls(median(figures), tenths[0], tenths[-1], min(figures))

    def __str__(self) -> str:
        digits = 0 if self.median >= 20 else 2
        return f"{self.median:.{digits}f} ({self.low:.{digits}f} to {self.high:.{digits}f})"


@dataclass(frozen=True)
class Result:
    """The times of one contender, and the ratios of its time to ours in each round."""

    name: str
    calls: int
    rounds: int
    microseconds: Spread | None
    cpu_microseconds: Spread | None
    ratio: Spread | None
    cpu_ratio: Spread | None
    target: float | None
    cpu_target: float | None
    remark: str | None
    failure: str | None

    @property
    def misses_target(self) -> bool:
        """Whether a ratio is below its target."""
        return _misses(self.ratio, self.target) or _misses(self.cpu_ratio, self.cpu_target)


@dataclass(frozen=True)
class Case:
    """The results of everything that was measured together, ours first."""

    store: str
    operation: str
    size: int | None
    threads: int
    results: list[Result]
    by_cpu: bool = False
    """Whether CPU times are what was compared."""

    @property
    def name(self) -> str:
        size = "" if self.size is None else f" {self.size} B"
        return f"{self.operation}{size}" + (f", {self.threads} threads" * (self.threads > 1))


def case(
    store: str,
    operation: str,
    size: int | None,
    threads: int,
    timings: Sequence[Timing],
    *,
    by_cpu: bool = False,
) -> Case:
    """Return the results of a case, of which the first timing is ours."""
    ours = timings[0]
    if ours.failure:
        raise RuntimeError(f"{store}, {operation}: {ours.failure}")
    has_targets = (by_cpu or threads == 1) and size in (None, SMALL)
    results = []
    for timing in timings:
        name, failed = timing.contender.name, timing.failure is not None
        results.append(
            Result(
                name=name,
                calls=timing.calls,
                rounds=len(timing.wall),
                microseconds=None if failed else Spread.of(timing.wall),
                cpu_microseconds=None if failed else Spread.of(timing.cpu),
                ratio=None if failed else _ratio(timing.wall, ours.wall),
                cpu_ratio=None if failed else _ratio(timing.cpu, ours.cpu),
                target=target(store, name, operation) if has_targets and not by_cpu else None,
                cpu_target=cpu_target(store, name, operation) if has_targets and by_cpu else None,
                remark=timing.contender.remarks.get(operation),
                failure=timing.failure,
            )
        )
    return Case(store, operation, size, threads, results, by_cpu)


def _misses(ratio: Spread | None, lowest: float | None) -> bool:
    return ratio is not None and lowest is not None and ratio.median < lowest


def _ratio(theirs: Sequence[float], ours: Sequence[float]) -> Spread:
    return Spread.of([one / other for one, other in zip(theirs, ours, strict=True)])


def header(store: str, names: Sequence[str], unit: str = "µs") -> str:
    """Return the head of a store's table."""
    columns = [store, f"ours, {unit}", *(f"{name} / ours" for name in names)]
    return _line(columns) + "\n" + _line(["---", *(["---:"] * (len(columns) - 1))])


def line(case: Case, names: Sequence[str]) -> str:
    """Return a case as a line of its store's table; `!` marks a ratio below its target."""
    by_name = {result.name: result for result in case.results}
    cells = []
    for name in names:
        result = by_name.get(name)
        if result is None:
            cells.append("")
        elif result.failure:
            cells.append("failed")
        else:
            ratio = result.cpu_ratio if case.by_cpu else result.ratio
            cells.append(f"{'! ' * result.misses_target}{ratio}")
    ours = case.results[0]
    took = ours.cpu_microseconds if case.by_cpu else ours.microseconds
    return _line([case.name, str(took), *cells])


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *rows))


def _line(cells: Sequence[str]) -> str:
    first, *others = cells
    return f"| {first:24} | " + " | ".join(f"{cell:>22}" for cell in others) + " |"


def remarks(cases: Sequence[Case]) -> Iterator[str]:
    """Yield a line for each operation that does less than ours, failed, or misses its target."""
    yield from dict.fromkeys(
        f"{result.name}, {each.operation}: {result.remark}."
        for each in cases
        for result in each.results
        if result.remark
    )
    for each in cases:
        for result in each.results:
            if result.failure:
                yield f"{each.store}, {each.name}: {result.name} failed: {result.failure}"
            if result.misses_target and result.target:
                yield (
                    f"! {each.store}, {each.name}: {result.name} took {result.ratio} times as long "
                    f"as ours; the target is {result.target:.2f}."
                )
            elif result.misses_target:
                yield (
                    f"! {each.store}, {each.name}: {result.name} took {result.cpu_ratio} times the "
                    f"CPU time of ours; the target is {result.cpu_target:.2f}."
                )


def as_json(cases: Sequence[Case]) -> dict[str, Any]:
    """Return all figures, with the machine and the versions that they were measured on."""
    installed = {package: version(package) for package in PACKAGES}
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"platform": platform.platform(), "cpus": os.cpu_count()},
        "versions": {"Python": platform.python_version(), **installed},
        "cases": [asdict(each) for each in cases],
    }
