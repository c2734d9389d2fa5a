-- Want: a release becomes the one the fleet is to run of a plugin.
--
-- KEYS   1 what is wanted of all plugins  2 history of this one  3 the release  4 its component
-- ARGV   1 plugin  2 id of the release  3 digest of the component  4 who says so
--        5 most entries of a history  6 most plugins  7 how long a forgotten release is kept in ms
--        8 prefix of releases  9 prefix of components  10 prefix and 11 ending of histories
-- Reply  {1, number, Redis time in ms}; {2, key} that is not there; {3, key} of a wrong type; {4} too many plugins
--
-- any -> wanted, with a number above all former ones; release and component stay until no history has them
local wrong = wrong_type(KEYS[1], 'hash', KEYS[2], 'list', KEYS[3], 'string', KEYS[4], 'hash')
if wrong then return {3, wrong} end
for i = 3, 4 do
  if redis.call('EXISTS', KEYS[i]) == 0 then return {2, KEYS[i]} end
end
local former = redis.call('HGET', KEYS[1], ARGV[1])
if not former and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[6]) then return {4} end

-- What somebody spoiled by hand counts for nothing.
local function entry(text)
  local good, read = pcall(cjson.decode, text or '')
  if good and type(read) == 'table' and type(read.number) == 'number' then return read end
  return {number = 0}
end

local function history(key)
  return redis.call('TYPE', key).ok == 'list' and redis.call('LRANGE', key, 0, ARGV[5]) or {}
end

local number = math.max(entry(former).number, entry(redis.call('LINDEX', KEYS[2], 0)).number) + 1
local wanted = cjson.encode({release = ARGV[2], component = ARGV[3], number = number, at_ms = now, by = ARGV[4]})
redis.call('HSET', KEYS[1], ARGV[1], wanted)
redis.call('LPUSH', KEYS[2], wanted)
redis.call('PERSIST', KEYS[3])
redis.call('PERSIST', KEYS[4])

local dropped = entry(redis.call('LINDEX', KEYS[2], ARGV[5]))
redis.call('LTRIM', KEYS[2], 0, ARGV[5] - 1)
if type(dropped.release) == 'string' and type(dropped.component) == 'string' then
  local release, component = ARGV[8] .. dropped.release, ARGV[9] .. dropped.component
  local live = {}
  for _, plugin in ipairs(redis.call('HKEYS', KEYS[1])) do
    for _, text in ipairs(history(ARGV[10] .. plugin .. ARGV[11])) do
      local kept = entry(text)
      live[ARGV[8] .. tostring(kept.release)] = true
      live[ARGV[9] .. tostring(kept.component)] = true
    end
  end
  for _, key in ipairs({release, component}) do
    if not live[key] then redis.call('PEXPIRE', key, ARGV[7]) end
  end
end
return {1, number, now}
