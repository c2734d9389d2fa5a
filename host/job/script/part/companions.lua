-- Part: companions(queue) -> what the keys beside a queue begin with. They share its slot: by its own hash tag, or with
-- the whole name as one.
local function companions(queue)
  local tagged = string.find(queue, '{[^}]+}')
  if string.find(queue, '{', 1, true) ~= tagged then tagged = nil end
  return (tagged and queue or '{' .. queue .. '}') .. ':sandhog:'
end
