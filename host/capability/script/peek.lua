#!lua flags=no-writes
-- Reads entries of a list, unless they are together too long to be fetched.
-- KEYS[1]  the list
-- ARGV[1]  index of the first, from the left; a negative one, from the right, for a single entry
-- ARGV[2]  most entries
-- ARGV[3]  most bytes together
-- Reply    array: the entries; integer: the length reached, which is more
-- Before → after: nothing changes. Another type: WRONGTYPE.
local start, count, left = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local entries, total = {}, 0
local step = 4 -- Entries may be as long as a value, so up to 4 MiB are read before the bound on bytes applies.
for first = 0, count - 1, step do
  local last = math.min(first + step, count) - 1
  local some = redis.call('LRANGE', KEYS[1], start + first, start + last)
  for _, entry in ipairs(some) do
    total = total + #entry
    if total > left then return total end
    entries[#entries + 1] = entry
  end
  if #some < step then break end
end
return entries
