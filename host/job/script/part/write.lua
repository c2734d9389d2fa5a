-- Part, needs `now`, `sum_fits`, `denied`: the changes a run left.
-- ARGV   of one write, from `at` on: what it does, the key, and
--        set     expiry, value                add     expiry, delta
--        expire  expiry                       push    expiry, '1' if what was there goes first, entries for the
--                                                     left, entries for the right, then these
--        pop     entries off the left, entries off the right
--        job     delay in ms or '' for none, id, notes as they stand in a header, payload, unique key or '' for
--                none, how long that is kept in ms; the key is ready or delayed
--        An expiry is 'keep', 'never' or ms from now; '0': the key goes.
-- check(at, own_id, own_key) -> where the next one begins; and what speaks against this one, about which key. A
-- unique key may be held by the job that ends here.
-- apply(call, at) carries it out with `call` -> where the next one begins. After `check` it cannot fail.
local WRITES = {'SET', 'UNLINK', 'PERSIST', 'PEXPIRE', 'INCRBY', 'LPOP', 'RPOP', 'LPUSH', 'RPUSH', 'ZADD', 'HDEL'}

local function check(at, own_id, own_key)
  local try, argv = redis.pcall, ARGV
  local does, key = argv[at], argv[at + 1]
  if does == 'set' then return at + 4 end
  if does == 'expire' then return at + 3 end
  local after, answer, verdict
  if does == 'add' then
    after = at + 4
    -- An integer has 20 characters at most; one more shows a longer text.
    answer = try('GETRANGE', key, '0', '20')
    if type(answer) == 'string' and (answer ~= '' or try('EXISTS', key) ~= 0) then
      verdict = sum_fits(answer, argv[at + 3])
    end
  elseif does == 'push' then
    after = at + 6 + argv[at + 4] + argv[at + 5]
    if argv[at + 3] ~= '1' then answer = try('LLEN', key) end
  elseif does == 'pop' then
    after = at + 4
    answer = try('LLEN', key)
  else
    after = at + 8
    answer = try(argv[at + 2] == '' and 'LLEN' or 'ZCARD', key)
    local unique = argv[at + 6]
    if unique ~= '' and type(answer) == 'number' then
      local holder = try('GET', unique)
      if denied(holder) then return after, 'permission', unique end
      if holder and not (holder == own_id and unique == own_key) then return after, 'conflict', unique end
    end
  end
  if type(answer) == 'table' then verdict = denied(answer) and 'permission' or 'type' end
  return after, verdict, key
end

local function push(call, command, key, from, count)
  local last = from + count - 1
  -- At some thousands `unpack` fails.
  for first = from, last, 1000 do call(command, key, unpack(ARGV, first, math.min(first + 999, last))) end
  return last + 1
end

local function apply(call, at)
  local argv = ARGV
  local does, key, expiry = argv[at], argv[at + 1], argv[at + 2]
  local after = at + 4
  if does == 'set' then
    if expiry == 'never' then
      call('SET', key, argv[at + 3])
    elseif expiry == 'keep' then
      call('SET', key, argv[at + 3], 'KEEPTTL')
    else
      call('SET', key, argv[at + 3], 'PX', expiry)
    end
    return after
  elseif does == 'add' then
    call('INCRBY', key, argv[at + 3])
  elseif does == 'expire' then
    after = at + 3
  elseif does == 'pop' then
    if expiry ~= '0' then call('LPOP', key, expiry) end
    if argv[at + 3] ~= '0' then call('RPOP', key, argv[at + 3]) end
    return after
  elseif does == 'push' then
    if argv[at + 3] == '1' then call('UNLINK', key) end
    after = push(call, 'LPUSH', key, at + 6, tonumber(argv[at + 4]))
    after = push(call, 'RPUSH', key, after, tonumber(argv[at + 5]))
  else
    local id, unique = argv[at + 3], argv[at + 6]
    -- `check` found it free. Should the same run have pushed two jobs with one key, the second is a duplicate.
    if unique ~= '' and not call('SET', unique, id, 'NX', 'PX', argv[at + 7]) then return at + 8 end
    local envelope = string.format('1 %s 0 0 %d', id, now) .. argv[at + 4] .. '\n' .. argv[at + 5]
    if expiry == '' then call('RPUSH', key, envelope) else call('ZADD', key, now + expiry, envelope) end
    return at + 8
  end
  if expiry == 'keep' then return after end
  if expiry == 'never' then
    call('PERSIST', key)
  elseif expiry == '0' then
    call('UNLINK', key)
  else
    call('PEXPIRE', key, expiry)
  end
  return after
end
