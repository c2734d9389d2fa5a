-- Schedules whose time has come, and when the next one's will.
--
-- KEYS   1 schedules  2 what hosts' files hold
-- ARGV   1 the asking host's seat  2 what the keys of schedules begin with  3 how many due ones to leave out
--        4 how many to tell at most
-- Reply  {0, Redis time, whether the host's files are known, when the next one is due or -1,
--        name, due, slot, definition, …}; {1, key} of a wrong type
local schedules, files = KEYS[1], KEYS[2]
local wrong = wrong_type(schedules, 'zset', files, 'hash')
if wrong then return {1, wrong} end
local next = redis.call('ZRANGEBYSCORE', schedules, '(' .. string.format('%d', now), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
local reply = {0, now, redis.call('HEXISTS', files, ARGV[1]), tonumber(next[2]) or -1}
local due = redis.call('ZRANGEBYSCORE', schedules, '-inf', now, 'WITHSCORES', 'LIMIT', ARGV[3], ARGV[4])
for i = 1, #due, 2 do
  local key = ARGV[2] .. due[i]
  local is_hash = redis.call('TYPE', key).ok == 'hash'
  local known = is_hash and redis.call('HMGET', key, 'slot', 'definition') or {}
  local size = #reply
  reply[size + 1], reply[size + 2] = due[i], tonumber(due[i + 1])
  reply[size + 3], reply[size + 4] = known[1] or '', known[2] or ''
end
return reply
