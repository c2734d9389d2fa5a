-- Cancel: an operator takes running jobs away from their host, and leaves it a cancellation notice. A run whose
-- record is gone no longer owns its job: even if the notice is lost, its end has no effect.
--
-- KEYS   1 inflight of the host  2 stats  3 the host's cancellation notice
-- ARGV   1 prefix of unique keys  2 how long the notice is kept in ms  3… fields
-- Reply  {0, cancelled, {their fields}}; {1, key} of a wrong type
--
-- inflight -> gone; the unique key is released, and the slot of its key
local inflight, stats, word = KEYS[1], KEYS[2], KEYS[3]
local wrong = wrong_type(inflight, 'hash', stats, 'hash', word, 'string')
if wrong then return {1, wrong} end
local refused = refusal('SET', word)
if refused then return refused end
local gone, fields = 0, {}
for i = 3, #ARGV do
  local record = redis.call('HGET', inflight, ARGV[i])
  if record then
    redis.call('HDEL', inflight, ARGV[i])
    gone = gone + 1
    fields[gone] = ARGV[i]
    if string.byte(ARGV[i]) == 101 then -- 101 is "e".
      free_unique(ARGV[1], record)
      leave_key(stats, record)
      tell_result(stats, record, 'cancelled', '')
    end
  end
end
-- Every notice is different, so that the host recognises a new one.
if gone > 0 then redis.call('SET', word, time[1] .. '.' .. time[2], 'PX', ARGV[2]) end
count(stats, 'cancelled', gone)
return {0, gone, fields}
