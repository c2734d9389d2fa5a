-- Part, needs `now`, `count`, `record`, `refusal`, `envelope`, `place`, `utf8`, `pointer`: what the limits of a queue let through.
-- KEYS   5 vacant, which is changed when the fleet has room again
-- ARGV   17 most runs in the fleet; microseconds between two starts, how many may be saved up; most runs of one key;
--        the same two for jobs of one key. 0: no limit
--        18 where a key is: `header:<name>`, or a JSON pointer into the payload; empty: nowhere
-- looks_max                            jobs that a claim reads, whether it claims them or not
-- work_max                             bytes of these jobs; the first one is read whatever its size
-- is_owed()                            whether parked jobs get their slots from the next claim
-- weary()                              whether a claim has parsed so much of payloads that it must end
-- limits_refused()                     the error if this user may not delay or park jobs
-- allow(wanted)                        how many may be claimed now; nil and a key that is of a wrong type
-- admit(record, enveloped, first)      the record of a job that may run, and whether it is an envelope; nothing if the
--                                      job was parked or delayed; nil and the reason if it can neither run nor wait
-- spare(first)                         0, or the least sequence number after those that were used for names of jobs:
--                                      they begin where a claim's own, from `first` on, must have ended
-- look_by(due)                          sets when the next claim reads the delayed jobs; the first is due then
-- conclude(claimed, wanted)            after the claim of as many as were allowed, or fewer: 1 if only a limit ended it,
--                                      and when it lets through more, in ms, if that is known
-- A rate is a bucket that fills with time: `rate` holds the moment at which it will be full again, in microseconds. A
-- moment further away than a bucket can be was written before Redis' clock was set back: then the bucket is empty.
-- A job first takes a slot of its key, or waits for one; then it pays for its start. So a job that is delayed by its
-- rate keeps its slot, and the jobs of its key behind it wait. It has the note `!rated=1`, or `!rated=0` if its start was
-- given out while Redis' clock was ahead: then the job is due now, and takes a new start from the bucket.
local looks_max = 256
local work_max = 1048576
local STEPS_MAX = 16384
local LONG_KEY = 64
local UNREADABLE_KEY = '(unreadable)'
local HEADER_BYTES_MAX = 16896 -- What a host reads.
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
local busy, named, owed = 0, 0, false

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

-- Jobs in flight in the fleet. Entries that runs have popped are among the records, and are subtracted only if that
-- changes the result. Nil and the key, if one is of a wrong type: jobs were acknowledged before, so this must not
-- fail.
local function in_flight(room)
  local all, hosts = 0, redis.pcall('ZRANGE', ARGV[9], 0, -1)
  if hosts.err then return nil, ARGV[9] end
  for _, host in ipairs(hosts) do
    local length = redis.pcall('HLEN', prefix .. 'inflight:' .. host)
    if type(length) == 'table' then return nil, prefix .. 'inflight:' .. host end
    all = all + length
  end
  if all + room <= fleet then return all end
  all = 0
  for _, host in ipairs(hosts) do all = all + #fields_of(prefix .. 'inflight:' .. host) end
  return all
end

-- Makes jobs due that their rate delayed while Redis' clock was ahead: their starts are later than all starts that `reserve`
-- gives out. Each call examines a few of these jobs; each claim begins with another one.
local LATE_LOOKS, LATE_BYTES, LOOK_EVERY_MS = 16, 65536, 60000
local function bring_back()
  local all = redis.call('ZCARD', KEYS[3])
  local late = redis.call('ZCOUNT', KEYS[3], string.format('%.0f', now + (all + 2) * key_gap / 1000), '+inf')
  if late == 0 then return end
  local rank, bytes = all - late + (late > LATE_LOOKS and ARGV[19] * LATE_LOOKS % late or 0), 0
  for rank = rank, math.min(rank + LATE_LOOKS, all) - 1 do
    local record = redis.call('ZRANGE', KEYS[3], rank, rank)[1]
    bytes = bytes + #record
    if string.find(string.match(record, '^[^\n]*'), ' !rated=1', 1, true) then
      keep_key(ARGV[8], record) -- An audit may have passed the position of the new record.
      -- The job moves to a lower rank; the jobs behind it keep their ranks.
      add_record(KEYS[3], now, (string.gsub(record, ' !rated=1', ' !rated=0', 1)))
      redis.call('ZREM', KEYS[3], record)
    end
    if bytes > LATE_BYTES then return end
  end
end

local function look_by(due) return due and key_gap > 0 and math.min(due, now + LOOK_EVERY_MS) or due end

local function limits_refused()
  return key_gap > 0 and refusal('ZADD', KEYS[3], 'ZREM', KEYS[3]) or places_max > 0 and refusal('HINCRBY', prefix .. 'parked')
end

local function allow(wanted)
  local claims = wanted > 0
  if fleet > 0 then
    local held = redis.pcall('GETEX', vacant)
    if type(held) == 'table' and held.err then return nil, vacant end
    local running, spoiled = in_flight(wanted)
    if spoiled then return nil, spoiled end
    busy = running
    cut_by_fleet = fleet - busy < wanted
    wanted = math.max(0, math.min(wanted, fleet - busy))
  end
  if gap > 0 and wanted > 0 then
    full_at = bucket(rate)
    if not full_at then return nil, rate end
    if full_at > now_us + burst * gap then
      full_at = now_us + burst * gap
      bucket(rate, full_at) -- Without this the moment would be cut again at each claim, and the bucket would never fill.
    end
    local tokens = math.floor(burst - (full_at - now_us) / gap + 1e-6)
    cut_by_rate = tokens < wanted
    wanted = math.max(0, math.min(wanted, tokens))
  end
  if places_max > 0 then
    local places = prefix .. 'places'
    local held = redis.pcall('HINCRBY', places, ' ', 0)
    -- Two blanks are not a key of any job; the empty text may be one.
    if type(redis.pcall('HDEL', prefix .. 'parked', '  ')) == 'table' then return nil, prefix .. 'parked' end
    -- A text instead of the number does not count as a wrong type: the script overwrites it.
    if held ~= places_max and type(redis.pcall('HSET', places, ' ', places_max)) == 'table' then return nil, places end
    owed = hand_on_owed(ARGV[8])
  end
  if claims and key_gap > 0 then bring_back() end
  return wanted
end

local function escape(text)
  return (string.gsub(text, '[^!-$&-<>-~]', function(byte) return string.format('%%%02x', string.byte(byte)) end))
end

local header = string.match(source, '^header:(.*)$')
local header_pattern = header and ' ' .. string.gsub(header, '%W', '%%%0') .. '=([^ ]*)'
local words = pointer(source)
local function key_of(notes, record, begins)
  local key
  if header then
    key = string.match(notes, header_pattern)
  else
    key = value_at(record, begins, words)
    if key == UNREADABLE then
      count(ARGV[8], 'unreadable', 1)
      return UNREADABLE_KEY
    end
    -- Hosts read headers as UTF-8.
    key = key and (is_utf8(key) and escape(key) or redis.sha1hex(key))
  end
  if key and #key > LONG_KEY then return redis.sha1hex(key) end
  return key
end

-- Takes the next start from the bucket of a key, which may be later: returns it in microseconds. `again`: Redis' clock was
-- ahead when the job got its former start.
local function reserve(key, again)
  local bucket_key = rate .. ':' .. key
  local full = bucket(bucket_key)
  if not full then return now_us end
  if full > now_us + key_burst * key_gap then
    -- At most as many starts are reserved ahead as jobs are delayed.
    local most = now_us + (key_burst + (tonumber(redis.pcall('ZCARD', KEYS[3])) or 0)) * key_gap
    if full > most then full = again and now_us + key_burst * key_gap or most end
  end
  bucket(bucket_key, full + key_gap)
  return full + key_gap - key_burst * key_gap
end

local function park(key, envelope)
  local parked = redis.pcall('RPUSH', prefix .. 'parked:' .. key, envelope)
  if type(parked) == 'table' then return false end
  redis.pcall('HINCRBY', prefix .. 'parked', key, 1)
  redis.pcall('HINCRBY', prefix .. 'parked', ' ', 1)
  count(ARGV[8], 'parked', 1)
  return true
end

-- Whether a job with this key may have a place: not before those that wait for one.
local function take_place(key)
  if redis.pcall('LPOP', prefix .. 'parked:' .. key, 0) then return false end
  local taken = redis.pcall('HINCRBY', prefix .. 'places', key, 1)
  -- A number that was changed to text by hand limits nothing.
  if type(taken) ~= 'number' or taken <= places_max then return true end
  redis.call('HINCRBY', prefix .. 'places', key, -1)
  return false
end

local function is_owed() return owed end

local function spare(first) return named > 0 and first + CLAIM_MAX + named or 0 end

local function weary() return read_steps() >= STEPS_MAX end

local function admit(record, enveloped, first)
  if source == '' then return record, enveloped end
  local id, attempts, crashes, first_seen, notes, begins = nil, '0', '0', string.format('%d', now), '', 1
  local key
  if enveloped then
    -- Hosts do not take this for an envelope: it has no key.
    if (string.find(record, '\n', 1, true) or HEADER_BYTES_MAX + 1) > HEADER_BYTES_MAX then return record, true end
    id, attempts, crashes, first_seen, notes, begins = string.match(record, HEADER)
    if not id then return record, true end
    key = string.match(notes, ' !key=([^ ]*)')
  end
  local has_place = key
  if has_place and key_gap == 0 then return record, true end
  key = key or key_of(notes, record, begins)
  if not key then return record, enveloped end
  if not id then
    id = ARGV[1] .. string.format('-%d', first + CLAIM_MAX + named)
    named = named + 1
  end
  local function line(notes) return string.format('1 %s %s %s %s%s\n', id, attempts, crashes, first_seen, notes) end
  local function envelope(notes) return line(notes) .. string.sub(record, begins) end
  local unpaid, paid = string.gsub(notes, ' !rated=[01]', '')
  local again = string.find(notes, ' !rated=0', 1, true)
  local note = places_max > 0 and not has_place and ' !key=' .. key or ''
  if #line(unpaid .. note .. ' !rated=1') > HEADER_BYTES_MAX then
    return nil, 'its headers leave no room for the notes that the limits of the queue need'
  end
  if note ~= '' and not take_place(key) then
    if park(key, envelope(notes .. note)) then return end
    return record, enveloped
  end
  local start = key_gap > 0 and (paid == 0 or again) and reserve(key, again) or now_us
  if start > now_us then
    -- An audit may have counted the delayed jobs already.
    if has_place then keep_key(ARGV[8], record) end
    -- Not rounded, so that jobs that start in the same millisecond keep their order.
    add_record(KEYS[3], start / 1000, envelope(unpaid .. note .. ' !rated=1'))
    return count(ARGV[8], 'throttled', 1)
  end
  if note == '' and paid == 0 then return record, enveloped end
  return envelope(unpaid .. note), true
end

local function conclude(claimed, wanted)
  local full_then = full_at and full_at + claimed * gap
  if full_then and claimed > 0 then bucket(rate, full_then) end
  if claimed == wanted and cut_by_rate then return 1, math.ceil((full_then + gap - burst * gap) / 1000) end
  if claimed == wanted and cut_by_fleet then
    redis.pcall('GET', vacant) -- A read, so that Redis reports the key's next change.
    return 1
  end
  -- Room that this host has no use for.
  if fleet > 0 and claimed == wanted and busy + claimed < fleet then
    redis.pcall('SET', vacant, now, 'PX', 60000)
  end
end
