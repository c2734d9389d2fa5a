-- Popped: which of these lists a host has records of, among those that its runs popped from. The others are noted no
-- more: nobody needs to look there after its death.
--
-- KEYS   1 the key about the host  2… its records of lists
-- ARGV   the lists, in the same order
-- Reply  {which, …}: their numbers, from 1 on
local left = {}
for i = 2, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 1 then
    left[#left + 1] = i - 1
  else
    redis.pcall('HDEL', KEYS[1], 'pop:' .. ARGV[i - 1])
  end
end
return left
