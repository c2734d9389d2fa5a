-- Register: begins the life of a host.
--
-- KEYS   1 hosts  2 queues
-- ARGV   1 name and seat of the host  2 lease in ms  3 prefix of the key about a host
--        4 queues as JSON  5 plugins as JSON  6 version  7 process id  8 '1' if it serves the fleet
--        9… queues
-- Reply  the host's id; or {key} that is of a wrong type
--
-- nothing -> hosts, with a lease from now; its epoch is Redis time, or later if another life has that one
local wrong = wrong_type(KEYS[1], 'zset', KEYS[2], 'set')
if wrong then return {wrong} end
local epoch = now
local id
repeat
  id = string.format('%s.%012x', ARGV[1], epoch)
  epoch = epoch + 1
until not redis.call('ZSCORE', KEYS[1], id) and redis.call('EXISTS', ARGV[3] .. id) == 0
redis.call('ZADD', KEYS[1], now + ARGV[2], id)
redis.call('HSET', ARGV[3] .. id, 'queues', ARGV[4], 'plugins', ARGV[5], 'version', ARGV[6], 'pid', ARGV[7],
  'fleet', ARGV[8], 'started_ms', string.format('%d', now))
for i = 9, #ARGV do redis.call('SADD', KEYS[2], ARGV[i]) end
return id
