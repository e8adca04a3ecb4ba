-- Records of a kind by name, or those that are due by due time.
--
-- KEYS  1: {ns}
-- ARGV  1: kind  2: name after which to begin, or ''  3: limit  4: due by, or ''
-- Answers, per record two: name, record.
-- Cost  two commands.

local NS, kind, after, limit, due = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local names = {}
if due == '' then
  local from = after == '' and '-' or '(' .. after
  names = redis.call('ZRANGEBYLEX', NS .. ':rec-names:' .. kind, from, '+', 'LIMIT', 0, limit)
else
  local offset = 0
  repeat
    local page = redis.call('ZRANGEBYSCORE', NS .. ':rec-due:' .. kind, '-inf', due, 'LIMIT', offset, limit)
    for _, name in ipairs(page) do
      if name > after and #names < limit then names[#names + 1] = name end
    end
    offset = offset + limit
  until #page < limit or #names >= limit
end
if #names == 0 then return {} end
local records = redis.call('HMGET', NS .. ':rec:' .. kind, unpack(names))
local answers = {}
for n, name in ipairs(names) do
  answers[2 * n - 1], answers[2 * n] = name, records[n]
end
return answers
