-- Part: slots of keys. A job whose header has the note `!key` holds one of the slots that jobs with its key have in the
-- fleet, wherever it is; only a parked job waits for one.
-- leave_key(stats, record) gives the slot of a job that ends to the parked job of its key that has waited longest,
-- which becomes ready; if none waits, the slot is free. keep_key(stats, record) must be called before a job with a slot
-- goes back to ready or delayed. unpark(stats, record) counts a parked job that was removed. void_round(stats) must be
-- called if jobs were removed from the middle of ready. Beside `stats` are
--   places      hash: key -> slots in use; ' ' -> how many a key has, by the latest claim
--   parked      hash: key -> jobs that wait, ' ' -> all of them; and parked:<key>, the list of these
--   audit       hash: the current round of `heal`. A key that is removed from it is not judged in this round
-- No function here can fail: a key of a wrong type, or a number that was changed by hand, limits nothing.
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

local function keep_key(stats, record)
  local key = key_of_envelope(record)
  if key then redis.pcall('HDEL', string.sub(stats, 1, -6) .. 'audit', key) end -- Without "stats".
end

local function void_round(stats) redis.call('UNLINK', string.sub(stats, 1, -6) .. 'audit') end

local function unpark(stats, record)
  local parked = string.sub(stats, 1, -6) .. 'parked'
  local key = key_of_envelope(record)
  if key then less(parked, key) end
  less(parked, ' ')
  keep_key(stats, record)
end

local function leave_key(stats, record)
  local key = key_of_envelope(record)
  if not key then return end
  local prefix = string.sub(stats, 1, -6)
  local places = prefix .. 'places'
  local taken = less(places, key)
  -- Commands that could write but do not: a read would make Redis report the next change.
  local most = tonumber(redis.pcall('HINCRBY', places, ' ', 0)) or 0
  for _ = 1, HANDED_ON_MAX do
    if most > 0 and taken >= most then return end
    local moved = redis.pcall('LMOVE', prefix .. 'parked:' .. key, prefix .. 'ready', 'LEFT', 'RIGHT')
    if type(moved) ~= 'string' then return end
    taken = tonumber(redis.pcall('HINCRBY', places, key, 1)) or 0
    unpark(stats, moved)
  end
end
