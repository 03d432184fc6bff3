"""What a store promises whatever its driver, as a test class: test_contract.py runs it once.

What drivers can differ in is in django_persist/contract.
"""

from __future__ import annotations

from .corrupt import CorruptContract
from .counters import CountersContract
from .deploys import DeploysContract
from .expiries import ExpiriesContract
from .keys import KeysContract
from .many import ManyContract
from .namespaces import NamespacesContract
from .typed_keys import TypedKeysContract
from .typed_writes import TypedWritesContract
from .types import TypesContract
from .updates import UpdatesContract
from .upgrades import UpgradesContract
from .values import ValuesContract

__all__ = ["StoreContract"]


class StoreContract(
    KeysContract,
    NamespacesContract,
    ExpiriesContract,
    ValuesContract,
    TypesContract,
    TypedKeysContract,
    TypedWritesContract,
    ManyContract,
    UpdatesContract,
    CountersContract,
    DeploysContract,
    UpgradesContract,
    CorruptContract,
):
    """Every promise of a store that no driver can break.

    What is refused is asked of a store whose driver fails at any call: so nothing is sent before
    the refusal.
    """
