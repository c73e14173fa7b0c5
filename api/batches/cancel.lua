-- Somebody does not want a batch any more: whoever runs it sees the status.
--
-- KEYS  state
-- ARGV  now, Unix seconds
--
-- Returns the status it had, or "" when there is no such batch.

local status = redis.call('HGET', KEYS[1], 'status')
if not status then return '' end
if status == 'validating' or status == 'in_progress' then
  redis.call('HSET', KEYS[1], 'status', 'cancelling', 'cancelling_at', ARGV[1])
end
return status
