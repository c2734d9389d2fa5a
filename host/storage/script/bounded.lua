#!lua flags=no-writes,allow-oom
-- Bounded: reads a collection whose size others control. Redis measures an element that is too long and does not send it.
--
-- KEYS   1 the collection
-- ARGV   1 'hash', 'names' (of a hash), 'fields' (some of a hash), 'list', 'set' or 'zset'  2 most elements
--        3 longest element in bytes; a name counts for itself, and so does its value  4… fields
-- Reply  {number of elements} if there are too many; else {number of elements, element, …}, of a hash {…, name, value, …}.
--        An element that is too long is replaced by its length, a missing field by nil. Of a list, the first elements,
--        however many there are.
local key, kind, most, longest = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local size = {hash = 'HLEN', names = 'HLEN', list = 'LLEN', set = 'SCARD', zset = 'ZCARD'}
local count = size[kind] and redis.call(size[kind], key) or #ARGV - 3
local reply = {count}
if kind ~= 'list' and count > most then return reply end

local function add(element)
  reply[#reply + 1] = element and #element > longest and #element or element
end

local function add_value(field)
  local length = redis.call('HSTRLEN', key, field)
  reply[#reply + 1] = length > longest and length or redis.call('HGET', key, field)
end

if kind == 'fields' then
  for i = 4, #ARGV do add_value(ARGV[i]) end
elseif kind == 'hash' then
  for _, name in ipairs(redis.call('HKEYS', key)) do
    add(name)
    add_value(name)
  end
elseif kind == 'names' then
  for _, name in ipairs(redis.call('HKEYS', key)) do add(name) end
elseif kind == 'list' then
  for i = 0, math.min(count, most) - 1 do add(redis.call('LINDEX', key, i)) end
elseif kind == 'set' then
  for _, member in ipairs(redis.call('SMEMBERS', key)) do add(member) end
else
  for _, member in ipairs(redis.call('ZRANGE', key, 0, -1)) do add(member) end
end
return reply
