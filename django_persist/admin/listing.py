"""The list of entries. A page costs the same in a table of a million rows as in one of a hundred.

Each page continues by primary key where the previous one ended, so that nothing is counted, sorted
or skipped. If the state filter is on, there are two ways:

- Few entries are in the state: their keys are read from the index on expires_at.
- Many are: the rows are filtered in the order of the keys, and a page is soon full. Only if all the
  matching entries have the last keys, the others are passed first, which takes at most a second for
  a million rows.

A search for a text anywhere in the keys looks at LOOKED keys for one page, and says where it
stopped.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Any, Final

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.contrib.admin.views.main import PAGE_VAR, SEARCH_VAR, ChangeList
from django.db.models import ExpressionWrapper, F, Q, QuerySet, Value
from django.db.models.functions import StrIndex
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from ..exceptions import InvalidKeyError
from ..expiry import from_micros, now
from ..keys import check_characters
from ..models import Entry, MomentField
from .parts import PartFilter, beginning_with

if TYPE_CHECKING:
    Entries = QuerySet[Entry]

FEW = 10_000
"""Up to how many keys are read from the index on expires_at to show one page of them."""

LOOKED: Final = 100_000
"""How many keys one page looks at for a text anywhere in them."""

ANYWHERE: Final = "*"
"""Before a search term: find it anywhere in the keys, not only at their beginning."""

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


def text_anywhere(term: str) -> str | None:
    """Return the text that a search term looks for anywhere in the keys; None for a beginning."""
    return term.removeprefix(ANYWHERE) or None if term.startswith(ANYWHERE) else None


def search(queryset: Entries, term: str) -> Entries:
    """Return the entries whose keys begin with the term, or contain what is after ANYWHERE."""
    text = text_anywhere(term)
    if text is None:
        return beginning_with(queryset, term)
    # Unlike LIKE it is exact on every database, and has no special characters.
    return queryset.alias(found_at=StrIndex("key", Value(text))).filter(found_at__gt=0)


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


def change_url(model_admin: Any, key: str) -> str:
    """Return the address of the form of an entry."""
    opts = model_admin.opts
    return reverse(
        f"admin:{opts.app_label}_{opts.model_name}_change",
        args=(KEY_SEGMENTS.get(key) or quote(key),),
        current_app=model_admin.admin_site.name,
    )


class EntryChangeList(ChangeList):
    """A page of entries in the order of their keys, with links to the pages around it.

    The page parameter is `>` or `<` and the key after or before which the page is. `<` alone means
    the last page.
    """

    first_page = previous_page = next_page = last_page = ""
    total: int | None = None
    """The number of entries on all pages, if it is known without counting them."""
    looked_up_to: str | None = None
    """The key at which a search for a text anywhere stopped looking, if it did."""
    further_link = ""
    """The link that continues such a search."""

    @property
    def anywhere_link(self) -> str:
        """The link that looks for the beginning of a key anywhere in the keys."""
        if not self.query or text_anywhere(self.query):
            return ""
        return self.get_query_string({SEARCH_VAR: ANYWHERE + self.query}, [PAGE_VAR])

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
        has_more = len(page) > self.list_per_page or self.looked_up_to is not None
        self.result_list = page[: self.list_per_page]
        if is_back:
            self.result_list.reverse()
        has_earlier, has_later = (has_more, bool(cursor)) if is_back else (bool(cursor), has_more)
        if keys is not None:
            self.total = len(keys)
        elif not has_earlier and not has_later:
            self.total = len(page)
        self._set_links(is_back=is_back, has_earlier=has_earlier, has_later=has_later)
        # The templates and actions of the admin see this page as the whole result, so that nothing
        # beyond it can be selected.
        self.result_count = self.full_result_count = len(self.result_list)
        self.show_full_result_count = False
        self.show_admin_actions = True
        self.can_show_all = self.multi_page = False

    def _few_keys(self) -> list[str] | None:
        """Return all keys of the result if the state filter is on and matches few; else None."""
        if text_anywhere(self.query):
            return None
        for spec in self.filter_specs:
            if isinstance(spec, StateFilter) and spec.value() in STATES:
                found = self.queryset.filter(in_state(str(spec.value()))).order_by()
                keys: list[str] = list(found.values_list("pk", flat=True)[: FEW + 1])
                # By code point, which is how every database sorts the keys.
                return sorted(keys) if len(keys) <= FEW else None
        return None

    def _page(self, cursor: str, is_back: bool) -> list[Entry]:
        """Return a page and, if there is one, the entry after it. Backwards if `is_back`."""
        found = self._from(self.queryset, cursor, is_back)
        if not text_anywhere(self.query):
            return list(found[: self.list_per_page + 1])
        keys = self.root_queryset
        for spec in self.filter_specs:
            if isinstance(spec, PartFilter):
                keys = spec.queryset(spec.request, keys)
        keys = self._from(keys, cursor, is_back).values_list("pk", flat=True)
        ends: list[str] = list(keys[LOOKED - 1 : LOOKED + 1])
        if len(ends) < 2:  # There are no more keys than a page looks at.
            return list(found[: self.list_per_page + 1])
        found = found.filter(pk__gte=ends[0]) if is_back else found.filter(pk__lte=ends[0])
        page = list(found[: self.list_per_page + 1])
        if len(page) <= self.list_per_page:
            self.looked_up_to = ends[0]
        return page

    def _from(self, queryset: Entries, cursor: str, is_back: bool) -> Entries:
        """Return the entries after the cursor in the order of the keys, or backwards before it."""
        found = queryset.order_by("-pk" if is_back else "pk")
        if not cursor:
            return found
        return found.filter(pk__lt=cursor) if is_back else found.filter(pk__gt=cursor)

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

    def _set_links(self, *, is_back: bool, has_earlier: bool, has_later: bool) -> None:
        if has_earlier:
            self.first_page = self.get_query_string()
        if has_later:
            self.last_page = self.get_query_string({PAGE_VAR: "<"})
        first, last = "", ""
        if self.result_list:
            first, last = self.result_list[0].pk, self.result_list[-1].pk
        if (looked := self.looked_up_to) is not None:
            first, last = (looked, last) if is_back else (first, looked)
            self.further_link = self.get_query_string(
                {PAGE_VAR: ("<" if is_back else ">") + looked}
            )
        if first and has_earlier:
            self.previous_page = self.get_query_string({PAGE_VAR: f"<{first}"})
        if last and has_later:
            self.next_page = self.get_query_string({PAGE_VAR: f">{last}"})

    def url_for_result(self, result: Any) -> str:
        return change_url(self.model_admin, result.pk)
