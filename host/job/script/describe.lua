-- Describe: a registered host tells anew what it serves.
--
-- KEYS   1 hosts  2 queues  3 the key about the host
-- ARGV   1 host  2 queues as JSON  3 plugins as JSON  4 version  5 process id  6 '1' if it serves the fleet
--        7 origin: machine and file of the seat  8… queues
-- Reply  1 written, 0 the host is not registered, or the key that is of a wrong type
local wrong = wrong_type(KEYS[1], 'zset', KEYS[2], 'set', KEYS[3], 'hash')
if wrong then return wrong end
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 0 end
local refused = refusal('SADD', KEYS[2])
if refused then return refused end
redis.call('HSET', KEYS[3], 'queues', ARGV[2], 'plugins', ARGV[3], 'version', ARGV[4], 'pid', ARGV[5],
  'fleet', ARGV[6], 'origin', ARGV[7])
for i = 8, #ARGV do redis.call('SADD', KEYS[2], ARGV[i]) end
return 1
