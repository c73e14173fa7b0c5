-- Who waits, as it stands: how many in each queue, and since when the first of them.
--
-- Returns flavour, class and model with tabs between, how many, and the age of the oldest in ms; for each queue where
-- anybody waits.
--
-- Who is in a queue and not in the room of his lane has left it in a way that keeps no books, and is forgotten here.

local function waits(id)
  local lane = redis.call('HGET', key_of(id, 'state'), 'lane')
  return lane and redis.call('ZSCORE', ROOM .. lane, id)
end

local rows, now = {}, milliseconds()
for _, queue in ipairs(redis.call('SMEMBERS', QUEUES)) do
  local first = redis.call('ZRANGE', QUEUE .. queue, 0, 0, 'WITHSCORES')
  while first[1] and not waits(first[1]) do
    redis.call('ZREM', QUEUE .. queue, first[1])
    first = redis.call('ZRANGE', QUEUE .. queue, 0, 0, 'WITHSCORES')
  end
  if first[1] then
    rows[#rows + 1] = queue
    rows[#rows + 1] = redis.call('ZCARD', QUEUE .. queue)
    rows[#rows + 1] = now - first[2]
  else
    redis.call('SREM', QUEUES, queue)
  end
end
return rows
