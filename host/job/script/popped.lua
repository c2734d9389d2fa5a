-- Popped: returns the lists of which a host has records, among those that its runs popped from. The notes of the
-- others are deleted: nobody needs to look there after its death.
--
-- KEYS   1 the key about the host  2… its records of lists
-- ARGV   the lists, in the same order
-- Reply  the numbers of these lists, from 1
local left = {}
for i = 2, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 1 then
    left[#left + 1] = i - 1
  else
    redis.pcall('HDEL', KEYS[1], 'pop:' .. ARGV[i - 1])
  end
end
return left
