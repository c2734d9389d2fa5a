-- Schedule declare: a host reports which schedules its file holds. A schedule that is in no file any more is removed;
-- the file of a host that has not reported for long does not count. A report from the future was made while Redis'
-- clock was ahead; it is dated back to now.
--
-- KEYS   1 schedules  2 what hosts' files hold: by seat, Redis time and names, one a line
-- ARGV   1 seat  2 'all', or 'missing' to leave those alone that are there  3 what the keys of schedules begin with
--        4 how long a host is believed, in ms  5 most schedules
--        6… name, definition, what its times depend on, first slot, when that is due
-- Reply  {0, what became of it, name, …}: 'added', 'changed', 'taken' from an operator, 'removed';
--        {1, key} of a wrong type; {3} there are too many
local schedules, files = KEYS[1], KEYS[2]
local wrong = wrong_type(schedules, 'zset', files, 'hash')
if wrong then return {1, wrong} end
local own, more = string.format('%d', now), 0
local named = {}
for i = 6, #ARGV, 5 do
  local key = ARGV[3] .. ARGV[i]
  wrong = wrong_type(key, 'hash')
  if wrong then return {1, wrong} end
  named[ARGV[i]] = true
  own = own .. '\n' .. ARGV[i]
  if not redis.call('ZSCORE', schedules, ARGV[i]) then more = more + 1 end
end
if more > 0 and redis.call('ZCARD', schedules) + more > tonumber(ARGV[5]) then return {3} end

local gone, ahead = {}, {}
local known = redis.call('HGETALL', files)
for i = 1, #known, 2 do
  local told = tonumber(string.match(known[i + 1], '^%d+')) or 0
  if known[i] ~= ARGV[1] and now - told > tonumber(ARGV[4]) then
    gone[#gone + 1] = known[i]
  elseif known[i] ~= ARGV[1] then
    for name in string.gmatch(known[i + 1], '\n([^\n]+)') do named[name] = true end
    if told > now then ahead[known[i]] = string.format('%d', now) .. string.match(known[i + 1], '^%d+(.*)$') end
  end
end
local removed = {}
for _, name in ipairs(redis.call('ZRANGE', schedules, 0, -1)) do
  local key = ARGV[3] .. name
  if not named[name] and redis.call('TYPE', key).ok == 'hash' and redis.call('HGET', key, 'origin') == 'file' then
    removed[#removed + 1] = name
  end
end

local refused = refusal('HSET', files, 'HDEL', files)
for _, name in ipairs(removed) do refused = refused or refusal('DEL', ARGV[3] .. name, 'ZREM', schedules) end
for i = 6, #ARGV, 5 do
  local key = ARGV[3] .. ARGV[i]
  refused = refused or refusal('HMGET', key, 'HSET', key, 'HDEL', key, 'ZADD', schedules)
end
if refused then return refused end
for _, seat in ipairs(gone) do redis.call('HDEL', files, seat) end
for seat, told in pairs(ahead) do redis.call('HSET', files, seat, told) end
if #ARGV > 5 then redis.call('HSET', files, ARGV[1], own) else redis.call('HDEL', files, ARGV[1]) end
local reply = {0}
local function tell(what, name)
  reply[#reply + 1] = what
  reply[#reply + 1] = name
end
for _, name in ipairs(removed) do
  redis.call('DEL', ARGV[3] .. name)
  redis.call('ZREM', schedules, name)
  tell('removed', string.sub(name, 1, 256)) -- A longer name is not that of a schedule.
end
for i = 6, #ARGV, 5 do
  if ARGV[2] == 'all' or not redis.call('ZSCORE', schedules, ARGV[i]) then
    local what = set_schedule(schedules, ARGV[3] .. ARGV[i], ARGV[i], 'file', ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4])
    if what then tell(what, ARGV[i]) end
  end
end
return reply
