-- Part, needs `stream`, `now`, `sum_fits`, `denied`, `gather`, `put_job`: the changes a run left.
-- ARGV   of a write: what it does, the key, and
--        set, set_keep, set_for   value; the last one also ms from now. The others stay for ever, or as long as
--                                 what was there
--        add                      how much
--        append                   an entry, for the right of a list
--        push                     '1' if what was there goes first, entries for the left, entries for the right,
--                                 then these
--        pop                      entries off the left, entries off the right
--        expire                   'never' or ms from now or '0', then the key goes
--        stay                     the same, as a part of the write before it
--        job                      delay in ms or '' for none, id, notes as they stand in a header, payload, unique
--                                 key or '' for none, how long that is kept in ms; the key is ready or delayed
-- check(at, last, own) -> what speaks against the first of these writes that cannot be made, about which
-- key; nil if all can. A unique key may be held by the job that ends here.
-- apply(call, at, last, gathers) carries them out with `call` -> how many there were. After `check` it cannot fail.
-- If it gathers, some are held back: `settle_all` ends it.
local WRITES = {'SET', 'UNLINK', 'PERSIST', 'PEXPIRE', 'INCRBY', 'LPOP', 'RPOP', 'LPUSH', 'RPUSH', 'ZADD', 'HDEL'}
-- Arguments of those that cannot fail.
local UNCHECKED = {set = 3, set_keep = 3, set_for = 4, expire = 3, stay = 3}

local function check_unique(unique, own)
  settle(unique)
  local holder = try('GET', unique)
  if denied(holder) then return 'permission', unique end
  if holder and not (own and own[unique] and own[unique][holder]) then return 'conflict', unique end
end

local function check(at, last, own)
  while at <= last do
    local does, key = argv[at], argv[at + 1]
    local answer, verdict
    local size = UNCHECKED[does]
    if size then
      at = at + size
    elseif does == 'add' then
      local delta = argv[at + 2]
      at = at + 3
      if type(known[key]) ~= 'number' or #delta > 15 then
        settle(key)
        -- An integer has 20 characters at most; one more shows a longer text.
        answer = try('GETRANGE', key, '0', '20')
        if type(answer) == 'string' and (answer ~= '' or try('EXISTS', key) ~= 0) then
          verdict = sum_fits(answer, delta)
        end
      end
    elseif does == 'append' then
      at = at + 3
      if known[key] ~= 'list' then answer = try('LLEN', key) end
    elseif does == 'push' then
      if known[key] ~= 'list' and argv[at + 2] ~= '1' then answer = try('LLEN', key) end
      at = at + 5 + argv[at + 3] + argv[at + 4]
    elseif does == 'pop' then
      if known[key] ~= 'list' then answer = try('LLEN', key) end
      at = at + 4
    else
      local unique = argv[at + 6]
      answer = try(argv[at + 2] == '' and 'LLEN' or 'ZCARD', key)
      at = at + 8
      if unique ~= '' and type(answer) == 'number' then
        local against, holder = check_unique(unique, own)
        if against then return against, holder end
      end
    end
    if type(answer) == 'table' then verdict = denied(answer) and 'permission' or 'type' end
    if verdict then return verdict, key end
  end
end

-- Redis frees a list outside its main thread, if it can: `SET` would free all entries in that thread.
local function make_way(call, key)
  local length = try('STRLEN', key)
  if type(length) == 'table' and string.find(length.err, 'WRONGTYPE', 1, true) then call('UNLINK', key) end
end

local function push(call, command, key, from, count)
  local last = from + count - 1
  -- At some thousands `unpack` fails.
  for first = from, last, 1000 do call(command, key, unpack(argv, first, math.min(first + 999, last))) end
  return last + 1
end

local function push_job(call, at)
  local key, unique = argv[at + 1], argv[at + 6]
  fresh[unique] = nil
  -- `check` found it free. Should the same run have pushed two jobs with one key, the second is a duplicate.
  put_job(key, key, argv[at + 3], argv[at + 4], argv[at + 5], argv[at + 2], 'RPUSH', unique ~= '' and unique, argv[at + 7], call)
end

local function add(call, key, delta, gathers)
  if gathers and type(known[key]) == 'number' and #delta <= 15 and hold_sum(key, tonumber(delta)) then return end
  settle(key)
  local sum = call('INCRBY', key, delta)
  known[key] = is_small(sum) and sum or nil
end

local function append(call, key, entry, gathers)
  if gathers and known[key] == 'list' then return hold_entry(key, entry) end
  call('RPUSH', key, entry)
  known[key] = 'list'
end

local function apply(call, at, last, gathers)
  local made = 0
  while at <= last do
    local does, key, value = argv[at], argv[at + 1], argv[at + 2]
    made = made + 1
    if held[key] and does ~= 'add' and does ~= 'append' then settle(key) end
    if (does == 'set' or does == 'set_for') and not fresh[key] then make_way(call, key) end
    fresh[key] = nil
    if does == 'set' then
      call('SET', key, value)
      known[key] = nil
      at = at + 3
    elseif does == 'add' then
      add(call, key, value, gathers)
      at = at + 3
    elseif does == 'append' then
      append(call, key, value, gathers)
      at = at + 3
    elseif does == 'set_for' then
      call('SET', key, value, 'PX', argv[at + 3])
      known[key] = nil
      at = at + 4
    elseif does == 'set_keep' then
      call('SET', key, value, 'KEEPTTL')
      known[key] = nil
      at = at + 3
    elseif does == 'push' then
      if value == '1' then call('UNLINK', key) end
      local front, back = tonumber(argv[at + 3]), tonumber(argv[at + 4])
      at = push(call, 'LPUSH', key, at + 5, front)
      at = push(call, 'RPUSH', key, at, back)
      known[key] = 'list'
    elseif does == 'pop' then
      if value ~= '0' then call('LPOP', key, value) end
      if argv[at + 3] ~= '0' then call('RPOP', key, argv[at + 3]) end
      at = at + 4
    elseif does == 'job' then
      push_job(call, at)
      at = at + 8
    else
      if does == 'stay' then made = made - 1 end
      if value == 'never' then
        call('PERSIST', key)
      elseif value == '0' then
        call('UNLINK', key)
        known[key] = nil
      else
        call('PEXPIRE', key, value)
      end
      at = at + 3
    end
  end
  return made
end
