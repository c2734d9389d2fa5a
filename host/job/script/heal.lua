-- Heal: compares, for keys with parked jobs, the count of slots in use with the jobs that hold them, and gives slots
-- that no job holds to parked jobs. They differ if somebody deleted a key or a record by hand, or if hosts with
-- different limits served the queue.
--
-- A round counts the jobs of delayed, then of ready from its end, then in flight, and then decides. One call does a
-- bounded part of it. `audit` holds the progress of the round, in fields that begin with two blanks, and the keys
-- that are checked: `<key>` is how many of its jobs were counted, ` <key>` how many slots were in use when the round
-- began, and three blanks with the key the ids of the first of these jobs. A job that moves against that order could
-- be missed, so every script that moves one removes its key from the round (`place`). A round of several calls may
-- count a job twice, but the job's id only once: such a round raises the count of slots in use to the number of
-- different ids at most. While jobs of a key are parked, each job that gets a slot removes the key from the round.
--
-- KEYS   1 stats  2 ready  3 delayed  4 hosts
-- ARGV   1 the asking host  2 most runs of one key; 0: keys have no limit, and all parked jobs become ready
--        3 shortest time between two rounds in ms  4 most records and 5 most bytes that one call reads
-- Reply  {0, 1 if there is more to do now, jobs that became ready, keys whose count of slots in use was wrong};
--        {1, key} of a wrong type
--
-- parked -> ready
local stats, ready, delayed, hosts = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local host, most, gap = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local records_max, bytes_max = tonumber(ARGV[4]), tonumber(ARGV[5])
local prefix = string.sub(stats, 1, -6) -- Without "stats".
local places, parked, audit = prefix .. 'places', prefix .. 'parked', prefix .. 'audit'
local TRIED_MAX = 200 -- Keys of one round; further ones follow in the next round, immediately.
local ABANDONED_MS = 10000 -- A round that its host has not continued for so long may be continued by any host.
local KEPT_MS = 3600000
local IDS_BYTES_MAX = 2048 -- Of one key. Further ids are not kept; the count is then raised less.

local wrong = wrong_type(parked, 'hash', ready, 'list')
if not wrong and most > 0 then wrong = wrong_type(places, 'hash', audit, 'hash', delayed, 'zset', hosts, 'zset') end
if wrong then return {1, wrong} end
local refused = refusal('RPUSH', ready, 'HDEL', parked, 'LPOP', prefix .. 'parked:', 'LLEN', prefix .. 'parked:',
  'HLEN', parked, 'HEXISTS', parked, 'DEL', parked, 'HSCAN', parked, 'DEL', prefix .. 'owed')
if not refused and most > 0 then
  refused = refusal('ZSCAN', delayed, 'LRANGE', ready, 'ZRANGE', hosts, 'HSET', audit, 'PEXPIRE', audit, 'HINCRBY', audit,
    'DEL', audit, 'HGETALL', audit, 'HGET', places, 'HSET', places, 'HDEL', places, 'HSET', parked)
end
if refused then return refused end
if redis.call('EXISTS', parked) == 0 then return {0, 0, 0, 0} end
if most > 0 then
  for _, id in ipairs(redis.call('ZRANGE', hosts, 0, -1)) do
    local records = prefix .. 'inflight:' .. id
    refused = refusal('TYPE', records, 'HKEYS', records, 'HGET', records)
    if refused then return refused end
  end
end

local looked, bytes, moved = 0, 0, 0
local function is_full() return looked >= records_max or bytes >= bytes_max end

local function portion() return next_portion(looked, bytes, bytes_max, records_max - looked) end

-- Makes all parked jobs of a key ready, without a slot.
local function free(key)
  local list = prefix .. 'parked:' .. key
  while not is_full() do
    local record = refusal('LPOP', list) or redis.pcall('LPOP', list)
    if type(record) == 'table' and string.find(record.err, 'NOPERM', 1, true) then return end
    if type(record) ~= 'string' then
      redis.call('HDEL', parked, key)
      return
    end
    unpark(stats, record)
    local line = string.sub(record, 1, string.find(record, '\n', 1, true) or 0)
    redis.call('RPUSH', ready, string.gsub(line, ' !key=[^ \n]*', '') .. string.sub(record, #line + 1))
    looked, bytes, moved = looked + 1, bytes + #record, moved + 1
  end
end

local function free_all()
  local cursor = '0'
  repeat
    local found = redis.call('HSCAN', parked, cursor, 'COUNT', 100)
    cursor = found[1]
    for i = 1, #found[2], 2 do
      if found[2][i] ~= ' ' then
        free(found[2][i])
        looked = looked + 1
      end
    end
  until cursor == '0' or is_full()
  -- Only the total is left: nothing is parked.
  if cursor == '0' and redis.call('HLEN', parked) == redis.call('HEXISTS', parked, ' ') then
    redis.call('DEL', parked, prefix .. 'owed')
    return 0
  end
  return is_full() and 1 or 0
end

-- Chooses keys for a round. Corrects counts of parked jobs that differ from the lengths of their lists.
local function begin(from)
  redis.call('DEL', audit)
  local found = redis.call('HSCAN', parked, from, 'COUNT', TRIED_MAX)
  local all = 0
  for i = 1, #found[2], 2 do
    local key, counted = found[2][i], tonumber(found[2][i + 1]) or 0
    -- A list counts as empty only if this user may read it.
    if key ~= ' ' and not refusal('LLEN', prefix .. 'parked:' .. key) then
      local length = tonumber(redis.pcall('LLEN', prefix .. 'parked:' .. key)) or 0
      all = all + length
      if length ~= counted then
        redis.pcall('HINCRBY', parked, ' ', length - counted)
        if length > 0 then redis.call('HSET', parked, key, length) else redis.call('HDEL', parked, key) end
      end
      if length > 0 then
        local taken = tonumber(redis.call('HGET', places, key)) or 0
        redis.call('HSET', audit, key, 0, ' ' .. key, taken)
      end
    end
  end
  if from == '0' and found[1] == '0' then
    if all > 0 then redis.call('HSET', parked, ' ', all) else redis.call('DEL', parked) end
  end
  redis.call('HSET', audit, '  stage', 'delayed', '  at', '0', '  next', found[1])
end

local state, met, ids = {}, {}, {}
local function read_state()
  state = {}
  local fields = redis.call('HGETALL', audit)
  for i = 1, #fields, 2 do state[fields[i]] = fields[i + 1] end
end

local function meet(record)
  looked, bytes = looked + 1, bytes + #record
  local key = key_of_envelope(record)
  if not key or not state[key] then return end
  met[key] = (met[key] or 0) + 1
  local known = ids[key] or state['   ' .. key] or ' '
  local id = (string.match(record, '^1 ([!-~]+) ') or '?') .. ' '
  if #known + #id <= IDS_BYTES_MAX and not string.find(known, ' ' .. id, 1, true) then ids[key] = known .. id end
end

-- Each stage continues at `at` and returns where it stopped, or nil when it has read everything.
local stages, following = {}, {delayed = 'ready', ready = 'inflight'}

function stages.delayed(at)
  local seen = {}
  repeat
    local found = redis.call('ZSCAN', delayed, at, 'COUNT', portion())
    at = found[1]
    for i = 1, #found[2], 2 do
      if not seen[found[2][i]] then meet(found[2][i]) end
      seen[found[2][i]] = true
    end
  until at == '0' or is_full()
  return at ~= '0' and at or nil
end

-- From the end: claims at the head do not shift these positions.
function stages.ready(at)
  at = tonumber(at)
  repeat
    local ask = portion()
    local found = redis.call('LRANGE', ready, -(at + ask), -(at + 1))
    for _, record in ipairs(found) do meet(record) end
    at = at + #found
    if #found < ask then return nil end
  until is_full()
  return string.format('%d', at)
end

-- `at` is the last sequence number that was read of the first host, then the hosts that are left.
function stages.inflight(at)
  if at == '0' then at = '-1 ' .. table.concat(redis.call('ZRANGE', hosts, 0, -1), ' ') end
  local last, left = string.match(at, '^(%S+) ?(.*)$')
  last = tonumber(last)
  while left ~= '' and not is_full() do
    local id, others = string.match(left, '^(%S*) ?(.*)$')
    local records, ended = prefix .. 'inflight:' .. id, true
    if not wrong_type(records, 'hash') then
      local fields = by_number((fields_of(records)))
      for nth, field in ipairs(fields) do
        if string.byte(field) == 101 and seq_of(field) > last then -- 101 is "e".
          meet(redis.call('HGET', records, field))
          last = seq_of(field)
          if is_full() and nth < #fields then
            ended = false
            break
          end
        end
      end
      -- Names cost less than records, but many hosts have many of them.
      looked = looked + math.floor(#fields / 16)
    end
    looked = looked + 1
    if ended then last, left = -1, others end
  end
  return left ~= '' and string.format('%d ', last) .. left or nil
end

local function judge(is_exact)
  local healed = 0
  for key, count in pairs(state) do
    if string.sub(key, 1, 1) ~= ' ' then
      count = tonumber(count) + (met[key] or 0)
      local least = is_exact and count or select(2, string.gsub(ids[key] or state['   ' .. key] or '', '[!-~]+', ''))
      local taken = tonumber(redis.call('HGET', places, key)) or 0
      -- If not, jobs have ended or begun meanwhile, and some were perhaps counted before.
      if taken == tonumber(state[' ' .. key]) then
        if count < taken or least > taken then
          taken, healed = count < taken and count or least, healed + 1
          if taken == 0 then redis.call('HDEL', places, key) else redis.call('HSET', places, key, taken) end
        end
        moved = moved + hand_on(prefix, key, math.max(taken, count), most)
      end
    end
  end
  return healed
end

-- Whether the round can continue from this state. It cannot if somebody replaced a number by text.
local function is_whole()
  for field, value in pairs(state) do
    local is_count = string.sub(field, 1, 1) ~= ' '
    if is_count and (#value > 9 or not string.find(value, '^%d+$')) then return false end
  end
  local function is_cursor(text) return string.find(text, '^%d+$') and tonumber(text) <= 9007199254740992 end
  local stage, at, begins = state['  stage'], state['  at'] or '', state['  next'] or ''
  return (is_cursor(begins) or not stage and begins == '')
    and (not stage or stages[stage] and (is_cursor(at) or stage == 'inflight' and string.find(at, '^%-?%d+ ')))
end

if most == 0 then return {0, free_all(), moved, 0} end

read_state()
if not is_whole() then
  redis.call('DEL', audit)
  state = {}
end
local is_exact = not state['  stage']
if is_exact then
  local since = now - (tonumber(state['  ended']) or 0)
  if since >= 0 and since < gap and (state['  next'] or '0') == '0' then return {0, 0, 0, 0} end
  begin(state['  next'] or '0')
  read_state()
elseif state['  host'] ~= host and math.abs(now - (tonumber(state['  moment']) or 0)) < ABANDONED_MS then
  return {0, 0, 0, 0}
end

local stage, at = state['  stage'], state['  at']
repeat
  at = stages[stage](at)
  if not at then stage, at = following[stage], '0' end
until not stage or is_full()

if stage then
  for key, count in pairs(met) do redis.call('HINCRBY', audit, key, count) end
  for key, known in pairs(ids) do redis.call('HSET', audit, '   ' .. key, known) end
  redis.call('HSET', audit, '  stage', stage, '  at', at, '  host', host, '  moment', string.format('%d', now))
  redis.call('PEXPIRE', audit, KEPT_MS)
  return {0, 1, 0, 0}
end
local healed = judge(is_exact)
redis.call('DEL', audit)
redis.call('HSET', audit, '  next', state['  next'], '  ended', string.format('%d', now))
redis.call('PEXPIRE', audit, KEPT_MS)
-- The keys that did not fit into this round are next.
return {0, state['  next'] ~= '0' and 1 or 0, moved, healed}
