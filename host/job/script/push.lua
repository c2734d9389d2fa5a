-- Push with options. Unlike our other scripts it is refused while Redis has reached its memory limit.
--
-- KEYS   1 ready  2 delayed  3 unique key, if one is wanted
-- ARGV   1 job id  2 notes as they stand in a header, with a space before each  3 payload
--        4 delay in ms; empty for none  5 LPUSH or RPUSH  6 how long the unique key is kept in ms
-- Reply  {0, length of ready}; {1} delayed; {2} a living job has the unique key; {3, key} of a wrong type
--
-- nothing -> ready, or delayed until Redis time plus the delay; the unique key holds its owner (`unique`)
local wrong = wrong_type(KEYS[1], 'list', KEYS[2], 'zset')
if wrong then return {3, wrong} end
-- If the unique key were set without its job, it would refuse all further jobs.
local refused = KEYS[3] and refusal(ARGV[4] == '' and ARGV[5] or 'ZADD', ARGV[4] == '' and KEYS[1] or KEYS[2])
if refused then return refused end
local outcome, length = put_job(KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], KEYS[3], ARGV[6])
return {outcome, length}
