-- Renew: a living host keeps its lease. One that expired, and that nobody forgot yet, lives again.
--
-- KEYS   1 hosts
-- ARGV   1 host  2 lease in ms
-- Reply  1 renewed, 0 the host is not registered: its jobs are others' now
--
-- hosts -> hosts, with a lease from now
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 0 end
redis.call('ZADD', KEYS[1], 'XX', now + ARGV[2], ARGV[1])
return 1
