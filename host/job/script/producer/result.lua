-- Sandhog: tells what became of a job whose result was asked for when it was pushed (`result`). To wait for it without
-- asking again and again, use BLMOVE on the list `{queue}:sandhog:result:ID`, from it to itself: its one entry is a line
-- with the outcome, then the rest.
--
-- KEYS   1 the queue
-- ARGV   1 id of the job
-- Reply  {'done', result}; {'dead' or 'discarded' or 'cancelled', why}; {'unknown'}: it has not ended, nobody asked for
--        its result, or the result is gone
local queue, id = KEYS[1], ARGV[1]
if #KEYS ~= 1 or #ARGV ~= 1 then return redis.error_reply('SANDHOG one key, the queue, and one argument, the id, are needed') end
local key = companions(queue) .. 'result:' .. id
local wrong = wrong_type(key, 'list')
if wrong then return redis.error_reply('SANDHOG the key `' .. wrong .. '` holds another type than Sandhog keeps there') end
local entry = redis.call('LINDEX', key, 0)
if not entry then return {'unknown'} end
local stop = string.find(entry, '\n', 1, true) or #entry + 1
return {string.sub(entry, 1, stop - 1), string.sub(entry, stop + 1)}
