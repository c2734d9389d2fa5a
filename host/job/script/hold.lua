-- Hold: an operator holds a queue, a plugin or a host. Nothing is claimed there from now on.
--
-- KEYS   1 paused of the queue, or held
-- ARGV   1 which plugin or host of held; empty for a queue
-- Reply  1 held, 0 it was held already, or the key that is of a wrong type
if ARGV[1] == '' then return redis.call('SET', KEYS[1], 1, 'NX') and 1 or 0 end
local wrong = wrong_type(KEYS[1], 'hash')
if wrong then return wrong end
return redis.call('HSETNX', KEYS[1], ARGV[1], string.format('%d', now))
