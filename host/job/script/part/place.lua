-- Part: slots of keys. A job whose header has the note `!key` holds one of the slots that jobs with its key have in the
-- fleet, wherever it is; only a parked job waits for one.
-- leave_key(stats, record) gives the slot of a job that ends to the parked job of its key that has waited longest,
-- which becomes ready; if none waits, the slot is free. keep_key(stats, record) must be called before a job with a slot
-- goes back to ready or delayed. unpark(stats, record) counts a parked job that was removed. void_round(stats) must be
-- called if jobs were removed from the middle of ready. Beside `stats` are
--   places      hash: key -> slots in use; ' ' -> how many a key has, by the latest claim
--   parked      hash: key -> jobs that wait, ' ' -> all of them; and parked:<key>, the list of these
--   audit       hash: the current round of `heal`. A key that is removed from it is not judged in this round
--   owed        set: keys whose parked jobs get their slots from the next claims (hand_on_owed)
-- The functions here cannot fail: a key of a wrong type, a key that this user may not change, or a number that was changed
-- by hand, has no effect.
local HANDED_ON_MAX = 16
-- What a script moves by one command costs Redis some milliseconds for each mebibyte.
local HANDED_ON_BYTES_MAX = 2097152
-- Beyond these numbers, a script makes only one parked job of each key ready: a raised limit, or many jobs that end at the same time,
-- can free thousands of slots.
local HANDED_ON_JOBS_MAX = 256
local handed_on, handed_jobs = 0, 0 -- Bytes and jobs that this script has moved.

local function less(hash, field)
  local left = redis.pcall('HINCRBY', hash, field, -1)
  if type(left) == 'number' and left <= 0 then redis.pcall('HDEL', hash, field) end
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

local function void_round(stats) redis.pcall('UNLINK', string.sub(stats, 1, -6) .. 'audit') end

local function unpark(stats, record)
  local parked = string.sub(stats, 1, -6) .. 'parked'
  local key = key_of_envelope(record)
  if key then less(parked, key) end
  less(parked, ' ')
  keep_key(stats, record)
end

-- Gives the free slots of `key`, of which `taken` are in use, to parked jobs; answers how many.
local function hand_on(prefix, key, taken, most)
  for jobs = 0, HANDED_ON_MAX do
    if most > 0 and taken >= most then return jobs end
    local is_enough = handed_on >= HANDED_ON_BYTES_MAX or jobs > 0 and handed_jobs >= HANDED_ON_JOBS_MAX
    if jobs == HANDED_ON_MAX or is_enough then
      redis.pcall('SADD', prefix .. 'owed', key)
      return jobs
    end
    local moved = redis.pcall('LMOVE', prefix .. 'parked:' .. key, prefix .. 'ready', 'LEFT', 'RIGHT')
    if type(moved) ~= 'string' then return jobs end
    handed_on, handed_jobs = handed_on + #moved, handed_jobs + 1
    taken = tonumber(redis.pcall('HINCRBY', prefix .. 'places', key, 1)) or most
    unpark(prefix .. 'stats', moved)
  end
end

-- A command that could write but does not: a read would make Redis report the next change.
local function most_places(prefix) return tonumber(redis.pcall('HINCRBY', prefix .. 'places', ' ', 0)) or 0 end

local function leave_key(stats, record)
  local key = key_of_envelope(record)
  if not key then return end
  local prefix = string.sub(stats, 1, -6)
  local taken = less(prefix .. 'places', key)
  hand_on(prefix, key, taken, most_places(prefix))
end

-- The same for keys that an earlier script has left; answers whether there may be more of them.
local function hand_on_owed(stats)
  local prefix = string.sub(stats, 1, -6)
  local places, most = prefix .. 'places', most_places(prefix)
  for _ = 1, HANDED_ON_MAX do
    if handed_on >= HANDED_ON_BYTES_MAX then return true end
    local key = redis.pcall('SPOP', prefix .. 'owed')
    if type(key) ~= 'string' then return false end
    redis.pcall('HINCRBY', places, key, 1)
    hand_on(prefix, key, less(places, key), most)
  end
  return true
end
