-- flags: allow-oom
-- Erase a record if its stored version is the one given.
--
-- KEYS  1: {ns}
-- ARGV  1: kind  2: name  3: version
-- Answers 1, or 0 where it is gone or was written since.
-- Cost  five commands.

local NS, kind, name = KEYS[1], ARGV[1], ARGV[2]
local stored = redis.call('HGET', NS .. ':rec:' .. kind, name)
if not stored or cmsgpack.unpack(stored)[1] ~= tonumber(ARGV[3]) then return 0 end
redis.call('HDEL', NS .. ':rec:' .. kind, name)
redis.call('ZREM', NS .. ':rec-names:' .. kind, name)
redis.call('ZREM', NS .. ':rec-due:' .. kind, name)
redis.call('ZREM', NS .. ':rec-expiry', kind .. ':' .. name)
return 1
