-- include: rows
-- One page of rows by insertion, out of several indexes at once.
--
-- KEYS  1: {ns}
-- ARGV  1: 'oldest' or 'newest' first  2: place after which to begin, or ''  3: how many rows
--       then per source three: queue, task, class (live, running, paused, completed, failed, dead, cancelled)
-- Answers, per row three: place, id, row (nil where it is missing: evicted, or deleted by hand); fewer rows than asked for: there are no more.
-- Cost  per source one command, per row one; the caller keeps rows times sources within bounds.

local oldest, after, most = ARGV[1] == 'oldest', ARGV[2], tonumber(ARGV[3])
local found = {}

local function keep(id, place)
  found[#found + 1] = { tonumber(place), id }
end

local function running(queue, task)
  local index = NS .. ':idx:' .. queue .. ':' .. task .. ':live'
  for _, id in ipairs(redis.call('ZRANGE', NS .. ':held:' .. task, 0, -1)) do
    local place = redis.call('ZSCORE', index, id)
    if place and (after == '' or (oldest and tonumber(place) > tonumber(after))
      or (not oldest and tonumber(place) < tonumber(after))) then
      keep(id, place)
    end
  end
end

for n = 4, #ARGV, 3 do
  local queue, task, class = ARGV[n], ARGV[n + 1], ARGV[n + 2]
  if class == 'running' then
    running(queue, task)
  else
    local index = NS .. ':idx:' .. queue .. ':' .. task .. ':' .. class
    local page
    if oldest then
      page = redis.call('ZRANGEBYSCORE', index, after == '' and '-inf' or '(' .. after, '+inf', 'WITHSCORES', 'LIMIT', 0, most)
    else
      page = redis.call('ZREVRANGEBYSCORE', index, after == '' and '+inf' or '(' .. after, '-inf', 'WITHSCORES', 'LIMIT', 0, most)
    end
    for m = 1, #page, 2 do
      keep(page[m], page[m + 1])
    end
  end
end
table.sort(found, function(a, b)
  if oldest then return a[1] < b[1] end
  return a[1] > b[1]
end)
local answers = {}
for n = 1, math.min(most, #found) do
  local at = 3 * n
  answers[at - 2], answers[at - 1] = found[n][1], found[n][2]
  answers[at] = redis.call('HGET', job_key(found[n][2]), 'j')
end
return answers
