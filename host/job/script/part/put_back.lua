-- Part: put_back(inflight, field, list) -> the length of a popped entry that is back at the end of the list where it
-- was taken; nil if its record is gone. It is pushed before the record goes: a user who may not push loses nothing.
-- A user that may not delete records fails before that. Otherwise the entry would go back repeatedly.
local function put_back(inflight, field, list)
  local entry = redis.call('HGET', inflight, field)
  if not entry then return end
  redis.call('HDEL', inflight, '')
  redis.call(string.byte(field) == 102 and 'LPUSH' or 'RPUSH', list, entry) -- 102 is "f".
  redis.call('HDEL', inflight, field)
  return #entry
end
