-- Page: shows some jobs of one place. Changes nothing. Payloads are cut here, so that a page stays small.
--
-- KEYS   1 the list, ready, delayed or dead; hosts for what is in flight
-- ARGV   1 list, oldest or newest (sorted sets), inflight  2 jobs to skip  3 jobs to look at  4 bytes of each
--        payload  5 prefix of the keys in flight  6 job id to look for; empty for all
-- Reply  {0, jobs to skip for the next page or false, {{host, field, score, bytes, header and payload}, …}}
--        {1, key} of a wrong type
local kind, skip, most, id = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[6]
local wrong = wrong_type(KEYS[1], kind == 'list' and 'list' or 'zset')
if wrong then return {1, wrong} end
local rows = {}

local function add(host, field, score, record)
  local found, begins, _
  if field == '' or string.byte(field) == 101 then
    found, _, _, _, _, begins = string.match(record, HEADER)
  else
    found = host .. '-' .. field
  end
  if id ~= '' and found ~= id then return end
  rows[#rows + 1] = {host, field, score, #record, string.sub(record, 1, (begins or 1) - 1 + ARGV[4])}
end

local last = skip + most - 1
if kind == 'list' then
  for _, record in ipairs(redis.call('LRANGE', KEYS[1], skip, last)) do add('', '', '', record) end
  return {0, last + 1 < redis.call('LLEN', KEYS[1]) and last + 1, rows}
end
if kind ~= 'inflight' then
  local records
  if kind == 'newest' then
    records = redis.call('ZRANGE', KEYS[1], skip, last, 'REV', 'WITHSCORES')
  else
    records = redis.call('ZRANGE', KEYS[1], skip, last, 'WITHSCORES')
  end
  for i = 1, #records, 2 do add('', '', records[i + 1], records[i]) end
  return {0, last + 1 < redis.call('ZCARD', KEYS[1]) and last + 1, rows}
end

local before = 0
for _, host in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local key = ARGV[5] .. host
  if wrong_type(key, 'hash') then return {1, key} end
  local fields = fields_of(key)
  local length = #fields
  if before + length > skip and before <= last then
    by_number(fields)
    for i = math.max(skip - before, 0) + 1, math.min(last - before + 1, length) do
      add(host, fields[i], '', redis.call('HGET', key, fields[i]))
    end
  end
  before = before + length
end
return {0, last + 1 < before and last + 1, rows}
