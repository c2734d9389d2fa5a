-- Part: wrong_type(key, type, key, type, …) -> the first key that exists and is of another type, or nil.
local function wrong_type(...)
  local expected = {...}
  for i = 1, #expected, 2 do
    local found = redis.call('TYPE', expected[i]).ok
    if found ~= 'none' and found ~= expected[i + 1] then return expected[i] end
  end
end
