-- flags: allow-oom
-- Write each record whose stored version is the one given (0: must not exist).
--
-- A record is a field of the hash {ns}:rec:<kind>: a msgpack array of version, written_at, due_at, expires_at (-1: none),
-- value (JSON). {ns}:rec-names:<kind> keeps the names in order, {ns}:rec-due:<kind> those with a due time by it, and
-- {ns}:rec-expiry all that expire, as <kind>:<name>.
--
-- KEYS  1: {ns}
-- ARGV  per record six: kind, name, version, new record, due_at or '', expires_at or ''
-- Answers, per record: 1 or, where the swap was lost, 0.
-- Cost  per record five commands.

local NS = KEYS[1]

local function index(key, score, member)
  if score == '' then
    redis.call('ZREM', key, member)
  else
    redis.call('ZADD', key, score, member)
  end
end

local answers = {}
for n = 1, #ARGV, 6 do
  local kind, name = ARGV[n], ARGV[n + 1]
  local stored = redis.call('HGET', NS .. ':rec:' .. kind, name)
  local version = stored and cmsgpack.unpack(stored)[1] or 0
  if version ~= tonumber(ARGV[n + 2]) then
    answers[#answers + 1] = 0
  else
    redis.call('HSET', NS .. ':rec:' .. kind, name, ARGV[n + 3])
    redis.call('ZADD', NS .. ':rec-names:' .. kind, 0, name)
    index(NS .. ':rec-due:' .. kind, ARGV[n + 4], name)
    index(NS .. ':rec-expiry', ARGV[n + 5], kind .. ':' .. name)
    answers[#answers + 1] = 1
  end
end
return answers
