-- Requests whose workers were lost wait again, each at its old place; whom nobody wants any more, or whose time is over, ends.
--
-- KEYS  the set of ids to be looked at: what runs of a pin; or a single state; or the set of pins of which something runs
-- ARGV  [1] what KEYS[1] is: "running", "state" or "pins",
--       [2] payload of the last event of a request whose time is over, [3] of one that nobody wants,
--       [4] with "pins", a worker that was seen to end: only what it holds is looked at, and lost now; or "",
--       [5] "1": it was killed from outside, and none of its requests is to blame (take.lua),
--       [6] its life (announce.lua), "" where that is not known
--
-- Returns the lanes in which there is one more now: each needs a ticket.

local function lapsed(state)
  return state and not state.done and redis.call('EXISTS', key_of(state.id, 'lease')) == 0
    and not redis.call('ZSCORE', ROOM .. state.lane, state.id)
end

local lanes, now = {}, milliseconds()

-- Whether that worker held it.
local function buried(state)
  local lease = key_of(state.id, 'lease')
  local holder = redis.call('GET', lease)
  if not holder or string.sub(holder, 1, #ARGV[4] + 1) ~= ARGV[4] .. '/' then return false end
  redis.call('DEL', lease)
  if ARGV[5] == '1' then redis.call('HSET', state.at, 'killed', '1') end
  return true
end

local function look(state)
  if ARGV[4] ~= '' and state and not buried(state) then return end
  if not lapsed(state) then return end
  redis.call('SREM', RUNNING .. state.pin, state.id)
  if redis.call('EXISTS', key_of(state.id, 'cancel')) == 1 then
    conclude(state, ARGV[3], 'cancelled', JOURNAL_MS)
  elseif now >= tonumber(state.expires) then
    conclude(state, ARGV[2], 'expired', JOURNAL_MS)
  else
    enter(state)
    lanes[#lanes + 1] = state.lane
  end
end

local function look_through(running)
  for _, id in ipairs(redis.call('SMEMBERS', running)) do
    local state = read(key_of(id, 'state'))
    if state then look(state) else redis.call('SREM', running, id) end
  end
end

-- Once, and not where somebody has missed it before, or a successor of its name has come.
if ARGV[6] ~= '' and redis.call('HGET', LIVES, ARGV[4]) == ARGV[6] then
  tally('workers_lost', '', '', 1)
  redis.call('HSET', LIVES, ARGV[4], BURIED)
end

if ARGV[1] == 'state' then
  look(read(KEYS[1]))
elseif ARGV[1] == 'running' then
  look_through(KEYS[1])
else
  for _, pin in ipairs(redis.call('SMEMBERS', KEYS[1])) do
    look_through(RUNNING .. pin)
    if redis.call('EXISTS', RUNNING .. pin) == 0 then redis.call('SREM', KEYS[1], pin) end
  end
end
return lanes
