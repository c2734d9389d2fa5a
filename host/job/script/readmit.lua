-- Readmit: registers an id that has records in a queue and is not among the hosts. If its host is alive, it renews
-- the lease; if not, its jobs are taken back when the lease ends.
--
-- KEYS   1 hosts  2 the key about the host  3 inflight of the host
-- ARGV   1 host  2 lease in ms  3 queue
-- Reply  1 registered, 0 it was registered already, has no records, or a key is of a wrong type
--
-- nothing -> hosts, with a lease from now
if wrong_type(KEYS[1], 'zset', KEYS[2], 'hash', KEYS[3], 'hash') then return 0 end
if redis.call('EXISTS', KEYS[3]) == 0 or redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 0 end
local refused = refusal('HSET', KEYS[2])
if refused then return refused end
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('HSET', KEYS[2], 'pop:' .. ARGV[3], '')
return 1
