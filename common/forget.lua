-- Workers that have said nothing for so long that they are lost: counted by whoever notices first, unless they were seen to
-- end (put_back.lua).
--
-- KEYS  the set of all workers, then what each of them says
-- ARGV  their names

for number, name in ipairs(ARGV) do
  if redis.call('EXISTS', KEYS[number + 1]) == 0 and redis.call('SREM', KEYS[1], name) == 1 then
    if redis.call('HGET', LIVES, name) ~= BURIED then tally('workers_lost', '', '', 1) end
    redis.call('HDEL', LIVES, name)
  end
end
