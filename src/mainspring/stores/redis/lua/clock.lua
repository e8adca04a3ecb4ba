-- flags: allow-oom
-- Move the clock of a namespace, if nobody else has moved it since it was read.
--
-- KEYS  1: {ns}
-- ARGV  1: the offset that was read (ms)  2: the new one  3: the time then
-- Answers 1, or 0 where somebody was faster.
-- Cost  two commands.

local key = KEYS[1] .. ':meta'
if (redis.call('HGET', key, 'offset') or '0') ~= ARGV[1] then return 0 end
redis.call('HSET', key, 'offset', ARGV[2], 'moved', ARGV[3])
return 1
