-- Take: a run pops an entry. It leaves its list, for a record of the run's host, and stays there until the run is
-- over. The same call again finds the entry it has taken.
--
-- KEYS   1 list  2 inflight of the host  3 hosts  4 the key about the host
-- ARGV   1 host  2 field of the record  3 LPOP or RPOP  4 most bytes
-- Reply  {0, entry}; {1} there is none; {2, its length} it is longer and stays; {3} no living lease; {4, key} of a
--        wrong type. An error, and nothing taken, where this user could not put the entry back.
--
-- the list -> inflight; whoever reaps the host is told to look there
local list, inflight, hosts, about = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local wrong = wrong_type(list, 'list', inflight, 'hash', hosts, 'zset', about, 'hash')
if wrong then return {4, wrong} end
local lease = redis.call('ZSCORE', hosts, ARGV[1])
if not lease or tonumber(lease) <= now then return {3} end
local entry = redis.call('HGET', inflight, ARGV[2])
if entry then return #entry > tonumber(ARGV[4]) and {2, #entry} or {0, entry} end
entry = redis.call('LINDEX', list, ARGV[3] == 'LPOP' and 0 or -1)
if not entry then return {1} end
if #entry > tonumber(ARGV[4]) then return {2, #entry} end
for _, command in ipairs({'LPOP', 'RPOP', 'LPUSH', 'RPUSH'}) do
  if not redis.acl_check_cmd(command, list, '1') then
    return redis.error_reply('NOPERM this user cannot take entries of a list and put them back')
  end
end
local refused = refusal('HSET', inflight, 'HDEL', inflight)
if refused then return refused end
redis.call('HSET', about, 'pop:' .. list, '')
redis.call('HSET', inflight, ARGV[2], entry)
redis.call(ARGV[3], list)
return {0, entry}
