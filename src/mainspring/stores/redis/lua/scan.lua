-- Records of a kind by name, or those that are due by due time.
--
-- KEYS  1: {ns}
-- ARGV  1: kind  2: name after which to begin, or ''  3: limit  4: due by, or ''
-- Answers, per record two: name, record.
-- Cost  two commands for up to 2,000 records.

local NS, kind, after, limit, due = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local names = {}

-- By bytes, as the index of names is: `>` goes by the locale of the server.
local function follows(name, other)
  for n = 1, math.min(#name, #other) do
    local a, b = string.byte(name, n), string.byte(other, n)
    if a ~= b then return a > b end
  end
  return #name > #other
end

if due == '' then
  local from = after == '' and '-' or '(' .. after
  names = redis.call('ZRANGEBYLEX', NS .. ':rec-names:' .. kind, from, '+', 'LIMIT', 0, limit)
else
  local offset = 0
  repeat
    local page = redis.call('ZRANGEBYSCORE', NS .. ':rec-due:' .. kind, '-inf', due, 'LIMIT', offset, limit)
    for _, name in ipairs(page) do
      if follows(name, after) and #names < limit then names[#names + 1] = name end
    end
    offset = offset + limit
  until #page < limit or #names >= limit
end

local answers = {}
for first = 1, #names, 2000 do -- unpack gives up beyond 7,999
  local records = redis.call('HMGET', NS .. ':rec:' .. kind, unpack(names, first, math.min(first + 1999, #names)))
  for n, record in ipairs(records) do
    local size = #answers
    answers[size + 1], answers[size + 2] = names[first + n - 1], record
  end
end
return answers
