-- Part, needs `count`, `place`: take_record(inflight, stats, field, header) -> the record, taken away from the host; nil
-- if it is gone, for then the run no longer owns its job. Whatever ends a run passes here before anything else changes.
-- A job whose next header says `!key` as well keeps its place among those with its key.
local function take_record(inflight, stats, field, header)
  local record = redis.call('HGET', inflight, field)
  if not record then return count(stats, 'late', 1) end
  redis.call('HDEL', inflight, field)
  if string.byte(field) == 101 then -- 101 is "e".
    if header and string.find(header, ' !key=', 1, true) then keep_key(stats, record) else leave_key(stats, record) end
  end
  return record
end
