-- Requests whose workers were lost wait again, each at its old place; whom nobody wants any more, or whose time is over, ends.
--
-- KEYS  the set of ids to be looked at: what runs of a pin; or a single state; or the set of pins of which something runs
-- ARGV  [1] what KEYS[1] is: "running", "state" or "pins",
--       [2] payload of the last event of a request whose time is over, [3] of one that nobody wants
--
-- Returns the lanes in which there is one more now: each needs a ticket.

local function lapsed(state)
  return state and not state.done and redis.call('EXISTS', key_of(state.id, 'lease')) == 0
    and not redis.call('ZSCORE', ROOM .. state.lane, state.id)
end

local lanes, now = {}, milliseconds()
local function look(state)
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
