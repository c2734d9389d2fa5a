-- Page: shows some jobs of one place. Changes nothing. Payloads are cut here, so that a page stays small; and it ends
-- early when it has read many bytes, so that Redis is soon there for others.
--
-- KEYS   1 the list, ready, delayed, dead or parked; hosts for what is in flight
-- ARGV   1 list, oldest or newest (sorted sets), inflight, parked  2 jobs to skip  3 jobs to look at  4 bytes of each
--        payload  5 prefix of the keys in flight  6… job ids to look for; none for all
-- Reply  {0, jobs to skip for the next page or false, {{host, field, score, bytes, header and payload, how many of
--        the page come before it}, …}}
--        {1, key} of a wrong type
local READ_BYTES_MAX = 2097152
local HEADER_BYTES_MAX = 65536 -- No host can read a longer one.
local KEYS_MAX = 1000 -- Keys with parked jobs that are looked at.
local kind, skip, most, cut = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local wrong = wrong_type(KEYS[1], kind == 'list' and 'list' or kind == 'parked' and 'hash' or 'zset')
if wrong then return {1, wrong} end
local wanted = {}
for i = 6, #ARGV do wanted[ARGV[i]] = true end
local rows, looked, bytes = {}, 0, 0

local function add(host, field, score, record)
  local found, begins, _
  if field == '' or string.byte(field) == 101 then
    found, _, _, _, _, begins = string.match(record, HEADER)
  else
    found = host .. '-' .. field
  end
  if #ARGV < 6 or wanted[found or ''] then
    rows[#rows + 1] = {string.sub(host, 1, 256), string.sub(field, 1, 256), score, #record, string.sub(record, 1, math.min((begins or 1) - 1, HEADER_BYTES_MAX) + cut), looked}
  end
  looked, bytes = looked + 1, bytes + #record
end

local function is_full() return looked >= most or bytes >= READ_BYTES_MAX end
local function portion() return next_portion(looked, bytes, READ_BYTES_MAX, most - looked) end

local function ended(length)
  local next_skip = skip + looked
  return {0, next_skip < length and next_skip, rows}
end

if kind == 'parked' then
  local before, keys, cursor = 0, 0, '0'
  repeat
    local found = redis.call('HSCAN', KEYS[1], cursor, 'COUNT', 100)
    cursor = found[1]
    for i = 1, #found[2], 2 do
      local list = KEYS[1] .. ':' .. found[2][i]
      -- A blank stands for all of them.
      if found[2][i] ~= ' ' and not wrong_type(list, 'list') then
        keys = keys + 1
        local length = redis.call('LLEN', list)
        while not is_full() and skip + looked < before + length do
          local from = skip + looked - before
          for _, record in ipairs(redis.call('LRANGE', list, from, from + portion() - 1)) do
            if not is_full() then add('', '', '', record) end
          end
        end
        before = before + length
      end
    end
  until cursor == '0' or keys >= KEYS_MAX
  return ended(before)
end
if kind ~= 'inflight' then
  while not is_full() do
    local ask, from, records = portion(), skip + looked, nil
    if kind == 'list' then
      records = redis.call('LRANGE', KEYS[1], from, from + ask - 1)
      for _, record in ipairs(records) do
        if not is_full() then add('', '', '', record) end
      end
    else
      local reverse = kind == 'newest' and {'REV'} or {}
      reverse[#reverse + 1] = 'WITHSCORES'
      records = redis.call('ZRANGE', KEYS[1], from, from + ask - 1, unpack(reverse))
      for i = 1, #records, 2 do
        if not is_full() then add('', '', records[i + 1], records[i]) end
      end
    end
    if skip + looked < from + ask then break end
  end
  return ended(redis.call(kind == 'list' and 'LLEN' or 'ZCARD', KEYS[1]))
end

local before = 0
for _, host in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local key = ARGV[5] .. host
  if wrong_type(key, 'hash') then return {1, key} end
  local fields = fields_of(key)
  local length = #fields
  if before + length > skip + looked and looked < most then
    by_number(fields)
    for i = skip + looked - before + 1, length do
      if is_full() then break end
      add(host, fields[i], '', redis.call('HGET', key, fields[i]))
    end
  end
  before = before + length
end
return ended(before)
