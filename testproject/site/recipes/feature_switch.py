"""A feature switch that is on for a percentage of the callers, and off by default."""

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
    """A switch that is on for `switch:<name>` percent of the callers, or off without that entry."""

    name: str

    @property
    def key(self) -> Key[int]:
        return PERCENT(name=self.name)

    def is_on(self, request: HttpRequest, caller: str) -> bool:
        """Return whether the switch is on for `caller`, a text that identifies them.

        A caller gets the same answer until the entry changes, and keeps the feature while the
        percentage grows. The entry is read once per request; if the store is unavailable, the
        switch is off.
        """
        return self._position(caller) < self._percent(request)

    def _percent(self, request: HttpRequest) -> int:
        read: dict[str, int] = request.__dict__.setdefault("_feature_switches", {})
        if self.name not in read:
            try:
                read[self.name] = request.persist.get(self.key, 0)
            except StoreUnavailableError:
                logger.warning("The feature switch %r is off.", self.name, exc_info=True)
                read[self.name] = 0
        return read[self.name]

    def _position(self, caller: str) -> int:
        """Return a number from 0 to 99 that depends on the switch and the caller."""
        digest = sha256(f"{self.name}\0{caller}".encode()).digest()
        return int.from_bytes(digest[:8]) % 100
