-- Keep a component: what was gathered chunk by chunk becomes a component of the depot.
--
-- KEYS   1 the component  2 where it was gathered; none to ask for the component that is there
-- ARGV   1 its bytes  2 bytes of a chunk  3 how long it is kept in ms unless a wanted release has it
-- Reply  1 it is there, 0 it is not, or not whole; or {key} that is of a wrong type
--
-- gathered -> the component; one that is wanted stays without expiry
local wrong = wrong_type(KEYS[1], 'hash')
if wrong then return {wrong} end
local bytes, chunk = tonumber(ARGV[1]), tonumber(ARGV[2])
local kept = redis.call('PTTL', KEYS[1]) == -1
local gathered = KEYS[2] or KEYS[1]
local refused = refusal(kept and 'PERSIST' or 'PEXPIRE', KEYS[1], 'HLEN', gathered, 'HGET', gathered, 'HSTRLEN', gathered)
  or KEYS[2] and not redis.acl_check_cmd('RENAME', KEYS[2], KEYS[1])
  and redis.error_reply('NOPERM this user may not use `RENAME` on the key `' .. KEYS[2] .. '`, and nothing was changed')
if refused then return refused end
if KEYS[2] then
  redis.call('HSET', KEYS[2], 'bytes', ARGV[1])
  if not whole(KEYS[2], bytes, chunk) then
    redis.call('DEL', KEYS[2])
    return 0
  end
  redis.call('RENAME', KEYS[2], KEYS[1])
elseif not whole(KEYS[1], bytes, chunk) then
  return 0
end
if kept then redis.call('PERSIST', KEYS[1]) else redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return 1
