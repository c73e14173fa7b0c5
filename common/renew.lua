-- Extends leases that are still the caller's own.
--
-- KEYS  leases
-- ARGV  [1] lease in ms, then the value each lease must have
--
-- Returns the numbers (1-based) of leases that are gone or somebody else's.

local lost = {}
for number, key in ipairs(KEYS) do
  if redis.call('GET', key) == ARGV[number + 1] then
    redis.call('PEXPIRE', key, ARGV[1])
  else
    lost[#lost + 1] = number
  end
end
return lost
