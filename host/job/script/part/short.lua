-- Part: short(key, longest, field, …) -> the values of these fields of a hash, in a table; '' for a field that is missing or
-- longer than `longest` bytes. The caller has checked the type of the key.
local function short(key, longest, ...)
  local values = {}
  for i, field in ipairs({...}) do
    local length = redis.call('HSTRLEN', key, field)
    values[i] = length > 0 and length <= longest and redis.call('HGET', key, field) or ''
  end
  return values
end
