-- A worker gives requests back that it has not finished: whoever takes one next goes on behind what is in its journal.
--
-- KEYS  state and lease of each request in turn
-- ARGV  the value each lease must have
--
-- Returns the numbers (1-based) of those that were given back.

local freed = {}
for number = 1, #ARGV do
  local state, lease = KEYS[2 * number - 1], KEYS[2 * number]
  if redis.call('GET', lease) == ARGV[number] then
    redis.call('HSET', state, 'free', '1')
    redis.call('DEL', lease)
    freed[#freed + 1] = number
  end
end
return freed
