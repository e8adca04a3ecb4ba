-- Tell the followers, where there are any.
--
-- KEYS  1: {ns}
-- ARGV  1: how many entries the stream keeps; then per entry a JSON array of events
-- Answers whether anybody follows.
-- Cost  one command, and one per entry.

local followed = redis.call('EXISTS', KEYS[1] .. ':followed')
if followed == 1 then
  for n = 2, #ARGV do
    redis.call('XADD', KEYS[1] .. ':events', 'MAXLEN', '~', ARGV[1], '*', 'e', ARGV[n])
  end
end
return followed
