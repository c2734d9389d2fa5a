#!lua flags=no-writes
-- Reads several strings, unless they are together too long to be fetched.
-- KEYS     the keys
-- ARGV[1]  most bytes together
-- Reply    array: value or nil for each key; integer: the length reached, which is more
-- Before → after: nothing changes. A key of another type counts as absent.
local left = tonumber(ARGV[1])
local total = 0
for _, key in ipairs(KEYS) do
  local length = redis.pcall('STRLEN', key)
  if type(length) == 'number' then total = total + length end
  if total > left then return total end
end
return redis.call('MGET', unpack(KEYS))
