"""The list of entries. A page costs the same in a table of a million rows as in one of a hundred.

Each page continues by primary key where the previous one ended, so that nothing is counted, sorted
or skipped. If the state filter is on, there are two ways:

- Few entries are in the state: their keys are read from the index on expires_at.
- Many are: the rows are filtered in the order of the keys, and a page is soon full. Only if all the
  matching entries have the last keys, the others are passed first, which takes at most a second for
  a million rows.
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

from ..exceptions import InvalidKeyError
from ..expiry import from_micros, now
from ..keys import check_characters
from ..models import Entry, MomentField

if TYPE_CHECKING:
    Entries = QuerySet[Entry]

FEW = 10_000
"""Up to how many keys are read from the index on expires_at to show one page of them."""

STATES: dict[str, str | Promise] = {
    "live": _("Live"),
    "expired": _("Expired"),
    "never": _("Never expires"),
}


def in_state(state: str, field: str = "expires_at") -> Q:
    """Return the condition for the entries that are now in a state."""
    current = from_micros(now())
    if state == "expired":
        return Q((f"{field}__lte", current))
    never = Q((f"{field}__isnull", True))
    return never if state == "never" else never | Q((f"{field}__gt", current))


class StateFilter(admin.SimpleListFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return STATES.items()

    def queryset(self, request: HttpRequest, queryset: Entries) -> Entries:
        if self.value() not in STATES:
            return queryset
        # With `+ 0` the planner can't use the index on expires_at. It would sort all the rows that
        # it finds there.
        unindexed = ExpressionWrapper(F("expires_at") + 0, output_field=MomentField())
        condition = in_state(str(self.value()), "unindexed_expires_at")
        return queryset.alias(unindexed_expires_at=unindexed).filter(condition)


KEY_SEGMENTS = {"": "_", ".": "_2E", "..": "_2E_2E"}
"""URL segments for the keys that browsers would drop from a path. `quote` never returns these."""


class EntryChangeList(ChangeList):
    """A page of entries in the order of their keys, with links to the pages around it.

    The page parameter is `>` or `<` and the key after or before which the page is. `<` alone means
    the last page.
    """

    first_page = previous_page = next_page = last_page = ""
    total: int | None = None
    """The number of entries on all pages, if it is known without counting them."""

    def get_results(self, request: HttpRequest) -> None:
        position = request.GET.get(PAGE_VAR, "")
        is_back, cursor = position.startswith("<"), position[1:]
        if not is_back and not position.startswith(">"):
            cursor = ""
        try:
            check_characters(cursor)
        except InvalidKeyError:  # No key has them, and PostgreSQL would not take them.
            cursor = ""
        keys = self._few_keys()
        page = self._page(cursor, is_back) if keys is None else self._slice(keys, cursor, is_back)
        has_more, self.result_list = len(page) > self.list_per_page, page[: self.list_per_page]
        if is_back:
            self.result_list.reverse()
        has_earlier, has_later = (has_more, bool(cursor)) if is_back else (bool(cursor), has_more)
        if keys is not None:
            self.total = len(keys)
        elif not has_earlier and not has_later:
            self.total = len(page)
        self._set_links(has_earlier=has_earlier, has_later=has_later)
        # The templates and actions of the admin see this page as the whole result, so that nothing
        # beyond it can be selected.
        self.result_count = self.full_result_count = len(self.result_list)
        self.show_full_result_count = False
        self.show_admin_actions = True
        self.can_show_all = self.multi_page = False

    def _few_keys(self) -> list[str] | None:
        """Return all keys of the result if the state filter is on and matches few; else None."""
        for spec in self.filter_specs:
            if isinstance(spec, StateFilter) and spec.value() in STATES:
                found = self.queryset.filter(in_state(str(spec.value()))).order_by()
                keys: list[str] = list(found.values_list("pk", flat=True)[: FEW + 1])
                # By code point, which is how every database sorts the keys.
                return sorted(keys) if len(keys) <= FEW else None
        return None

    def _page(self, cursor: str, is_back: bool) -> list[Entry]:
        """Return a page and, if there is one, the entry after it. Backwards if `is_back`."""
        found = self.queryset.order_by("-pk" if is_back else "pk")
        if cursor:
            found = found.filter(pk__lt=cursor) if is_back else found.filter(pk__gt=cursor)
        return list(found[: self.list_per_page + 1])

    def _slice(self, keys: list[str], cursor: str, is_back: bool) -> list[Entry]:
        """Return the same as `_page`, from a sorted list of keys."""
        limit = self.list_per_page + 1
        if is_back:
            end = bisect_left(keys, cursor) if cursor else len(keys)
            keys = keys[max(end - limit, 0) : end]
        else:
            start = bisect_right(keys, cursor) if cursor else 0
            keys = keys[start : start + limit]
        return list(self.root_queryset.filter(pk__in=keys).order_by("-pk" if is_back else "pk"))

    def _set_links(self, *, has_earlier: bool, has_later: bool) -> None:
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
            args=(KEY_SEGMENTS.get(result.pk) or quote(result.pk),),
            current_app=self.model_admin.admin_site.name,
        )
