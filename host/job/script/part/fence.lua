-- Part, needs `count`: take_record(inflight, stats, field) -> the record, taken away from the host; nil if it is
-- gone, for then the run no longer owns its job. Whatever ends a run passes here before anything else changes.
local function take_record(inflight, stats, field)
  local record = redis.call('HGET', inflight, field)
  if not record then return count(stats, 'late', 1) end
  redis.call('HDEL', inflight, field)
  return record
end
