"""The contract of drivers, as a test class for pytest: what DriverContract asks, a store relies on.

class TestMyDriver(DriverContract):
    @pytest.fixture
    def driver(self):
        return MyDriver()       # which holds nothing yet
"""

from pkgutil import iter_modules

import pytest

# So that their assertions tell what they compared.
pytest.register_assert_rewrite(*(f"{__name__}.{page.name}" for page in iter_modules(__path__)))

from .atomic import AtomicContract
from .corrupt import CorruptContract
from .counters import CountersContract
from .entries import EntriesContract
from .expired import ExpiredContract
from .get_or_create import GetOrCreateContract
from .keys import KeysContract
from .lifetimes import LifetimesContract
from .listings import ListingsContract
from .many import ManyContract
from .namespaces import NamespacesContract
from .threads import ThreadsContract
from .typed_keys import TypedKeysContract
from .types import TypesContract
from .values import ValuesContract

__all__ = ["DriverContract"]


class DriverContract(
    EntriesContract,
    ExpiredContract,
    LifetimesContract,
    AtomicContract,
    GetOrCreateContract,
    CountersContract,
    ManyContract,
    ListingsContract,
    KeysContract,
    NamespacesContract,
    TypedKeysContract,
    TypesContract,
    ValuesContract,
    CorruptContract,
    ThreadsContract,
):
    """Every promise of a store, asked of one driver through the public API.

    Inherit from it and define the fixture `driver`: a driver that holds nothing, for each test. It
    is called from eight threads at once. What a driver declares by its `supports_` flags that it
    can't do is not asked of it, and nothing else is left out.

    Tests let time pass by waiting some hundredths of a second. Where the driver's clock can be
    moved, override the fixture `elapse`, a function of seconds, to move it.
    """
