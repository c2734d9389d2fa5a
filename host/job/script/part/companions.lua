-- Part: companions(queue) -> what the keys beside a queue begin with. They share its slot: by its own hash tag, or with
-- the whole name as one. is_other_in_braces(queue) -> whether these would be those of another queue, as those of
-- `{orders}` are those of `orders`.
local function has_hash_tag(queue)
  local tagged = string.find(queue, '{[^}]+}')
  return tagged and string.find(queue, '{', 1, true) == tagged
end

local function companions(queue)
  return (has_hash_tag(queue) and queue or '{' .. queue .. '}') .. ':sandhog:'
end

local function is_other_in_braces(queue)
  local inside = string.match(queue, '^{(.*)}$')
  return inside and has_hash_tag(queue) and not has_hash_tag(inside)
end
