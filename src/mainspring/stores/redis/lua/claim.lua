-- flags: allow-oom
-- include: rows
-- Take due jobs of the named tasks of a queue: lapsed leases first, then by priority, lane, due time and id.
--
-- KEYS  1: {ns}
-- ARGV  1: queue  2: worker  3: token  4: now  5: until  6: limit  7: cap of the queue or -1
--       8: bytes of input to answer  9: the named tasks with their caps or -1, as '\n<task>=<cap>\n<task>=<cap>\n'
--       10: the lanes that the caller took the hints of, as '<queue>/<task>\n<queue>/<task>'
-- Answers: when to look again or -1, whether anybody follows events, then per job three: id, row, input. Where the inputs
--       are over the bytes allowed, the rest of them are left out (nil) and fetched by the caller.
-- Cost  an empty claim: five commands and two per priority, however many lanes and jobs there are. One job: 17 commands,
--       0.15 ms, with 300 lanes that are due 0.3 ms. Each further job two, each further lane six; per lane that is due
--       but not named, full or closed, nothing. 100 jobs of one lane take 1.5 ms.

local queue, worker, token = ARGV[1], ARGV[2], ARGV[3]
local now, till, limit, cap = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local budget, named, duties = tonumber(ARGV[8]), ARGV[9], ARGV[10]
local LANES = 50 -- read at a time

local followed = redis.call('EXISTS', NS .. ':followed')

-- When to look again: the earliest of the times seen.
local next_due = math.huge
local function see(time)
  if time and time > now and time < next_due then next_due = time end
end

local function answer(rows)
  rows[1] = next_due < math.huge and next_due or NONE
  rows[2] = followed
  return rows
end

-- -- gates: name -> end, huge where there is none --------------------------------------------------------------

local closed = {}
local gates = redis.call('HGETALL', NS .. ':rec:gate')
for n = 1, #gates, 2 do
  local ends = cmsgpack.unpack(gates[n + 1])[4]
  if ends == NONE then
    closed[gates[n]] = math.huge
  elseif ends > now then
    closed[gates[n]] = ends
  end
end
local gate = closed['queue:' .. queue]
if gate then
  if gate < math.huge then see(gate) end
  return answer({})
end

-- -- caps ------------------------------------------------------------------------------------------------------

local run = NS .. ':run:' .. queue
local after_now = '(' .. ARGV[4]

local function first_end(key)
  see(tonumber(redis.call('ZRANGEBYSCORE', key, after_now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]))
end

local room, queue_bound = limit, false
if cap ~= NONE then
  local left = math.max(0, cap - redis.call('ZCOUNT', run, after_now, '+inf'))
  if left < room then
    room, queue_bound = left, true
    first_end(run)
  end
end

-- The cap of a named task, huge where it has none; nil: not named.
local function cap_of(task)
  local _, at = string.find(named, '\n' .. task .. '=', 1, true)
  if not at then return nil end
  local most = tonumber(string.match(named, '^-?%d+', at + 1))
  return most == NONE and math.huge or most
end

-- How many of a task may still be taken, 0 where it is not named, closed or full; whatever room there is.
local free, full = {}, {}
local function left_of(task)
  local left = free[task]
  if not left then
    left = cap_of(task) or 0
    if left > 0 and left < math.huge then
      left = math.max(0, left - redis.call('ZCOUNT', NS .. ':held:' .. task, after_now, '+inf'))
      if left == 0 then
        first_end(NS .. ':held:' .. task)
        full[task] = true
      end
    end
    local ends = left > 0 and closed['task:' .. task]
    if ends then
      left = 0
      if ends < math.huge then see(ends) end
    end
    free[task] = left
  end
  return left
end

local function room_of(task)
  return math.min(room, left_of(task))
end

local function task_of(row)
  local _, _, _, _, _, _, _, _, at = struct.unpack(CLAIMED, row)
  _, _, at = struct.unpack(HEAD, row, at)
  local _, _, _, _, name = struct.unpack(REST, row, at)
  return kind_of(name).task
end

-- -- choosing --------------------------------------------------------------------------------------------------

local chosen = {} -- in order, per job three: id, row, input

-- Choose a job. Where its row is missing (evicted, deleted by hand) forget it, so that it stops nobody else: false.
local function choose(id, task, index)
  local row, input
  if budget > 0 then
    local found = redis.call('HMGET', job_key(id), 'j', 'i')
    row, input = found[1], found[2]
    if input then budget = budget - #input end
  else
    row, input = redis.call('HGET', job_key(id), 'j'), false
  end
  if not row then
    take(index, id)
    take(NS .. ':idx:' .. queue .. ':' .. task .. ':live', id)
    return
  end
  local size = #chosen
  chosen[size + 1], chosen[size + 2], chosen[size + 3] = id, row, input
  room = room - 1
  free[task] = free[task] - 1
  if free[task] == 0 then
    first_end(NS .. ':held:' .. task)
    full[task] = true
  end
end

-- Lapsed leases of tasks that have no room: the first one of a task passes over all of them, or 2,000 that lapsed while
-- their task is paused would cost each claim of the queue 7 ms, a row each; so it is 2 ms.
local passed = {}
local function pass_over(task)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', NS .. ':held:' .. task, '-inf', now)) do
    passed[id] = true
  end
end

local function take_lapsed(id)
  local row = redis.call('HGET', job_key(id), 'j')
  local task = row and task_of(row)
  if not row then
    take(run, id)
  elseif left_of(task) > 0 then
    choose(id, task, run)
  else
    pass_over(task)
  end
end

local offset, most = 0, LANES
while room > 0 do
  local ids = redis.call('ZRANGEBYSCORE', run, '-inf', now, 'LIMIT', offset, most)
  for _, id in ipairs(ids) do
    if room <= 0 then break end
    if not passed[id] then take_lapsed(id) end
  end
  if #ids < most then break end
  offset, most = offset + most, 2000
end

local only_lapsed = room <= 0 -- and there may be more of these
local priorities = redis.call('ZREVRANGE', NS .. ':priorities:' .. queue, 0, -1)
for _, priority in ipairs(priorities) do
  if room <= 0 then break end
  local ready = NS .. ':ready:' .. queue .. ':' .. priority
  offset = 0
  repeat
    local tasks = redis.call('ZRANGEBYSCORE', ready, '-inf', now, 'LIMIT', offset, LANES)
    for _, task in ipairs(tasks) do
      local most = room_of(task)
      if most > 0 then
        local lane = NS .. ':due:' .. queue .. ':' .. task .. ':' .. priority
        for _, id in ipairs(redis.call('ZRANGEBYSCORE', lane, '-inf', now, 'LIMIT', 0, most)) do
          choose(id, task, lane)
        end
        lanes[lane] = { queue, task, priority }
      end
      if room <= 0 then break end
    end
    offset = offset + LANES
  until #tasks < LANES or room <= 0
  -- The first lane to come, of those that are named and open.
  local found = room <= 0 and not queue_bound
  offset = 0
  while not found do
    local tasks = redis.call('ZRANGEBYSCORE', ready, after_now, '+inf', 'WITHSCORES', 'LIMIT', offset, LANES)
    for n = 1, #tasks, 2 do
      if cap_of(tasks[n]) then
        local due, ends = tonumber(tasks[n + 1]), closed['task:' .. tasks[n]]
        if not ends then
          see(due)
          found = true
          break
        elseif ends < math.huge then
          see(math.max(due, ends))
        end
      end
    end
    offset = offset + LANES
    found = found or #tasks < 2 * LANES
  end
end
local cut = room <= 0 and not queue_bound -- there may be more: no need to know when to look again
if not cut then first_end(run) end
for task in pairs(full) do
  redis.call('SADD', NS .. ':full:' .. task, queue)
  redis.call('PEXPIRE', NS .. ':full:' .. task, HINT_MS)
end

-- -- handing on ------------------------------------------------------------------------------------------------

-- Whether anything waits in the lanes of a task. Of those that `flush` looked at it is known.
local function waits(place, task, of)
  for _, priority in ipairs(of or redis.call('ZRANGE', NS .. ':priorities:' .. place, 0, -1)) do
    local lane = lanes[NS .. ':due:' .. place .. ':' .. task .. ':' .. priority]
    if lane then
      if lane[4] then return true end
    elseif redis.call('ZSCORE', NS .. ':ready:' .. place .. ':' .. priority, task) then
      return true
    end
  end
  return false
end

-- Give others what the caller took the hints of: all of it where its slots are filled, else what it does not name now.
local function hand_on(all)
  for place, task in string.gmatch(duties, '([^/\n]+)/([^\n]+)') do
    if (all or (place == queue and not cap_of(task))) and waits(place, task) then hint(place .. '/' .. task) end
  end
end

if #chosen == 0 then
  if next(removed) then flush() end
  if cut then next_due = now end
  hand_on(cut)
  return answer({})
end

-- -- taking ----------------------------------------------------------------------------------------------------

local taken = { 0, 0 }
local score = text(till)
for n = 1, #chosen, 3 do
  local id, row = chosen[n], chosen[n + 1]
  local place, version, claims, started, _, _, last_worker, _, at = struct.unpack(CLAIMED, row)
  local state, _, rest = struct.unpack(HEAD, row, at)
  local priority, _, _, _, name = struct.unpack(REST, row, rest)
  local kind = kind_of(name)
  if state == WAITING then
    take(lane_of(kind, priority), id)
    tally(WAITING, kind, -1)
    tally(RUNNING, kind, 1)
  end
  row = struct.pack(CLAIMED, place, version + 1, claims + 1, now, started, token, worker, last_worker)
    .. struct.pack(HEAD, RUNNING, till) .. string.sub(row, rest)
  redis.call('HSET', job_key(id), 'j', row)
  put(kind.run, score, id)
  put(kind.held, score, id)
  local size = #taken
  taken[size + 1], taken[size + 2], taken[size + 3] = id, row, chosen[n + 2]
end
flush()

-- -- looking ahead ---------------------------------------------------------------------------------------------

local spent, seen = {}, {}
for _, lane in pairs(lanes) do
  local task, first = lane[2], lane[4]
  if first then see(first) end
  if not seen[task] then
    seen[task] = true
    if not waits(queue, task, priorities) then spent[#spent + 1] = NS .. ':hint:' .. queue .. '/' .. task end
  end
end
if not cut then spent[#spent + 1] = NS .. ':hint:' .. queue end
if #spent > 0 then redis.call('DEL', unpack(spent)) end
see(till)
hand_on(cut)
if not cut then return answer(taken) end

-- Every slot is filled, so the next look is somebody else's: pass a hint on, for what has lapsed, is due or comes first.
next_due = now
local first, task = math.huge, nil
for _, id in ipairs(only_lapsed and redis.call('ZRANGEBYSCORE', run, '-inf', now, 'LIMIT', 0, LANES) or {}) do
  local row = redis.call('HGET', job_key(id), 'j')
  local lapsed = row and task_of(row)
  if lapsed and left_of(lapsed) > 0 then
    first, task = now, lapsed
    break
  end
end
for _, priority in ipairs(priorities) do
  if first <= now then break end
  local ready = redis.call('ZRANGE', NS .. ':ready:' .. queue .. ':' .. priority, 0, LANES - 1, 'WITHSCORES')
  for n = 1, #ready, 2 do
    local due = tonumber(ready[n + 1])
    if due >= first then break end
    if left_of(ready[n]) > 0 then
      first, task = due, ready[n]
      break
    end
  end
end
if task then hint(queue .. '/' .. task) end
return answer(taken)
