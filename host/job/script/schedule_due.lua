-- Schedule due: returns schedules that are due, or those that are not due yet, and when the next one is due.
--
-- KEYS   1 schedules  2 what hosts' files hold
-- ARGV   1 the asking host's seat  2 what the keys of schedules begin with  3 how many to skip
--        4 most schedules to return  5 'due', or 'ahead': those that are not due yet
--        6 longest field of a schedule in bytes: '' is returned instead of a longer one
-- Reply  {0, Redis time, whether the schedules of the host's file are known, when the next one is due or -1,
--        name, due, slot, definition, slots that have fired, …}; {1, key} of a wrong type
local schedules, files = KEYS[1], KEYS[2]
local wrong = wrong_type(schedules, 'zset', files, 'hash')
if wrong then return {1, wrong} end
local after_now = string.format('(%d', now)
local next = redis.call('ZRANGEBYSCORE', schedules, after_now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
local reply = {0, now, redis.call('HEXISTS', files, ARGV[1]), tonumber(next[2]) or -1}
local least, most = '-inf', now
if ARGV[5] == 'ahead' then least, most = after_now, string.format('(%d', PAUSED) end
local due = redis.call('ZRANGEBYSCORE', schedules, least, most, 'WITHSCORES', 'LIMIT', ARGV[3], ARGV[4])
for i = 1, #due, 2 do
  local key = ARGV[2] .. due[i]
  local is_hash = redis.call('TYPE', key).ok == 'hash'
  local known = is_hash and short(key, tonumber(ARGV[6]), 'slot', 'definition', 'fired') or {}
  local size = #reply
  -- A name this long is not that of a schedule.
  reply[size + 1], reply[size + 2] = string.sub(due[i], 1, 256), tonumber(due[i + 1])
  for n = 1, 3 do reply[size + 2 + n] = known[n] or '' end
end
return reply
