-- Commit: ends jobs that completed and makes their effects visible, one job after the other. Each one takes
-- place as a whole or not at all: nothing that can fail is left to do when its first write is made.
--
-- KEYS   1 inflight of the host  2 stats; none of them for changes that belong to no job
-- ARGV   1 prefix of the queue's unique keys  2… the jobs. For each: its field ('' for none; with blanks between them
--        for several that one call has completed, which count as one job here), how many arguments follow for it; its assumptions; 'popped', a key of records, a field, a list for each entry it popped; its
--        writes. See `assume` and `write`.
-- Reply  {0, which job, what became of it, key, …} without those that are done: 'late' its record was gone
--        (all of them were), 'parted' some of several were: these fields, with blanks between,
--        'conflict' an assumption about the key does not hold; 'type', 'integer', 'range', 'permission': a write
--        can never take place. Of all these nothing was changed. {1, key} of a wrong type, nothing at all was.
--
-- inflight -> gone; its unique key is let go, what it popped is gone, what it wrote and pushed is there
local inflight, stats = KEYS[1], KEYS[2]
local wrong = inflight and wrong_type(inflight, 'hash', stats, 'hash')
if wrong then return {1, wrong} end

local refused = inflight and refusal('HGET', inflight, 'HEXISTS', inflight, 'HDEL', inflight)
if refused then return refused end

-- A user who may write to a key without a name may write to every key: no pattern but "all keys" covers that.
local unrestricted = true
for _, command in ipairs(WRITES) do
  unrestricted = unrestricted and redis.acl_check_cmd(command, '', '', '')
end
local forbidden
local function ask(command, key, ...)
  if not redis.acl_check_cmd(command, key, ...) then forbidden = forbidden or key end
  return 1
end

-- What speaks against the job whose arguments these are, and about which key; or nil, where its popped entries
-- stand, where its writes begin.
local function against(at, last, own)
  local entries, verdict, key = assume(at)
  if verdict then return verdict, key end
  local writes = entries
  while argv[writes] == 'popped' do
    local found = try('HEXISTS', argv[writes + 1], argv[writes + 2])
    if found ~= 1 then return denied(found) and 'permission' or 'conflict', argv[writes + 3] end
    writes = writes + 4
  end
  verdict, key = check(writes, last, own)
  if verdict then return verdict, key end
  if not unrestricted then
    forbidden = nil
    for entry = entries, writes - 1, 4 do ask('HDEL', argv[entry + 1], argv[entry + 2]) end
    apply(ask, writes, last)
    known = {} -- Nothing was written yet.
    if forbidden then return 'permission', forbidden end
  end
  return nil, entries, writes
end

-- Records which unique key the job of this record has: unique key -> its owners among the jobs that end here.
local function note_unique(own, record)
  local owner, unique = unique_of(argv[1], record)
  if not owner then return end
  own[unique] = own[unique] or {}
  own[unique][owner] = true
end

-- Several fields: each, the unique keys of their jobs, the records of those that have a header, whether all are there,
-- which are not.
local function look_at(several)
  local fields, own, records, gone = {}, {}, {}, {}
  for field in string.gmatch(several, '[^ ]+') do
    fields[#fields + 1] = field
    if string.byte(field) == 101 then
      local record = call('HGET', inflight, field)
      if record then
        records[#records + 1] = record
        note_unique(own, record)
      else
        gone[#gone + 1] = field
      end
    elseif call('HEXISTS', inflight, field) == 0 then
      gone[#gone + 1] = field
    end
  end
  return fields, own, records, #gone == 0, gone
end

-- Most of what is taken to be absent is: one look at all of it.
local absent, from = {}, 2
while from <= #argv do
  local last = from + 1 + argv[from + 1]
  look_ahead(from + 2, last, absent)
  from = last + 1
end
if #absent > 1 and try('EXISTS', unpack(absent)) == 0 then
  for _, key in ipairs(absent) do fresh[key] = true end
end

local reply, nth = {0}, 0
local done, late, conflicts, effects = 0, 0, 0, 0
local at, finish = 2, #argv
while at <= finish do
  local field, first = argv[at], at + 2
  local last = at + 1 + argv[at + 1]
  local several = string.find(field, ' ', 1, true)
  local owned, verdict, key, writes = true, nil, nil, nil
  local fields, own, records, gone
  if several then
    fields, own, records, owned, gone = look_at(field)
  elseif string.byte(field) == 101 then -- 101 is "e".
    local record = call('HGET', inflight, field)
    owned = record
    if record then own, records = {}, {record} end
    if record then note_unique(own, record) end
  end
  if owned then verdict, key, writes = against(first, last, own) end
  if field ~= '' and owned then
    -- The fence, and the first write. Several were looked at just now.
    if not several then
      owned = call(verdict and 'HEXISTS' or 'HDEL', inflight, field) == 1
    elseif not verdict then
      call('HDEL', inflight, unpack(fields))
    end
  end
  if not owned then
    verdict, key = 'late', ''
    if several and #gone < #fields then verdict, key = 'parted', table.concat(gone, ' ') end
    late = late + (several and #gone or 1)
  elseif verdict then
    if verdict == 'conflict' then conflicts = conflicts + 1 end
  else
    for unique, owners in pairs(own or {}) do
      if owners[try('GET', unique) or ''] then try('DEL', unique) end
    end
    for entry = key, writes - 1, 4 do
      call('HDEL', argv[entry + 1], argv[entry + 2])
      forget_list(argv[entry + 1], argv[entry + 3])
      effects = effects + 1
    end
    effects = effects + apply(call, writes, last, unrestricted)
    for _, record in ipairs(records or {}) do leave_key(stats, record) end
    done = done + (several and #fields or 1)
  end
  if verdict then
    local size = #reply
    reply[size + 1], reply[size + 2], reply[size + 3] = nth, verdict, key
  end
  nth, at = nth + 1, last + 1
end
settle_all()

if stats then
  count(stats, 'completed', done)
  count(stats, 'commits', done)
  count(stats, 'effects', effects)
  count(stats, 'late', late)
  count(stats, 'conflicts', conflicts)
end
return reply
