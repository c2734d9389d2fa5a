-- Part: a hash of `inflight` holds jobs, `<seq>` or `e<seq>`, and entries that runs have popped, `f<n>` or `b<n>`.
-- fields_of(inflight) -> the fields of jobs, the fields of popped entries; in no order.
-- by_number(fields, backwards) puts them in the order of their numbers.
-- seq_of(field) -> the number in a field, 0 if it is none of ours.
local function seq_of(field) return tonumber(string.match(field, '^[efb]?(%d+)$')) or 0 end

local function fields_of(inflight)
  local jobs, popped = {}, {}
  for _, field in ipairs(redis.call('HKEYS', inflight)) do
    local some = string.find(field, '^[fb]%d+$') and popped or jobs
    some[#some + 1] = field
  end
  return jobs, popped
end

local function by_number(fields, backwards)
  table.sort(fields, function(a, b)
    if backwards then a, b = b, a end
    return seq_of(a) < seq_of(b)
  end)
  return fields
end
