-- Expired: tells which hosts let their lease end, the longest dead first. Changes nothing.
--
-- KEYS   1 hosts
-- ARGV   1 most hosts
-- Reply  {host, …}
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
