#!lua flags=allow-oom
-- Publish: other programs see the settings of a config reader as a hash, whole or not at all.
--
-- KEYS[1]  the hash
-- ARGV     name, value, name, value, …; none when there are no settings
-- Reply    1 done, 0: the key holds another type and nothing changed
--
-- absent or any hash → exactly these fields, without expiry; no fields → absent
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'none' and kind ~= 'hash' then return 0 end
if #ARGV > 0 and not redis.acl_check_cmd('HSET', KEYS[1]) then
  return redis.error_reply('NOPERM this user may not use `HSET` on the key `' .. KEYS[1] .. '`, and nothing was changed')
end
redis.call('DEL', KEYS[1])
-- `unpack` takes less than 8,000 values at a time.
for first = 1, #ARGV, 4000 do
  redis.call('HSET', KEYS[1], unpack(ARGV, first, math.min(first + 3999, #ARGV)))
end
return 1
