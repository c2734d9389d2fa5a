-- Want: makes a release the wanted one of a plugin in the fleet.
--
-- KEYS   1 what is wanted of all plugins  2 history of this one  3 the release  4 its component
-- ARGV   1 plugin  2 id of the release  3 digest of the component  4 who ordered it
--        5 most entries of a history  6 most plugins  7 how long a forgotten release is kept in ms
--        8 prefix of releases  9 prefix of components  10 prefix and 11 ending of histories
--        12 longest entry in bytes  13 highest number  14 number, 15 time of signing and 16 signature of a signed order
-- Reply  {1, number, Redis time in ms}; {2, key} that is missing; {3, key} of a wrong type; {4} too many plugins;
--        {5, key} whose latest number cannot be incremented exactly; {6, number} that a signed order must have
--
-- any -> wanted, with a number above all former ones; release and component stay until no history has them
local wrong = wrong_type(KEYS[1], 'hash', KEYS[2], 'list', KEYS[3], 'string', KEYS[4], 'hash')
if wrong then return {3, wrong} end
for i = 3, 4 do
  if redis.call('EXISTS', KEYS[i]) == 0 then return {2, KEYS[i]} end
end
local longest, highest = tonumber(ARGV[12]), tonumber(ARGV[13])
local is_new = redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0
if is_new and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[6]) then return {4} end

-- An entry that was changed by hand and cannot be decoded is ignored.
local function entry(text)
  if not text or #text > longest then return {} end
  local good, read = pcall(cjson.decode, text)
  return good and type(read) == 'table' and read or {}
end

-- Lua's doubles are not exact above `highest`: one more would be the same number, or one that a host cannot read.
local number = 0
local is_short = redis.call('HSTRLEN', KEYS[1], ARGV[1]) <= longest
local formers = {is_short and redis.call('HGET', KEYS[1], ARGV[1]), redis.call('LINDEX', KEYS[2], 0)}
for i = 1, 2 do
  local former = entry(formers[i]).number
  if type(former) == 'number' then
    if not (former >= 0 and former < highest and former == math.floor(former)) then return {5, KEYS[i]} end
    number = math.max(number, former)
  end
end
number = number + 1
if ARGV[14] and tonumber(ARGV[14]) ~= number then return {6, number} end
-- Lua itself writes numbers with only 14 digits.
local texts = cjson.encode({release = ARGV[2], component = ARGV[3], by = ARGV[4]})
local signed = ''
if ARGV[14] then signed = ',"signed":{"at_ms":' .. ARGV[15] .. ',"signature":' .. cjson.encode(ARGV[16]) .. '}' end
local wanted = string.format('%s,"number":%.0f,"at_ms":%.0f%s}', string.sub(texts, 1, -2), number, now, signed)
local refused = refusal('HSET', KEYS[1], 'HKEYS', KEYS[1], 'LPUSH', KEYS[2], 'LTRIM', KEYS[2], 'PERSIST', KEYS[3], 'PERSIST', KEYS[4],
  'PEXPIRE', KEYS[3], 'PEXPIRE', KEYS[4])
if refused then return refused end
redis.call('HSET', KEYS[1], ARGV[1], wanted)
redis.call('LPUSH', KEYS[2], wanted)
redis.call('PERSIST', KEYS[3])
redis.call('PERSIST', KEYS[4])

local dropped = entry(redis.call('LINDEX', KEYS[2], ARGV[5]))
redis.call('LTRIM', KEYS[2], 0, ARGV[5] - 1)
local release, component = dropped.release, dropped.component
if type(release) == 'string' and type(component) == 'string' then
  local is_live = {}
  for _, plugin in ipairs(redis.call('HKEYS', KEYS[1])) do
    local history = ARGV[10] .. plugin .. ARGV[11]
    local last = redis.call('TYPE', history).ok == 'list' and ARGV[5] - 1 or -1
    for i = 0, last do
      local text = redis.call('LINDEX', history, i)
      if not text then break end
      is_live.release = is_live.release or string.find(text, release, 1, true)
      is_live.component = is_live.component or string.find(text, component, 1, true)
    end
  end
  if not is_live.release then redis.call('PEXPIRE', ARGV[8] .. release, ARGV[7]) end
  if not is_live.component then redis.call('PEXPIRE', ARGV[9] .. component, ARGV[7]) end
end
return {1, number, now}
