#!lua flags=allow-oom
-- Spends bytes of a plugin's write rate, from a token bucket that all hosts share and that fills with time. The writes
-- themselves ask whether Redis has memory: a commit waits for it, and the run need not fail here.
-- KEYS[1]  the moment at which the bucket is full again, in microseconds of Redis time
-- ARGV[1]  microseconds in which the bucket gets one byte
-- ARGV[2]  bytes of a full bucket
-- ARGV[3]  least bytes to spend
-- ARGV[4]  bytes to spend if the bucket has as many
-- Reply    integer: the bytes spent; negative: none were spent, and in how many milliseconds ARGV[3] bytes are there
-- Before → after: full at some moment → later by the time that the spent bytes need to refill. A moment further away than
-- a bucket needs to fill was written before Redis' clock was set back, or for a slower rate: the bucket is empty then. A
-- key of another type, or without a number, counts as a full bucket and is replaced.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local gap, most, wanted, portion = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
-- GETEX does not count as a read: Redis does not report the key's next change to clients that track keys.
local held = redis.pcall('GETEX', KEYS[1])
local full_at = type(held) == 'string' and tonumber(held) or now
if not (full_at > now) then full_at = now end
local is_cut = full_at > now + most * gap
if is_cut then full_at = now + most * gap end
local function keep()
  local left_ms = math.ceil((full_at - now) / 1000) + 1
  redis.call('SET', KEYS[1], string.format('%.0f', math.ceil(full_at)), 'PX', string.format('%.0f', left_ms))
end
local there = math.floor(most - (full_at - now) / gap + 1e-6)
if there < wanted then
  if is_cut then keep() end -- Without this the moment would be cut again at each call, and the bucket would never fill.
  return -math.max(1, math.ceil((wanted - there) * gap / 1000))
end
local taken = math.min(there, math.max(wanted, portion))
full_at = full_at + taken * gap
keep()
return taken
