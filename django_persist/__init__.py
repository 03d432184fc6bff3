"""A key/value store for Django that is there on every request.

from django_persist import persist, stores

persist.set("greeting", "hello", expires=60)
"""

from __future__ import annotations

from .expiry import DEFAULT, KEEP
from .handler import persist, stores
from .keys import Key
from .store import REMOVE, Item, Remove, Store

__all__ = ["DEFAULT", "KEEP", "REMOVE", "Item", "Key", "Remove", "Store", "persist", "stores"]
__version__ = "0.1.0"
