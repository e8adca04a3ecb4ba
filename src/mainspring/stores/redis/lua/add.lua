-- include: rows
-- Insert each job unless its id exists.
--
-- KEYS  1: {ns}
-- ARGV  per job four: id, row without its place, input or '', result or ''
-- Answers, per job: 1 where it was inserted, else the row that is there.
-- Cost  per job two commands (look, insert); per lane of the batch six; 500 jobs of one lane take 5 ms.
-- Not allowed over maxmemory: the first write is refused, and nothing has happened.

local answers = {}
local place
for n = 1, #ARGV, 4 do
  local id, row = ARGV[n], ARGV[n + 1]
  local key = job_key(id)
  local stored = redis.call('HGET', key, 'j')
  if stored then
    answers[#answers + 1] = stored
  else
    if not place then
      local jobs = #ARGV / 4
      place = redis.call('INCRBY', NS .. ':seq', jobs) - jobs
    end
    place = place + 1
    local bytes = struct.pack('>I8', place)
    local input, result = ARGV[n + 2], ARGV[n + 3]
    if result ~= '' then redis.call('HSET', key, 'r', result) end
    if input ~= '' then
      redis.call('HSET', key, 'j', bytes .. row, 'i', input)
    else
      redis.call('HSET', key, 'j', bytes .. row)
    end
    local _, _, _, _, _, _, _, at = struct.unpack('>I8I4i8i8sss', row)
    local state, due
    state, due, at = struct.unpack(HEAD, row, at)
    local priority, expires, _, _, name = struct.unpack(REST, row, at)
    local kind = kind_of(name)
    enter(id, place, kind, state, due, priority, expires)
    if state == WAITING then woken[kind.queue .. '/' .. kind.task] = true end
    answers[#answers + 1] = 1
  end
end
flush()
return answers
