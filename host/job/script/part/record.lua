-- Part, needs `now`: makes records distinct.
-- one_of_a_kind() -> text that no other call gets: Redis time in microseconds, and a number. Only the scripts of one
-- MULTI get the same texts: Redis stops its clock there (7.2).
-- add_record(set, score, record, call) adds the record of a job that is not in the sorted set, with `call` or
-- `redis.call`, and returns the record as it was stored.
-- A sorted set holds equal bytes once. So if another job has the same bytes already, the record gets the note `!n`,
-- in place of a former one. Headers that producers and hosts write leave room for it (`SCRIPT_NOTES_BYTES`).
local ADD_TRIES_MAX = 64
local kinds = 0
local function one_of_a_kind()
  kinds = kinds + 1
  return string.format('%d%06d-%d', time[1], time[2], kinds)
end

local function add_record(set, score, record, call)
  local stored = record
  call = call or redis.call
  for _ = 1, ADD_TRIES_MAX do
    if call('ZADD', set, 'NX', score, stored) == 1 then return stored end
    local stop = string.find(record, '\n', 1, true) or #record + 1
    local line = string.gsub(string.sub(record, 1, stop - 1), ' !n=[^ ]*', '')
    -- Scripts of one MULTI have the same time, but a set with more jobs.
    stored = line .. ' !n=' .. one_of_a_kind() .. '.' .. (tonumber(redis.pcall('ZCARD', set)) or 0) .. string.sub(record, stop)
  end
  error('no record of its own for a job in ' .. set)
end
