"""The filter by the first part of the key: `cart:` of `cart:4`.

It steps from part to part on the primary key, and counts each only as far as COUNTED. So it costs
the same in a table of a million rows as in one of a hundred thousand.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.formats import number_format
from django.utils.translation import gettext_lazy as _

from ..drivers.database import prefix_end
from ..exceptions import InvalidKeyError
from ..keys import SEPARATOR, check_characters
from ..models import Entry

if TYPE_CHECKING:
    Entries = QuerySet[Entry]

LISTED: Final = 20
"""How many parts the filter lists at most."""

COUNTED: Final = 1000
"""How far the entries of a part are counted."""

STEPS: Final = 40
"""How many queries look for parts. Keys without a part take one for each BATCH of them."""

BATCH: Final = 100


def beginning_with(queryset: Entries, prefix: str) -> Entries:
    """Return the entries whose keys begin with `prefix`.

    It is a range of the primary key, as the driver uses for a prefix. LIKE would depend on the
    collation.
    """
    return queryset.filter(key__gte=prefix, key__lt=prefix_end(prefix))


def first_part(key: str) -> str | None:
    """Return the beginning of a key up to its first separator, or None if it has none."""
    part, separator, _rest = key.partition(SEPARATOR)
    return part + separator if separator else None


class PartFilter(admin.SimpleListFilter):
    """Lists the first parts of the keys, each with the number of its entries.

    Without any part it isn't shown. The numbers count entries in every state.
    """

    title = _("first part of the key")
    parameter_name = "part"
    template = "django_persist/admin/part_filter.html"

    is_complete = True
    """Whether all parts are listed. The template says if not."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        entries = model_admin.get_queryset(request)
        parts = list(self._parts(entries.order_by("pk").values_list("pk", flat=True)))
        chosen = self.value()
        if chosen and chosen not in parts:
            # Otherwise nothing would show that the filter is on.
            parts = sorted([*parts, chosen])
        return [(part, f"{part} ({_count(entries, part)})") for part in parts]

    def _parts(self, keys: Any) -> Iterator[str]:
        """Yield the first parts of sorted keys."""
        listed, start = 0, ""
        for _step in range(STEPS):
            batch: list[str] = list(keys.filter(pk__gte=start)[:BATCH])
            for key in batch:
                if key < start or (part := first_part(key)) is None:
                    continue
                if listed == LISTED:
                    self.is_complete = False
                    return
                yield part
                listed, start = listed + 1, prefix_end(part)
            if len(batch) < BATCH:
                return
            start = max(start, batch[-1] + "\1")  # No key can have \0.
        self.is_complete = False

    def value(self) -> str | None:
        value: str | None = super().value()
        try:
            return value and check_characters(value)
        except InvalidKeyError:
            raise IncorrectLookupParameters from None

    def queryset(self, request: HttpRequest, queryset: Entries) -> Entries:
        part = self.value()
        return beginning_with(queryset, part) if part else queryset


def _count(entries: Entries, part: str) -> str:
    # The order keeps PostgreSQL from reading the whole table instead of the primary key, and
    # DISTINCT keeps MySQL from reading the whole index of expires_at.
    keys = beginning_with(entries, part).order_by("pk").values("pk").distinct()
    number = keys[: COUNTED + 1].count()
    shown: str = number_format(min(number, COUNTED), force_grouping=True)
    return shown + "+" if number > COUNTED else shown
