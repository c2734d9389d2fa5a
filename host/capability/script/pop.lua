#!lua flags=allow-oom
-- Takes one entry off a list, unless it is too long to be fetched. (Only frees memory, so it works at the
-- memory limit, as LPOP does.)
-- KEYS[1]  the list
-- ARGV[1]  'front' or 'back'
-- ARGV[2]  most bytes
-- Reply    nil: the list is empty; bulk: the entry; integer: its length, which is more; it stays
-- Before → after: entry at that end → gone. Another type: WRONGTYPE.
local front = ARGV[1] == 'front'
local entry = redis.call('LINDEX', KEYS[1], front and 0 or -1)
if not entry then return false end
if #entry > tonumber(ARGV[2]) then return #entry end
return redis.call(front and 'LPOP' or 'RPOP', KEYS[1])
