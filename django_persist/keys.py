"""Keys: what every driver can hold, typed keys, and the quoting of their parts."""

from __future__ import annotations

from collections.abc import Collection
from operator import countOf
from string import Formatter
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, cast, overload
from uuid import UUID

from .exceptions import InvalidKeyError
from .expiry import DEFAULT, Default, ExpiresArg, Expiry, parse

if TYPE_CHECKING:
    from typing_extensions import TypeForm

MAX_LENGTH = 255
"""The longest key in characters, namespaces included and PREFIX not."""

SEPARATOR = ":"
ESCAPE = "%"

Part: TypeAlias = str | int | UUID
T = TypeVar("T")


class Key(Generic[T]):
    """A typed key: a name or a template of names, the type of its values, and their lifetime.

        CART = Key("cart:{user_id}", as_=Cart, expires=timedelta(days=7))
        request.persist.get(CART(user_id=4))        # Cart | None

    A Key goes wherever a `str` key goes; one whose name has fields is called with their values
    first. A part is a str, int or UUID (4 and "4" are one part), quoted with `%` like a part of an
    URL, so that different parts never make the same key.

    Raises InvalidKeyError where it is defined for a template that can't keep that promise: fields
    with nothing between them, conversions (`{a!r}`), format specs (`{a:>4}`), unnamed fields, and
    `%` beside fields.
    """

    __slots__ = ("_literals", "_quoted", "as_", "expires", "fields", "name")

    name: str
    as_: TypeForm[T] | None
    expires: Expiry | Default
    fields: tuple[str, ...]

    @overload
    def __init__(
        self: Key[Any], name: str, *, as_: None = None, expires: ExpiresArg | Default = DEFAULT
    ) -> None: ...

    @overload
    def __init__(
        self, name: str, *, as_: TypeForm[T], expires: ExpiresArg | Default = DEFAULT
    ) -> None: ...

    def __init__(
        self,
        name: str,
        *,
        as_: TypeForm[T] | None = None,
        expires: ExpiresArg | Default = DEFAULT,
    ) -> None:
        self.name = name
        self.as_ = as_
        self.expires = DEFAULT if isinstance(expires, Default) else parse(expires)
        self._literals, self.fields = _parse_template(name)
        # A part never holds the character that ends it, so a key falls apart in one way only.
        self._quoted = {ESCAPE, SEPARATOR, *(literal[0] for literal in self._literals[1:-1])}
        if not self.fields:
            self.name = check(self._literals[0])

    def __call__(self, /, **parts: Part) -> Key[T]:
        """Return the key that these parts make. Raises TypeError where they don't fit."""
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
        key.fields, key._literals, key._quoted = (), [name], self._quoted
        return key

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Key):
            return NotImplemented
        return (self.name, self.fields, self.as_, self.expires) == (
            other.name,
            other.fields,
            other.as_,
            other.expires,
        )

    def __hash__(self) -> int:
        return hash((Key, self.name))

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"<Key {self.name!r}>"


def _parse_template(template: str) -> tuple[list[str], tuple[str, ...]]:
    """Split a template into its fields and the literals before, between and after them."""
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
        raise InvalidKeyError(f"The Key {template!r} is not a template: {error}.") from error
    if not all(literals[1:-1]):
        raise InvalidKeyError(f"The Key {template!r} must have a separator between its fields.")
    if fields and ESCAPE in "".join(literals):
        raise InvalidKeyError(f"The Key {template!r} must have no {ESCAPE!r}: it quotes parts.")
    if len(set(fields)) < len(fields):
        raise InvalidKeyError(f"The Key {template!r} must have each field once.")
    return literals, tuple(fields)


def quote(part: Part, characters: Collection[str] = (ESCAPE, SEPARATOR)) -> str:
    """Return a part as it stands in a key: `characters` as `%` and the hexadecimal of their UTF-8.

    Raises TypeError for a part that is no str, int or UUID.
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


def check(key: str) -> str:
    """Return `key` as a plain str.

    Raises TypeError if it is no str, and InvalidKeyError if some driver can't hold it: if it is
    empty, longer than MAX_LENGTH, or has a NUL (PostgreSQL) or a lone surrogate (not UTF-8).
    """
    if type(key) is str and 0 < len(key) <= MAX_LENGTH and key.isascii() and "\0" not in key:
        return key
    if not isinstance(key, str):
        raise TypeError(f"A key must be a str or a Key, not {type(key).__name__}.")
    if not key:
        raise InvalidKeyError("A key must have at least one character.")
    if len(key) > MAX_LENGTH:
        raise InvalidKeyError(
            f"A key can have at most {MAX_LENGTH} characters; this one has {len(key)}."
        )
    return check_characters(key)


def are_plain(keys: Collection[object], room: int) -> bool:
    """Return whether all keys are plain `str`s of `room` characters at most, as `check` has them.

    It is for many keys, at C speed; a no only says that they are to be checked one by one.
    """
    if countOf(map(type, keys), str) < len(keys):
        return False
    texts = cast("Collection[str]", keys)
    text = "".join(texts)
    lengths = {1, *map(len, texts)}
    return 0 not in lengths and max(lengths) <= room and text.isascii() and "\0" not in text


def check_characters(text: str) -> str:
    """Return `text` as a plain str; raise InvalidKeyError if no key can have its characters."""
    if "\0" in text:
        raise InvalidKeyError(f"A key must have no NUL character: {text!r}.")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InvalidKeyError(f"A key must have no lone surrogate: {text!r}.") from error
    return text if type(text) is str else str.__str__(text)
