"""What happens to a channel's keys within Redis, each in one atomic step.

Keys of channel ``btc_price``, all with one hash tag, so that in a cluster they lie together:

``omega:{btc_price}:meta``
    hash: ``epoch``; ``seq`` (of the newest message); ``run`` (the ``run_id`` of the Redis process that took
    it); ``p:<publisher>`` = ``<number>:<seq>``, the number of each publisher's last publication; ``fence``,
    the newest fencing token: publications that carry an older one are refused (see ``data_feed.lease``).
``omega:{btc_price}:stream``
    stream: entry ``<seq>-0`` with field ``m``, the message.
``omega:{btc_price}:latest``
    string: the newest message.
``omega:{btc_price}:live``
    pub/sub channel: each message.

And ``omega:{lease}:ingest``, a hash: ``holder``, ``token`` and ``until`` (Redis's time, ms) of the lease of
those who publish what a source gives.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

PUBLISHERS = 32
"""Publishers remembered a channel; the one silent for the most messages is forgotten first."""


class Keys(NamedTuple):
    """The names of one channel in Redis."""

    meta: bytes
    stream: bytes
    latest: bytes
    live: bytes


def keys_of(channel: str) -> Keys:
    """Name them."""
    tag = b"omega:{%b}:" % channel.encode()
    return Keys(tag + b"meta", tag + b"stream", tag + b"latest", tag + b"live")


# A publication is numbered by its publisher, +1 a channel. When a connection dies, the publisher cannot know
# which of its publications were taken; it sends all unanswered ones again and the number tells what to skip.
# "First" is the oldest unanswered one: all before it were taken, for certain. It alone may begin an epoch,
# and it alone may follow on an unknown state; any other that does not fit its predecessor is refused with 0
# and sent again when it has become the first. So whatever happens within a pipeline, order holds.
#
# An epoch ends when it is no longer certain that every seq of it that anybody saw is in `meta`:
#   - meta, or the stream, is gone or cannot take the next seq;
#   - the publisher asks (it had to drop something);
#   - the publisher knows a later seq, or had a later number taken: Redis went back in time (restart from an
#     older file, failover to a replica that lagged);
#   - another Redis process answers than the one that took the newest message, the publisher cannot vouch for
#     that message being the newest, and the server is not one that never forgets (`durable`).
#
# XADD comes before all other writes: where memory is full it is what fails, and then nothing has been done.
PUBLISH = f"""
local n, first, candidate, run = tonumber(ARGV[2]), ARGV[2] == ARGV[3], ARGV[4], ARGV[5]
local field = 'p:' .. ARGV[1]
local m = redis.call('HMGET', KEYS[1], 'epoch', 'seq', 'run', field, 'fence')
local epoch, seq = m[1], tonumber(m[2] or nil)
local token, fence = tonumber(ARGV[14]), tonumber(m[5] or nil) or 0
local last = m[4] and tonumber(string.match(m[4], '^%d+'))
if epoch and seq and last and n <= last then
  return {{epoch, m[2]}}
end
if token > 0 and token < fence then
  return redis.error_reply('STALE another publisher has taken the lease')
end
local lost = not epoch or not seq
  or ARGV[9] == '1'
  or (epoch == ARGV[7] and seq < tonumber(ARGV[8]))
  or (m[3] ~= run and epoch ~= ARGV[7] and ARGV[6] ~= '1' and seq > 0)
  or (last and n > last + 1)
if (lost or not last) and not first then
  return 0
end
local head, rest = string.sub(ARGV[12], 1, ARGV[11]), string.sub(ARGV[12], ARGV[11] + 1)
local at, message
local function place()
  at = string.format('%.0f', seq)
  message = head .. ',"epoch":"' .. epoch .. '","seq":' .. at .. rest
end
if not lost then
  seq = seq + 1
  place()
  local added
  if seq == 1 then
    redis.call('DEL', KEYS[2])
    added = redis.call('XADD', KEYS[2], '1-0', 'm', message)
  else
    added = redis.pcall('XADD', KEYS[2], 'NOMKSTREAM', 'MAXLEN', '~', ARGV[10], at .. '-0', 'm', message)
  end
  if type(added) == 'table' and added.err then
    if not string.find(added.err, 'equal or smaller', 1, true) then
      return added
    end
    lost = true
  elseif not added then
    lost = true
  end
  if lost and not first then
    return 0
  end
end
if lost then
  epoch, seq, last = candidate, 1, nil
  place()
  redis.call('DEL', KEYS[1], KEYS[2])
  redis.call('XADD', KEYS[2], '1-0', 'm', message)
  if fence > token then
    redis.call('HSET', KEYS[1], 'fence', m[5])
  end
end
if token > fence or (lost and token > 0 and token == fence) then
  redis.call('HSET', KEYS[1], 'fence', ARGV[14])
end
local mark = ARGV[2] .. ':' .. at
if last and m[3] == run then
  redis.call('HSET', KEYS[1], 'seq', at, field, mark)
else
  redis.call('HSET', KEYS[1], 'epoch', epoch, 'seq', at, 'run', run, field, mark)
  if redis.call('HLEN', KEYS[1]) > {PUBLISHERS + 3} + (m[5] and 1 or 0) then
    local all, oldest, oldest_at = redis.call('HGETALL', KEYS[1]), nil, nil
    for i = 1, #all, 2 do
      if string.sub(all[i], 1, 2) == 'p:' then
        local was = tonumber(string.match(all[i + 1], ':(%d+)$')) or 0
        if not oldest_at or was < oldest_at then
          oldest, oldest_at = all[i], was
        end
      end
    end
    redis.call('HDEL', KEYS[1], oldest)
  end
end
redis.call('SET', KEYS[3], message)
redis.call(ARGV[13], KEYS[4], message)
if first then
  return {{epoch, at}}
end
return seq
"""

# The position of a channel. One that never had a message gets its epoch now, so that whoever joins before
# the first message can tell that he missed none; and one that has gone back behind what the caller saw gets
# another.
POSITION = """
local m = redis.call('HMGET', KEYS[1], 'epoch', 'seq', 'run', 'fence')
if m[1] and m[2] and not (m[1] == ARGV[3] and tonumber(m[2]) < tonumber(ARGV[4])) then
  return m
end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'seq', '0', 'run', ARGV[2])
if m[4] then
  redis.call('HSET', KEYS[1], 'fence', m[4])
end
return {ARGV[1], '0', ARGV[2]}
"""

LEASE_KEY = b"omega:{lease}:ingest"

# Take or renew the lease. Whoever held it last and was followed by nobody keeps the token, however long it
# was away: nothing was published by another meanwhile. A token is greater than any before it, also when Redis
# has forgotten those: it is at least the time in microseconds.
CLAIM = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local m = redis.call('HMGET', KEYS[1], 'holder', 'token', 'until')
local token, floor = tonumber(m[2] or nil) or 0, tonumber(ARGV[3])
if m[1] ~= ARGV[1] or token < floor then
  local left = (tonumber(m[3] or nil) or 0) - now
  if m[1] and m[1] ~= ARGV[1] and left > 0 then
    return {0, string.format('%.0f', token), left}
  end
  token = math.max(token + 1, floor, t[1] * 1000000 + t[2])
end
local text = string.format('%.0f', token)
redis.call('HSET', KEYS[1], 'holder', ARGV[1], 'token', text, 'until', string.format('%.0f', now + ARGV[2]))
return {1, text, tonumber(ARGV[2])}
"""

RELEASE = """
if redis.call('HGET', KEYS[1], 'holder') == ARGV[1] then
  redis.call('HSET', KEYS[1], 'holder', '', 'until', '0')
end
return 1
"""

# From now on a channel refuses what carries an older token. Answers the token that it asks for.
FENCE = """
local fence = redis.call('HGET', KEYS[1], 'fence')
if fence and tonumber(fence) > tonumber(ARGV[1]) then
  return fence
end
redis.call('HSET', KEYS[1], 'fence', ARGV[1])
return ARGV[1]
"""


def sha_of(script: str) -> str:
    """The name under which Redis keeps a script (EVALSHA)."""
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()


PUBLISH_SHA = sha_of(PUBLISH)
POSITION_SHA = sha_of(POSITION)
