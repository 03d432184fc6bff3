"""The Lua scripts of the Redis driver. Each runs as one atomic step on one server.

All the keys of a script are in KEYS, and on a cluster they are in one slot. An expiry is two
arguments, a unit and a number of milliseconds: 'PX' with a lifetime, 'PXAT' with a moment, or ''
with 0 for never.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeAlias

Argument: TypeAlias = bytes | int
Command: TypeAlias = tuple[Argument, ...]
"""A Redis command: its name and its arguments."""

TEXTS: dict[bytes, bytes] = {}
"""Each script's text, by the SHA-1 that EVALSHA takes."""


def _script(text: str) -> bytes:
    """Register a script; return its SHA-1, by which the driver calls it."""
    source = text.encode()
    sha = hashlib.sha1(source, usedforsecurity=False).hexdigest().encode()
    TEXTS[sha] = source
    return sha


def evalsha(script: bytes, keys: Sequence[bytes], *args: Argument) -> Command:
    """Return the command that runs a script by its SHA-1, which saves sending the text."""
    return (b"EVALSHA", script, len(keys), *keys, *args)


def as_eval(command: Command) -> Command:
    """Return an `evalsha` command as one that sends the text: the server then knows the script."""
    sha = command[1]
    assert isinstance(sha, bytes)
    return (b"EVAL", TEXTS[sha], *command[2:])


def split_by_key(command: Command) -> list[Command]:
    """Return a command as one command per key, whose replies add up to the reply of the whole.

    Returns an empty list for a command that can't be split.
    """
    if command[0] in (b"MGET", b"UNLINK"):
        return [(command[0], key) for key in command[1:]]
    if command[:2] == (b"EVALSHA", READ):
        return [(*command[:2], 1, key) for key in command[3:]]
    return []


# What the scripts that write have in common. The server's own TIME decides whether a moment has
# passed, and before anything is written: the application's clock may be slow, and SET with a moment
# in the past replies OK and stores nothing.
_WRITE = """\
local now
local function is_past(unit, ms)
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

# GET fails for a key of another Redis type: then `text_of` returns nil, as such a key is no entry.
# Any other error, such as a missing permission, ends the script before it has written anything.
_READ = """\
local function text_of(key)
  local text = redis.pcall('GET', key)
  if type(text) ~= 'table' then return text end
  if string.sub(text.err, 1, 9) ~= 'WRONGTYPE' then error(text) end
end
"""

# Replies 1 if it stored, 0 if there is an entry, -1 if the moment has passed.
CREATE = _script(
    _WRITE
    + """\
local unit, ms, value = unpack(ARGV)
if is_past(unit, ms) then return -1 end
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
store(KEYS[1], value, unit, ms, '0')
return 1
"""
)

# Takes any number of keys. Replies 1, or -i if the moment of the i-th key has passed. It is all or
# nothing: if the server is out of memory, can't write to disk or is a replica, the first SET fails,
# and once a script has written, Redis lets it run to its end.
SET = _script(
    _WRITE
    + """\
local keep = ARGV[1]
for i = 1, #KEYS do
  if is_past(ARGV[3 * i - 1], ARGV[3 * i]) then return -i end
end
for i, key in ipairs(KEYS) do
  store(key, ARGV[3 * i + 1], ARGV[3 * i - 1], ARGV[3 * i], keep)
end
return 1
"""
)

# Like SET, with the same arguments, but it leaves live entries unchanged and replies the indexes of
# their keys, from 1.
CREATE_MANY = _script(
    _WRITE
    + """\
local existing = {}
for i = 1, #KEYS do
  if is_past(ARGV[3 * i - 1], ARGV[3 * i]) then return -i end
end
for i, key in ipairs(KEYS) do
  if redis.call('EXISTS', key) == 1 then
    existing[#existing + 1] = i
  else
    store(key, ARGV[3 * i + 1], ARGV[3 * i - 1], ARGV[3 * i], '0')
  end
end
return existing
"""
)

# Replies 1 if it stored, 0 if the entry is another one or gone, -1 if the moment has passed.
REPLACE = _script(
    _WRITE
    + _READ
    + """\
local unit, ms, value, keep, seen = unpack(ARGV)
if is_past(unit, ms) then return -1 end
if text_of(KEYS[1]) ~= seen then return 0 end
store(KEYS[1], value, unit, ms, keep)
return 1
"""
)

# Replies 1 if it removed the entry.
REMOVE_IF = _script(
    _READ
    + """\
if text_of(KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('UNLINK', KEYS[1])
"""
)

# Replies 1 if there is an entry, 0 if not, -1 if the moment has passed. It looks with EXISTS,
# because PERSIST replies 0 both for no entry and for an entry that never expires.
TOUCH = _script(
    _WRITE
    + """\
local unit, ms = unpack(ARGV)
if is_past(unit, ms) then return -1 end
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if unit == '' then redis.call('PERSIST', KEYS[1]) else redis.call('PEXPIREAT', KEYS[1], ms) end
return 1
"""
)

# Replies the sum as text, or the number -1 if the moment has passed. The sum is read back with GET,
# because a number in Lua is a double, which is exact only up to 2^53. The first GET and the one
# command that writes fail before anything is written if the user may not run them.
INCR = _script(
    _WRITE
    + """\
local unit, ms, by = unpack(ARGV)
if is_past(unit, ms) then return -1 end
if not redis.call('GET', KEYS[1]) then
  redis.call('SET', KEYS[1], by, unit, ms)
  return by
end
redis.call('INCRBY', KEYS[1], by)
return redis.call('GET', KEYS[1])
"""
)

# Like INCR, but replies nil, and changes nothing, if the counter is not from `low` to `high`, or if
# there is none and it may not start. Compares digits, because a number in Lua is a double. A text
# that is no integer may pass the comparison: INCRBY then fails.
INCR_WITHIN = _script(
    _WRITE
    + """\
local function is_at_most(a, b)
  local a_negative, b_negative = string.sub(a, 1, 1) == '-', string.sub(b, 1, 1) == '-'
  if a_negative ~= b_negative then return a_negative end
  if a_negative then a, b = b, a end
  if #a ~= #b then return #a < #b end
  return a <= b
end
local unit, ms, by, low, high, may_start = unpack(ARGV)
if is_past(unit, ms) then return -1 end
local text = redis.call('GET', KEYS[1])
if not text then
  if may_start == '0' then return false end
  store(KEYS[1], by, unit, ms, '0')
  return by
end
if not (is_at_most(low, text) and is_at_most(text, high)) then return false end
redis.call('INCRBY', KEYS[1], by)
return redis.call('GET', KEYS[1])
"""
)

# Like INCR, but replies the sum with the milliseconds until the counter expires, or -1 for never.
# Without PTTL, so that a user needs no permission but those that the other scripts need.
INCR_WITH_TTL = _script(
    _WRITE
    + """\
local unit, ms, by = unpack(ARGV)
if is_past(unit, ms) then return -1 end
local clock = redis.call('TIME')
local function ttl()
  local expires_at = redis.call('PEXPIRETIME', KEYS[1])
  if expires_at < 0 then return -1 end
  return math.max(0, expires_at - clock[1] * 1000 - math.floor(clock[2] / 1000))
end
if not redis.call('GET', KEYS[1]) then
  store(KEYS[1], by, unit, ms, '0')
  return {by, ttl()}
end
local left = ttl()
redis.call('INCRBY', KEYS[1], by)
return {redis.call('GET', KEYS[1]), left}
"""
)

# Moves a time later, unless it would then be too far ahead. Replies 1 or 0, and how far ahead the
# time is; nil if the text is not a time. All in microseconds: a double is exact to 2^53 of them,
# which is in the year 2255. Only the last command writes.
ADVANCE = _script(
    """\
local by, at_most = tonumber(ARGV[1]), tonumber(ARGV[2])
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local text = redis.call('GET', KEYS[1])
local time = now
if text then
  if #text > 18 or not (text == '0' or string.find(text, '^[1-9]%d*$')) then return false end
  time = tonumber(text)
end
local later = math.max(time, now) + by
if later > now + at_most then return {0, time - now} end
redis.call('SET', KEYS[1], string.format('%.0f', later), 'PXAT', math.ceil(later / 1000))
return {1, later - now}
"""
)

# Replies for each key its text, or nil if it has none, and the moment when it expires: -1 for
# never, -2 for no entry. A nil with any other moment is a key of another Redis type.
READ = _script(
    _READ
    + """\
local entries = {}
for i, key in ipairs(KEYS) do
  entries[2 * i - 1] = text_of(key) or false
  entries[2 * i] = redis.call('PEXPIRETIME', key)
end
return entries
"""
)
