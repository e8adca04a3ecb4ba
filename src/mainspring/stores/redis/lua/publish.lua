-- Tell the followers, where there are any.
--
-- KEYS  1: {ns}
-- ARGV  1: how many entries the stream keeps; then per entry a JSON array of events
-- Answers whether anybody follows.
-- Cost  two commands, and one per entry. The stream goes an hour after the last event: a follower reads at once.

local followed = redis.call('EXISTS', KEYS[1] .. ':followed')
if followed == 1 then
  for n = 2, #ARGV do
    redis.call('XADD', KEYS[1] .. ':events', 'MAXLEN', '~', ARGV[1], '*', 'e', ARGV[n])
  end
  redis.call('PEXPIRE', KEYS[1] .. ':events', '3600000')
end
return followed
