-- Part, needs `record`: put_job(ready, delayed, id, notes, payload, delay, does, unique, kept, call) -> 0 and the
-- length of ready; 1 and when it is due; or 2, if a living job has the unique key. `notes` are as in a header, with a
-- space before each; `delay` is in ms, '' for none; `does` is LPUSH or RPUSH; without `unique` the job has no unique
-- key; `call` replaces `redis.call`. The caller has checked all types.
local function put_job(ready, delayed, id, notes, payload, delay, does, unique, kept, call)
  call = call or redis.call
  if unique then
    local own = one_of_a_kind()
    if not call('SET', unique, id .. ' ' .. own, 'NX', 'PX', kept) then return 2 end
    notes = notes .. ' !kept=' .. kept .. ' !own=' .. own
  end
  local envelope = string.format('1 %s 0 0 %d', id, now) .. notes .. '\n' .. payload
  if delay == '' then return 0, call(does, ready, envelope) end
  add_record(delayed, now + delay, envelope, call)
  return 1, now + delay
end
