-- flags: allow-oom
-- Append lines to the logs of jobs that exist; the last ones stay.
--
-- A log is a list {ns}:log:<id>; a line is its number (8 bytes, big-endian) and a msgpack array. The numbers of a log
-- have no gaps.
--
-- KEYS  1: {ns}
-- ARGV  1: how many lines each job keeps; then per line two: id, line
-- Answers nothing.
-- Cost  per line one command, per job three.

local NS, keep = KEYS[1], tonumber(ARGV[1])
local last = {} -- id -> number of its last line; false: no such job
for n = 2, #ARGV, 2 do
  local id = ARGV[n]
  local key = NS .. ':log:' .. id
  if last[id] == nil then
    last[id] = redis.call('EXISTS', NS .. ':job:' .. id) == 1
    if last[id] then
      local line = redis.call('LINDEX', key, -1)
      last[id] = line and struct.unpack('>I8', line) or 0
    end
  end
  if last[id] then
    last[id] = last[id] + 1
    redis.call('RPUSH', key, struct.pack('>I8', last[id]) .. ARGV[n + 1])
  end
end
for id, number in pairs(last) do
  if number then redis.call('LTRIM', NS .. ':log:' .. id, -keep, -1) end
end
