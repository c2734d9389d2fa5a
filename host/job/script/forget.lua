-- Forget: ends the registration of a host whose jobs were all reaped.
--
-- KEYS   1 hosts  2 the key about the host  3… where it could have records
-- ARGV   1 host  2 "1": by force, its lease does not matter  3… keys to delete with the last host
-- Reply  1 forgotten (or was not registered), 0 the host lives, or has records
--
-- hosts -> gone
local lease = redis.call('ZSCORE', KEYS[1], ARGV[1])
if ARGV[2] ~= '1' and lease and tonumber(lease) > now then return 0 end
for i = 3, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 1 then return 0 end
end
local refused = refusal('DEL', KEYS[2], 'EXISTS', KEYS[1])
if refused then return refused end
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('DEL', KEYS[2])
if redis.call('EXISTS', KEYS[1]) == 0 then
  for i = 3, #ARGV do redis.pcall('DEL', ARGV[i]) end
end
return 1
