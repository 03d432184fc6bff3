"""The Lua scripts of the Redis driver, each one atomic step on one server.

An expiry is two arguments: 'PX' and a lifetime or 'PXAT' and a moment, in milliseconds, or '' and 0
for never. The keys are all in KEYS, and on a cluster all in one slot.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeAlias

Argument: TypeAlias = bytes | int
Command: TypeAlias = tuple[Argument, ...]

TEXTS: dict[bytes, bytes] = {}
"""Each script's text, by the SHA-1 that EVALSHA takes."""


def _script(text: str) -> bytes:
    source = text.encode()
    sha = hashlib.sha1(source, usedforsecurity=False).hexdigest().encode()
    TEXTS[sha] = source
    return sha


def run(script: bytes, keys: Sequence[bytes], *args: Argument) -> Command:
    """Return the command that runs a script that the server has."""
    return (b"EVALSHA", script, len(keys), *keys, *args)


def load_and_run(command: Command) -> Command:
    """Return `run`'s command as one that brings the script's text along."""
    sha = command[1]
    assert isinstance(sha, bytes)
    return (b"EVAL", TEXTS[sha], *command[2:])


# A moment is judged by the server's TIME, before anything is written: the application's clock may
# be behind, and SET with a moment that has passed says OK and stores nothing.
_WRITING = """\
local now
local function past(unit, ms)
  if unit ~= 'PXAT' then return false end
  if not now then
    local time = redis.call('TIME')
    now = time[1] * 1000 + math.floor(time[2] / 1000)
  end
  return tonumber(ms) <= now
end
local function store(key, value, unit, ms, keep)
  if keep == '1' and redis.call('EXISTS', key) == 1 then
    redis.call('SET', key, value, 'KEEPTTL')
  elseif unit == '' then
    redis.call('SET', key, value)
  else
    redis.call('SET', key, value, unit, ms)
  end
end
"""

CREATE = _script(
    _WRITING
    + """\
local unit, ms, value = unpack(ARGV)
if past(unit, ms) then return -1 end
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
store(KEYS[1], value, unit, ms, '0')
return 1
"""
)

# For any number of keys: a failure can only be that of the first SET (memory, disk, a replica),
# because a script that has written is let through to its end. So it is all or nothing.
SET = _script(
    _WRITING
    + """\
local keep = ARGV[1]
for i = 1, #KEYS do
  if past(ARGV[3 * i - 1], ARGV[3 * i]) then return -i end
end
for i, key in ipairs(KEYS) do
  store(key, ARGV[3 * i + 1], ARGV[3 * i - 1], ARGV[3 * i], keep)
end
return 1
"""
)

# As SET, but it leaves what is there, and tells the keys of those by their indexes.
CREATE_MANY = _script(
    _WRITING
    + """\
local left = {}
for i = 1, #KEYS do
  if past(ARGV[3 * i - 1], ARGV[3 * i]) then return -i end
end
for i, key in ipairs(KEYS) do
  if redis.call('EXISTS', key) == 1 then
    left[#left + 1] = i
  else
    store(key, ARGV[3 * i + 1], ARGV[3 * i - 1], ARGV[3 * i], '0')
  end
end
return left
"""
)

# pcall: a key of another Redis type is not the text that was seen.
REPLACE = _script(
    _WRITING
    + """\
local unit, ms, value, keep, seen = unpack(ARGV)
if past(unit, ms) then return -1 end
if redis.pcall('GET', KEYS[1]) ~= seen then return 0 end
store(KEYS[1], value, unit, ms, keep)
return 1
"""
)

REMOVE_IF = _script(
    """\
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('UNLINK', KEYS[1])
"""
)

# PERSIST says 0 both for no entry and for one that never expires.
TOUCH = _script(
    _WRITING
    + """\
local unit, ms = unpack(ARGV)
if past(unit, ms) then return -1 end
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if unit == '' then redis.call('PERSIST', KEYS[1]) else redis.call('PEXPIREAT', KEYS[1], ms) end
return 1
"""
)

# The sum is read back as text, since a number is a double in Lua, exact to 2^53 only.
INCR = _script(
    _WRITING
    + """\
local unit, ms, by = unpack(ARGV)
if past(unit, ms) then return -1 end
local starts = redis.call('EXISTS', KEYS[1]) == 0
redis.call('INCRBY', KEYS[1], by)
if starts then redis.call(unit == 'PX' and 'PEXPIRE' or 'PEXPIREAT', KEYS[1], ms) end
return redis.call('GET', KEYS[1])
"""
)

# For each key its text, or nil where there is none, and its end: -1 for never, -2 for no entry.
# A text of nil with an end is a key of another Redis type.
READ = _script(
    """\
local found = {}
for i, key in ipairs(KEYS) do
  local value = redis.pcall('GET', key)
  found[2 * i - 1] = type(value) == 'string' and value
  found[2 * i] = redis.call('PEXPIRETIME', key)
end
return found
"""
)


def for_each_key(command: Command) -> list[Command]:
    """Return a command once for each of its keys, whose replies add up to its own.

    Nothing for a command that isn't the sum of its parts.
    """
    if command[0] in (b"MGET", b"UNLINK"):
        return [(command[0], key) for key in command[1:]]
    if command[:2] == (b"EVALSHA", READ):
        return [(*command[:2], 1, key) for key in command[3:]]
    return []
