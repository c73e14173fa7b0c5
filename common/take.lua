-- A worker with a ticket takes whoever is next in the ticket's lane: at most one holds a request, and each taking is a new
-- attempt.
--
-- ARGV  [1] lane, [2] worker, [3] lease in ms, [4] how many workers in a row, and in all, a request may cost: "2 10",
--       [5] payload of the last event of a request whose time is over, [6] how long an ended request is kept, ms,
--       [7] the newest version of encoded requests that the worker reads,
--       [8] payload of the last event of a request that is not tried again,
--       [9] the only request to be taken, "" for whoever is next
--
-- Returns {outcome, id, attempt, next event index, the encoded request, key, class, traceparent, for how long it has waited,
-- the worker that was lost over it just now, how long ago that one took it}; times in ms, "" and 0 where there is none.
-- outcome is
--   claimed  the caller is now the only writer, and goes on at that index
--   suspect  the same, but it may be what killed its last worker: it is blamed for this one only from begin.lua on
--   crashed  so many workers were lost while they ran it that it is not tried again: it has ended, and is kept aside
--   newer    only newer workers can read those who wait: the ticket is theirs
--   empty    nobody waits (any more), or that one does not
--
-- A lease that is gone though nobody gave the request back (hand_back.lua) is a worker lost. The request is blamed for it
-- unless it had got further there, by a token at least: what kills its worker does so again at the same place, and others
-- were only beside it; and unless that worker's witness has said that it was killed from outside (workers/witness.py). So `blamed` counts the workers that were lost in a row without a token in between, `lost` all of them.

local lane, only = ARGV[1], ARGV[9]
local room, times, now = ROOM .. lane, ROOM .. lane .. ':times', milliseconds()

-- A mean of so many, as good as: slots that end together are taken together, and eight of them should not look like a pace.
local REMEMBERED = 20

-- How fast a room empties while somebody waits in it: the mean time between two takings, ms, and of how many (pace_of).
local function paced(waits)
  local found = redis.call('HMGET', times, 'taken', 'gap', 'gaps')
  if found[1] then
    local gap, gaps = tonumber(found[2] or 0), math.min((found[3] or 0) + 1, REMEMBERED)
    redis.call('HSET', times, 'gap', gap + (now - found[1] - gap) / gaps, 'gaps', gaps)
  end
  if waits then redis.call('HSET', times, 'taken', now) else redis.call('HDEL', times, 'taken') end
end

local function forget(id)
  redis.call('DEL', DEAD .. ':' .. id, DEAD .. ':' .. id .. ':journal')
  redis.call('ZREM', DEAD, id)
end

-- Keeps a request aside with everything that was known of it, for whoever looks into what has cost the workers (dead.py).
local function keep_aside(state)
  local at, facts = DEAD .. ':' .. state.id, {}
  for _, field in ipairs({'id', 'kind', 'model', 'pin', 'lane', 'key', 'class', 'version', 'admitted', 'expires', 'attempt',
                          'prompt', 'cached', 'generated', 'lost_workers'}) do
    facts[#facts + 1] = field
    facts[#facts + 1] = state[field] or ''
  end
  redis.call('HSET', at, 'died', now, 'request', redis.call('HGET', state.at, 'request'), unpack(facts))
  redis.call('PEXPIRE', at, DEAD_MS)
  if redis.call('COPY', key_of(state.id, 'journal'), at .. ':journal') == 1 then
    redis.call('PEXPIRE', at .. ':journal', DEAD_MS)
  end
  redis.call('ZADD', DEAD, now, state.id)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', DEAD, '-inf', now - DEAD_MS)) do forget(id) end
  for _, id in ipairs(redis.call('ZRANGE', DEAD, 0, -MAX_DEAD - 1)) do forget(id) end
end

-- Takes the request, or ends it when its time is over; nil when it is nobody's to take.
local function taken(state)
  -- Held: its lease had run out and was renewed.
  if state.done or redis.call('EXISTS', key_of(state.id, 'lease')) == 1 then return nil end
  if now >= tonumber(state.expires) then
    conclude(state, ARGV[5], 'expired', ARGV[6])
    return nil
  end
  paced(redis.call('EXISTS', room) == 1)
  local time = present(lane, state.class)
  -- Who is taken before his turn does not make it later for those who are still to have theirs.
  if only == '' then time = math.max(time, tonumber(state.tag)) end
  redis.call('HSET', times, state.class, time)
  redis.call('PEXPIRE', times, FORGOTTEN)
  -- Whoever would start at the present time anyway need not be remembered.
  redis.call('ZREMRANGEBYSCORE', turns_of(lane, state.class), '-inf', time)
  local trace, waited, fallen, since = redis.call('HGET', state.at, 'trace') or '', now - tonumber(state.admitted), '', 0
  local lost, blamed, tokens = tonumber(state.lost or 0), tonumber(state.blamed or 0), tonumber(state.generated or 0)
  local further = tokens > tonumber(state.from or 0)
  if further then blamed = 0 end
  if tonumber(state.attempt) > 0 and not state.free then
    lost = lost + 1
    fallen, since = state.worker or '', now - tonumber(redis.call('HGET', state.at, 'taken') or now)
    state.lost_workers = (state.lost_workers and state.lost_workers .. '\n' or '') .. (state.worker or '')
    if not further and not state.unbegun and not state.killed then blamed = blamed + 1 end
  end
  local cause = state.attempt == '0' and 'first' or state.free and 'handed_back' or 'worker_lost'
  redis.call('HDEL', state.at, 'free', 'unbegun', 'killed')
  local in_a_row, in_all = string.match(ARGV[4], '(%d+) (%d+)')
  if blamed >= tonumber(in_a_row) or lost >= tonumber(in_all) then
    state.lost = lost
    keep_aside(state)
    return {'crashed', state.id, state.attempt, conclude(state, ARGV[8], 'failed:worker_crashed', ARGV[6]), '', state.key,
            state.class, trace, waited, fallen, since}
  end
  redis.call('HSET', state.at, 'lost', lost, 'blamed', blamed, 'from', tokens, 'worker', ARGV[2], 'taken', now)
  if lost > 0 then redis.call('HSET', state.at, 'lost_workers', state.lost_workers) end
  if blamed > 0 then redis.call('HSET', state.at, 'unbegun', '1') end
  if state.kind ~= '' then
    tally('attempts', state.model, cause, 1)
    if cause == 'first' then tally_wait(state.model, state.class, (now - state.admitted) / 1000) end
  end
  local attempt = redis.call('HINCRBY', state.at, 'attempt', 1)
  redis.call('SET', key_of(state.id, 'lease'), ARGV[2] .. '/' .. attempt, 'PX', ARGV[3])
  redis.call('SADD', RUNNING .. state.pin, state.id)
  redis.call('SADD', RUNNING_PINS, state.pin)
  redis.call('PEXPIRE', state.at, state.lifetime)
  redis.call('PEXPIRE', key_of(state.id, 'journal'), state.lifetime)
  return {blamed > 0 and 'suspect' or 'claimed', state.id, attempt, next_index(key_of(state.id, 'journal')),
          redis.call('HGET', state.at, 'request'), state.key, state.class, trace, waited, fallen, since}
end

if only ~= '' then
  local state = redis.call('ZSCORE', room, only) and read(key_of(only, 'state'))
  -- What a worker was lost over, and may be to blame, waits for its turn.
  local harmless = state and (state.attempt == '0' or state.free) and tonumber(state.blamed or 0) == 0
  if harmless and tonumber(state.version) <= tonumber(ARGV[7]) then
    leave(state)
    local found = taken(state)
    if found then return found end
  end
  return {'empty', '', 0, 0, '', '', '', '', 0, '', 0}
end

local newer = {}
local function next_one()
  while true do
    local id, score = unpack(redis.call('ZPOPMIN', room))
    if not id then return nil end
    local state = read(key_of(id, 'state'))
    if state and tonumber(state.version) > tonumber(ARGV[7]) then
      newer[#newer + 1] = score
      newer[#newer + 1] = id
    elseif state then
      counted(state, -1)
      local found = taken(state)
      if found then return found end
    end
  end
end

local found = next_one()
if #newer > 0 then redis.call('ZADD', room, unpack(newer)) end
if found then return found end
redis.call('HDEL', times, 'taken')
return {#newer > 0 and 'newer' or 'empty', '', 0, 0, '', '', '', '', 0, '', 0}
