#!lua flags=no-writes
-- Reads entries from the front of a list, unless they are together too long to be fetched.
-- KEYS[1]  the list
-- ARGV[1]  most entries
-- ARGV[2]  most bytes together
-- Reply    array: the entries; integer: the length reached, which is more
-- Before → after: nothing changes. Another type: WRONGTYPE.
local count, left = tonumber(ARGV[1]), tonumber(ARGV[2])
local entries, total = {}, 0
local step = 16
for first = 0, count - 1, step do
  local last = math.min(first + step, count) - 1
  local some = redis.call('LRANGE', KEYS[1], first, last)
  for _, entry in ipairs(some) do
    total = total + #entry
    if total > left then return total end
    entries[#entries + 1] = entry
  end
  if #some < step then break end
end
return entries
