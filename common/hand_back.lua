-- A worker gives requests back that it has not finished: whoever takes one next goes on behind what is in its journal.
--
-- KEYS  state and lease of each request in turn
-- ARGV  [1] the lane they wait in now, "" for their own, [2] "1": not before those who wait at the present time
--       then the value each lease must have
--
-- Returns the numbers (1-based) of those that were given back.

local freed = {}
for number = 1, #KEYS / 2 do
  local at, lease = KEYS[2 * number - 1], KEYS[2 * number]
  if redis.call('GET', lease) == ARGV[number + 2] then
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
