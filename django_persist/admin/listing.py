"""The list of entries: pages that cost the same at a million rows as at a hundred.

A page goes by the primary key from where the last one ended, so that nothing is counted, sorted or
skipped. A state is found in one of two ways: by the index of the expiries, where few entries are in
it; by the keys, where many are, of which a page is then soon full, unless they all lie together at
the far end of the keys: then it passes the others first, a second's work for a million at most.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.contrib.admin.views.main import PAGE_VAR, ChangeList
from django.db.models import ExpressionWrapper, F, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from ..expiry import from_micros, now
from ..models import Entry, MomentField

if TYPE_CHECKING:
    Entries = QuerySet[Entry]

FEW = 10_000
"""How many keys may be read by the index of the expiries to show a page of them."""

STATES: dict[str, str | Promise] = {
    "live": _("Live"),
    "expired": _("Expired"),
    "never": _("Never expires"),
}


def in_state(state: str, ends: str = "expires_at") -> Q:
    """Return the condition of a state now."""
    moment = from_micros(now())
    if state == "expired":
        return Q((f"{ends}__lte", moment))
    never = Q((f"{ends}__isnull", True))
    return never if state == "never" else never | Q((f"{ends}__gt", moment))


class StateFilter(admin.SimpleListFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return STATES.items()

    def queryset(self, request: HttpRequest, queryset: Entries) -> Entries:
        if self.value() not in STATES:
            return queryset
        # Said so that the index of the expiries can't serve it: the planner would sort what it
        # finds there, however much that is.
        ends = ExpressionWrapper(F("expires_at") + 0, output_field=MomentField())
        return queryset.alias(ends=ends).filter(in_state(str(self.value()), "ends"))


# Segments that browsers take out of an address, and none at all: `quote` never writes these.
ADDRESSES = {"": "_", ".": "_2E", "..": "_2E_2E"}


class EntryChangeList(ChangeList):
    """A page of entries in the order of their keys, with the links to those around it.

    The parameter of the page is `>` or `<` and the key that it comes after or before; `<` alone is
    the last page.
    """

    first_page = previous_page = next_page = last_page = ""
    total: int | None = None
    """How many entries there are in all, where that is known without counting them."""

    def get_results(self, request: HttpRequest) -> None:
        position = request.GET.get(PAGE_VAR, "")
        is_back, cursor = position.startswith("<"), position[1:]
        if not is_back and not position.startswith(">"):
            cursor = ""
        few = self._few()
        page = self._page(cursor, is_back) if few is None else self._slice(few, cursor, is_back)
        has_more, self.result_list = len(page) > self.list_per_page, page[: self.list_per_page]
        if is_back:
            self.result_list.reverse()
        has_earlier, has_later = (has_more, bool(cursor)) if is_back else (bool(cursor), has_more)
        if few is not None:
            self.total = len(few)
        elif not has_earlier and not has_later:
            self.total = len(page)
        self._link(has_earlier=has_earlier, has_later=has_later)
        # As the templates and actions of admin ask: no more than this page is ever chosen from.
        self.result_count = self.full_result_count = len(self.result_list)
        self.show_full_result_count = False
        self.show_admin_actions = True
        self.can_show_all = self.multi_page = False

    def _few(self) -> list[str] | None:
        """Return the keys that are asked for, where a state is, and few entries are in it."""
        for spec in self.filter_specs:
            if isinstance(spec, StateFilter) and spec.value() in STATES:
                found = self.queryset.filter(in_state(str(spec.value()))).order_by()
                keys: list[str] = list(found.values_list("pk", flat=True)[: FEW + 1])
                # Every database sorts keys as Python does, by code point.
                return sorted(keys) if len(keys) <= FEW else None
        return None

    def _page(self, cursor: str, is_back: bool) -> list[Entry]:
        """Return a page, and one entry more if there is one; from its far end if `is_back`."""
        found = self.queryset.order_by("-pk" if is_back else "pk")
        if cursor:
            found = found.filter(pk__lt=cursor) if is_back else found.filter(pk__gt=cursor)
        return list(found[: self.list_per_page + 1])

    def _slice(self, keys: list[str], cursor: str, is_back: bool) -> list[Entry]:
        """Return what `_page` does, of these keys."""
        most = self.list_per_page + 1
        if is_back:
            end = bisect_left(keys, cursor) if cursor else len(keys)
            keys = keys[max(end - most, 0) : end]
        else:
            start = bisect_right(keys, cursor) if cursor else 0
            keys = keys[start : start + most]
        return list(self.root_queryset.filter(pk__in=keys).order_by("-pk" if is_back else "pk"))

    def _link(self, *, has_earlier: bool, has_later: bool) -> None:
        if has_earlier:
            self.first_page = self.get_query_string()
        if has_later:
            self.last_page = self.get_query_string({PAGE_VAR: "<"})
        if self.result_list and has_earlier:
            self.previous_page = self.get_query_string({PAGE_VAR: f"<{self.result_list[0].pk}"})
        if self.result_list and has_later:
            self.next_page = self.get_query_string({PAGE_VAR: f">{self.result_list[-1].pk}"})

    def url_for_result(self, result: Any) -> str:
        return reverse(
            f"admin:{self.opts.app_label}_{self.opts.model_name}_change",
            args=(ADDRESSES.get(result.pk) or quote(result.pk),),
            current_app=self.model_admin.admin_site.name,
        )
