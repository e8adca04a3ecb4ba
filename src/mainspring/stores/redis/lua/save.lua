-- flags: allow-oom
-- include: rows
-- Replace each row whose stored version and token are the ones given. What only claims write stays as stored.
--
-- KEYS  1: {ns}
-- ARGV  per job seven: id, version, what claims wrote (CLAIMED after its version), token, row after CLAIMED,
--       input or '', result or '' ('': keep)
-- Answers, per job: nil where the swap was lost; 1 where what claims wrote is as given; else the row that is stored now.
--       Then, whether anybody follows events.
-- Cost  per job two commands; per index of the batch two; 100 settles of one lane take 1.5 ms.

local answers, seen = {}, {}

-- What claims wrote, after the version, if the swap is won; and whether it is as given.
local function claimed_by(stored, version, claimed, token)
  if not stored or struct.unpack('>I8', stored, 9) ~= tonumber(version) then return nil end
  if string.sub(stored, 17, 16 + #claimed) == claimed then return claimed, true end
  local _, _, _, _, _, held, _, _, at = struct.unpack(CLAIMED, stored)
  if held ~= token then return nil end
  return string.sub(stored, 17, at - 1), false
end

for n = 1, #ARGV, 7 do
  local id = ARGV[n]
  local key = job_key(id)
  if seen[id] then -- what was gathered of its first save comes before the second
    flush()
    added, removed, counted, lanes, woken, freed, seen = {}, {}, {}, {}, {}, {}, {}
  end
  local stored = redis.call('HGET', key, 'j')
  local claimed, same = claimed_by(stored, ARGV[n + 1], ARGV[n + 2], ARGV[n + 3])
  if not claimed then
    answers[#answers + 1] = false
  else
    seen[id] = true
    local state, due, at = struct.unpack(HEAD, stored, 17 + #claimed)
    local priority, expires, _, _, name = struct.unpack(REST, stored, at)
    local place = struct.unpack('>I8', stored)
    leave(id, kind_of(name), state, priority, expires)
    local row = ARGV[n + 4]
    local now_state, now_due, rest = struct.unpack(HEAD, row)
    priority, expires, _, _, name = struct.unpack(REST, row, rest)
    row = string.sub(stored, 1, 8) .. struct.pack('>I8', ARGV[n + 1] + 1) .. claimed .. row
    answers[#answers + 1] = same and 1 or row
    if now_state > PAUSED and expires == 0 then
      erase(id)
    else
      local fields = { 'j', row }
      if ARGV[n + 5] ~= '' then
        fields[3], fields[4] = 'i', ARGV[n + 5]
      end
      if ARGV[n + 6] ~= '' then
        fields[#fields + 1], fields[#fields + 2] = 'r', ARGV[n + 6]
      end
      redis.call('HSET', key, unpack(fields))
      local kind = kind_of(name)
      enter(id, place, kind, now_state, now_due, priority, expires)
      if now_state == WAITING or (now_state == RUNNING and now_due < due) then
        woken[kind.queue .. '/' .. kind.task] = true
      end
    end
  end
end
flush()
answers[#answers + 1] = redis.call('EXISTS', NS .. ':followed')
return answers
