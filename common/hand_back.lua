-- A worker gives requests back that it has not finished: whoever takes one next goes on behind what is in its journal.
--
-- KEYS  state and lease of each request in turn
-- ARGV  [1] the lane they wait in now, "" for their own, [2] "1": not before those who wait at the present time
--       then the value each lease must have
--
-- Returns the numbers (1-based) of those that were given back, by this call or by one whose answer was not heard.

-- Whether it waits since this very lease was given back.
local function given_back(at, lease)
  local state = redis.call('HMGET', at, 'attempt', 'free', 'done')
  return state[1] and state[1] == string.match(lease, '%d+$') and state[2] and not state[3]
end

local freed = {}
for number = 1, #KEYS / 2 do
  local at, lease = KEYS[2 * number - 1], KEYS[2 * number]
  local holder = redis.call('GET', lease)
  if not holder and given_back(at, ARGV[number + 2]) then
    freed[#freed + 1] = number
  elseif holder == ARGV[number + 2] then
    local state = read(at)
    redis.call('DEL', lease)
    if state and not state.done then
      redis.call('SREM', RUNNING .. state.pin, state.id)
      if ARGV[1] ~= '' then state.lane = ARGV[1] end
      if ARGV[2] == '1' then state.tag = math.max(tonumber(state.tag), present(state.lane, state.class) + 1) end
      redis.call('HSET', at, 'free', '1', 'lane', state.lane, 'tag', state.tag)
      enter(state)
      freed[#freed + 1] = number
    end
  end
end
return freed
