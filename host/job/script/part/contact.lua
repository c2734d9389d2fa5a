-- Part, needs `now`: contact(hosts, key, prefix, lease) records in `key` that a host has reached Redis, and corrects
-- leases that say nothing about their hosts. `prefix` is that of the keys about hosts, `lease` the length in ms of a
-- lease whose host did not report its own.
--   A lease that ended while no host reached Redis begins again, because its host could not renew it. A host renews
--   after a third of its lease, so two fifths without any contact are too long. At most SPARED_MAX times, until its
--   host renews it.
--   A lease that would last longer than its length begins again: Redis' clock was set back.
local LEASE_MIN, LEASE_MAX, SPARED_MAX = 500, 600000, 3
local CONTACT_KEPT, CONTACT_HOSTS_MAX = 3600000, 10000

local function contact(hosts, key, prefix, lease)
  local last = redis.call('ZREVRANGE', hosts, 0, 0, 'WITHSCORES')[2]
  if not last then return end
  local before = tonumber(redis.pcall('GET', key))
  -- If the contact were recorded and the leases not corrected, living hosts would seem dead.
  if not redis.acl_check_cmd('ZADD', hosts) or not redis.acl_check_cmd('ZRANGE', hosts) then return end
  redis.call('SET', key, string.format('%d', now), 'PX', CONTACT_KEPT)
  local gap = before and now - before
  local steady = gap and gap >= 0 and gap * 5 <= LEASE_MIN * 2
  if steady and tonumber(last) <= now + LEASE_MAX then return end
  local rows = redis.call('ZRANGE', hosts, 0, CONTACT_HOSTS_MAX - 1, 'WITHSCORES')
  for i = 1, #rows, 2 do
    local host, ends, about = rows[i], tonumber(rows[i + 1]), prefix .. rows[i]
    local told = redis.pcall('HMGET', about, 'lease_ms', 'spared')
    local length = math.min(tonumber(told[1]) or lease, LEASE_MAX)
    local lived = not before or ends > before
    local unheard = not before or gap * 5 > length * 2
    local spared = tonumber(told[2]) or 0
    if ends > now + length then
      redis.call('ZADD', hosts, now + length, host)
    elseif lived and unheard and ends < now + length and spared < SPARED_MAX then
      redis.call('ZADD', hosts, now + length, host)
      redis.pcall('HINCRBY', about, 'spared', 1)
    end
  end
end
