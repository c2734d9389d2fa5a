-- Renew: a live host renews its lease, and those of its former ids. A lease that has ended is renewed if the host is
-- still registered. So is a lease that is missing among the hosts while the key about its host exists: a host that
-- takes back another host's jobs deletes both.
--
-- KEYS   1 hosts  2 the last contact
-- ARGV   1 prefix of the key about a host  2 lease in ms  3… host ids
-- Reply  for each: 1 renewed, 2 renewed after it had ended, 0 not registered: other hosts have its jobs now
--
-- hosts -> hosts, with a lease from now
local lease = tonumber(ARGV[2])
local refused = refusal('ZSCORE', KEYS[1], 'ZADD', KEYS[1])
if refused then return refused end
contact(KEYS[1], KEYS[2], ARGV[1], lease)
local answers = {}
for i = 3, #ARGV do
  local ends, about = redis.call('ZSCORE', KEYS[1], ARGV[i]), ARGV[1] .. ARGV[i]
  answers[#answers + 1] = 0
  if ends or redis.call('EXISTS', about) == 1 then
    redis.call('ZADD', KEYS[1], now + lease, ARGV[i])
    redis.pcall('HDEL', about, 'spared')
    answers[#answers] = ends and tonumber(ends) > now and 1 or 2
  end
end
return answers
