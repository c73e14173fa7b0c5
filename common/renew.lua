-- Extends leases that are still the caller's own. One that has expired, while Redis was away or the worker too slow, is his
-- again if nobody has taken the request since. A request whose time has been over for as long as a lease lasts ends here: who
-- listens to it would have ended it by now, and it is computed for nobody.
--
-- KEYS  lease and state of each request in turn
-- ARGV  [1] lease in ms, [2] payload of the last event of a request whose time is over, then for each request the value its
--       lease must have, and the attempt
--
-- Returns the numbers (1-based) of requests that are gone, over, or somebody else's.

local lost, now = {}, milliseconds()

local function overdue(key)
  local state = redis.call('HMGET', key, 'expires', 'done')
  return state[1] and not state[2] and now >= state[1] + ARGV[1]
end

local function untaken(key, attempt)
  local state = redis.call('HMGET', key, 'attempt', 'done', 'free')
  return state[1] == attempt and not state[2] and not state[3]
end

for number = 1, #KEYS / 2 do
  local lease, state = KEYS[2 * number - 1], KEYS[2 * number]
  local value, attempt = ARGV[2 * number + 1], ARGV[2 * number + 2]
  local found = redis.call('GET', lease)
  if found == value and overdue(state) then
    conclude(read(state), ARGV[2], 'expired', JOURNAL_MS)
    lost[#lost + 1] = number
  elseif found == value then
    redis.call('PEXPIRE', lease, ARGV[1])
  elseif not found and untaken(state, attempt) then
    redis.call('SET', lease, value, 'PX', ARGV[1])
    -- Somebody may have seen that it was gone, and let the request wait again.
    local found = read(state)
    leave(found)
    redis.call('PEXPIRE', state, found.lifetime)
    redis.call('SADD', RUNNING .. found.pin, found.id)
    redis.call('SADD', RUNNING_PINS, found.pin)
  else
    lost[#lost + 1] = number
  end
end
return lost
