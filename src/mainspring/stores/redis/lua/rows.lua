-- Rows and their indexes: what the scripts share. Included by `-- include: rows`; no script of its own.
--
-- A job is a hash {ns}:job:<id> with the fields
--   j  the row: what only claims write (CLAIMED), what all write (HEAD), the rest of the header (REST), the body (JSON)
--   i  the input (JSON)    r  the result (JSON)
-- and lies in exactly these indexes, by its state:
--   any       {ns}:idx:<queue>:<task>:<class>   by place; class: live (waiting, running) or the state itself
--   waiting   {ns}:due:<queue>:<task>:<priority>  its lane, by due time; {ns}:ready:<queue>:<priority> holds the first
--             due time of each lane, and {ns}:priorities:<queue> the priorities that have lanes
--   running   {ns}:run:<queue> and {ns}:held:<task>, by the end of the lease
--   terminal  {ns}:expiry, by expires_at, where it has one
-- and is counted in the hash {ns}:counts, field <state>/<kind>; <kind> is <queue>/<task>/<keyed>/<origin>. The / stands
-- for byte 31, which is in no name.
--
-- {ns}:full:<task> holds the queues in which a claim found the task's cap reached: who frees a slot wakes one there.
--
-- Index writes are gathered and made at the end, one command per index: `flush`. The keys are made from the namespace,
-- which is KEYS[1] and a hash tag, so that all of them are in the slot of KEYS[1].
--
-- Fixed layouts (struct: 0.2 us to read) and not cmsgpack (3.1 us); scores as text, for a number costs 1 us to print.

local NS = KEYS[1]
local CLAIMED = '>I8I8I4i8i8sss' -- place, version, claims, started_at, last_started_at, token, worker, last_worker
local HEAD = '>Bi8' -- state, due_at
local REST = '>Bi8I4i8ss' -- priority, expires_at, settled, created_at, kind, progress
local NONE = -1 -- of times
local WAITING, RUNNING, PAUSED = 0, 1, 2 -- states; those above have ended
local STATES = { [0] = 'waiting', 'running', 'paused', 'completed', 'failed', 'dead', 'cancelled' }
local CLASSES = { [0] = 'live', 'live', 'paused', 'completed', 'failed', 'dead', 'cancelled' }
local HINT_MS = '3600000' -- a hint that nobody fetched goes

local function job_key(id)
  return NS .. ':job:' .. id
end

-- A time as a score.
local function text(time)
  return string.format('%.0f', time)
end

-- One token per name: it ends one wait.
local function hint(name)
  local key = NS .. ':hint:' .. name
  if redis.call('LLEN', key) == 0 then
    redis.call('LPUSH', key, '1')
    redis.call('PEXPIRE', key, HINT_MS)
  end
end

-- What the jobs of a kind have in common, worked out once a call.
local kinds = {}
local function kind_of(name)
  local kind = kinds[name]
  if not kind then
    local queue, task = string.match(name, '^([^\31]*)\31([^\31]*)\31')
    kind = {
      name = name, queue = queue, task = task, run = NS .. ':run:' .. queue, held = NS .. ':held:' .. task,
      idx = NS .. ':idx:' .. queue .. ':' .. task .. ':', due = NS .. ':due:' .. queue .. ':' .. task .. ':',
    }
    kinds[name] = kind
  end
  return kind
end

-- What is to be written to the indexes: key -> arguments of one ZADD or ZREM.
local added, removed, counted, lanes, woken, freed = {}, {}, {}, {}, {}, {}

local function put(key, score, id)
  local list = added[key]
  if not list then
    list = {}
    added[key] = list
  end
  local size = #list
  list[size + 1] = score
  list[size + 2] = id
end

local function take(key, id)
  local list = removed[key]
  if not list then
    list = {}
    removed[key] = list
  end
  list[#list + 1] = id
end

local function tally(state, kind, number)
  local field = STATES[state] .. '\31' .. kind.name
  counted[field] = (counted[field] or 0) + number
end

-- The lane of a priority: its first due time has to be looked at when all is written.
local function lane_of(kind, priority)
  local key = kind.due .. priority
  if not lanes[key] then lanes[key] = { kind.queue, kind.task, priority } end
  return key
end

local function enter(id, place, kind, state, due, priority, expires)
  put(kind.idx .. CLASSES[state], place, id)
  tally(state, kind, 1)
  if state == WAITING then
    put(lane_of(kind, priority), text(due), id)
  elseif state == RUNNING then
    local score = text(due)
    put(kind.run, score, id)
    put(kind.held, score, id)
  elseif state ~= PAUSED and expires ~= NONE then
    put(NS .. ':expiry', text(expires), id)
  end
end

local function leave(id, kind, state, priority, expires)
  take(kind.idx .. CLASSES[state], id)
  tally(state, kind, -1)
  if state == WAITING then
    take(lane_of(kind, priority), id)
  elseif state == RUNNING then
    take(kind.run, id)
    take(kind.held, id)
    freed[kind.task] = true
  elseif state ~= PAUSED and expires ~= NONE then
    take(NS .. ':expiry', id)
  end
end

local function erase(id)
  redis.call('UNLINK', job_key(id), NS .. ':log:' .. id)
end

-- Bring the first due time of a lane up to date; answers it, or nil where nothing waits there.
local function refresh(lane, place)
  local queue, task, priority = place[1], place[2], place[3]
  local ready = NS .. ':ready:' .. queue .. ':' .. priority
  local first = redis.call('ZRANGE', lane, 0, 0, 'WITHSCORES')[2]
  if first then
    if redis.call('ZADD', ready, first, task) == 1 then
      redis.call('ZADD', NS .. ':priorities:' .. queue, priority, priority)
    end
    return tonumber(first)
  end
  redis.call('ZREM', ready, task)
  if redis.call('EXISTS', ready) == 0 then
    redis.call('ZREM', NS .. ':priorities:' .. queue, priority)
  end
end

-- One command with many arguments, in slices: unpack gives up beyond 7,999.
local function write_all(command, key, list)
  for first = 1, #list, 2000 do
    redis.call(command, key, unpack(list, first, math.min(first + 1999, #list)))
  end
end

local function flush()
  for key, list in pairs(removed) do
    write_all('ZREM', key, list)
  end
  for key, list in pairs(added) do
    write_all('ZADD', key, list)
  end
  for lane, place in pairs(lanes) do
    place[4] = refresh(lane, place)
  end
  for field, number in pairs(counted) do
    if number ~= 0 and redis.call('HINCRBY', NS .. ':counts', field, number) <= 0 then
      redis.call('HDEL', NS .. ':counts', field)
    end
  end
  for task in pairs(freed) do
    local waiting = redis.call('SMEMBERS', NS .. ':full:' .. task)
    if #waiting > 0 then
      redis.call('DEL', NS .. ':full:' .. task)
      for _, queue in ipairs(waiting) do
        woken[queue .. '/' .. task] = true
      end
    end
  end
  for name in pairs(woken) do
    hint(name)
  end
end
