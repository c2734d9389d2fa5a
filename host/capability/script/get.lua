#!lua flags=no-writes
-- Reads one string, unless it is too long to be fetched.
-- KEYS[1]  the key
-- ARGV[1]  most bytes
-- Reply    nil: no such key; bulk: the value; integer: its length, which is more
-- Before → after: nothing changes. Another type: WRONGTYPE.
local length = redis.call('STRLEN', KEYS[1])
if length > tonumber(ARGV[1]) then return length end
return redis.call('GET', KEYS[1])
