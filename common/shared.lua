-- What the scripts share that append.lua needs for every token: so little that building it costs nothing. room.lua has the
-- rest. Stands before each of them; the names of keys come from names.py.

local function key_of(id, what) return REQUEST .. id .. ':' .. what end

local function milliseconds()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- A count of Prometheus's, in the field that metrics.py reads it from.
local function tally(name, model, label, more)
  redis.call('HINCRBY', COUNTS, name .. '\t' .. model .. '\t' .. label .. '\t', more)
end

-- The index of a journal's next event: also behind one that Redis has lost, where a count would fall short.
local function next_index(journal)
  local last = redis.call('XREVRANGE', journal, '+', '-', 'COUNT', 1)[1]
  return last and tonumber(string.match(last[1], '^%d+')) or 0
end
