-- Part: put_job(ready, delayed, id, notes, payload, delay, does, unique, kept) -> 0 and the length of ready; 1 and when
-- it is due; or 2, if a living job has the unique key. `notes` as they stand in a header, with a space before each;
-- `delay` in ms, '' for none; `does` LPUSH or RPUSH; without `unique` there is no unique key. All types were checked.
local function put_job(ready, delayed, id, notes, payload, delay, does, unique, kept)
  if unique and not redis.call('SET', unique, id, 'NX', 'PX', kept) then return 2 end
  local envelope = string.format('1 %s 0 0 %d', id, now) .. notes .. '\n' .. payload
  if delay == '' then return 0, redis.call(does, ready, envelope) end
  redis.call('ZADD', delayed, now + delay, envelope)
  return 1, now + delay
end
