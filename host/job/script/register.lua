-- Register: begins the life of a host, or continues it under a new id. Its former ids stay registered as long as it
-- may have records under them.
--
-- KEYS   1 hosts  2 queues  3 the last contact
-- ARGV   1 name and seat of the host  2 lease in ms  3 prefix of the key about a host
--        4 queues as JSON  5 plugins as JSON  6 version  7 process id  8 '1' if it serves the fleet  9 origin: machine
--        and file of the seat  10 how many former ids there are; they come next, then the queues
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
local refused = refusal('HSET', ARGV[3] .. id, 'ZREVRANGE', KEYS[1], 'ZRANGE', KEYS[1], 'SET', KEYS[3],
  'SADD', KEYS[2])
local formers = 10 + ARGV[10]
for i = 11, formers do
  local about = ARGV[3] .. ARGV[i]
  refused = refused or refusal('TYPE', about, 'HSETNX', about, 'HSET', about)
end
if refused then return refused end
redis.call('ZADD', KEYS[1], now + ARGV[2], id)
redis.call('HSET', ARGV[3] .. id, 'queues', ARGV[4], 'plugins', ARGV[5], 'version', ARGV[6], 'pid', ARGV[7],
  'fleet', ARGV[8], 'origin', ARGV[9], 'lease_ms', ARGV[2], 'started_ms', string.format('%d', now))
contact(KEYS[1], KEYS[3], ARGV[3], tonumber(ARGV[2]))
for i = 11, formers do
  local about = ARGV[3] .. ARGV[i]
  if not wrong_type(about, 'hash') then
    redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[i])
    redis.call('HSETNX', about, 'queues', ARGV[4])
    redis.call('HSET', about, 'pid', ARGV[7], 'origin', ARGV[9], 'lease_ms', ARGV[2], 'successor', id)
  end
end
for i = formers + 1, #ARGV do redis.call('SADD', KEYS[2], ARGV[i]) end
return id
