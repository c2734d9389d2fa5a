-- Part, needs `now`, `count`, `envelope`, `place`: what the limits of a queue let through.
-- KEYS   5 vacant, which is changed when the fleet has room again
-- ARGV   17 most runs in the fleet; microseconds between two starts, how many may be saved up; most runs of one key;
--        the same two for jobs of one key. 0: no limit
--        18 where a key is: `header:<name>`, or a JSON pointer into the payload; empty: nowhere
-- looks_max                            jobs that a claim looks at, whatever it claims
-- allow(wanted)                        how many may be claimed now; nil and a key that is of a wrong type
-- admit(record, enveloped, first)      the record of a job that may run, and whether it is an envelope; nothing if the
--                                      job was put where it waits: among the parked, or the delayed
-- spare(first)                         0, or the least sequence number after those that were used for names of jobs:
--                                      they begin where a claim's own, from `first` on, must have ended
-- conclude(claimed, wanted)            after the claim of as many as were allowed, or fewer: 1 if only a limit ended it,
--                                      and when it lets through more, in ms, if that is known
-- A rate is a bucket that fills with time: `rate` holds the moment at which it will be full again, in microseconds.
local looks_max = 256
local LONG_KEY = 64
local CLAIM_MAX = 512
local fleet, gap, burst, places_max, key_gap, key_burst =
  string.match(ARGV[17], '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+)$')
fleet, gap, burst, places_max, key_gap, key_burst =
  tonumber(fleet), tonumber(gap), tonumber(burst), tonumber(places_max), tonumber(key_gap), tonumber(key_burst)
local source = ARGV[18]
local prefix = string.sub(ARGV[8], 1, -6) -- Without "stats".
local now_us = time[1] * 1000000 + time[2]
local vacant, rate = KEYS[5], prefix .. 'rate'
local full_at, cut_by_fleet, cut_by_rate
local busy, named = 0, 0

-- When a bucket is full again; with an argument, it is set. GETEX is no read: none is reported.
local function bucket(key, moment)
  if not moment then
    moment = redis.pcall('GETEX', key)
    if type(moment) == 'table' then return nil end
    return math.max(tonumber(moment) or 0, now_us)
  end
  local kept_ms = math.ceil((moment - now_us) / 1000) + 1
  redis.pcall('SET', key, string.format('%.0f', moment), 'PX', string.format('%.0f', kept_ms))
end

-- Jobs in flight in the fleet. Entries that runs have popped are beside them, and left out where it matters.
local function in_flight(room)
  local all, hosts = 0, redis.call('ZRANGE', ARGV[9], 0, -1)
  for _, host in ipairs(hosts) do all = all + redis.call('HLEN', prefix .. 'inflight:' .. host) end
  if all + room <= fleet then return all end
  all = 0
  for _, host in ipairs(hosts) do all = all + #fields_of(prefix .. 'inflight:' .. host) end
  return all
end

local function allow(wanted)
  if fleet > 0 then
    local held = redis.pcall('GETEX', vacant)
    if type(held) == 'table' and held.err then return nil, vacant end
    busy = in_flight(wanted)
    cut_by_fleet = fleet - busy < wanted
    wanted = math.max(0, math.min(wanted, fleet - busy))
  end
  if gap > 0 and wanted > 0 then
    full_at = bucket(rate)
    if not full_at then return nil, rate end
    local tokens = math.floor(burst - (full_at - now_us) / gap + 1e-6)
    cut_by_rate = tokens < wanted
    wanted = math.max(0, math.min(wanted, tokens))
  end
  if places_max > 0 then
    local places = prefix .. 'places'
    local held = redis.pcall('HINCRBY', places, ' ', 0)
    if type(held) == 'table' then return nil, places end
    if redis.pcall('HDEL', prefix .. 'parked', '') ~= 0 then return nil, prefix .. 'parked' end
    if held ~= places_max then redis.call('HSET', places, ' ', places_max) end
  end
  return wanted
end

local function escape(text)
  return (string.gsub(text, '[^!-$&-<>-~]', function(byte) return string.format('%%%02x', string.byte(byte)) end))
end

-- What the payload holds there; a payload that is no JSON holds nothing. It is looked at, and never written again.
local function pointed_at(payload)
  local read, value = pcall(cjson.decode, payload)
  if not read then return end
  for word in string.gmatch(source, '/([^/]*)') do
    if type(value) ~= 'table' then return end
    word = string.gsub(string.gsub(word, '~1', '/'), '~0', '~')
    local at = string.match(word, '^%d+$')
    local found = value[word]
    if found == nil and at then found = value[tonumber(at) + 1] end
    value = found
  end
  if type(value) == 'number' then return string.format('%.17g', value) end
  if type(value) == 'string' or type(value) == 'boolean' then return tostring(value) end
end

local header = string.match(source, '^header:(.*)$')
local header_pattern = header and ' ' .. string.gsub(header, '%W', '%%%0') .. '=([^ ]*)'
local function key_of(notes, payload)
  local key
  if header then
    key = string.match(notes, header_pattern)
  else
    key = pointed_at(payload)
    key = key and escape(key)
  end
  if key and #key > LONG_KEY then return redis.sha1hex(key) end
  return key
end

-- Takes a start from the bucket of a key, be it a later one: when that is, in microseconds.
local function reserve(key)
  local bucket_key = rate .. ':' .. key
  local full = bucket(bucket_key)
  if not full then return now_us end
  bucket(bucket_key, full + key_gap)
  return full + key_gap - key_burst * key_gap
end

local function park(key, envelope)
  local parked = redis.pcall('RPUSH', prefix .. 'parked:' .. key, envelope)
  if type(parked) == 'table' then return false end
  redis.call('HINCRBY', prefix .. 'parked', key, 1)
  redis.call('HINCRBY', prefix .. 'parked', ' ', 1)
  count(ARGV[8], 'parked', 1)
  return true
end

-- Whether a job with this key may have a place: not before those that wait for one.
local function take_place(key)
  if redis.pcall('LPOP', prefix .. 'parked:' .. key, 0) then return false end
  if redis.call('HINCRBY', prefix .. 'places', key, 1) <= places_max then return true end
  redis.call('HINCRBY', prefix .. 'places', key, -1)
  return false
end

local function spare(first) return named > 0 and first + CLAIM_MAX + named or 0 end

local function admit(record, enveloped, first)
  if source == '' then return record, enveloped end
  local id, attempts, crashes, first_seen, notes, payload = nil, '0', '0', string.format('%d', now), '', record
  if enveloped then
    local begins
    id, attempts, crashes, first_seen, notes, begins = string.match(record, HEADER)
    -- No envelope, or one that has its place.
    if not id or string.find(notes, ' !key=', 1, true) then return record, true end
    payload = string.sub(record, begins)
  end
  local key = key_of(notes, payload)
  if not key then return record, enveloped end
  if not id then
    id = ARGV[1] .. string.format('-%d', first + CLAIM_MAX + named)
    named = named + 1
  end
  local function envelope(notes)
    return string.format('1 %s %s %s %s%s\n', id, attempts, crashes, first_seen, notes) .. payload
  end
  if key_gap > 0 then
    local paid
    notes, paid = string.gsub(notes, ' !rated=1', '')
    local start = paid > 0 and 0 or reserve(key)
    if start > now_us then
      redis.call('ZADD', KEYS[3], math.ceil(start / 1000), envelope(notes .. ' !rated=1'))
      return count(ARGV[8], 'throttled', 1)
    end
    if paid > 0 then record = envelope(notes) end
  end
  if places_max == 0 then return record, enveloped end
  local keyed = envelope(notes .. ' !key=' .. key)
  if take_place(key) then return keyed, true end
  if not park(key, keyed) then return record, enveloped end
end

local function conclude(claimed, wanted)
  local full_then = full_at and full_at + claimed * gap
  if full_then and claimed > 0 then bucket(rate, full_then) end
  if claimed == wanted and cut_by_rate then return 1, math.ceil((full_then + gap - burst * gap) / 1000) end
  if claimed == wanted and cut_by_fleet then
    redis.call('GET', vacant) -- A read: its next change is reported.
    return 1
  end
  -- Room that this host has no use for.
  if fleet > 0 and claimed == wanted and busy + claimed < fleet then
    redis.call('SET', vacant, now, 'PX', 60000)
  end
end
