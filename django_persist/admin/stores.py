"""A page of the admin for the stores whose entries are not in its database, such as Redis.

It only reads. A driver lists keys in its own order and from the beginning, so a page is reached by
passing those before it, and a listing ends at DEEPEST. One value is read at a time, and only its
beginning is kept, so a page of large values needs little memory.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from ..conf import DEFAULT_ALIAS
from ..drivers.database import DatabaseDriver
from ..drivers.memory import MemoryDriver
from ..exceptions import InvalidKeyError, StoreUnavailableError
from ..handler import stores
from ..models import Entry
from ..store import Store
from .columns import SHOWN_CHARS, EntryColumns

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Entry]
else:
    ModelAdmin = admin.ModelAdmin

PER_PAGE: Final = 50

DEEPEST: Final = 10_000
"""How many keys can be paged through. To see others, enter a longer beginning."""


def other_stores(database: str | None) -> list[str]:
    """Return the aliases of the stores whose entries are not in a database; for None, of all.

    The default store comes first.
    """
    location = DatabaseDriver(database).place().location if database else None
    return [
        alias
        for alias in sorted(stores, key=lambda alias: alias != DEFAULT_ALIAS)
        if stores[alias].place().location != location
    ]


def store_view(
    model_admin: ModelAdmin, database: str | None, request: HttpRequest, alias: str
) -> HttpResponse:
    """Show a page of a store's keys that begin with a text, or with `key` one whole entry."""
    aliases = other_stores(database)
    if alias not in aliases:
        raise Http404
    store = stores[alias]
    prefix, key = request.GET.get("q", ""), request.GET.get("key")
    number = request.GET.get("p", "")
    page = min(int(number), DEEPEST // PER_PAGE) if number.isdecimal() and len(number) < 9 else 1
    context: dict[str, Any] = {
        **model_admin.admin_site.each_context(request),
        "title": _("Entries of the store “%s”") % alias,
        "opts": model_admin.opts,
        "media": model_admin.media,
        "alias": alias,
        "aliases": aliases,
        "stores_database": database,
        "prefix": prefix,
        "key": key,
        "in_memory": isinstance(store.driver, MemoryDriver),
        "deepest": number_format(DEEPEST, force_grouping=True),
    }
    status = 200
    try:
        if key is not None:
            context["rows"] = _rows(store, [store.keyspace.full(key)], whole=True)
        else:
            context |= _page(store, prefix, max(page, 1))
    except (InvalidKeyError, StoreUnavailableError) as error:
        context["error"] = str(error)
        status = 400 if isinstance(error, InvalidKeyError) else 503
    request.current_app = model_admin.admin_site.name
    return TemplateResponse(request, "django_persist/admin/store.html", context, status=status)


def _page(store: Store, prefix: str, page: int) -> dict[str, Any]:
    """Return the rows of a page, and the numbers of the pages around it."""
    start = (page - 1) * PER_PAGE
    keys = store.driver.keys(store.keyspace.full_prefix(prefix))
    # Redis may list a key twice while it resizes its tables.
    found = list(dict.fromkeys(islice(keys, start, start + PER_PAGE + 1)))
    has_more = len(found) > PER_PAGE
    is_deepest = start + PER_PAGE >= DEEPEST
    return {
        "rows": _rows(store, sorted(found[:PER_PAGE])),
        "previous": page - 1,
        "next": page + 1 if has_more and not is_deepest else None,
        "ends_here": has_more and is_deepest,
    }


def _rows(store: Store, keys: list[str], *, whole: bool = False) -> list[dict[str, Any]]:
    """Return what is shown of each live entry."""
    columns, rows = EntryColumns(), []
    for key in keys:
        stored = store.driver.get_item(key)
        if stored is None:  # It has expired, or was removed.
            continue
        text = stored.value if isinstance(stored.value, bytes) else stored.value.encode()
        entry = Entry(key=store.keyspace.strip(key), expires_at=stored.expires_at)
        # As RawValue and ValueSize would annotate them.
        vars(entry).update(raw=text[: 4 * SHOWN_CHARS], size=len(text))
        rows.append(
            {
                "key": entry.key,
                "value": columns.whole_value(entry) if whole else columns.short_value(entry),
                "time_left": columns.time_left(entry),
                "size": columns.size(entry),
            }
        )
    return rows
