-- A worker with a ticket takes whoever is next in the ticket's lane: at most one holds a request, and each taking is a new
-- attempt.
--
-- ARGV  [1] lane, [2] worker, [3] lease in ms, [4] how many workers a request may cost,
--       [5] payload of the last event of a request whose time is over, [6] how long an ended request is kept, ms,
--       [7] the newest version of encoded requests that the worker reads,
--       [8] the only request to be taken, "" for whoever is next
--
-- Returns {outcome, id, attempt, next event index, the encoded request, key, class}; outcome is
--   claimed  the caller is now the only writer, and goes on at that index
--   crashed  so many workers were lost while they ran it that it is not tried again: the caller says so
--   newer    only newer workers can read those who wait: the ticket is theirs
--   empty    nobody waits (any more), or that one does not
--
-- A lease that is gone though nobody gave the request back (hand_back.lua) is a worker lost.

local lane, only = ARGV[1], ARGV[8]
local room, times, now = ROOM .. lane, ROOM .. lane .. ':times', milliseconds()

-- How fast a room empties while somebody waits in it: the mean time between two takings, ms.
local function paced(waits)
  local found = redis.call('HMGET', times, 'taken', 'gap')
  if found[1] then
    local gap = now - found[1]
    redis.call('HSET', times, 'gap', found[2] and 0.8 * found[2] + 0.2 * gap or gap)
  end
  if waits then redis.call('HSET', times, 'taken', now) else redis.call('HDEL', times, 'taken') end
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
  local lost = tonumber(state.lost or 0)
  if tonumber(state.attempt) > 0 and not state.free then lost = redis.call('HINCRBY', state.at, 'lost', 1) end
  redis.call('HDEL', state.at, 'free')
  local attempt = redis.call('HINCRBY', state.at, 'attempt', 1)
  redis.call('SET', key_of(state.id, 'lease'), ARGV[2] .. '/' .. attempt, 'PX', ARGV[3])
  redis.call('SADD', RUNNING .. state.pin, state.id)
  redis.call('PEXPIRE', state.at, state.lifetime)
  redis.call('PEXPIRE', key_of(state.id, 'journal'), state.lifetime)
  return {lost >= tonumber(ARGV[4]) and 'crashed' or 'claimed', state.id, attempt,
          redis.call('XLEN', key_of(state.id, 'journal')), redis.call('HGET', state.at, 'request'), state.key, state.class}
end

if only ~= '' then
  local state = redis.call('ZSCORE', room, only) and read(key_of(only, 'state'))
  if state and tonumber(state.version) <= tonumber(ARGV[7]) then
    leave(state)
    local found = taken(state)
    if found then return found end
  end
  return {'empty', '', 0, 0, '', '', ''}
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
return {#newer > 0 and 'newer' or 'empty', '', 0, 0, '', '', ''}
