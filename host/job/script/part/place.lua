-- Part: places of keys. A job whose header has the note `!key` has one of the places that jobs with its key may have
-- at once in the fleet, wherever it is; only a parked one waits for it.
-- leave_key(stats, record) gives the place of a job that ends to the one of its key that waits longest, which becomes
-- ready; nobody waits: the place is free. unpark(stats, record) counts a parked one that was taken away. Beside `stats` are
--   places      hash: key -> places taken; ' ' -> how many a key has, by the latest claim
--   parked      hash: key -> jobs that wait, ' ' -> all of them; and parked:<key>, the list of these
-- None of this can fail: a key of a wrong type, put there by hand, limits nothing.
local HANDED_ON_MAX = 16

local function less(hash, field)
  local left = redis.pcall('HINCRBY', hash, field, -1)
  if type(left) == 'number' and left <= 0 then redis.call('HDEL', hash, field) end
  return tonumber(left) or 0
end

local function key_of_envelope(record)
  local line = string.sub(record, 1, string.find(record, '\n', 1, true) or 0)
  local at = string.find(line, ' !key=', 1, true)
  return at and string.match(line, '^[^ \n]*', at + 6)
end

local function unpark(stats, record)
  local parked = string.sub(stats, 1, -6) .. 'parked' -- Without "stats".
  local key = key_of_envelope(record)
  if key then less(parked, key) end
  less(parked, ' ')
end

local function leave_key(stats, record)
  local key = key_of_envelope(record)
  if not key then return end
  local prefix = string.sub(stats, 1, -6) -- Without "stats".
  local places = prefix .. 'places'
  local taken = less(places, key)
  -- Commands that could write but do not: a read would make Redis report the next change.
  local most = tonumber(redis.pcall('HINCRBY', places, ' ', 0)) or 0
  for _ = 1, HANDED_ON_MAX do
    if most > 0 and taken >= most then return end
    local moved = redis.pcall('LMOVE', prefix .. 'parked:' .. key, prefix .. 'ready', 'LEFT', 'RIGHT')
    if type(moved) ~= 'string' then return end
    taken = redis.call('HINCRBY', places, key, 1)
    unpark(stats, moved)
  end
end
