-- include: rows
-- One page of rows by insertion, out of several indexes at once.
--
-- KEYS  1: {ns}
-- ARGV  1: 'oldest' or 'newest' first  2: place after which to begin, or ''  3: how many rows
--       then per source three: queue, task, class (live, paused, completed, failed, dead, cancelled)
-- Answers, per row three: place, id, row (nil where it is missing: evicted, or deleted by hand). Fewer rows than asked
--       for: there are no more.
-- Cost  per source one command, per row one; 100 rows out of ten sources take 2 ms. The caller keeps rows times
--       sources within bounds.

local oldest, after, most = ARGV[1] == 'oldest', ARGV[2], tonumber(ARGV[3])
local places, ids = {}, {} -- ids by place

local function page(index)
  if oldest then
    return redis.call('ZRANGEBYSCORE', index, after == '' and '-inf' or '(' .. after, '+inf', 'WITHSCORES', 'LIMIT', 0, most)
  end
  return redis.call('ZREVRANGEBYSCORE', index, after == '' and '+inf' or '(' .. after, '-inf', 'WITHSCORES', 'LIMIT', 0, most)
end

for n = 4, #ARGV, 3 do
  local found = page(NS .. ':idx:' .. ARGV[n] .. ':' .. ARGV[n + 1] .. ':' .. ARGV[n + 2])
  for m = 1, #found, 2 do
    local place = tonumber(found[m + 1])
    places[#places + 1] = place
    ids[place] = found[m]
  end
end

table.sort(places)
local answers = {}
for n = 1, math.min(most, #places) do
  local place = places[oldest and n or #places + 1 - n]
  answers[3 * n - 2], answers[3 * n - 1] = place, ids[place]
  answers[3 * n] = redis.call('HGET', job_key(ids[place]), 'j')
end
return answers
