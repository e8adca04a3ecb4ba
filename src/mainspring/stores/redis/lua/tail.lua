-- The lines of a log after a number, oldest first.
--
-- KEYS  1: {ns}
-- ARGV  1: id  2: number  3: limit
-- Answers the lines.
-- Cost  two commands.

local key, after = KEYS[1] .. ':log:' .. ARGV[1], tonumber(ARGV[2])
local first = redis.call('LINDEX', key, 0)
if not first then return {} end
local offset = math.max(0, after - struct.unpack('>I8', first) + 1)
return redis.call('LRANGE', key, offset, offset + tonumber(ARGV[3]) - 1)
