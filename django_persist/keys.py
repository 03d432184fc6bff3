"""Keys: what every driver can hold, typed keys, and how their parts are quoted."""

from __future__ import annotations

from collections.abc import Callable, Collection
from operator import countOf
from string import Formatter
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, cast, overload
from uuid import UUID

from .exceptions import InvalidKeyError
from .expiry import DEFAULT, Default, ExpiresArg, Expiry, parse

if TYPE_CHECKING:
    from typing_extensions import TypeForm

MAX_LENGTH = 255
"""The longest key in characters, with its namespaces but without PREFIX."""

SEPARATOR = ":"
ESCAPE = "%"

Part: TypeAlias = str | int | UUID
T = TypeVar("T")


class Key(Generic[T]):
    """A typed key: a name or a template of names, the type of its values, and their lifetime.

        CART = Key("cart:{user_id}", as_=Cart, expires=timedelta(days=7))
        request.persist.get(CART(user_id=4))        # Cart | None

    A Key works wherever a `str` key does. Call a Key whose name has fields with their values first.
    A part is a str, int or UUID (4 and "4" are the same part). It is quoted with `%`, like a part
    of a URL, so that different parts never make the same key.

    Raises InvalidKeyError, when it is defined, for a template that can't keep that promise: fields
    with nothing between them, conversions (`{a!r}`), format specs (`{a:>4}`), unnamed fields, and
    `%` beside fields.

    Where stored JSON isn't of the type, `upgrade` is tried: it gets a fresh copy of the plain JSON
    and returns plain JSON, which is validated instead. The next write stores the new form; reads
    write nothing. If it raises, the value counts as one of another type. The error then names the
    class of what it raised, and has it as `__cause__` only if its text can't hold a stored value.
    A call's own `as_` leaves the upgrade out.
    """

    __slots__ = ("_literals", "_quoted", "as_", "expires", "fields", "name", "template", "upgrade")

    name: str
    template: str | None
    """The name of the Key that this one was made from, by calling it; else None."""
    as_: TypeForm[T] | None
    expires: Expiry | Default
    fields: tuple[str, ...]
    upgrade: Callable[[Any], Any] | None

    @overload
    def __init__(
        self: Key[Any], name: str, *, as_: None = None, expires: ExpiresArg | Default = DEFAULT
    ) -> None: ...

    @overload
    def __init__(
        self,
        name: str,
        *,
        as_: TypeForm[T],
        expires: ExpiresArg | Default = DEFAULT,
        upgrade: Callable[[Any], Any] | None = None,
    ) -> None: ...

    def __init__(
        self,
        name: str,
        *,
        as_: TypeForm[T] | None = None,
        expires: ExpiresArg | Default = DEFAULT,
        upgrade: Callable[[Any], Any] | None = None,
    ) -> None:
        if upgrade is not None and not callable(upgrade):
            raise TypeError(f"upgrade must be a function, not {type(upgrade).__name__}.")
        if upgrade is not None and as_ is None:
            raise TypeError(f"The Key {name!r} has an upgrade, so it needs a type: pass as_.")
        self.name, self.template = name, None
        self.upgrade = upgrade
        self.as_ = as_
        self.expires = DEFAULT if isinstance(expires, Default) else parse(expires)
        self._literals, self.fields = _parse_template(name)
        # A quoted part never holds the character that ends it, so a key has only one reading.
        self._quoted = {ESCAPE, SEPARATOR, *(literal[0] for literal in self._literals[1:-1])}
        if not self.fields:
            self.name = check(self._literals[0])

    def __call__(self, /, **parts: Part) -> Key[T]:
        """Return the key that these parts make. Raises TypeError unless they match the fields."""
        if parts.keys() != set(self.fields):
            raise TypeError(
                f"The key {self.name!r} takes {', '.join(self.fields) or 'no parts'}, "
                f"not {', '.join(parts) or 'nothing'}."
            )
        name = self._literals[0]
        for field, literal in zip(self.fields, self._literals[1:], strict=True):
            name += quote(parts[field], self._quoted) + literal
        key: Key[T] = object.__new__(Key)
        key.name, key.as_, key.expires = check(name), self.as_, self.expires
        key.template, key.upgrade = self.name, self.upgrade
        key.fields, key._literals, key._quoted = (), [name], self._quoted
        return key

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Key):
            return NotImplemented
        return (self.name, self.fields, self.as_, self.expires, self.upgrade) == (
            other.name,
            other.fields,
            other.as_,
            other.expires,
            other.upgrade,
        )

    def __hash__(self) -> int:
        return hash((Key, self.name))

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"<Key {self.name!r}>"


def _parse_template(template: str) -> tuple[list[str], tuple[str, ...]]:
    """Split a template into the literals around its fields, and the names of the fields."""
    if not isinstance(template, str):
        raise TypeError(f"A Key's name must be a str, not {type(template).__name__}.")
    literals, fields = [""], []
    try:
        for literal, field, spec, conversion in Formatter().parse(template):
            literals[-1] += literal
            if field is None:
                continue
            if spec or conversion or not field.isidentifier():
                raise InvalidKeyError(
                    f"The Key {template!r} must have plain named fields, such as {{user_id}}."
                )
            fields.append(field)
            literals.append("")
    except ValueError as error:
        if isinstance(error, InvalidKeyError):
            raise
        raise InvalidKeyError(f"The Key {template!r} is not a valid template: {error}.") from error
    if not all(literals[1:-1]):
        raise InvalidKeyError(f"The Key {template!r} must have a separator between its fields.")
    if fields and ESCAPE in "".join(literals):
        raise InvalidKeyError(
            f"The Key {template!r} must not contain {ESCAPE!r}, which quotes parts."
        )
    if len(set(fields)) < len(fields):
        raise InvalidKeyError(f"The Key {template!r} must have each field once.")
    return literals, tuple(fields)


def quote(part: Part, characters: Collection[str] = (ESCAPE, SEPARATOR)) -> str:
    """Return a part as it appears in a key: `characters` become `%` and their UTF-8 in hex.

    Raises TypeError for a part that is not a str, int or UUID.
    """
    if isinstance(part, bool) or not isinstance(part, str | int | UUID):
        raise TypeError(f"A part of a key must be a str, int or UUID, not {type(part).__name__}.")
    if isinstance(part, int) and part.bit_length() > 4 * MAX_LENGTH:
        raise InvalidKeyError(f"A key can have at most {MAX_LENGTH} characters.")
    text = (
        str.__str__(part)
        if isinstance(part, str)
        else str(int(part) if isinstance(part, int) else part)
    )
    if not any(character in text for character in characters):
        return text
    return "".join(
        "".join(f"%{byte:02X}" for byte in character.encode())
        if character in characters
        else character
        for character in text
    )


def check(key: str, longest: int = MAX_LENGTH) -> str:
    """Return `key` as a plain str.

    Raises TypeError if it is not a str, and InvalidKeyError if some driver can't hold it: if it is
    empty, longer than `longest`, or has a NUL (PostgreSQL) or a lone surrogate (not UTF-8).
    """
    if type(key) is str and 0 < len(key) <= longest and key.isascii() and "\0" not in key:
        return key
    if not isinstance(key, str):
        raise TypeError(f"A key must be a str or a Key, not {type(key).__name__}.")
    if not key:
        raise InvalidKeyError("A key must have at least one character.")
    if len(key) > longest:
        raise InvalidKeyError(
            f"A key can have at most {longest} characters; this one has {len(key)}."
        )
    return check_characters(key)


def are_plain(keys: Collection[object], longest: int) -> bool:
    """Return whether all keys are valid ASCII `str`s of at most `longest` characters.

    This checks many keys at C speed. False only means that each has to be checked by itself.
    """
    if countOf(map(type, keys), str) < len(keys):
        return False
    texts = cast("Collection[str]", keys)
    text = "".join(texts)
    lengths = {1, *map(len, texts)}
    return 0 not in lengths and max(lengths) <= longest and text.isascii() and "\0" not in text


def check_characters(text: str) -> str:
    """Return `text` as a plain str. Raises InvalidKeyError if no key can have its characters."""
    if "\0" in text:
        raise InvalidKeyError(f"A key must not contain a NUL character: {text!r}.")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InvalidKeyError(f"A key must not contain a lone surrogate: {text!r}.") from error
    return text if type(text) is str else str.__str__(text)
