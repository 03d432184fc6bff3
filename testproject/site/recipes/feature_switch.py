"""A feature switch: off until someone says for how many in a hundred it is on."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from django_persist import Key
from django_persist.exceptions import StoreUnavailableError
from django_persist.http import HttpRequest

PERCENT: Final = Key("switch:{name}", as_=int, expires=None)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FeatureSwitch:
    """A switch that is on for `switch:<name>` percent of all callers: 0 without an entry."""

    name: str

    @property
    def key(self) -> Key[int]:
        return PERCENT(name=self.name)

    def is_on(self, request: HttpRequest, caller: str) -> bool:
        """Return whether it is on for this caller, whatever text it is that tells them apart.

        The same caller gets the same answer until the entry changes, and who has the feature keeps
        it while the number grows. It is read once in a request; where that can't be done it is off.
        """
        return self._place(caller) < self._percent(request)

    def _percent(self, request: HttpRequest) -> int:
        read: dict[str, int] = request.__dict__.setdefault("_feature_switches", {})
        if self.name not in read:
            try:
                read[self.name] = request.persist.get(self.key, 0)
            except StoreUnavailableError:
                logger.warning("The feature switch %r is off.", self.name, exc_info=True)
                read[self.name] = 0
        return read[self.name]

    def _place(self, caller: str) -> int:
        """Return a number under 100 that is this caller's for this switch, and for no other."""
        digest = sha256(f"{self.name}\0{caller}".encode()).digest()
        return int.from_bytes(digest[:8]) % 100
