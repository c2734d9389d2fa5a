#!lua
-- Replaces a string if it is still the expected one.
-- KEYS[1]  the key
-- ARGV[1]  '1': ARGV[2] is the expected value, '0': the key is expected to be absent
-- ARGV[3]  '1': ARGV[4] replaces it, without expiry, '0': it is deleted
-- Reply    1 if it did, else 0
-- Before → after: expected value → replacement. Another type where a value is expected: WRONGTYPE.
if ARGV[1] == '1' then
  if redis.call('STRLEN', KEYS[1]) ~= #ARGV[2] then return 0 end
  if redis.call('GET', KEYS[1]) ~= ARGV[2] then return 0 end
elseif redis.call('EXISTS', KEYS[1]) == 1 then
  return 0
end
if ARGV[3] == '1' then
  redis.call('SET', KEYS[1], ARGV[4])
else
  redis.call('DEL', KEYS[1])
end
return 1
